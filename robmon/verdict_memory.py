"""What the daemon remembers of the verdicts on versions: its data folder's and its registry's, as one memory.

What this process has found is never lost to a disk or registry that fails: it is written as soon as that can be.
"""

from __future__ import annotations

from typing import Final

import structlog

from robmon.errors import InvalidInputError, RobmonError
from robmon.export.metrics import Metrics
from robmon.follow import Follower
from robmon.history.memory import Entries, Entry, Key, from_json, merge, of_version, reference, to_json
from robmon.history.store import DamagedStateError, History, Judged
from robmon.host import Backoff
from robmon.messages import ModelVersion
from robmon.settings import Settings

log = structlog.get_logger("robmon.memory")

WRITE_BACKOFF_SECONDS: Final = (5.0, 600.0)


class VerdictMemory:
    """The memory of one scope; `read` and `write` never raise, whatever disk and registry do."""

    def __init__(self, settings: Settings, follower: Follower, history: History, metrics: Metrics) -> None:
        self.entries: Entries = ()
        self.judged: Judged | None = None
        """The last verdict in full."""
        self.served: Key | None = None
        """Version and run id of what was served last."""
        self._settings = settings
        self._follower = follower
        self._history = history
        self._metrics = metrics
        self._outdated: set[Key] = set()
        self._damage: dict[str, str] = {}
        self._folder: Entries = ()
        self._folder_failure = self._registry_failure = ""
        self._folder_backoff = Backoff(WRITE_BACKOFF_SECONDS)
        self._registry_backoff = Backoff(WRITE_BACKOFF_SECONDS)
        self.read()
        self._folder_outlived_us = bool(self.entries)

    # --- what it says ------------------------------------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Whether all has been read, and could be understood: only then an empty memory means that nothing was."""
        return self._follower.has_memory and not self.damage

    @property
    def damage(self) -> str:
        """A sentence on what cannot be understood, while nothing is known in its place; else empty."""
        return "" if self.entries else " ".join(self._damage.values())

    @property
    def reference(self) -> Entry | None:
        """The newest accepted entry."""
        return reference(self.entries)

    def entry(self, model: ModelVersion) -> Entry | None:
        """What is remembered of that version."""
        return of_version(self.entries, model.version, model.run_id)

    @property
    def not_kept(self) -> str:
        """A sentence on why verdicts would not outlive this pod, as far as that is known; else empty."""
        if self._folder_failure and (self._follower.memory_tag is None or self._registry_failure):
            return f"verdicts are not kept: the data folder cannot be written ({self._folder_failure})"
        if self._registry_failure and (self._settings.history.store == "registry" or not self._folder_outlived_us):
            return (
                f"verdicts are kept in the data folder alone, which was empty when robmon started: "
                f"{self._registry_failure}"
                if self._settings.history.store == "auto"
                else f"verdicts are not kept in the registry: {self._registry_failure}"
            )
        return ""

    @property
    def fallback(self) -> str:
        """A sentence on where verdicts are kept instead of the registry; empty where they are in it, or not kept."""
        if self._registry_failure and not self.not_kept:
            return f"verdicts are kept in the data folder alone: {self._registry_failure}"
        return ""

    # --- reading and writing -----------------------------------------------------------------------------------------

    def read(self) -> None:
        """Take over what others have written to folder and registry: persons, and other pods."""
        self._folder = self._read_folder()
        tag = self._read_tag()
        self._find_outdated((*self._folder, *tag))
        self.entries = merge(self.entries, self._folder, tag, without=self._outdated)

    def add(self, entry: Entry, judged: Judged | None = None) -> None:
        """Remember what became of a version; the registry follows with the next `write`."""
        self.entries = merge(self.entries, [entry], without=self._outdated)
        self.judged = judged or self.judged
        self._write_folder()
        self._registry_backoff.succeeded()

    def see_served(self, model: ModelVersion) -> None:
        """Remember which version is served."""
        if self.served != (served := (model.version, model.run_id)):
            self.served = served
            self._write_folder()

    def forget(self, key: Key) -> None:
        """Leave out what is remembered of that version and run."""
        self._outdated.add(key)
        self.read()

    async def write(self) -> None:
        """Write to folder and registry what they lack; after a failure not at once again."""
        if self.entries != self._folder and not self._folder_backoff.waiting:
            self._write_folder()
        if self._registry_is_behind and not self._registry_backoff.waiting:
            await self._write_registry()

    @property
    def _registry_is_behind(self) -> bool:
        has_tag = self._follower.memory_tag is not None and self._follower.has_memory
        return has_tag and bool(self.entries) and self._read_tag() != self.entries

    def _read_folder(self) -> Entries:
        try:
            scope = self._history.read_scope(self._settings.scope)
        except DamagedStateError as error:
            self._tell_damage("folder", f"the file of earlier verdicts is damaged, and was set aside as {error}.")
            return ()
        except OSError as error:
            self._tell_damage("folder", f"the file of earlier verdicts cannot be read: {error.strerror}.")
            return ()
        self._damage.pop("folder", None)
        self.judged = self.judged or scope.judged
        self.served = self.served or scope.served
        return scope.entries

    def _read_tag(self) -> Entries:
        text = self._follower.memory
        try:
            entries = from_json(text) if text is not None else ()
        except InvalidInputError:
            self._tell_damage("registry", f"the registry's tag {self._follower.memory_tag} cannot be understood.")
            return ()
        self._damage.pop("registry", None)
        return entries

    def _tell_damage(self, where: str, sentence: str) -> None:
        if self._damage.get(where) != sentence:
            log.error("earlier verdicts not understood", error=sentence.removesuffix("."))
        self._damage[where] = sentence

    def _find_outdated(self, entries: Entries) -> None:
        """Numbers begin again when a model is made anew: then an entry speaks of another model."""
        runs = self._follower.run_ids
        for entry in entries:
            if entry.version in runs and runs[entry.version] != entry.run_id and entry.key not in self._outdated:
                self._outdated.add(entry.key)
                log.warning("earlier verdict ignored: it is of another run", version=entry.version, run_id=entry.run_id)

    def _write_folder(self) -> None:
        try:
            written = self._history.write_scope(
                self._settings.scope, self.entries, judged=self.judged, served=self.served, without=self._outdated
            )
        except OSError as error:
            self._folder_backoff.failed()
            self._folder_failure = error.strerror or type(error).__name__
            self._metrics.history_failures.inc()
            log.error("data folder not written", error=error.strerror)
            return
        self._folder_backoff.succeeded()
        self._folder_failure = ""
        self._folder = written.entries
        self.entries = merge(self.entries, written.entries, without=self._outdated)

    async def _write_registry(self) -> None:
        try:
            await self._follower.remember(to_json(self.entries), self._outdated)
        except RobmonError as error:
            self._registry_backoff.failed()
            if str(error) != self._registry_failure:
                self._registry_failure = str(error)
                log.warning("verdicts not kept in the registry", error=str(error), sentence=self.not_kept or None)
            return
        self._registry_backoff.succeeded()
        if self._registry_failure:
            log.info("verdicts kept in the registry again")
            self._registry_failure = ""
        self.read()
