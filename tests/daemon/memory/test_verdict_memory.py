"""What the daemon remembers: folder and registry as one memory, and what is told where one of them fails."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from robmon.daemon.memory.verdict_memory import VerdictMemory
from robmon.daemon.memory.writer import Writer
from robmon.daemon.registry.follow import Follower
from robmon.history.memory import Entry, reference, to_json
from robmon.history.scope import Judged
from robmon.history.store import History
from robmon.processes.messages.model import ModelVersion
from robmon.settings import load
from tests.export.published import everything
from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until


def entry(version: str, *, accepted: bool = True, run_id: str | None = "r", at: float = 1.0) -> Entry:
    return Entry(version=version, run_id=run_id, accepted=accepted, by="verdict", at=at)


def memory(folder: Path, **settings: Any) -> tuple[VerdictMemory, Follower]:
    given = {"model.uri": "models:/m@champion", "mlflow.tracking_uri": f"sqlite:///{folder}/none.db"}
    loaded = load(given | {"data_dir": folder, **settings}).settings
    follower = Follower(loaded)
    return VerdictMemory(loaded, follower, History(folder, "m"), Writer()), follower


async def settled(remembered: VerdictMemory) -> None:
    """Once all is written, and what was found meanwhile is taken over."""
    assert await asyncio.to_thread(remembered._writer.wait, 30)
    await asyncio.sleep(0)


def memory_after(folder: Path) -> list[str]:
    """The versions that the next life finds in the folder."""
    return [each.version for each in memory(folder)[0].entries]


def test_folder_and_registry_are_one_memory(tmp_path: Path) -> None:
    History(tmp_path, "m").write_scope("champion", [entry("1")])
    remembered, follower = memory(tmp_path)
    assert not remembered.state.is_complete, "until the registry has been read, an empty memory means nothing"
    follower.has_memory, follower.memory = True, to_json((entry("2", accepted=False, at=2),))
    remembered.read()
    assert remembered.state.is_complete
    assert [each.version for each in remembered.entries] == ["1", "2"]
    assert reference(remembered.entries) == entry("1")


async def test_what_others_write_to_the_folder_is_seen(tmp_path: Path) -> None:
    remembered, _ = memory(tmp_path, **{"history.store": "folder"})
    remembered.add(entry("2", accepted=False))
    await settled(remembered)
    person = Entry(version="2", run_id="r", accepted=True, by="person", at=5)
    History(tmp_path, "m").write_scope("champion", [person])
    assert await remembered.write(), "something has changed"
    remembered.read()
    await settled(remembered)
    assert remembered.entries == (person,)
    assert await remembered.write() and not await remembered.write()


async def test_an_entry_of_another_run_is_told_and_ignored(tmp_path: Path) -> None:
    """A model was made anew: its numbers begin again."""
    History(tmp_path, "m").write_scope("champion", [entry("1", run_id="old"), entry("2", run_id="old", at=2)])
    remembered, follower = memory(tmp_path)
    follower.has_memory, follower.memory, follower.run_ids = True, None, {"1": "new", "2": "new"}
    with capture_logs() as logs:
        for _ in range(2):
            remembered.read()
            await settled(remembered)
    assert remembered.entries == () and remembered.state.is_complete
    assert [(line["version"], line["run_id"]) for line in logs] == [("1", "old"), ("2", "old")], "once each"
    remembered.add(Entry(version="1", run_id="new", accepted=True, by="first", at=9))
    assert [each.run_id for each in remembered.entries] == ["new"]
    await settled(remembered)
    again, _ = memory(tmp_path)
    assert [each.run_id for each in again.entries] == ["new"]


@pytest.mark.parametrize("where", ["folder", "registry"])
async def test_what_is_damaged_is_told_and_no_empty_memory(where: str, tmp_path: Path) -> None:
    if where == "folder":
        file = History(tmp_path, "m").state_file
        file.parent.mkdir()
        file.write_bytes(b'{"scopes": {')
    with capture_logs() as logs:
        remembered, follower = memory(tmp_path)
        follower.has_memory, follower.memory = True, "{" if where == "registry" else None
        remembered.read()
        remembered.see_served(ModelVersion(name="m", version="1"))
        remembered.read()
        await settled(remembered)
        remembered.read()
        await settled(remembered)
    assert len(logs) == 1 and logs[0]["log_level"] == "error"
    assert not remembered.state.is_complete and reference(remembered.entries) is None
    assert ("set aside as m.sqlite.damaged-" if where == "folder" else "robmon.memory.champion") in remembered.damage
    assert where == "registry" or memory(tmp_path)[0].damage == remembered.damage, "also in the next life"
    remembered.add(Entry(version="1", accepted=True, by="person", at=1))
    assert remembered.damage == ""


async def test_a_file_that_is_damaged_meanwhile_is_told_and_written_anew(tmp_path: Path) -> None:
    remembered, _ = memory(tmp_path, **{"history.store": "folder"})
    remembered.add(entry("1"))
    await settled(remembered)
    file = History(tmp_path, "m").state_file
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("UPDATE kept SET digest = x'00'")
    connection.close()
    with capture_logs() as logs:
        for _ in range(2):
            remembered.read()
            await settled(remembered)
    assert [line["event"] for line in logs] == ["earlier verdicts not understood"]
    assert remembered.damage == "", "what it held is known"
    assert memory_after(tmp_path) == ["1"]


async def test_a_registry_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    remembered, follower = memory(tmp_path)
    follower.has_memory = True
    remembered.add(entry("1"))
    await settled(remembered)
    with capture_logs() as logs:
        await remembered.write()
        await remembered.write()
    assert [line["event"] for line in logs] == ["verdicts not kept in the registry"]
    assert "which was empty when robmon started: there is no model registry at" in remembered.not_kept
    assert remembered.fallback == ""
    assert memory_after(tmp_path) == ["1"], "the folder has it"

    later, follower = memory(tmp_path)
    follower.has_memory = True
    await later.write()
    assert later.not_kept == "" and "kept in the data folder alone: there is no" in later.fallback, "it outlives us"

    strict, follower = memory(tmp_path, **{"history.store": "registry"})
    follower.has_memory = True
    await strict.write()
    assert "not kept in the registry: there is no" in strict.not_kept


async def test_a_folder_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    remembered, _ = memory(tmp_path, **{"history.store": "folder"})
    blocker = tmp_path / "history"
    blocker.write_bytes(b"")
    remembered.add(entry("1"))
    await asyncio.to_thread(wait_until, lambda: remembered.not_kept, 30)
    assert "the data folder cannot be written (Not a directory)" in remembered.not_kept
    assert await remembered.write(), "that is something new"
    remembered.read()
    assert remembered.entries == (entry("1"),)
    blocker.unlink()
    remembered.add(entry("2", at=2))
    await settled(remembered)
    assert remembered.not_kept == ""
    assert memory_after(tmp_path) == ["1", "2"]


async def test_a_verdict_found_while_the_disk_hangs_holds_up_nothing(tmp_path: Path) -> None:
    """And is there when the disk answers again, with the verdict in full."""
    released = threading.Event()
    remembered, _ = memory(tmp_path, **{"history.store": "folder"})
    remembered._writer.write(lambda: released.wait(PATIENCE_SECONDS))
    verdict = everything().view.state.verdict
    assert verdict is not None
    remembered.add(entry("1"), Judged(version="1", run_id="r", verdict=verdict))
    for number in range(3):
        remembered.see_served(ModelVersion(name="m", version=str(number)))
        remembered.read()
        assert not (tmp_path / "history").exists() and reference(remembered.entries) == entry("1")
        await asyncio.sleep(0)
    released.set()
    await settled(remembered)
    scope = History(tmp_path, "m").read_scope("champion")
    assert scope.entries == (entry("1"),) and scope.served == ("2", None)
    assert scope.judged is not None and scope.judged.verdict == verdict
