"""Which version is served now, and its files: the daemon's view of the model registry, or of the model's endpoint.

An http(s) registry is asked with one REST call, which the daemon makes itself; everything else (other stores, every
download, and the model's endpoint) is left to a short fetch process, because MLflow is too heavy for the daemon.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import structlog

from robmon import model_uri, registry_access
from robmon.errors import ModelError, ModelNotFoundError, RegistryError, RobmonError
from robmon.messages import Failure, Fetch, Fetched, ModelVersion
from robmon.model_uri import known_aliases
from robmon.settings import Settings
from robmon.supervisor import Child, ChildDiedError, Command, fetch_environment

log = structlog.get_logger("robmon.follow")

REGISTRY_TIMEOUT_SECONDS = 10.0
FETCH_TIMEOUT_SECONDS = 1800.0


class FetchFailedError(RobmonError):
    """A model version could not be fetched.

    Attributes:
        reason: a short word for counters.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True)
class RegisteredModel:
    """What the registry says of a model in one answer: version of the followed alias, and the accepted version."""

    version: str | None
    accepted_version: str | None


class Follower:
    """Keeps `target`, the version to assess, up to date; fetches it and any version it is compared with."""

    def __init__(self, settings: Settings) -> None:
        self.target: ModelVersion | None = None
        self.accepted_tag: str | None = None
        """The registry's tag `robmon.accepted_version`."""
        self.previous_version: str | None = None
        """The highest registered version below the target."""
        self.failure: str | None = None
        """Why the last look-up failed; None after a good one."""
        self._settings = settings
        self._uri = model_uri.parse(settings.model.uri)
        self._tracking_uri = settings.mlflow.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        self._registry_uri = os.environ.get("MLFLOW_REGISTRY_URI") or self._tracking_uri

    @property
    def name(self) -> str:
        """The model's name."""
        return self._settings.model.name or self._uri.name

    async def poll(self, keep: list[str]) -> bool:
        """Look which version is served now, and fetch it if it is another. True where the target changed.

        Args:
            keep: versions whose files are still needed.

        Raises:
            RobmonError: the registry did not answer, or the version cannot be had; the old target stays.
        """
        if self._has_files and not self._may_move():
            return False
        if self._may_move() and self._has_rest_api() and isinstance(self._uri, model_uri.ModelUri):
            registered = await self._ask_registry(self._uri.target)
            self.accepted_tag = registered.accepted_version
            if self._has_files and self.target is not None and registered.version == self.target.version:
                return False
        before = self.target.version if self.target is not None else None
        fetched = await self._fetch(self._uri.text, before if self._has_files else None, keep)
        self.accepted_tag = fetched.accepted_version
        self.previous_version = fetched.previous_version
        if fetched.model is None:
            return False
        self.target = fetched.model
        log.info("served version", model=self.name, version=fetched.version, before=before)
        return True

    def observe(self, served_version: str) -> None:
        """Take over the version as which the endpoint answered."""
        if self.target is not None and self.target.version != served_version:
            log.info("served version", model=self.name, version=served_version, before=self.target.version)
            self.target = self.target.model_copy(update={"version": served_version})

    async def fetch_version(self, version: str, keep: list[str]) -> ModelVersion:
        """Fetch a given version of the same model, such as the one to compare with."""
        fetched = await self._fetch(self._uri.with_version(version), None, keep)
        if fetched.model is None:
            raise ModelNotFoundError(f"version {version} of {self.name} has no model")
        return fetched.model

    @property
    def _has_files(self) -> bool:
        """Whether the target's files are there, if it has any; somebody may have cleaned the data folder."""
        return self.target is not None and (self.target.endpoint is not None or Path(self.target.path).is_dir())

    def _may_move(self) -> bool:
        return self._settings.model.follow == "alias" and self._uri.may_move

    def _has_rest_api(self) -> bool:
        is_http = self._registry_uri is not None and self._registry_uri.startswith(("http://", "https://"))
        return is_http and not registry_access.is_left_to_mlflow()

    async def _ask_registry(self, alias: str) -> RegisteredModel:
        url = (self._registry_uri or "").rstrip("/") + "/api/2.0/mlflow/registered-models/get"
        try:
            access = registry_access.from_environment(url)
            answer = await access.get(url, {"name": self.name}, REGISTRY_TIMEOUT_SECONDS)
            answer.raise_for_status()
            registered = answer.json()["registered_model"]
            aliases = {item["alias"]: str(item["version"]) for item in registered.get("aliases", [])}
            tags = {item["key"]: item["value"] for item in registered.get("tags", [])}
        except httpx.HTTPStatusError as error:
            raise RegistryError(f"the registry answered {error.response.status_code} for {self.name}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            where = urlsplit(url).hostname
            why = registry_access.why_unreachable(error)
            raise RegistryError(f"the registry at {where} did not answer: {why}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise RegistryError("the registry's answer is none of MLflow's") from None
        if alias not in aliases:
            raise ModelNotFoundError(f"{self.name} has no alias {alias} at this moment, {known_aliases(aliases)}")
        return RegisteredModel(aliases[alias], tags.get("robmon.accepted_version"))

    async def _fetch(self, uri: str, known: str | None, keep: list[str]) -> Fetched:
        question = Fetch(
            uri=uri,
            tracking_uri=self._tracking_uri,
            data_dir=str(self._settings.data_dir.absolute()),
            known_version=known,
            allowed_flavors=list(self._settings.model.allowed_flavors),
            require_tags=list(self._settings.model.require_tags),
            keep_versions=keep,
            access=self._settings.model.access,
        )
        command = Command(sys.executable, "robmon.fetch", fetch_environment())
        try:
            child = await Child.start(command)
            try:
                answer, _ = await child.ask(question, timeout_seconds=FETCH_TIMEOUT_SECONDS)
            finally:
                await child.kill("crash")
        except ChildDiedError as error:
            raise FetchFailedError(error.reason, f"the fetch process failed: {error}") from None
        if isinstance(answer, Failure):
            raise FetchFailedError(answer.reason, answer.message or f"{answer.error} at {answer.where}")
        if not isinstance(answer, Fetched):
            raise FetchFailedError("error", "the fetch process gave no answer that fits")
        if answer.model is not None:
            answer.model.name = self.name
        return answer


def failure_reason(error: RobmonError) -> str:
    """The word under which a failed look-up or fetch is counted."""
    if isinstance(error, FetchFailedError):
        return error.reason
    if isinstance(error, ModelNotFoundError):
        return "not_found"
    return "refused" if isinstance(error, ModelError) else "registry_unreachable"
