"""A file that is there whole or as it was before: on a full disk too, or where the process is ended."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole_file(file: Path, content: bytes, mode: int) -> None:
    """Write a file beside its name, for its owner alone, and give it name and mode when it is on the disk.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    descriptor, name = tempfile.mkstemp(prefix=".unfinished-", dir=file.parent)
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as unfinished:
            unfinished.write(content)
            unfinished.flush()
            os.fsync(unfinished.fileno())
        beside.chmod(mode)
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
