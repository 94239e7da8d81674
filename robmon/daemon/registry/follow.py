"""Which version is served now, and its files: the daemon's view of the model registry, or of the model's endpoint.

An http(s) registry is asked with one REST call, which the daemon makes itself; everything else (other stores, every
download, and the model's endpoint) is left to a short fetch process, because MLflow is too heavy for the daemon.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import structlog

from robmon.errors import ModelError, ModelNotFoundError, RegistryError, RobmonError
from robmon.history.memory import TAG_PREFIX, Key
from robmon.models import uri as model_uri
from robmon.models.registry import registry_access
from robmon.models.uri import known_aliases
from robmon.processes.command import Command, fetch_environment
from robmon.processes.messages.every_process import Failure
from robmon.processes.messages.fetch import (
    BaselineShared,
    Fetch,
    Fetched,
    LogResults,
    Remember,
    Remembered,
    ResultsLogged,
    ShareBaseline,
)
from robmon.processes.messages.model import ModelVersion
from robmon.processes.supervisor import Child, ChildDiedError
from robmon.settings import Settings

log = structlog.get_logger("robmon.follow")

REGISTRY_TIMEOUT_SECONDS = 10.0
MAX_OWN_BYTES = 256 * 1024
"""Of an answer that the daemon reads itself: a longer one would hold its event loop, and is left to fetch."""
MAX_FACTS = 10
"""Versions of which is known what the registry says."""
FETCH_TIMEOUT_SECONDS = 1800.0
"""For a version's files, which may be large."""
WRITE_TIMEOUT_SECONDS = 300.0
"""For what is written to the registry, which is little: a process that imports MLflow, and some requests."""
Reply = TypeVar("Reply", Fetched, Remembered, BaselineShared, ResultsLogged)
FETCH_MEMORY_BYTES = 768 * 2**20
"""MLflow's client takes answers of any size into memory, packed ones unpacked; it needs less than 200 MiB itself."""


class FetchFailedError(RobmonError):
    """A model version could not be fetched.

    Attributes:
        reason: a short word for counters.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class Follower:
    """Keeps `target`, the version to assess, up to date; fetches it and any version it is compared with."""

    def __init__(self, settings: Settings) -> None:
        self.target: ModelVersion | None = None
        self.memory: str | None = None
        """What the registry's tag says of earlier verdicts, as it was read last."""
        self.has_memory = False
        """Whether that has been read."""
        self.memory_failure: str | None = None
        """Why it could not be read last time."""
        self.run_ids: dict[str, str | None] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        """What the registry says of the versions that were fetched, by number."""
        """The runs of versions that are remembered."""
        self.aliases: dict[str, str] = {}
        """The model's aliases, and the versions that they stood for at the last look-up."""
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

    @property
    def memory_tag(self) -> str | None:
        """The registered model's tag that remembers verdicts; None where they are remembered in the folder alone."""
        is_registered = isinstance(self._uri, model_uri.ModelUri) and self._uri.is_registered
        if self._settings.history.store == "folder" or not is_registered:
            return None
        return TAG_PREFIX + self._settings.scope

    async def poll(self, keep: list[str], remembered: Iterable[str] = ()) -> bool:
        """Look which version is served now, and fetch it if it is another. True where the target changed.

        Args:
            keep: versions whose files are still needed.
            remembered: versions whose runs are wanted.

        Raises:
            RobmonError: the registry did not answer, or the version cannot be had; the old target stays.
        """
        has_files = await self._has_files()
        if has_files and not self._may_move():
            await self._read_memory(keep, remembered)
            return False
        if self._may_move() and self._has_rest_api() and isinstance(self._uri, model_uri.ModelUri):
            alias = self._uri.target
            is_read = await self._ask_registry()
            if is_read and alias not in self.aliases:
                known = known_aliases(self.aliases)
                raise ModelNotFoundError(f"{self.name} has no alias {alias} at this moment, {known}")
            if is_read and has_files and self.target is not None and self.aliases[alias] == self.target.version:
                return False
        before = self.target.version if self.target is not None else None
        fetched = await self._fetch(self._uri.text, before if has_files else None, keep, remembered)
        if fetched.model is None:
            return False
        self.target = fetched.model
        self.run_ids[fetched.version] = fetched.model.run_id
        log.info("served version", model=self.name, version=fetched.version, before=before)
        return True

    async def _read_memory(self, keep: list[str], remembered: Iterable[str]) -> None:
        """Read the tag although the version is fixed; a registry that is down is no news then, and told once."""
        if self.memory_tag is None or self.target is None:
            return
        try:
            if not (self._has_rest_api() and await self._ask_registry()):
                await self._fetch(self._uri.with_version(self.target.version), self.target.version, keep, remembered)
            failure = None
        except RobmonError as error:
            failure = str(error)
        if failure is not None and failure != self.memory_failure:
            log.warning("verdicts in the registry not read", error=failure)
        self.memory_failure = failure

    async def remember(self, entries: str, without: Iterable[Key] = ()) -> None:
        """Merge entries into the tag that remembers verdicts.

        Raises:
            RobmonError: the registry does not let us, or did not answer.
        """
        question = Remember(
            tracking_uri=self._tracking_uri,
            name=self._uri.name,
            tag=self.memory_tag or "",
            entries=entries,
            without=list(without),
        )
        answer = await self._ask(question, Remembered)
        self.memory = answer.memory

    async def share(
        self, version: str, baseline: dict[str, Any], new_hours: dict[str, dict[str, Any]]
    ) -> dict[str, Any]:
        """Put a learnt baseline beside that version, merged with what others have put there; gives what is there now.

        Raises:
            RobmonError: the registry does not let us, or did not answer; or the version has no place for it.
        """
        question = ShareBaseline(
            tracking_uri=self._tracking_uri,
            name=self._uri.name,
            version=version,
            baseline=baseline,
            new_hours=new_hours,
        )
        answer = await self._ask(question, BaselineShared)
        return answer.baseline

    async def log_results(
        self, run_id: str, metrics: list[tuple[str, float, int, int]], tags: dict[str, str], curve: dict[str, Any]
    ) -> None:
        """Log to the run that made a version; arguments as of `LogResults`.

        Raises:
            RobmonError: MLflow does not let us, or did not answer; or the run is gone.
        """
        question = LogResults(tracking_uri=self._tracking_uri, run_id=run_id, metrics=metrics, tags=tags, curve=curve)
        await self._ask(question, ResultsLogged)

    def version_of(self, reference: str) -> str:
        """The version that a version or alias stands for; an alias that is not known stands for itself."""
        return self.aliases.get(reference.removeprefix("@"), reference)

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

    async def _has_files(self) -> bool:
        """Whether the target's files are there, if it has any; somebody may have cleaned the data folder."""
        if self.target is None or self.target.endpoint is not None:
            return self.target is not None
        return await asyncio.to_thread(Path(self.target.path).is_dir)

    def _may_move(self) -> bool:
        return self._settings.model.follow == "alias" and self._uri.may_move

    def _has_rest_api(self) -> bool:
        is_http = self._registry_uri is not None and self._registry_uri.startswith(("http://", "https://"))
        return is_http and not registry_access.is_left_to_mlflow()

    async def _ask_registry(self) -> bool:
        """Take the model's aliases and its memory of verdicts from one answer; False where it is too long."""
        url = (self._registry_uri or "").rstrip("/") + "/api/2.0/mlflow/registered-models/get"
        try:
            access = await asyncio.to_thread(registry_access.from_environment, url)
            answer = await access.get(url, {"name": self.name}, REGISTRY_TIMEOUT_SECONDS)
            answer.raise_for_status()
            if len(answer.content) > MAX_OWN_BYTES:
                return False
            aliases, tags = aliases_and_tags(answer.content)
        except httpx.HTTPStatusError as error:
            raise RegistryError(f"the registry answered {error.response.status_code} for {self.name}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = registry_access.why_unreachable(error)
            raise RegistryError(f"the registry at {registry_access.origin(url)} did not answer: {why}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise RegistryError("the registry's answer is none of MLflow's") from None
        self.aliases, self.has_memory = aliases, True
        self.memory = tags.get(self.memory_tag) if self.memory_tag is not None else None
        return True

    async def _fetch(self, uri: str, known: str | None, keep: list[str], remembered: Iterable[str] = ()) -> Fetched:
        question = Fetch(
            uri=uri,
            tracking_uri=self._tracking_uri,
            data_dir=str(self._settings.data_dir.absolute()),
            known_version=known,
            allowed_flavors=list(self._settings.model.allowed_flavors),
            require_tags=list(self._settings.model.require_tags),
            keep_versions=keep,
            access=self._settings.model.access,
            memory_tag=self.memory_tag,
            remembered_versions=list(remembered),
        )
        answer = await self._ask(question, Fetched)
        if answer.model is not None:
            answer.model.name = self.name
            self._note(answer.model)
        self.memory, self.has_memory = answer.memory, True
        self.aliases = answer.aliases
        self.run_ids |= answer.run_ids
        return answer

    def _note(self, model: ModelVersion) -> None:
        self.facts.pop(model.version, None)
        self.facts[model.version] = model.model_dump(include={"run_id", "tags", "commit", "flavors"})
        if len(self.facts) > MAX_FACTS:
            self.facts.pop(next(iter(self.facts)))

    async def _ask(self, question: Fetch | Remember | ShareBaseline | LogResults, expected: type[Reply]) -> Reply:
        command = Command(sys.executable, "robmon.fetch", fetch_environment(), FETCH_MEMORY_BYTES)
        try:
            child = await Child.start(command)
            try:
                seconds = FETCH_TIMEOUT_SECONDS if isinstance(question, Fetch) else WRITE_TIMEOUT_SECONDS
                answer, _ = await child.ask(question, timeout_seconds=seconds)
            finally:
                await child.kill("crash")
        except ChildDiedError as error:
            raise FetchFailedError(error.reason, f"the fetch process failed: {error}") from None
        if isinstance(answer, Failure):
            raise FetchFailedError(answer.reason, answer.message or f"{answer.error} at {answer.where}")
        if not isinstance(answer, expected):
            raise FetchFailedError("error", "the fetch process gave no answer that fits")
        return answer


def aliases_and_tags(answer: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """What a registry answers of a model: its aliases with the versions that they stand for, and its tags.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, RecursionError: it is no answer of MLflow's.
    """
    registered = json.loads(answer)["registered_model"]
    aliases = {str(item["alias"]): str(item["version"]) for item in registered.get("aliases", [])}
    tags = {str(item["key"]): str(item["value"]) for item in registered.get("tags", [])}
    if not all(version.isascii() and version.isdigit() for version in aliases.values()):
        raise ValueError("a version that is no number")
    return aliases, tags


def failure_reason(error: RobmonError) -> str:
    """The word under which a failed look-up or fetch is counted."""
    if isinstance(error, FetchFailedError):
        return error.reason
    if isinstance(error, ModelNotFoundError):
        return "not_found"
    return "refused" if isinstance(error, ModelError) else "registry_unreachable"
