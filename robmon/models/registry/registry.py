"""The model registry: which version a URI stands for, and what is kept beside versions, models and runs."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from robmon.errors import ModelError, ModelNotFoundError, RegistryError, RobmonError
from robmon.models.json_values import MOST_VALUES, most_values
from robmon.models.registry.asking import MISSING, asking, without_bars
from robmon.models.registry.registry_access import check_named
from robmon.models.registry.resolved import Resolved, Version, of_logged_model
from robmon.models.uri import ModelUri, known_aliases, known_versions, mask, parse_registry

MAX_ARTIFACT_BYTES = 16 * 2**20
"""Of a JSON artifact, which the daemon takes into memory: that of a baseline of 150,000 features has six."""


class Registry:
    """An MLflow tracking server (http, https) or a local database, by its tracking URI; None: as MLflow finds it."""

    def __init__(self, tracking_uri: str | None = None) -> None:
        """Raises RegistryError when a local SQLite file does not exist: MLflow would create it."""
        named = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if named or not mlflow.is_tracking_uri_set():  # type: ignore[no-untyped-call]
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
                return of_logged_model(parsed, model.model_id, model)
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
            if error.error_code not in MISSING:
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
                return of_logged_model(uri, uri.target, model)
        # Models logged by MLflow 2 lie among the run's own artifacts.
        source = f"{run.info.artifact_uri.rstrip('/')}/{uri.path}"
        return Resolved(uri, uri.target, uri.target, source, created_milliseconds=run.info.start_time)

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
            raise ModelError(f"the run's artifact {name} is not a JSON object, or has more than {MOST_VALUES} values")
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

    def asking(self, not_found: str = "not found", *, for_files: bool = False) -> AbstractContextManager[None]:
        """Turn what MLflow and its stores raise into one sentence without credentials."""
        return asking(self.registry_uri, not_found, for_files=for_files)
