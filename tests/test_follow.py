"""Following the registry: which version is served, and its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from robmon.errors import RobmonError
from robmon.follow import Follower
from robmon.settings import load
from tests.e2e.registry import Registry
from tests.servers import free_port, local_registry


def follower(uri: str, tracking_uri: str, folder: Path) -> Follower:
    return Follower(load({"model.uri": uri, "mlflow.tracking_uri": tracking_uri, "data_dir": folder / "data"}).settings)


def holds_model(folder: str) -> bool:
    return Path(folder, "MLmodel").is_file()


async def test_the_alias_is_followed_and_lost_files_are_fetched_again(tmp_path: Path, mlflow_template: Path) -> None:
    registry = Registry(local_registry(tmp_path, mlflow_template), tmp_path)
    model = registry.model()
    first, second = model.add(), model.add()
    model.serve(first)
    follow = follower(model.uri, registry.tracking_uri, tmp_path)
    assert await follow.poll([]) is True
    assert follow.target is not None and follow.target.version == first
    assert await follow.poll([first]) is False
    shutil.rmtree(follow.target.path)
    assert await follow.poll([first]) is True
    assert holds_model(follow.target.path)
    model.serve(second)
    assert await follow.poll([first]) is True
    assert (follow.target.version, follow.previous_version) == (second, first)


async def test_an_unreachable_registry_costs_no_process_and_tells_no_credential(tmp_path: Path) -> None:
    follow = follower("models:/m@champion", f"http://me:secret@127.0.0.1:{free_port()}", tmp_path)
    with pytest.raises(RobmonError, match=r"127\.0\.0\.1 did not answer \(ConnectError\)") as caught:
        await follow.poll([])
    assert "secret" not in str(caught.value)
