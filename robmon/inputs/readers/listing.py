"""Which files there are: a folder, a glob or one file, on any file system that fsspec knows."""

from __future__ import annotations

import datetime
import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal, cast

import fsspec

from robmon.inputs.readers.compressed import Unpacked

Kind = Literal["lines", "csv", "parquet"]

MAX_FILES: Final = 50_000
"""Of more files, only the newest are looked at."""
_KINDS: Final[dict[str, Kind]] = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "lines",
    ".csv": "csv",
    ".parquet": "parquet",
    ".parq": "parquet",
}
BLOCK_BYTES: Final = 4 * 2**20
"""What is fetched of a remote file at a time; drivers' own 50 MiB are too much for the first bytes of each."""
_TIMES: Final = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
_GZIP: Final = ".gz"
_BUCKET_STORES: Final = frozenset({"s3", "gs", "abfs"})


class NoBucketError(Exception):
    """The bucket of an object store does not exist; the text names it."""


@dataclass(frozen=True)
class FoundFile:
    """A file as it is now.

    Attributes:
        path: within its file system.
        key: what stays the same when the file is renamed: the inode on a local disk; elsewhere the path.
        kind: told by the end of its name; of any other name JSON lines.
        is_compressed: with gzip, told by its name too. Size and state are those of the compressed file.
        modified_at: Unix seconds, None where the file system does not tell.
        tag: what an object store has instead of finer times: another one whenever the object is written.
    """

    path: str
    key: str
    kind: Kind
    is_compressed: bool
    size: int
    modified_at: float | None
    tag: str
    _system: Any

    @property
    def is_local(self) -> bool:
        """Whether it is on a local disk."""
        return self.key != self.path

    @property
    def state(self) -> str:
        """Another text after every change."""
        return f"{self.size} {self.modified_at} {self.tag}".rstrip()

    def open(self) -> BinaryIO:
        """Open it for reading what it holds, unpacked. Raises whatever the file system raises."""
        opened = cast(BinaryIO, self._system.open(self.path, "rb", block_size=BLOCK_BYTES))
        return cast(BinaryIO, Unpacked(opened, self.size)) if self.is_compressed else opened


def find_files(url: str) -> list[FoundFile]:
    """The files, oldest first.

    Args:
        url: a folder (also its subfolders; of them only files with a known end of name), a glob, or one file.

    Raises:
        NoBucketError: there is no such bucket, while a folder that is not there may still come.
        Exception: whatever the file system raises.
    """
    system, path = fsspec.url_to_fs(url)
    system.invalidate_cache()
    if fsspec.core.has_magic(path):
        found = system.glob(path, detail=True)
    elif system.isdir(path):
        found = {path: info for path, info in system.find(path, detail=True).items() if _kind(path) is not None}
    else:
        found = {path: system.info(path)} if system.exists(path) else {}
    if not found:
        _check_bucket(system, path)
    files = [_found(system, path, info) for path, info in found.items() if info.get("type", "file") == "file"]
    return sorted(heapq.nlargest(MAX_FILES, files, key=_age), key=_age)


def _check_bucket(system: Any, path: str) -> None:
    """Drivers answer for a bucket that is not there as for one without objects."""
    protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
    bucket = path.partition("/")[0]
    if not protocols & _BUCKET_STORES or fsspec.core.has_magic(bucket):
        return
    try:
        system.info(bucket)
    except FileNotFoundError:
        raise NoBucketError(f"there is no bucket {bucket}") from None
    except PermissionError:
        pass  # one may list some of it and not ask for it as a whole


def _age(file: FoundFile) -> tuple[float, str]:
    return file.modified_at or 0.0, file.path


def _found(system: Any, path: str, info: Mapping[str, Any]) -> FoundFile:
    inode = info.get("ino")
    return FoundFile(
        path=path,
        key=f"inode {inode}" if inode else path,
        kind=_kind(path) or "lines",
        is_compressed=path.lower().endswith(_GZIP),
        size=int(info.get("size") or 0),
        modified_at=_modified_at(info),
        tag=str(info.get("ETag") or info.get("etag") or ""),
        _system=system,
    )


def _kind(path: str) -> Kind | None:
    name = path.rsplit("/", 1)[-1].lower()
    kind = next((kind for end, kind in _KINDS.items() if name.removesuffix(_GZIP).endswith(end)), None)
    return None if kind == "parquet" and name.endswith(_GZIP) else kind


def _modified_at(info: Mapping[str, Any]) -> float | None:
    """File systems agree neither on the name nor on the form of the time."""
    for value in (info.get(name) for name in _TIMES):
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        if isinstance(value, str):
            try:
                return datetime.datetime.fromisoformat(value).timestamp()
            except ValueError:
                continue
    return None
