"""Files that hold secrets and are replaced while robmon runs, as Kubernetes replaces those of a mounted Secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from robmon.errors import SettingsError
from robmon.models.secret_file import read_secret

Value = TypeVar("Value")


class SecretFiles(Generic[Value]):
    """What is made of some files, made again whenever their content has changed.

    Args:
        files: each file, by the name of the setting that names it.
        make: makes the value, or raises a `SettingsError`. It gets the files too, because OpenSSL reads them itself.

    Raises:
        SettingsError: a file cannot be read, or what it holds cannot be used.
    """

    value: Value
    """Made of the last content that could be used."""

    def __init__(self, files: Mapping[str, Path], make: Callable[[Mapping[str, Path], list[bytes]], Value]) -> None:
        self._files = files
        self._make = make
        self._seen: list[bytes | str] | None = None
        self.reload()

    def reload(self) -> bool:
        """Take over what the files hold now; whether it is new.

        Raises:
            SettingsError: the new content cannot be used; that is told once, and the value stays as it is.
        """
        found = [_content_or_error(file) for file in self._files.values()]
        if found == self._seen:
            return False
        self._seen = found
        contents = []
        for (name, file), content in zip(self._files.items(), found, strict=True):
            if isinstance(content, str):
                raise SettingsError(f"{name} = {str(file)!r} cannot be read: {content}")
            contents.append(content)
        self.value = self._make(self._files, contents)
        return True


def _content_or_error(file: Path) -> bytes | str:
    try:
        return read_secret(file)
    except OSError as error:
        return error.strerror or type(error).__name__
