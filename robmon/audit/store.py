"""Where results are kept: a folder, or any place that fsspec knows."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Protocol

from robmon.audit.task import FORMAT, Task
from robmon.errors import InvalidInputError, RobmonError
from robmon.extras import check_installed
from robmon.models.registry.path_safe import path_safe
from robmon.models.uri import mask
from robmon.processes.whole_file import write_whole_file


class Place(Protocol):
    """Files by their names, which may have folders in them.

    Attributes:
        url: where that is, less what opens it.
    """

    url: str

    def read(self, name: str) -> bytes | None:
        """What the file holds; None where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Write the file as a whole, or not at all."""


class Folder:
    """A local folder, which is made."""

    def __init__(self, path: Path) -> None:
        self.url = str(path)
        self._path = path.absolute()
        path.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> bytes | None:
        """What the file holds; None where there is none."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write it beside its name, and give it that when it is on the disk."""
        file = self._path / name
        if not self._path.is_dir():  # somebody has removed it, with all that was in it
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole_file(file, content, 0o644)


class Store:
    """A folder of a file system of fsspec's: object stores write an object whole or not at all."""

    def __init__(self, url: str) -> None:
        check_installed("fsspec", mask(url))
        import fsspec

        self.url = mask(url)
        self._system, self._path = fsspec.url_to_fs(url)

    def read(self, name: str) -> bytes | None:
        """What the file holds; None where there is none."""
        try:
            return bytes(self._system.cat_file(f"{self._path.rstrip('/')}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write it in one piece. What is half written all the same is no JSON, and is done again."""
        path = f"{self._path.rstrip('/')}/{name}"
        self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._system.pipe_file(path, content)


def open_place(out: str) -> Place:
    """The place that a path or URL names; it is tried, so that a wrong one is told before the work.

    Raises:
        InvalidInputError: nothing can be written there.
        MissingPackageError: what it needs is not installed.
    """
    local = out.removeprefix("file://")
    try:
        place: Place = Store(out) if "://" in local else Folder(Path(local))
        place.write("README.txt", ABOUT.encode())
    except RobmonError:
        raise
    except Exception as error:  # stores' drivers raise errors of their own kinds
        raise InvalidInputError(f"{mask(out)} cannot be written: {why(error)}") from None
    return place


def keep(place: Place, name: str, content: bytes) -> None:
    """Write a file of the results, as a whole or not at all.

    Raises:
        RobmonError: the place takes it no more.
    """
    try:
        place.write(name, content)
    except Exception as error:  # stores' drivers raise errors of their own kinds
        raise RobmonError(
            f"{place.url} cannot be written any more: {why(error)}; once it can, the same command goes on where it was"
        ) from None


def why(error: Exception) -> str:
    """What the system says of it; of a store's own error its kind alone, for its text may hold credentials."""
    return error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__


ABOUT = """Results of robmon audit: one file a version below versions/, and audit.json and audit.html of all.
A version whose file is there is not examined again, unless its inputs or settings are others.
"""


def file_of(task: Task) -> str:
    """The name of a task's result."""
    return f"versions/{path_safe(task.name)}/{task.number}-{task.digest}.json"


def result_of(place: Place, task: Task) -> dict[str, Any] | None:
    """The result of a task that has been done; None where it has not, or its file is none.

    Raises:
        InvalidInputError: the place does not say which.
    """
    try:
        content = place.read(file_of(task))
    except Exception as error:  # stores' drivers raise errors of their own kinds
        raise InvalidInputError(f"{place.url} cannot be read: {why(error)}") from None
    try:
        result = None if content is None else json.loads(content)
    except ValueError:
        return None
    is_its = isinstance(result, dict) and result.get("format") == FORMAT and result.get("digest") == task.digest
    return result if is_its else None
