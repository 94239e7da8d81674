"""`/incident` and `/registry-event`: who is answered what."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from robmon.export.http import http_application
from robmon.export.incident import IncidentAnswers
from robmon.export.published import Published
from robmon.export.registry_events import RegistryEvents
from robmon.ports.secret_files import SecretFiles
from robmon.ports.signed_events import MAX_EVENT_BYTES, SignedEvents, secrets_of
from tests.ports.test_signed_events import BODY, NOW, SECRET, delivery


@dataclass
class Asked:
    """What the answers ask for."""

    bundles: list[bool] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    polls: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def bundle(self, with_inputs: bool) -> bytes:
        self.bundles.append(with_inputs)
        self.begun.set()
        await self.may_go_on.wait()
        return b"whole" * 40_000 if with_inputs else b"plain"

    def poll(self) -> None:
        self.polls += 1


def client(
    asked: Asked,
    *,
    needs_token: bool = False,
    at: str = "127.0.0.1",
    host: str = "127.0.0.1:9877",
    events: RegistryEvents | None = None,
) -> httpx.AsyncClient:
    incident = IncidentAnswers(asked.bundle, needs_token, lambda reason: asked.refused.update([reason]))
    application = http_application(Published("digits", 60, 3600), CollectorRegistry(), incident=incident, events=events)
    transport = httpx.ASGITransport(application, client=(at, 123))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}")


@pytest.mark.parametrize(
    ("at", "host", "needs_token", "headers", "status"),
    [
        ("127.0.0.1", "127.0.0.1:9877", False, {}, 200),
        ("127.0.0.1", "localhost:9877", False, {}, 200),
        ("::1", "[::1]:9877", False, {}, 200),
        ("10.1.2.3", "10.0.0.1:9877", True, {}, 200),
        ("10.1.2.3", "10.0.0.1:9877", False, {}, 403),
        ("10.1.2.3", "127.0.0.1:9877", False, {}, 403),
        ("127.0.0.6", "127.0.0.1:9877", False, {}, 403),
        ("127.0.0.1", "rebound.example", False, {}, 403),
        ("127.0.0.1", "127.0.0.1:9877", False, {"X-Forwarded-For": "10.1.2.3"}, 403),
        ("127.0.0.1", "127.0.0.1:9877", False, {"Forwarded": "for=10.1.2.3"}, 403),
        ("127.0.0.1", "127.0.0.1:9877", False, {"X-Envoy-External-Address": "10.1.2.3"}, 403),
    ],
)
async def test_inputs_are_given_on_this_machine_or_with_the_token(
    at: str, host: str, needs_token: bool, headers: dict[str, str], status: int
) -> None:
    asked = Asked()
    asked.may_go_on.set()
    async with client(asked, needs_token=needs_token, at=at, host=host) as http:
        answer = await http.get("/incident?inputs=true", headers=headers)
        assert answer.status_code == status
        assert asked.bundles == ([True] if status == 200 else [])
        assert asked.refused == ({} if status == 200 else {"forbidden": 1})
        if status == 200:
            assert answer.content == b"whole" * 40_000
        plain = await http.get("/incident", headers=headers)
        assert (plain.status_code, plain.content) == (200, b"plain"), "without inputs to whoever may use the port"


async def test_what_is_not_clear_is_refused() -> None:
    asked = Asked()
    async with client(asked) as http:
        for query in ("inputs=1", "inputs=true&inputs=false", "inputs=TRUE"):
            assert (await http.get(f"/incident?{query}")).status_code == 400
        assert (await http.post("/incident")).status_code == 405
    assert asked.bundles == []


async def test_one_bundle_at_a_time_for_all_who_wait() -> None:
    asked = Asked()
    async with client(asked) as http:
        first = asyncio.create_task(http.get("/incident"))
        await asked.begun.wait()
        others = [asyncio.create_task(http.get("/incident")) for _ in range(30)]
        for _ in range(50):
            await asyncio.sleep(0)
        assert (await http.get("/healthz")).status_code == 200 and (await http.get("/metrics")).status_code == 200
        asked.may_go_on.set()
        statuses = Counter(answer.status_code for answer in await asyncio.gather(first, *others))
    assert statuses == {200: 8, 503: 23} and asked.bundles == [False, False]


async def test_there_are_no_events_unless_a_secret_is_set() -> None:
    async with client(Asked()) as http:
        assert (await http.post("/registry-event", content=BODY)).status_code == 405


async def test_events_of_the_registry(tmp_path: Path) -> None:
    asked, file = Asked(), tmp_path / "secret"
    file.write_text(SECRET)
    signed = SignedEvents(SecretFiles({"mlflow.webhook_secret_file": file}, secrets_of), now=lambda: NOW)
    events = RegistryEvents(signed, asked.poll, lambda outcome: asked.outcomes.update([outcome]))
    large = "x" * (MAX_EVENT_BYTES + 1)
    async with client(asked, at="10.1.2.3", events=events) as http:
        statuses = [
            (await http.post("/registry-event", content=body, headers=headers)).status_code
            for headers, body in (
                (delivery(1), BODY),
                (delivery(1), BODY),
                (delivery(2, at=NOW - 400), BODY),
                (delivery(3, secret="guess"), BODY),
                ([], BODY),
                (delivery(4, body=large), large),
            )
        ]
        assert (await http.get("/registry-event")).status_code == 404
    assert statuses == [202, 401, 401, 401, 401, 413] and asked.polls == 1
    assert asked.outcomes == {"accepted": 1, "replayed": 1, "stale": 1, "bad_signature": 2, "too_large": 1}
