"""A version's files: held against the settings, and downloaded to a folder of their own."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from robmon.errors import ModelRefusedError
from robmon.models import mlmodel
from robmon.models.registry.asking import without_bars
from robmon.models.registry.path_safe import path_safe
from robmon.models.registry.registry import Registry
from robmon.models.registry.resolved import Resolved
from robmon.wording import printable

_UNFINISHED = ".unfinished-"
_SOURCE_FILE = ".robmon-source"
_MOST_FILES: Final = 100_000


@dataclass(frozen=True)
class Requirements:
    """What the settings ask of a version before it is downloaded: `model.allowed_flavors` and `model.require_tags`."""

    allowed_flavors: Sequence[str] = ()
    tags: Sequence[str] = ()


def check_version(registry: Registry, model: Resolved, requirements: Requirements) -> mlmodel.MLmodel:
    """Read the version's MLmodel file, and hold the version against the settings before it is downloaded.

    Raises:
        ModelRefusedError: the settings do not allow it.
        ModelNotFoundError: there are no files.
        RegistryError, ModelLoadError: as usual.
    """
    for wanted in requirements.tags:
        key, _, value = wanted.partition("=")
        if model.tags is None:
            raise ModelRefusedError(f"{model.uri.text} is not a registered version, so it lacks the tag {wanted}")
        if model.tags.get(key) != value:
            raise ModelRefusedError(f"version {model.version} of {model.name} lacks the tag {wanted}")
    with tempfile.TemporaryDirectory() as folder:
        _download(registry, f"{model.source.rstrip('/')}/{mlmodel.MLMODEL_FILE}", Path(folder), model)
        return _judge(Path(folder), model, requirements)


def download_version(
    registry: Registry,
    model: Resolved,
    data_dir: Path,
    keep_versions: Sequence[str] = (),
    requirements: Requirements | None = None,
) -> Path:
    """The version's folder below `data_dir`, downloaded unless it is there; other versions are removed.

    A folder gets its name only when it is complete and has been held against the requirements, so that whatever
    ends this process leaves no half model, and what is loaded is what was judged: between two reads a registry may
    answer differently.

    Raises:
        RegistryError, ModelNotFoundError: as `resolve`.
        ModelRefusedError: what was downloaded is not allowed.
    """
    requirements = requirements or Requirements()
    home = data_dir.resolve() / "models" / path_safe(model.name)
    home.mkdir(parents=True, exist_ok=True)
    target = home / path_safe(model.version)
    with _locked(home / ".lock"):
        keep = {path_safe(version) for version in (*keep_versions, model.version)}
        for other in home.iterdir():
            if other.is_dir() and other.name not in keep:
                _sweep(other)
        is_there = _holds(target, model)
    if is_there:
        _judge(target, model, requirements)
    else:
        _replace(registry, target, model, requirements)
    return target


def _replace(registry: Registry, target: Path, model: Resolved, requirements: Requirements) -> None:
    """Download without the lock of the model: a slow version must not hold up the others."""
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=target.parent))
    with _locked(unfinished):
        try:
            complete = _download(registry, model.source, unfinished, model)
            _judge(complete, model, requirements)
            (complete / _SOURCE_FILE).write_text(_identity(model), encoding="ascii")
            with _locked(target.parent / ".lock"):
                if _holds(target, model):
                    return  # another process was faster
                if target.exists():  # of another registry that used the same names
                    target.rename(unfinished / "outdated")
                complete.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _download(registry: Registry, source: str, folder: Path, model: Resolved) -> Path:
    _check_files(source, model)
    with registry.asking(
        f"the files of {model.uri.text} are not in the store that {registry.place} names", for_files=True
    ):
        try:
            with without_bars():
                path = mlflow.artifacts.download_artifacts(
                    artifact_uri=source, dst_path=str(folder), tracking_uri=registry.tracking_uri
                )
        except (FileNotFoundError, MlflowException) as error:
            if isinstance(error, FileNotFoundError) or "404 Client Error" in error.message:
                raise MlflowException("not there", error_code=codes.RESOURCE_DOES_NOT_EXIST) from None
            raise
        return Path(path)


def _check_files(source: str, model: Resolved) -> None:
    """Refuse what MLflow would copy without end from a folder of this machine: devices, pipes, links in a circle.

    Raises:
        ModelRefusedError: there is such a thing.
    """
    place = urlsplit(source)
    waiting, count = [Path(unquote(place.path))] if place.scheme in ("", "file") else [], 0
    while waiting:
        path = waiting.pop()
        with contextlib.suppress(OSError):  # what is not there or cannot be read MLflow tells
            mode, count = path.stat().st_mode, count + 1
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise ModelRefusedError(f"version {model.version} of {model.name} has a device or a pipe for a file")
            waiting += path.iterdir() if stat.S_ISDIR(mode) else []
        if count > _MOST_FILES:
            raise ModelRefusedError(f"version {model.version} of {model.name} has more than {_MOST_FILES:,} files")


def _judge(folder: Path, model: Resolved, requirements: Requirements) -> mlmodel.MLmodel:
    """What the MLmodel file in a folder says, if the settings allow it.

    Raises:
        ModelRefusedError: they do not.
    """
    description = mlmodel.read(folder)
    allowed = requirements.allowed_flavors
    if allowed and mlmodel.PYFUNC not in allowed and description.loaded_flavor not in allowed:
        raise ModelRefusedError(
            f"version {model.version} of {model.name} is loaded by the flavour {printable(description.loaded_flavor)}, "
            f"and only {', '.join(allowed)} may be loaded"
        )
    return description


@contextlib.contextmanager
def _locked(path: Path, flags: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock of a file, which is made, or of a folder. Raises OSError where it is held and not waited for."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(descriptor, flags)
        yield
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove a folder that is not needed, unless a process is still at work in it."""
    with contextlib.suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        shutil.rmtree(folder, ignore_errors=True)


def _identity(model: Resolved) -> str:
    text = f"{model.source}\n{model.run_id}\n{model.created_milliseconds}"
    return hashlib.sha256(text.encode()).hexdigest()


def _holds(target: Path, model: Resolved) -> bool:
    """Whether the folder is this very version: another registry may have used the same name and number."""
    try:
        return (target / _SOURCE_FILE).read_text(encoding="ascii") == _identity(model)
    except OSError:
        return False
