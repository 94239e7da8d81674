"""The bearer token that opens a model's endpoint."""

from __future__ import annotations

from pathlib import Path

from robmon.errors import SettingsError
from robmon.models.access import EndpointAccess
from robmon.models.secret_file import read_secret


def bearer_token(access: EndpointAccess, file_name: str = "token_file") -> str | None:
    """The token, given or read from its file; None where there is neither.

    Args:
        access: names token or file.
        file_name: what the setting is called that names the file, for messages.

    Raises:
        SettingsError: the file cannot be read, or what is there is no token. The message does not hold it.
    """
    if access.token_file is None:
        return None if access.token is None else _checked(access.token, "the token")
    told = f"{file_name} = {access.token_file!r}"
    try:
        text = read_secret(Path(access.token_file)).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not ASCII"
        raise SettingsError(f"{told} cannot be read: {why}") from None
    return _checked(text, told)


def _checked(text: str, told: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"{told} must hold one token, of printable ASCII without spaces")
    return token
