"""What the daemon makes of an attack: what it keeps, tells and counts, whatever becomes of the worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from robmon.daemon.app import Daemon
from robmon.daemon.results.publication import Finding
from robmon.daemon.worker.not_assessed import NotAssessedError
from robmon.history.store import History
from robmon.processes.messages.attack import AttackRows
from robmon.processes.messages.model import ModelVersion
from robmon.settings import load
from tests.export.published import assessed, attacked

ONE = ModelVersion(name="m", version="1", run_id="run")
FINDING = Finding(assessed(), [], None)


@contextlib.asynccontextmanager
async def daemon_at(folder: Path, **more: Any) -> AsyncIterator[Daemon]:
    """A daemon whose worker has version 1; it does not run."""
    given = {"model.uri": "models:/m/1", "attack.enabled": True, "assess.task": "classification", "data_dir": folder}
    daemon = Daemon(load(given | {name.replace("__", "."): value for name, value in more.items()}).settings)
    daemon._follower.target, daemon._host._worker_version = ONE, "1"
    daemon._published.publish(daemon._published.view)
    try:
        yield daemon
    finally:
        daemon._host._worker_version = None
        await asyncio.gather(daemon._writer.close(), daemon._baseline_writer.close())


class Asked(list[AttackRows]):
    """The questions that the worker got."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()


def answering(monkeypatch: pytest.MonkeyPatch, daemon: Daemon, answer: Any) -> Asked:
    """Have the worker answer with that, or raise it; the questions that it gets."""
    asked = Asked()

    async def attack(question: AttackRows, blobs: list[bytes]) -> Any:
        asked.append(question)
        asked.begun.set()
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return answer

    monkeypatch.setattr(daemon._host, "attack", attack)
    monkeypatch.setattr("robmon.daemon.worker.attacker._assessed_first", lambda finding: [])
    return asked


async def attack(daemon: Daemon) -> None:
    await daemon._attacker.attack_if_due(ONE, FINDING, is_verdict_due=False)


def count(daemon: Daemon, outcome: str, reason: str) -> float | None:
    labels = {"outcome": outcome, "reason": reason}
    return daemon._metrics.registry.get_sample_value("robmon_attacks_total", labels)


async def test_a_good_one_is_published_kept_and_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with daemon_at(tmp_path) as daemon:
        asked = answering(monkeypatch, daemon, attacked())
        with capture_logs() as lines:
            await attack(daemon)
            await attack(daemon)
        assert len(asked) == 1 and count(daemon, "ok", "none") == 1 and count(daemon, "failed", "crash") == 0
        view = daemon._published.view.attack
        assert view is not None and (view.model_version, view.run_id, view.found) == ("1", "run", attacked())
        (told,) = [line for line in lines if line["event"] == "attack"]
        assert told["agreement"] == attacked().agreement and told["masked"] is True
        key = daemon._history_key
    events = History(tmp_path, key).past.events()
    (event,) = [each for each in events if each["kind"] == "attacked"]
    assert event["agreement"] == attacked().agreement and event["version"] == "1"

    # After a restart it is not made anew, and what it found is published again.
    async with daemon_at(tmp_path) as daemon:
        asked = answering(monkeypatch, daemon, attacked())
        await attack(daemon)
        again = daemon._published.view.attack
        assert not asked and again is not None and again.found == attacked()
        assert again.at == pytest.approx(view.at, abs=5)
        daemon._attacker._began_at -= 90_000  # a day later
        await attack(daemon)
        assert len(asked) == 1
    async with daemon_at(tmp_path, attack__radii="0.3") as daemon:
        asked = answering(monkeypatch, daemon, attacked())
        await attack(daemon)
        assert len(asked) == 1, "other settings"


async def test_one_that_ends_the_daemon_is_not_made_again_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with daemon_at(tmp_path) as daemon:
        begun = answering(monkeypatch, daemon, None).begun
        attacking = asyncio.create_task(attack(daemon))
        await begun.wait()
        attacking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await attacking
        assert attacking.cancelled(), "whoever ends the daemon ends this"
    async with daemon_at(tmp_path) as daemon:
        asked = answering(monkeypatch, daemon, attacked())
        await attack(daemon)
        assert not asked and daemon._published.view.attack is None


@pytest.mark.parametrize("error", [NotAssessedError("failed", "crash", "it exited with status 3"), ValueError("12.5")])
async def test_a_failure_costs_that_attack_only(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted by reason, and what was found before stays; the next one comes after the interval."""
    async with daemon_at(tmp_path) as daemon:
        answering(monkeypatch, daemon, attacked())
        await attack(daemon)
        asked = answering(monkeypatch, daemon, error)
        daemon._attacker._began_at -= 90_000
        with capture_logs() as lines:
            await attack(daemon)
            await attack(daemon)
        assert len(asked) == 1 and "12.5" not in str(lines)
        reason = "crash" if isinstance(error, NotAssessedError) else "error"
        assert count(daemon, "failed", reason) == 1
        assert daemon._published.view.attack is not None


async def test_a_new_version_ends_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with daemon_at(tmp_path) as daemon:
        begun = answering(monkeypatch, daemon, None).begun
        daemon._attacker.interrupt()  # there is none
        attacking = asyncio.create_task(attack(daemon))
        await begun.wait()
        daemon._attacker.interrupt()
        await attacking
        assert count(daemon, "skipped", "version_changed") == 1
        asked = answering(monkeypatch, daemon, attacked())
        await attack(daemon)
        assert len(asked) == 1, "where that version cannot be loaded, this one is attacked all the same"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"assess__task": "regression"}, "an attack changes classes, and assess.task is regression"),
        (
            {"model__uri": "http://127.0.0.1:1/v2/models/m/infer"},
            "the model is asked at its endpoint, and attack.allow_remote is false",
        ),
    ],
)
async def test_what_is_never_attacked_is_said_once(
    more: dict[str, Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as lines:
        async with daemon_at(tmp_path, **more) as daemon:
            asked = answering(monkeypatch, daemon, attacked())
            for _ in range(3):
                await attack(daemon)
            assert not asked and daemon._published.view.attack_refusal == told
    assert [line["because"] for line in lines if line["event"] == "not attacked"] == [told]
