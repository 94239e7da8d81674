"""The files of the version to compare with."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from robmon.daemon.registry import reference_download
from robmon.daemon.registry.follow import Follower
from robmon.daemon.registry.reference_download import ReferenceDownload
from robmon.errors import RegistryError
from robmon.processes.messages.model import ModelVersion
from robmon.settings import Settings, load
from tests.patience import PATIENCE_SECONDS


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
    monkeypatch.setattr(reference_download, "WAIT_SECONDS", 0.05)
    store = SlowStore(load({"model.uri": "models:/m/2", "data_dir": tmp_path}).settings)
    download = ReferenceDownload(store)
    for _ in range(3):
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await download.fetch("1", []) is None
    assert store.asked == ["1"], "one download for all of them"
    store.arrives.set()
    await asyncio.sleep(0)
    fetched = await download.fetch("1", [])
    assert fetched is not None and fetched.version == "1"

    store.fails = True
    with pytest.raises(RegistryError):
        await download.fetch("1", [])
    store.fails = False
    assert await download.fetch("1", []) is not None, "a failure is tried again"

    store.arrives.clear()
    assert await download.fetch("1", []) is None
    assert await download.fetch("2", []) is None, "another reference"
    store.arrives.set()
    await asyncio.sleep(0)
    fetched = await download.fetch("2", [])
    assert fetched is not None and fetched.version == "2"
    await download.close()
