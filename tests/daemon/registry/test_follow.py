"""Following the registry: which version is served, and its files."""

from __future__ import annotations

import gzip
import http.server
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from robmon.daemon.registry.follow import MAX_OWN_BYTES, FetchFailedError, Follower, failure_reason
from robmon.errors import RobmonError
from robmon.history.memory import Entry, to_json
from robmon.models.registry import registry_access
from robmon.models.registry.registry_access import origin
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
    assert (follow.target.version, follow.version_of("@champion"), follow.version_of("1")) == (second, second, "1")


async def test_verdicts_are_read_and_written_while_the_version_is_fixed(tmp_path: Path, mlflow_template: Path) -> None:
    registry = Registry(local_registry(tmp_path, mlflow_template), tmp_path)
    model = registry.model()
    version = model.add()
    follow = follower(f"models:/{model.name}/{version}", registry.tracking_uri, tmp_path)
    assert await follow.poll([]) is True
    assert follow.target is not None
    assert (follow.memory_tag, follow.has_memory, follow.memory) == ("robmon.memory.pinned", True, None)
    assert follow.run_ids == {version: follow.target.run_id}
    told = to_json((Entry(version=version, run_id=follow.target.run_id, accepted=True, by="first", at=1),))
    await follow.remember(told)
    assert follow.memory == told
    with registry.client() as client:
        client.set_registered_model_tag(model.name, follow.memory_tag, "[]")
    assert await follow.poll([]) is False
    assert follow.memory == "[]"
    shutil.move(registry.tracking_uri.removeprefix("sqlite:///"), tmp_path / "gone")
    assert await follow.poll([]) is False
    assert follow.memory_failure is not None and follow.memory == "[]", "a registry that is down takes nothing back"


def test_where_no_registry_could_remember_verdicts_no_tag_is_asked_for(tmp_path: Path) -> None:
    for uri, settings in (
        ("runs:/1f/model", {}),
        ("http://127.0.0.1/v2/models/m/infer", {}),
        ("models:/m@champion", {"history.store": "folder"}),
    ):
        assert Follower(load({"model.uri": uri, "data_dir": tmp_path, **settings}).settings).memory_tag is None
    named = load({"model.uri": "models:/m@champion", "data_dir": tmp_path, "history.scope": "release.shop"}).settings
    assert Follower(named).memory_tag == "robmon.memory.release.shop"


async def test_an_unreachable_registry_costs_no_process_and_tells_no_credential(tmp_path: Path) -> None:
    port = free_port()
    follow = follower("models:/m@champion", f"http://me:secret@127.0.0.1:{port}/?token=secret", tmp_path)
    with pytest.raises(RobmonError) as caught:
        await follow.poll([])
    assert str(caught.value) == f"the registry at http://127.0.0.1:{port} did not answer: connection refused"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://mlflow.example/base?token=1", "https://mlflow.example"),
        ("http://[::1]:5000/", "http://[::1]:5000"),
        ("http://me:pass/word@mlflow:5000", "http://mlflow:5000"),
        ("http://me@host:port", "http://host:port"),
    ],
)
def test_a_registry_is_told_by_scheme_host_and_port(url: str, told: str) -> None:
    assert origin(url) == told


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]
ANSWER = {"registered_model": {"name": "m", "aliases": [{"alias": "champion", "version": "7"}], "tags": []}}


@contextmanager
def registry_that(answers: Answer) -> Iterator[str]:
    """A registry that answers everything like that: its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                answers(self)
            except OSError:  # who asked has gone
                return

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def with_body(body: bytes, encoding: str | None = None) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if encoding is not None:
            handler.send_header("Content-Encoding", encoding)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(2**16))


def dripping(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.05)


def dripping_head(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def packed_bomb(handler: http.server.BaseHTTPRequestHandler) -> None:
    """128 MiB, which are made by whoever runs the test: not by all who collect it."""
    with_body(gzip.compress(b" " * 2**27, compresslevel=1), "gzip")(handler)


def leading_back(handler: http.server.BaseHTTPRequestHandler) -> None:
    """To itself, each time with a body that does not end."""
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(2**16))
        time.sleep(0.01)


def aliased(version: object) -> bytes:
    """An answer in which the alias stands for that."""
    model = {"name": "m", "aliases": [{"alias": "champion", "version": version}]}
    return json.dumps({"registered_model": model}).encode()


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (endless, "answered more than 8388608 bytes"),
        (with_body(b" " * (2**23 + 1)), "answered more than 8388608 bytes"),
        (packed_bomb, "answered more than 8388608 bytes"),
        (with_body(gzip.compress(b"{" * 2**17), "gzip"), "is none of MLflow's"),
        (with_body(b"no gzip", "gzip"), "did not answer: DecodingError"),
        (with_body(b"x", "br"), "in an encoding that was not asked for"),
        (with_body(b"[" * 200_000), "is none of MLflow's"),
        *((with_body(aliased(version)), "is none of MLflow's") for version in (None, "", "../../x", "-1", 1.5, [7])),
        (leading_back, "did not answer: TooManyRedirects"),
        (dripping, "did not answer: no answer in time"),
        (dripping_head, "did not answer: no answer in time"),
    ],
)
async def test_answers_without_end_or_sense_are_bounded_and_told(
    answers: Answer, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time and in size, packed or not."""
    monkeypatch.setattr(registry_access, "TOTAL_SECONDS", 1.0 if "in time" in told else 60)
    with registry_that(answers) as url:
        follow = follower("models:/m@champion", url, tmp_path)
        before = psutil.Process().memory_info().rss
        began = time.monotonic()
        with pytest.raises(RobmonError, match=told):
            await follow._ask_registry()
        assert time.monotonic() - began < 90
        assert psutil.Process().memory_info().rss - before < 100 * 2**20


async def test_an_answer_that_would_hold_the_event_loop_is_left_to_fetch(tmp_path: Path) -> None:
    """Longer answers are not read here, whatever they say: not even those that are right."""
    body = json.dumps(ANSWER).encode()
    with registry_that(with_body(body + b" " * (MAX_OWN_BYTES - len(body)))) as url:
        assert await follower("models:/m@champion", url, tmp_path)._ask_registry()
    with registry_that(with_body(body + b" " * MAX_OWN_BYTES)) as url:
        asking = follower("models:/m@champion", url, tmp_path)
        assert not await asking._ask_registry()
        assert not asking.has_memory


async def test_a_fetch_of_answers_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client would take them into memory until there is none."""
    monkeypatch.setattr("robmon.daemon.registry.follow.FETCH_MEMORY_BYTES", 400 * 2**20)
    told = "held more than 419430400 bytes of memory"
    with registry_that(endless) as url, pytest.raises(FetchFailedError, match=told) as caught:
        await follower("models:/m/1", url, tmp_path).fetch_version("1", [])
    assert caught.value.reason == "memory"


@pytest.mark.parametrize("encoding", [None, "gzip"])
async def test_a_packed_answer_is_understood(encoding: str | None, tmp_path: Path) -> None:
    body = json.dumps(ANSWER).encode()
    with registry_that(with_body(gzip.compress(body) if encoding else body, encoding)) as url:
        asking = follower("models:/m@champion", url, tmp_path)
        await asking._ask_registry()
    assert asking.aliases == {"champion": "7"}


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
