"""What the daemon remembers of the verdicts on versions: its data folder's and its registry's, as one memory.

What this process has found is never lost to a disk or registry that fails: it is written as soon as that can be. The
folder is read here once, before the event loop runs; after that it is read and written on the writer's thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from robmon.daemon.decisions.versions import MemoryState
from robmon.daemon.memory.writer import Writer
from robmon.daemon.registry.follow import Follower
from robmon.daemon.timing.backoff import Backoff
from robmon.errors import InvalidInputError, RobmonError
from robmon.history.folder import DamagedStateError
from robmon.history.memory import Entries, Entry, Key, from_json, merge, to_json
from robmon.history.scope import Judged, Scope
from robmon.history.store import History
from robmon.processes.messages.model import ModelVersion
from robmon.settings import Settings

log = structlog.get_logger("robmon.memory")

WRITE_BACKOFF_SECONDS: Final = (5.0, 600.0)


class VerdictMemory:
    """The memory of one scope; once it is built nothing raises, whatever disk and registry do.

    Raises:
        NewerStateError: the data folder is of a newer robmon.
    """

    def __init__(self, settings: Settings, follower: Follower, history: History, writer: Writer) -> None:
        self.entries: Entries = ()
        self.judged: Judged | None = None
        """The last verdict in full."""
        self.served: Key | None = None
        """Version and run id of what was served last."""
        self._settings = settings
        self._follower = follower
        self._history = history
        self._writer = writer
        self._unwritten_judged: Judged | None = None
        self._unwritten_served: Key | None = None
        self._outdated: set[Key] = set()
        self._damage: dict[str, str] = {}
        self._tag: tuple[str | None, Entries] = (None, ())
        """What the registry's tag says, as text and understood."""
        self._registry_failure = ""
        self._registry_backoff = Backoff(WRITE_BACKOFF_SECONDS)
        self._set_aside: Path | None = None
        self._read_folder()
        self._folder_outlived_us = bool(self.entries)
        self._merge_tag()
        self._seen = self.state

    # --- what it says ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> MemoryState:
        """All of it, as it is now."""
        return MemoryState(
            self.entries,
            is_complete=self._follower.has_memory and not self.damage,
            judged=self.judged,
            served=self.served,
            damage=self.damage,
            not_kept=self.not_kept,
            fallback=self.fallback,
        )

    @property
    def damage(self) -> str:
        """A sentence on what cannot be understood, while nothing is known in its place; else empty."""
        return "" if self.entries else " ".join(self._damage.values())

    @property
    def not_kept(self) -> str:
        """A sentence on why verdicts would not outlive this pod, as far as that is known; else empty."""
        if self._writer.failure and (self._follower.memory_tag is None or self._registry_failure):
            return f"verdicts are not kept: the data folder cannot be written ({self._writer.failure})"
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
        self._merge_tag()
        self._exchange()

    def add(self, entry: Entry, judged: Judged | None = None) -> None:
        """Remember what became of a version; folder and registry follow."""
        self.entries = merge(self.entries, [entry], without=self._outdated)
        self.judged = judged or self.judged
        self._unwritten_judged = judged or self._unwritten_judged
        self._exchange()
        self._registry_backoff.succeeded()

    def see_served(self, model: ModelVersion) -> None:
        """Remember which version is served."""
        if self.served != (served := (model.version, model.run_id)):
            self.served = self._unwritten_served = served
            self._exchange()

    def forget(self, key: Key) -> None:
        """Leave out what is remembered of that version and run."""
        self._outdated.add(key)
        self.entries = merge(self.entries, without=self._outdated)
        self._exchange()

    async def write(self) -> bool:
        """Write to the registry what it lacks, after a failure not at once again; whether anything here has changed."""
        if self._registry_is_behind and not self._registry_backoff.waiting:
            await self._write_registry()
        before, self._seen = self._seen, self.state
        return before != self._seen

    @property
    def _registry_is_behind(self) -> bool:
        has_tag = self._follower.memory_tag is not None and self._follower.has_memory
        return has_tag and bool(self.entries) and self._read_tag() != self.entries

    def _read_folder(self) -> None:
        try:
            scope = self._history.read_scope(self._settings.scope)
        except DamagedStateError as error:
            self._tell_damage("folder", _damage_sentence(str(error)))
        except OSError as error:
            self._tell_damage("folder", f"the file of earlier verdicts cannot be read: {error.strerror}.")
        else:
            self._take(scope)
        finally:
            self._set_aside = self._history.set_aside()

    def _exchange(self) -> None:
        """Have the folder told what it lacks, and take over what others have written there."""
        entries, outdated = self.entries, frozenset(self._outdated)
        judged, served = self._unwritten_judged, self._unwritten_served

        def exchange() -> tuple[Scope, Path | None]:
            scope = self._history.write_scope(
                self._settings.scope, entries, judged=judged, served=served, without=outdated
            )
            return scope, self._history.set_aside()

        def take(found: tuple[Scope, Path | None]) -> None:
            scope, aside = found
            if self._unwritten_judged is judged:
                self._unwritten_judged = None
            if self._unwritten_served is served:
                self._unwritten_served = None
            if aside != self._set_aside and aside is not None:
                self._tell_damage("folder", _damage_sentence(aside.name))
            elif aside is None or scope.entries:
                self._damage.pop("folder", None)
            self._set_aside = aside
            self._take(scope)

        self._writer.write(exchange, place="verdicts", done=take)

    def _take(self, scope: Scope) -> None:
        self.judged = self.judged or scope.judged
        self.served = self.served or scope.served
        self._find_outdated(scope.entries)
        self.entries = merge(self.entries, scope.entries, without=self._outdated)

    def _merge_tag(self) -> None:
        tag = self._read_tag()
        self._find_outdated((*self.entries, *tag))
        self.entries = merge(self.entries, tag, without=self._outdated)

    def _read_tag(self) -> Entries:
        """What the registry's tag says, understood anew only where it says something else."""
        text = self._follower.memory
        if text != self._tag[0]:
            try:
                self._tag = (text, from_json(text) if text is not None else ())
                self._damage.pop("registry", None)
            except InvalidInputError:
                self._tag = (text, ())
                self._tell_damage("registry", f"the registry's tag {self._follower.memory_tag} cannot be understood.")
        return self._tag[1]

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


def _damage_sentence(aside: str) -> str:
    return f"the file of earlier verdicts is damaged, and was set aside as {aside}."
