"""The model registry: which version a URI stands for, and its files.

Everything here runs in the fetch process or in a library user's own: it needs the registry's credentials.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Metric, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from robmon.errors import ModelError, ModelNotFoundError, ModelRefusedError, RegistryError, RobmonError, printable
from robmon.models import mlmodel
from robmon.models.json_values import MOST_VALUES, most_values
from robmon.models.registry_access import behind, check_named, why_unreachable
from robmon.models.uri import ModelUri, known_aliases, known_versions, mask, parse_registry

MAX_ARTIFACT_BYTES = 16 * 2**20
"""Of a JSON artifact, which the daemon takes into memory: that of a baseline of 150,000 features has six."""
_UNFINISHED = ".unfinished-"
_SOURCE_FILE = ".robmon-source"
_MAX_NAME_BYTES = 200
_MISSING = {codes.ErrorCode.Name(codes.RESOURCE_DOES_NOT_EXIST), codes.ErrorCode.Name(codes.NOT_FOUND)}
"""What MLflow calls it where something does not exist."""
_BARS = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE)


@dataclass(frozen=True)
class Resolved:
    """What a URI stands for at this moment.

    Attributes:
        uri: the URI that was resolved.
        version: the registry's version as text; of a run's model the run's id, of a logged model its own.
        run_id: the run that made it, if known.
        source: where its files lie.
        tags: of the registered version; None where it is not registered.
        model_tags: of the registered model.
        aliases: of the registered model, and the versions that they stand for.
    """

    uri: ModelUri
    version: str
    run_id: str | None
    source: str
    created_milliseconds: int
    tags: dict[str, str] | None = None
    model_tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.uri.name


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as its registry lists it."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: dict[str, str]

    @property
    def uri(self) -> str:
        """The URI that stands for this version."""
        return f"models:/{self.name}/{self.number}"


@dataclass(frozen=True)
class Requirements:
    """What the settings ask of a version before it is downloaded: `model.allowed_flavors` and `model.require_tags`."""

    allowed_flavors: Sequence[str] = ()
    tags: Sequence[str] = ()


class Registry:
    """An MLflow tracking server (http, https) or a local database, by its tracking URI; None: as MLflow finds it."""

    def __init__(self, tracking_uri: str | None = None) -> None:
        """Raises RegistryError when a local SQLite file does not exist: MLflow would create it."""
        if not mlflow.is_tracking_uri_set():  # type: ignore[no-untyped-call]
            check_named(tracking_uri)
        self.tracking_uri: str = tracking_uri or mlflow.get_tracking_uri()
        registry_uri = os.environ.get("MLFLOW_REGISTRY_URI") or self.tracking_uri
        self.place = mask(registry_uri)
        for uri in (self.tracking_uri, registry_uri):
            path = uri.removeprefix("sqlite:///")
            if path != uri and not Path(path).exists():
                raise RegistryError(f"there is no model registry at {uri}: the file does not exist")
        self.registry_uri = registry_uri
        with self.asking():
            self.client = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=registry_uri)

    def resolve(self, uri: str) -> Resolved:
        """Look up what `uri` stands for.

        Raises:
            RegistryError: the registry did not answer, or refused the credentials.
            ModelNotFoundError: there is no such model, version, alias or run.
            ModelError: it is no URI of a model.
        """
        parsed = parse_registry(uri)
        with self.asking(f"{mask(uri)} does not exist in the registry at {self.place}"):
            if parsed.kind == "run":
                return self._resolve_run(parsed)
            if parsed.kind == "logged":
                model = self.client.get_logged_model(parsed.target)
                return _of_logged_model(parsed, model.model_id, model)
            return self._resolve_registered(parsed)

    def _resolve_registered(self, uri: ModelUri) -> Resolved:
        if uri.kind == "alias":
            aliases = self.client.get_registered_model(uri.name).aliases
            if uri.target not in aliases:
                raise ModelNotFoundError(
                    f"{uri.text} does not exist in the registry at {self.place}: {known_aliases(aliases)}"
                )
            found = self.client.get_model_version_by_alias(uri.name, uri.target)
        else:
            found = self._version(uri)
        model = self.client.get_registered_model(uri.name)
        return Resolved(
            uri=uri,
            version=str(found.version),
            run_id=found.run_id or None,
            source=self.client.get_model_version_download_uri(uri.name, str(found.version)),
            created_milliseconds=found.creation_timestamp,
            tags=dict(found.tags),
            model_tags=dict(model.tags),
            aliases={alias: str(version) for alias, version in model.aliases.items()},
        )

    def _version(self, uri: ModelUri) -> ModelVersion:
        try:
            return self.client.get_model_version(uri.name, uri.target)
        except MlflowException as error:
            if error.error_code not in _MISSING:
                raise
        self.client.get_registered_model(uri.name)  # tells where there is no such model
        known = known_versions(int(each.version) for each in self._all(uri.name))
        raise ModelNotFoundError(f"{uri.text} does not exist in the registry at {self.place}: {known}")

    def versions(self, name: str) -> list[Version]:
        """All versions of a registered model, by number.

        Raises:
            RegistryError: the registry did not answer, or refused the credentials.
            ModelNotFoundError: there is no such model.
        """
        with self.asking(f"the model {name} does not exist in the registry at {self.place}"):
            # The registry's own listing of versions leaves their aliases out.
            aliases = self.client.get_registered_model(name).aliases
            found = [(int(each.version), dict(each.tags)) for each in self._all(name)]
        return [
            Version(name, number, tuple(sorted(a for a, of in aliases.items() if int(of) == number)), tags)
            for number, tags in sorted(found, key=lambda each: each[0])
        ]

    def _all(self, name: str) -> list[ModelVersion]:
        quotes = '"' if "'" in name else "'"
        return list(self.client.search_model_versions(f"name={quotes}{name}{quotes}"))

    def _resolve_run(self, uri: ModelUri) -> Resolved:
        run = self.client.get_run(uri.target)
        outputs = run.outputs.model_outputs if run.outputs else []
        for output in outputs:
            model = self.client.get_logged_model(output.model_id)
            if model.name == uri.path:
                return _of_logged_model(uri, uri.target, model)
        # Models logged by MLflow 2 lie among the run's own artifacts.
        source = f"{run.info.artifact_uri.rstrip('/')}/{uri.path}"
        return Resolved(uri, uri.target, uri.target, source, created_milliseconds=run.info.start_time)

    def check(self, model: Resolved, requirements: Requirements) -> mlmodel.MLmodel:
        """Read the version's MLmodel file, and hold the version against the settings before it is downloaded.

        Raises:
            ModelRefusedError: the settings do not allow it.
            ModelNotFoundError: there are no files.
            RegistryError, ModelLoadError: as usual.
        """
        for wanted in requirements.tags:
            key, _, value = wanted.partition("=")
            if model.tags is None:
                raise ModelRefusedError(f"{model.uri.text} is no registered version, so it lacks the tag {wanted}")
            if model.tags.get(key) != value:
                raise ModelRefusedError(f"version {model.version} of {model.name} lacks the tag {wanted}")
        with tempfile.TemporaryDirectory() as folder:
            self._download(f"{model.source.rstrip('/')}/{mlmodel.MLMODEL_FILE}", Path(folder), model)
            return _judge(Path(folder), model, requirements)

    def download(
        self,
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
            self._replace(target, model, requirements)
        return target

    def _replace(self, target: Path, model: Resolved, requirements: Requirements) -> None:
        """Download without the lock of the model: a slow version must not hold up the others."""
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=target.parent))
        with _locked(unfinished):
            try:
                complete = self._download(model.source, unfinished, model)
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

    def _download(self, source: str, folder: Path, model: Resolved) -> Path:
        with self.asking(f"the files of {model.uri.text} are not in the store that {self.place} names"):
            try:
                with without_bars():
                    path = mlflow.artifacts.download_artifacts(
                        artifact_uri=source, dst_path=str(folder), tracking_uri=self.tracking_uri
                    )
            except (FileNotFoundError, MlflowException) as error:
                if isinstance(error, FileNotFoundError) or "404 Client Error" in error.message:
                    raise MlflowException("not there", error_code=codes.RESOURCE_DOES_NOT_EXIST) from None
                raise
            return Path(path)

    def read_artifact(self, run_id: str, path: str) -> dict[str, Any] | None:
        """A JSON object among a run's artifacts, None where there is none.

        Raises:
            ModelError: it is none, or larger than `MAX_ARTIFACT_BYTES`.
            RegistryError, ModelNotFoundError: as `resolve`.
        """
        folder, _, name = path.rpartition("/")
        with self.asking(f"the run {run_id} does not exist in the registry at {self.place}"):
            root = self.client.get_run(run_id).info.artifact_uri
            if not any(file.path == path for file in self.client.list_artifacts(run_id, folder)):
                return None
            with tempfile.TemporaryDirectory() as temporary, without_bars():
                file = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"{root.rstrip('/')}/{path}", dst_path=temporary, tracking_uri=self.tracking_uri
                )
                if Path(file).stat().st_size > MAX_ARTIFACT_BYTES:
                    raise ModelError(f"the run's artifact {name} is larger than {MAX_ARTIFACT_BYTES // 2**20} MiB")
                content = Path(file).read_bytes()
        try:
            value = json.loads(content) if most_values(content) <= MOST_VALUES else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ModelError(f"the run's artifact {name} is no JSON object, or one of more than {MOST_VALUES} values")
        return value

    def write_artifact(self, run_id: str, path: str, content: dict[str, Any]) -> None:
        """Write a JSON object as an artifact of a run."""
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / name
            file.write_text(json.dumps(content), encoding="utf-8")
            with self.asking(f"the run {run_id} does not exist in the registry at {self.place}"), without_bars():
                self.client.log_artifact(run_id, str(file), folder)

    def log(self, run_id: str, metrics: Iterable[tuple[str, float, int, int]], tags: Mapping[str, str]) -> None:
        """Log metrics (name, value, Unix milliseconds, step), at most 1000, and tags to a run.

        Raises:
            RegistryError, ModelNotFoundError: as `resolve`; the credentials may be allowed to read only.
        """
        with self.asking(f"the run {run_id} does not exist in the registry at {self.place}"):
            self.client.log_batch(
                run_id,
                metrics=[Metric(name, value, at, step) for name, value, at, step in metrics],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )

    def run_ids(self, name: str, versions: Iterable[str]) -> dict[str, str | None]:
        """The runs of some versions of a registered model; versions that do not exist are left out."""
        wanted = set(versions)
        if not wanted:
            return {}
        with self.asking(f"the model {name} does not exist in the registry at {self.place}"):
            found = {str(each.version): each.run_id or None for each in self._all(name)}
        return {version: found[version] for version in wanted & found.keys()}

    def commit(self, run_id: str | None) -> str | None:
        """The commit of the code with which a run was made, as MLflow notes it; None where that is not known."""
        if run_id is None:
            return None
        try:
            with self.asking():
                commit: str | None = self.client.get_run(run_id).data.tags.get(MLFLOW_GIT_COMMIT)
        except RobmonError:  # the run may be gone, or not be ours to read
            return None
        return commit if commit and re.fullmatch("[0-9a-fA-F]{7,64}", commit) else None

    def read_tag(self, name: str, tag: str) -> str | None:
        """The text of a registered model's tag, None where it has none.

        Raises:
            RegistryError, ModelNotFoundError: as `resolve`.
        """
        with self.asking(f"the model {name} does not exist in the registry at {self.place}"):
            text: str | None = self.client.get_registered_model(name).tags.get(tag)
        return text

    def write_tag(self, name: str, tag: str, text: str) -> None:
        """Replace a registered model's tag.

        Raises:
            RegistryError, ModelNotFoundError: as `resolve`; the credentials may be allowed to read only.
        """
        with self.asking(f"the model {name} does not exist in the registry at {self.place}"):
            self.client.set_registered_model_tag(name, tag, text)

    def aliases(self, name: str) -> dict[str, str]:
        """The aliases of a registered model, and the versions that they stand for.

        Raises:
            RegistryError, ModelNotFoundError: as `resolve`.
        """
        with self.asking(f"the model {name} does not exist in the registry at {self.place}"):
            found = self.client.get_registered_model(name).aliases
        return {alias: str(version) for alias, version in found.items()}

    def move_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias stand for a version, whatever it stands for now: a registry knows no condition.

        Raises:
            RegistryError, ModelNotFoundError: as `resolve`; the credentials may be allowed to read only.
        """
        with self.asking(f"version {version} of {name} does not exist in the registry at {self.place}"):
            self.client.set_registered_model_alias(name, alias, version)

    def write_version_tag(self, name: str, version: str, tag: str, text: str) -> None:
        """Replace a tag of a version.

        Raises:
            RegistryError, ModelNotFoundError: as `resolve`; the credentials may be allowed to read only.
        """
        with self.asking(f"version {version} of {name} does not exist in the registry at {self.place}"):
            self.client.set_model_version_tag(name, version, tag, text)

    @contextlib.contextmanager
    def asking(self, not_found: str = "not found") -> Iterator[None]:
        """Turn what MLflow and its stores raise into one sentence without credentials."""
        try:
            yield
        except MlflowException as error:
            raise self._translated(error, not_found) from error
        except ModuleNotFoundError as error:
            raise RegistryError(f"the registry at {self.place} needs the package {error.name}") from error
        except RobmonError:
            raise
        except Exception as error:  # stores raise what their drivers raise
            if (why := _why_not_written(error)) is not None:
                raise RobmonError(f"the files cannot be written: {why}") from error
            raise RegistryError(f"the registry at {self.place} did not answer: {why_unreachable(error)}") from error

    def _translated(self, error: MlflowException, not_found: str) -> RobmonError:
        if (why := _why_not_written(error)) is not None:
            return RobmonError(f"the files cannot be written: {why}")
        no_alias = "alias" in error.message and "not found" in error.message
        if error.error_code in _MISSING or no_alias:
            return ModelNotFoundError(not_found)
        status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
        if status in (401, 403):
            return RegistryError(f"the registry at {self.place} refused the credentials (status {status})")
        if status == 404:
            return RegistryError(f"what answers at {self.place} is no MLflow registry (status 404)")
        if urlsplit(self.registry_uri).scheme == "sqlite":
            return RegistryError(f"the registry at {self.place} cannot be used: {error.message.splitlines()[0][:200]}")
        why = why_unreachable(error)
        told = f": {why}" if why != type(error).__name__ else f" ({error.error_code})"
        return RegistryError(f"the registry at {self.place} did not answer{told}")


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Let MLflow draw no bars of its own beside robmon's, unless its user says that it is to."""
    if _BARS in os.environ:
        yield
        return
    os.environ[_BARS] = "false"
    try:
        yield
    finally:
        os.environ.pop(_BARS, None)


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


def _why_not_written(error: BaseException) -> str | None:
    """What is wrong with our own disk, if that is what went wrong: MLflow tells it as an error of the registry."""
    told = error.message if isinstance(error, MlflowException) else ""
    for each in behind(error):
        if isinstance(each, OSError) and each.errno in _DISK_ERRORS:
            return os.strerror(each.errno)
    return next((os.strerror(number) for number in _DISK_ERRORS if f"[Errno {number}]" in told), None)


def path_safe(name: str) -> str:
    """A name as one component of a path: odd characters quoted, never hidden or `..`, long ones cut and hashed.

    MLflow takes a percent sign in a local path for a quotation of its own, so an equals sign stands in its place.

    >>> path_safe("digits v2"), path_safe("../x"), path_safe("..")
    ('digits=20v2', '=2E.=2Fx', '=2E.')
    """
    quoted = quote(name, safe="").replace("%", "=")
    if quoted.startswith("."):
        quoted = "=2E" + quoted[1:]
    if len(quoted) <= _MAX_NAME_BYTES:
        return quoted
    return f"{quoted[:_MAX_NAME_BYTES]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _of_logged_model(uri: ModelUri, version: str, model: LoggedModel) -> Resolved:
    return Resolved(
        uri,
        version,
        model.source_run_id or None,
        model.artifact_location,
        created_milliseconds=model.creation_timestamp,
    )


def _identity(model: Resolved) -> str:
    text = f"{model.source}\n{model.run_id}\n{model.created_milliseconds}"
    return hashlib.sha256(text.encode()).hexdigest()


def _holds(target: Path, model: Resolved) -> bool:
    """Whether the folder is this very version: another registry may have used the same name and number."""
    try:
        return (target / _SOURCE_FILE).read_text(encoding="ascii") == _identity(model)
    except OSError:
        return False
