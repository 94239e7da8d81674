"""Following the registry: which version is served, and its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from robmon.errors import RobmonError
from robmon.follow import Follower, failure_reason
from robmon.settings import load
from tests.e2e.registry import Registry
from tests.endpoint import V2Model, serving
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
    with pytest.raises(RobmonError, match=r"127\.0\.0\.1 did not answer: connection refused") as caught:
        await follow.poll([])
    assert "secret" not in str(caught.value)


def endpoint_follower(url: str, folder: Path, **settings: str) -> Follower:
    return Follower(load({"model.uri": url, "data_dir": folder / "data", **settings}).settings)


async def test_an_endpoints_version_is_looked_up_once_and_then_told_by_its_answers(tmp_path: Path) -> None:
    model = V2Model(lambda arrays: arrays, "triton", [("x", "FP64", [-1, 2])], "7")
    with serving(model) as server:
        follow = endpoint_follower(f"{server.url}/v2/models/digits/infer", tmp_path)
        assert await follow.poll([]) is True
        assert follow.target is not None and (follow.target.name, follow.target.version) == ("digits", "7")
        model.version = "8"
        asked = len(server.requests)
        assert await follow.poll(["7"]) is False
        assert len(server.requests) == asked
        follow.observe("8")
        assert (follow.target.version, follow.target.endpoint) == ("8", f"{server.url}/v2/models/digits/infer")
        fetched = await follow.fetch_version("8", [])
        assert fetched.endpoint == f"{server.url}/v2/models/digits/versions/8/infer"
        with pytest.raises(RobmonError, match="serves no version 7 of model digits"):
            await follow.fetch_version("7", [])


async def test_a_server_that_tells_no_version_is_not_asked(tmp_path: Path) -> None:
    url = f"http://me:secret@127.0.0.1:{free_port()}/invocations"
    follow = endpoint_follower(url, tmp_path, **{"model.name": "sums"})
    assert await follow.poll([]) is True
    assert follow.target is not None and (follow.target.name, follow.target.version) == ("sums", "unknown")
    assert await follow.poll([]) is False
    with pytest.raises(RobmonError, match="one version only"):
        await follow.fetch_version("3", [])


async def test_an_endpoint_that_does_not_answer(tmp_path: Path) -> None:
    url = f"http://me:secret@127.0.0.1:{free_port()}/v2/models/digits/infer"
    with pytest.raises(RobmonError, match=r"127\.0\.0\.1:\d+ did not answer \(ConnectError\)") as caught:
        await endpoint_follower(url, tmp_path).poll([])
    assert "secret" not in str(caught.value)
    assert failure_reason(caught.value) == "endpoint_unreachable"
