"""A bundle as a file: one folder in a tar archive, compressed; the same content gives the same bytes."""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

from robmon.errors import InvalidInputError

FORMAT: Final = 1
"""Of `incident.json`."""
FOLDER_PREFIX: Final = "robmon-incident-"
MAX_BYTES: Final = 512 * 2**20
"""Of all that a bundle holds: of what is larger nothing is read."""
MAX_MEMBERS: Final = 2**20
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


def folder_name(model: str, version: str | None) -> str:
    """The folder of a bundle.

    >>> folder_name("team/digits", "3"), folder_name("digits", None)
    ('robmon-incident-team-digits-3', 'robmon-incident-digits')
    """
    words = f"{model}-{version}" if version else model
    return FOLDER_PREFIX + re.sub(r"[^A-Za-z0-9._-]+", "-", words)[:100].strip("-.")


def pack(folder: str, files: Mapping[str, bytes]) -> bytes:
    """The archive: the files in the order of their names, and no time, user or machine of its making."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=6, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(files):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
    return out.getvalue()


def read(path: Path) -> dict[str, bytes]:
    """The files of a bundle, by their names: of the archive, or of the folder that was taken out of it.

    Raises:
        InvalidInputError: it is no bundle, or cannot be read.
    """
    try:
        files = _read_folder(path) if path.is_dir() else _read_archive(path)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        why = getattr(error, "strerror", None) or "it is no archive"
        raise InvalidInputError(f"{path} cannot be read: {why}") from None
    if "incident.json" not in files:
        raise InvalidInputError(f"{path} is not a bundle of robmon incident: it holds no incident.json")
    return files


def _read_archive(path: Path) -> dict[str, bytes]:
    with path.open("rb") as raw:
        return _members(raw, path)


def _members(raw: IO[bytes], path: object) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = MAX_BYTES
    with gzip.open(raw) as compressed, tarfile.open(fileobj=compressed, mode="r|") as archive:
        for count, member in enumerate(archive):
            _, _, name = member.name.partition("/")
            left -= max(member.size, 0)
            if count >= MAX_MEMBERS or left < 0:
                raise InvalidInputError(f"{path} is not a bundle of robmon incident: it holds too much")
            content = archive.extractfile(member) if member.isreg() and _NAME.fullmatch(name) else None
            if content is not None:
                files[name] = content.read()
    return files


def _read_folder(path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = MAX_BYTES
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_symlink() or not file.is_file() or not _NAME.fullmatch(name):
            continue
        left -= file.stat().st_size
        if left < 0:
            raise InvalidInputError(f"{path} is not a bundle of robmon incident: it holds too much")
        files[name] = file.read_bytes()
    return files


def plain(value: Any) -> Any:
    """A value as JSON can hold it, floats to their last bit: infinite ones as texts.

    >>> plain({"a": (1, float("inf"), float("nan"))})
    {'a': [1, '+Inf', 'NaN']}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def to_json(content: Any) -> bytes:
    """As a file of a bundle: written by Python, piece by piece, so that no other thread waits for all of it."""
    return json.dumps(plain(content), indent=1, allow_nan=False).encode() + b"\n"


def facts_in(content: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What `incident.json` of an archive says, and all its files.

    Raises:
        InvalidInputError: it is no bundle.
    """
    try:
        files = _members(io.BytesIO(content), "the answer")
    except (OSError, EOFError, tarfile.TarError, zlib.error):
        raise InvalidInputError("the answer is not a bundle of robmon incident") from None
    return parsed(files, "the answer"), files


def parsed(files: Mapping[str, bytes], place: object) -> dict[str, Any]:
    """What `incident.json` says.

    Raises:
        InvalidInputError: it is none of a bundle.
    """
    try:
        facts: dict[str, Any] = json.loads(files["incident.json"])
        is_known = isinstance(facts, dict) and facts["format"] == FORMAT
    except (KeyError, ValueError, RecursionError):
        is_known = False
    if not is_known:
        raise InvalidInputError(f"{place} is not a bundle of robmon incident, or of another version of robmon")
    return facts
