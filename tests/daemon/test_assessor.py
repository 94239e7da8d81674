"""How requests are named to people."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from robmon.daemon import assessor as assessor_module
from robmon.daemon.app import Daemon
from robmon.daemon.assessor import shown_ids
from robmon.daemon.follow import Follower
from robmon.errors import RegistryError
from robmon.inputs.sample import Feedback, Item
from robmon.processes.messages import ModelVersion
from robmon.settings import Settings, load


def item(*ids: str) -> Item:
    return Item("v2", {}, 0, 0, b"", feedback=Feedback(ids))


def test_requests_are_shown_by_their_first_id_in_printable_ascii() -> None:
    items = [item("a", "b"), item(), item("ä\n\x1b[31m<b>"), item("x" * 1000), *[item(str(n)) for n in range(20)]]
    assert shown_ids(items) == ("a", "???[31m<b>", "x" * 128, *map(str, range(7)))


class SlowStore(Follower):
    """A registry whose files come when the test says so."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.asked: list[str] = []
        self.arrives = asyncio.Event()
        self.fails = False

    async def fetch_version(self, version: str, keep: list[str]) -> ModelVersion:
        self.asked.append(version)
        await self.arrives.wait()
        if self.fails:
            raise RegistryError("gone")
        return ModelVersion(name="m", version=version, path="nowhere", flavors=[])


async def test_a_slow_download_of_the_reference_is_waited_for_once_and_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assessor_module, "REFERENCE_WAIT_SECONDS", 0.05)
    settings = load({"model.uri": "models:/m/2", "data_dir": tmp_path, "http.port": 0, "inputs.port": 0}).settings
    assessor = Daemon(settings)._assessor
    assessor._follower = store = SlowStore(settings)
    for _ in range(3):
        async with asyncio.timeout(10):
            assert await assessor._fetched_reference("1") is None
    assert store.asked == ["1"], "one download for all of them"
    store.arrives.set()
    await asyncio.sleep(0)
    fetched = await assessor._fetched_reference("1")
    assert fetched is not None and fetched.version == "1"

    store.fails = True
    with pytest.raises(RegistryError):
        await assessor._fetched_reference("1")
    store.fails = False
    assert await assessor._fetched_reference("1") is not None, "a failure is tried again"

    store.arrives.clear()
    assert await assessor._fetched_reference("1") is None
    assert await assessor._fetched_reference("2") is None, "another reference"
    store.arrives.set()
    await asyncio.sleep(0)
    fetched = await assessor._fetched_reference("2")
    assert fetched is not None and fetched.version == "2"
    await assessor.close()
