"""The tap on a real server, before a real receiver: what arrives can be read, and no answer is the worse for it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import robmon
from robmon.errors import InvalidInputError
from robmon.inputs.codecs import answers
from robmon.inputs.codecs.recognise import decode
from robmon.inputs.receiver import Receiver
from robmon.inputs.sample import Sample
from robmon.tap import Tap
from tests.asgi import served
from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "tap.md"
Application = Callable[[Any, Any, Any], Awaitable[None]]


class Robmon:
    """The receiver of a daemon, on a port of its own."""

    def __init__(self) -> None:
        self.sample = Sample(sample_rows=64, max_age_seconds=3600, sample_bytes=2**25, rows_per_request=1)
        self.receiver = Receiver(self.sample, max_body_bytes=2**23, max_inflight_bytes=2**24)

    @property
    def received(self) -> int:
        return self.receiver.counts.received["cloudevents"]

    @property
    def items(self) -> list[Any]:
        return list(self.sample.snapshot(time.time()))


@pytest.fixture
def robmon_port() -> Iterator[tuple[Robmon, str]]:
    robmon = Robmon()
    with served(robmon.receiver) as url:
        yield robmon, url


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body it got; `/fail` with an error, `/raise` not at all."""
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body += message.get("body", b"")
        is_more = message.get("more_body", False)
    if scope["path"] == "/raise":
        raise RuntimeError("the server's own")
    status = 400 if scope["path"] == "/fail" else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-server", b"echo")]})
    for start in range(0, max(len(body), 1), 70_000):
        more = start + 70_000 < len(body)
        await send({"type": "http.response.body", "body": body[start : start + 70_000], "more_body": more})


async def asked(app: Tap, content: bytes) -> list[Any]:
    """What the application sends to one request."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": content}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    await app({"type": "http", "method": "POST", "path": "/predict", "headers": headers}, receive, send)
    return sent


def body(number: float) -> bytes:
    return json.dumps({"instances": [[number, 2.0, 3.0]]}).encode()


def test_the_example_of_the_manual_is_read_by_robmon(
    robmon_port: tuple[Robmon, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests, served answers joined to them, and ids by which labels find them."""
    robmon_, url = robmon_port
    monkeypatch.setenv("ROBMON_INPUTS_URL", url)
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), names)
    with served(names["app"]) as server, httpx.Client(base_url=server) as client:
        for number in range(5):
            headers = {"x-request-id": f"order {number}", "authorization": "Bearer secret", "cookie": "a=b"}
            answer = client.post("/predict", content=body(number), headers=headers)
            assert answer.json() == {"predictions": [0.5 * number + 4.0]}
        client.post("/other", content=body(9))
        wait_until(lambda: names["app"].counts.sent == 5, PATIENCE_SECONDS, "all copies are sent")
        wait_until(lambda: robmon_.received == 5, PATIENCE_SECONDS, "all have arrived")
    items = {item.feedback.ids[0]: item for item in robmon_.items}
    assert set(items) == {f"order {number}" for number in range(5)}
    for number in range(5):
        item = items[f"order {number}"]
        assert decode(dict(item.headers), item.body)[0].tensor.tolist() == [number, 2.0, 3.0]
        assert answers.decode(item.feedback.answer)[0].tensor.item() == 0.5 * number + 4.0
        assert "authorization" not in dict(item.headers) and "cookie" not in dict(item.headers)
    assert names["app"].counts.dropped == {}


def test_it_is_a_middleware_of_fastapi_too(robmon_port: tuple[Robmon, str]) -> None:
    from fastapi import FastAPI

    robmon_, url = robmon_port
    app = FastAPI()

    @app.post("/predict")
    def predict(content: dict[str, Any]) -> dict[str, Any]:
        return {"predictions": [len(content["features"])]}

    def as_request(given: bytes) -> bytes:
        return json.dumps({"instances": [json.loads(given)["features"]]}).encode()

    app.add_middleware(robmon.tap, url=url, as_request=as_request)  # type: ignore[arg-type]
    with served(app) as server:
        answer = httpx.post(f"{server}/predict", json={"features": [1.0, 2.0]})
        assert answer.json() == {"predictions": [2]}
        wait_until(lambda: robmon_.received == 1, PATIENCE_SECONDS, "the copy has arrived")
        wait_until(lambda: robmon_.items[0].feedback.answer is not None, PATIENCE_SECONDS, "and the answer")
    (item,) = robmon_.items
    assert decode(dict(item.headers), item.body)[0].tensor.tolist() == [1.0, 2.0]


def test_only_what_was_answered_well_is_copied_and_within_the_bounds(robmon_port: tuple[Robmon, str]) -> None:
    robmon_, url = robmon_port
    app = Tap(echo, url, max_body_bytes=300_000)
    with served(app) as server, httpx.Client(base_url=server) as client:
        assert client.post("/fail", content=body(1)).status_code == 400
        assert client.post("/raise", content=body(2)).status_code == 500
        assert client.get("/predict").status_code == 200
        assert client.post("/probe", content=body(3), headers={"X-Robmon-Probe": "1"}).status_code == 200
        large = b" " * 400_000
        assert client.post("/predict", content=large).content == large, "in pieces, and whole"
        streamed = (b" " * 90_000 for _ in range(3))
        assert client.post("/predict", content=streamed).content == b" " * 270_000
        wait_until(lambda: app.counts.sent == 1, PATIENCE_SECONDS, "the only one that may be")
    assert robmon_.received == 1 and len(robmon_.items[0].body) == 270_000
    assert app.counts.dropped == {"too_large": 2}, "request and answer of the large one"
    assert app._account.held_bytes == 0


def test_while_robmon_is_down_nothing_is_looked_at_and_afterwards_copies_come_again() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    app = Tap(echo, f"http://127.0.0.1:{port}")
    with served(app) as server, httpx.Client(base_url=server) as client:
        assert client.post("/predict", content=body(0)).content == body(0)
        wait_until(lambda: app.counts.dropped["down"] == 1, PATIENCE_SECONDS, "robmon is found to be down")
        app._sender._down_until = time.monotonic() + 3600  # however long this machine takes
        for number in range(20):
            assert client.post("/predict", content=body(number)).content == body(number)
        assert app.counts.copied == 1 and app._account.held_bytes == 0
        robmon_ = Robmon()
        with served(robmon_.receiver, host="127.0.0.1") as url:
            app._sender._address = Tap(echo, url)._sender._address
            app._sender._down_until = 0.0
            client.post("/predict", content=body(7))
            wait_until(lambda: robmon_.received == 1, PATIENCE_SECONDS, "copies come again")


def test_a_robmon_that_hangs_delays_nothing_and_holds_no_more_than_it_may() -> None:
    """It takes connections and never answers; the thread waits an hour for it, and no client does."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        app = Tap(echo, f"http://127.0.0.1:{hanging.getsockname()[1]}", max_pending_bytes=100_000, timeout_seconds=3600)
        with served(app) as server, httpx.Client(base_url=server, timeout=PATIENCE_SECONDS) as client:
            content = b" " * 10_000
            for _ in range(30):
                assert client.post("/predict", content=content).content == content
                assert app._account.held_bytes <= 100_000
        assert app.counts.copied == 5 and app.counts.sent == 0, "five requests with their answers fill the room"
        assert app.counts.dropped["full"] > 25
        connection = app._sender._connection
        assert connection is not None and connection.sock is not None
        connection.sock.shutdown(socket.SHUT_RDWR)  # and the thread ends
        wait_until(lambda: app._account.held_bytes == 0, PATIENCE_SECONDS, "what waited is given up")


def test_websockets_and_the_lifespan_pass_as_they_are() -> None:
    seen: list[tuple[Any, Any, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    async def nothing(*_: Any) -> dict[str, Any]:
        return {}

    app = Tap(application)
    for kind in ("websocket", "lifespan"):
        scope = {"type": kind, "path": "/predict"}
        asyncio.run(app(scope, nothing, nothing))  # type: ignore[arg-type]
        assert seen.pop() == (scope, nothing, nothing)
    assert app._sender._thread is None


def test_a_fault_of_the_tap_or_of_a_conversion_costs_the_copy_alone(robmon_port: tuple[Robmon, str]) -> None:
    robmon_, url = robmon_port

    def broken(_: bytes) -> bytes:
        raise ValueError("the user's own")

    app, left_out = Tap(echo, url, as_answer=broken), Tap(echo, url, as_request=lambda _: None)
    with served(app) as server, served(left_out) as other:
        assert httpx.post(f"{server}/predict", content=body(1)).content == body(1)
        assert httpx.post(f"{other}/predict", content=body(1)).content == body(1)
        wait_until(lambda: app.counts.dropped == {"not_converted": 1}, PATIENCE_SECONDS, "it is counted")

        def fail(_: int) -> bool:
            raise RuntimeError

        app._account.reserve = fail  # type: ignore[method-assign]
        assert httpx.post(f"{server}/predict", content=body(2)).content == body(2)
        assert app.counts.dropped["error"] >= 1
    assert robmon_.received == 1 and left_out.counts.sent == 0, "the request whose answer could not be converted"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_conversion_that_would_end_the_thread_is_counted_and_the_next_copy_goes_on(
    robmon_port: tuple[Robmon, str], error: type[BaseException]
) -> None:
    robmon_, url = robmon_port
    raised = iter([error()])

    def at_first(content: bytes) -> bytes:
        if (first := next(raised, None)) is not None:
            raise first
        return content

    app = Tap(echo, url, as_request=at_first, answers=False)
    for number in (1, 2):
        asyncio.run(asked(app, body(number)))
    wait_until(lambda: app.counts.sent == 1, PATIENCE_SECONDS, "the second")
    assert app.counts.dropped == {"not_converted": 1} and robmon_.received == 1
    assert app._account.held_bytes == 0


@pytest.mark.parametrize(
    ("content_type", "copied"),
    [(b"application/json", b'{"predictions": [1]}'), (b"Text/Event-Stream; charset=utf-8", None)],
)
def test_an_answer_in_pieces_is_copied_when_it_is_whole_and_a_stream_of_events_is_not(
    robmon_port: tuple[Robmon, str], content_type: bytes, copied: bytes | None
) -> None:
    robmon_, url = robmon_port

    async def in_pieces(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
        for piece in (b'{"predictions"', b": [1]}"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    app = Tap(in_pieces, url)
    sent = asyncio.run(asked(app, body(1)))
    assert [message.get("body") for message in sent[1:]] == [b'{"predictions"', b": [1]}", None]
    wait_until(lambda: app.counts.sent == 1, PATIENCE_SECONDS, "it is sent")
    assert robmon_.received == 1 and robmon_.items[0].feedback.answer == copied


def test_a_server_that_raises_raises_as_without_it() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body(1), "more_body": False}

    async def send(_: Any) -> None:
        raise ConnectionResetError

    app = Tap(echo)
    for path, expected in (("/raise", RuntimeError), ("/predict", ConnectionResetError)):
        scope = {"type": "http", "method": "POST", "path": path, "headers": []}
        with pytest.raises(expected):
            asyncio.run(app(scope, receive, send))
    assert app._account.held_bytes == 0 and app.counts.copied == 0


def test_a_port_with_a_token_takes_the_one_of_the_file(tmp_path: Path) -> None:
    """Which is read anew each time, since it may be replaced."""
    asked: list[bytes] = []

    async def port(scope: Any, receive: Any, send: Any) -> None:
        token = dict(scope["headers"]).get(b"authorization", b"")
        asked.append(token)
        await send({"type": "http.response.start", "status": 202 if token == b"Bearer b" else 401, "headers": []})
        await send({"type": "http.response.body"})

    token = tmp_path / "token"
    token.write_text("a\n")
    with served(port) as url:
        app = Tap(echo, url, token_file=str(token), answers=False)
        with served(app) as server:
            httpx.post(f"{server}/predict", content=body(1))
            wait_until(lambda: app.counts.dropped == {"refused": 1}, PATIENCE_SECONDS, "a wrong token is counted")
            token.write_text("b\n")
            httpx.post(f"{server}/predict", content=body(1))
            wait_until(lambda: app.counts.sent == 1, PATIENCE_SECONDS, "the right one is let in")
    assert asked == [b"Bearer a", b"Bearer b"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "ftp://127.0.0.1"}, "is one as http://127.0.0.1:9878"),
        ({"url": "http://127.0.0.1:x"}, "is one as http://127.0.0.1:9878"),
        ({"url": "http://me:secret@127.0.0.1"}, "without a path"),
        ({"url": "http://127.0.0.1/invocations"}, "without a path"),
        ({"paths": "/predict"}, "paths must be several paths"),
        ({"paths": ("/score", "predict")}, "paths begin with a slash, as '/predict': no request has 'predict'"),
        ({"max_body_bytes": 0}, "must be above 0"),
        ({"token_file": "/nowhere"}, "token_file = '/nowhere' cannot be read: No such file"),
        ({"url": "https://127.0.0.1", "ca_file": "/nowhere"}, "ca_file = '/nowhere' cannot be used"),
    ],
)
def test_what_cannot_be_is_refused_when_the_server_starts(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(told)) as refused:
        robmon.tap(echo, **options)
    assert "secret" not in str(refused.value)
