"""A model server as a predictor."""

from __future__ import annotations

from pathlib import Path

from robmon.errors import InvalidInputError, SettingsError
from robmon.models.access import EndpointAccess
from robmon.models.bearer import bearer_token
from robmon.models.loading import RemoteModel
from robmon.models.uri import parse_endpoint
from robmon.robustness.checks import check_above_zero


def endpoint(
    url: str,
    *,
    token: str | None = None,
    token_file: str | Path | None = None,
    rows_per_second: float = 1000,
    batch_rows: int = 32,
    timeout_seconds: float = 10,
) -> RemoteModel:
    """A model behind a prediction URL, as a predictor for `assess`, `compare` and `rank`. Nothing is requested yet.

    Args:
        url: `http(s)://host/invocations`, `/v1/models/name:predict` or `/v2/models/name/infer`. A user and password in
            it are sent as Basic authentication, and never shown.
        token: bearer token.
        token_file: file with a bearer token, read again for each request.
        rows_per_second: most rows sent per second.
        batch_rows: most rows in one request.
        timeout_seconds: how long to wait for an answer to a request.

    Raises:
        ModelError: the URL is none of these.
        InvalidInputError: a number is not above 0, the token cannot be used, or more than one kind of credentials is
            given.

    >>> print(endpoint("http://me:secret@127.0.0.1:8080/invocations", rows_per_second=200))
    http://127.0.0.1:8080/invocations
    """
    for name, number in (
        ("rows_per_second", rows_per_second),
        ("batch_rows", batch_rows),
        ("timeout_seconds", timeout_seconds),
    ):
        check_above_zero(number, name)
    parsed = parse_endpoint(url)
    if sum(each is not None for each in (token, token_file, parsed.credentials)) > 1:
        raise InvalidInputError("a token, a token_file and a user in the URL exclude one another")
    access = EndpointAccess(
        token=token,
        token_file=None if token_file is None else str(Path(token_file).absolute()),
        rows_per_second=rows_per_second,
        batch_rows=batch_rows,
        timeout_seconds=timeout_seconds,
    )
    try:
        bearer_token(access)
    except SettingsError as error:
        raise InvalidInputError(str(error)) from None
    return RemoteModel(parsed, access)
