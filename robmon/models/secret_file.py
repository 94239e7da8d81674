"""A file that holds a secret, whatever somebody has put in its place."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

MAX_SECRET_BYTES: Final = 64 * 1024


def read_secret(file: Path) -> bytes:
    """What it holds. A pipe would wait for a writer, and a huge file or a device take the memory.

    Raises:
        OSError: it cannot be read, with what is wrong as `strerror`.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        content = bytearray()
        while piece := os.read(descriptor, MAX_SECRET_BYTES + 1 - len(content)):
            content += piece
    finally:
        os.close(descriptor)
    if len(content) > MAX_SECRET_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_SECRET_BYTES // 1024} KiB")
    return bytes(content)
