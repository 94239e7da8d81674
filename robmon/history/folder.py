"""The data folder: whether it can be written, told before anything is done, and how a file in it is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from robmon.errors import SettingsError

MAX_NAME_BYTES: Final = 200
"""Of the name of a file, behind which something may stand yet; no disk takes more than 255."""


class DamagedStateError(Exception):
    """What was kept cannot be understood, and was set aside; the text is the name under which it lies."""


def make_writable(data_dir: Path) -> None:
    """Make the folder if it is not there, and write to it.

    Raises:
        SettingsError: it cannot be made, or not be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe = data_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _refused(data_dir, error) from None


@contextlib.contextmanager
def claimed(data_dir: Path, key: str, scope: str) -> Iterator[bool]:
    """Whether nobody else claims what is kept of that model and scope in the folder, as this process does in the block.

    A kill frees it. Where the folder cannot tell, such as on a store without locks, nobody else is taken to be there.
    """
    name = hashlib.blake2b(f"{key}\n{scope}".encode(), digest_size=8).hexdigest()
    with contextlib.ExitStack() as held:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(data_dir / f".{name}.claim", flags, 0o666)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_alone = True
        except BlockingIOError:
            is_alone = False
        except OSError:
            is_alone = True
        yield is_alone


def check_writable(data_dir: Path) -> None:
    """The same without making or writing anything, as far as that can be told.

    Raises:
        SettingsError: as `make_writable`.
    """
    there = data_dir.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise _refused(data_dir, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(there, os.W_OK | os.X_OK):
        raise _refused(data_dir, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _refused(data_dir: Path, error: OSError) -> SettingsError:
    return SettingsError(f"data_dir = {str(data_dir)!r} cannot be written: {error.strerror}")


def file_name(name: str) -> str:
    """A name as one of a file: odd characters quoted, no folder's, a long one cut and hashed.

    Of what it gives unquoted it gives the same again, so that files name what they are of.

    >>> from urllib.parse import unquote
    >>> file_name("house price"), file_name("x" * 1000) == file_name(unquote(file_name("x" * 1000)))
    ('house%20price', True)
    """
    quoted = quote(name, safe="")
    if quoted in (".", ".."):
        return quoted.replace(".", "%2E")
    if len(quoted) <= MAX_NAME_BYTES:
        return quoted
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    cut = name[: MAX_NAME_BYTES - len(digest) - 1]
    while len(quote(cut, safe="")) > MAX_NAME_BYTES - len(digest) - 1:
        cut = cut[:-1]
    return f"{quote(cut, safe='')}-{digest}"


def replace_file(file: Path, content: bytes) -> None:
    """Write a file whole: beside it, then renamed, so that a kill in mid-write leaves the old one. Raises OSError.

    Other processes may do the same at the same time: one waits for the other, so that one name is enough for what is
    unfinished. Names of their own, as `processes.whole_file` gives, would gather in a folder whose processes are killed
    again and again.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp")
    with _alone(temporary) as stream:
        stream.write(content)
        stream.truncate()  # of what another left there that was longer
        os.fsync(stream.fileno())
        temporary.replace(file)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """The file of that name, which nobody else has meanwhile; made where there is none. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # of a pipe it does not wait either
        with os.fdopen(descriptor, "r+b") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if is_named(path, os.fstat(descriptor)):  # else whoever had it has given it another name
                yield stream
                return


def is_named(path: Path, found: os.stat_result) -> bool:
    """Whether the file that was found is still the one of that name."""
    try:
        return os.path.samestat(path.stat(), found)
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, outlive a loss of power. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
