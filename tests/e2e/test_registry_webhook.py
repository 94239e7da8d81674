"""MLflow's own server tells a real daemon, which asks the registry but once an hour, that an alias has moved."""

from __future__ import annotations

import contextlib
import http.server
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.webhooks.delivery import _generate_hmac_signature

from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.registry import Registry
from tests.mlflow_client import quiet_mlflow, tracking
from tests.servers import wait_until

PAGE = Path(__file__).parents[2] / "docs/how-to/registry-webhooks.md"
HOUR_SECONDS = 3600
HEADERS = ("X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature")


@dataclass
class Recorder:
    """A listener that keeps what MLflow delivers."""

    url: str = ""
    deliveries: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextlib.contextmanager
def recorder() -> Iterator[Recorder]:
    found = Recorder()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.deliveries.append(({name: self.headers[name] for name in HEADERS}, body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/registry-event"
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def webhooks_of(client: MlflowClient) -> Iterator[None]:
    """Those that are made in the block are deleted: the server is shared."""
    before = {each.webhook_id for each in client.list_webhooks()}
    try:
        yield
    finally:
        for each in client.list_webhooks():
            if each.webhook_id not in before:
                client.delete_webhook(each.webhook_id)


def as_the_page_says(daemon: Daemon, tracking_uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The Python of the page, run in the folder that holds the secret; what MLflow says of its trial."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    code = code.replace("http://127.0.0.1:9877", f"http://127.0.0.1:{daemon.port('http_port')}")
    names: dict[str, Any] = {}
    monkeypatch.chdir(folder)
    with quiet_mlflow(), tracking(tracking_uri):
        exec(compile(code, str(PAGE), "exec"), names)
        return names["client"].test_webhook(names["webhook"].webhook_id)


@pytest.mark.long
def test_a_version_is_followed_as_soon_as_mlflow_tells(
    tmp_path: Path, served: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = served.model()
    first, second = model.add(1.0), model.add(2.0)
    model.serve(first)
    secret, file = secrets.token_hex(32), tmp_path / "webhook-secret"
    file.write_text(f"{secret}\n")
    often = {"model__poll_seconds": HOUR_SECONDS, "mlflow__webhook_secret_file": file}
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(running_daemon(tmp_path / "daemon", model.uri, served.tracking_uri, **often))
        client = stack.enter_context(served.client())
        stack.enter_context(webhooks_of(client))
        recorded = stack.enter_context(recorder())
        # While its first look, which loads the model, still goes on: what is told then must not be lost.
        tried = as_the_page_says(daemon, served.tracking_uri, tmp_path, monkeypatch)
        assert (tried.success, tried.response_status) == (True, 202)
        daemon.wait_for(lambda: daemon.assessed_version == first, "the first version")
        daemon.send()
        daemon.wait_for_assessments()
        began = time.monotonic()
        model.serve(second)
        daemon.wait_for(lambda: daemon.assessed_version == second, "the second version")
        print(f"followed after {time.monotonic() - began:.1f} s")
        daemon.wait_for(lambda: daemon.regression_stands, "its verdict")
        model.serve(first)
        daemon.wait_for(lambda: daemon.assessed_version == first, "the way back")
        assert time.monotonic() - began < HOUR_SECONDS
        hold_to_signatures(daemon, client, recorded, model.serve, first, secret)


def hold_to_signatures(
    daemon: Daemon, client: MlflowClient, recorded: Recorder, serve: Any, version: str, secret: str
) -> None:
    """Real deliveries of MLflow's, of which only what is whole, fresh and new counts."""
    events, told = [f"model_version_alias.{action}" for action in ("created", "deleted")], daemon.port("http_port")
    client.create_webhook("recorded", recorded.url, events, secret=secret)
    client.create_webhook("stranger", f"http://127.0.0.1:{told}/registry-event", events, secret="of a stranger")
    bad = outcomes(daemon, "bad_signature")
    serve(version, "challenger")
    headers, body = wait_until(lambda: recorded.deliveries, what="a delivery of MLflow's")[0]
    daemon.wait_for(lambda: outcomes(daemon, "bad_signature") == bad + 1, "the one with another secret")

    def answer(headers: dict[str, str], body: bytes) -> tuple[int, str]:
        got = daemon.client.post(f"http://127.0.0.1:{told}/registry-event", content=body, headers=headers)
        return got.status_code, got.text.strip()

    before = {name: outcomes(daemon, name) for name in ("bad_signature", "stale", "replayed")}
    assert answer(headers, body.replace(b"challenger", b"champion")) == (401, "bad_signature")
    assert answer(headers, body) == (202, "accepted"), "nothing was left behind by what was refused"
    assert answer(headers, body) == (401, "replayed")
    earlier = str(int(headers["X-MLflow-Timestamp"]) - 400)
    assert answer(headers | {"X-MLflow-Timestamp": earlier}, body) == (401, "bad_signature")
    signature = _generate_hmac_signature(secret, "another-delivery", earlier, body.decode())
    assert answer(dict(zip(HEADERS, ("another-delivery", earlier, signature), strict=True)), body) == (401, "stale")
    grown = {name: outcomes(daemon, name) - value for name, value in before.items()}
    assert grown == {"bad_signature": 2, "stale": 1, "replayed": 1}


def outcomes(daemon: Daemon, outcome: str) -> float:
    return daemon.count("robmon_registry_events_total", outcome=outcome)
