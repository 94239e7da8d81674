"""The detector over time as the daemon uses it: a real model and a real state file, without its processes."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robmon import clock
from robmon.daemon.memory.detection import identity_of
from robmon.daemon.memory.regression_watch import RegressionWatch
from robmon.daemon.memory.writer import Writer
from robmon.daemon.worker.question import assessment_question
from robmon.drift.hourly import HourlyErrors
from robmon.history.baseline.files import BaselineFiles
from robmon.history.baseline.hours import hours_of
from robmon.history.baseline.inheritance import inheritance
from robmon.history.baseline.sharing import leave_out, share
from robmon.history.detection import DetectionRecord
from robmon.history.memory import Entries, Entry
from robmon.history.state import connection
from robmon.history.store import History
from robmon.inputs.sample import Feedback, Item
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.model import ModelVersion
from robmon.processes.messages.question import Assess, SampledRequest
from robmon.settings import Settings, load
from robmon.worker.detection import _counted
from robmon.worker.evaluation import evaluate
from tests.worker.test_evaluation import NAMES, saved

HOUR = 498_800
MODEL = ModelVersion(name="m", version="1", run_id="run")
ROWS = 256


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> list[ServedModel]:
    """Two linear models; the errors of the second are four times the first's."""
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=NAMES)
    target = rows @ np.array([1.0, -2.0, 0.5])
    folder = tmp_path_factory.mktemp("linear")
    return [saved(folder / str(factor), LinearRegression().fit(rows, factor * target)) for factor in (1.0, 2.0)]


def settings(folder: Path, **more: str) -> Settings:
    given = {
        "model.uri": "models:/m@champion",
        "data_dir": str(folder),
        "assess.levels": "0 0.1",
        "assess.trials": "19",
    }
    given |= {"baseline.min_rows": str(ROWS), "assess.min_rows": str(ROWS), "assess.max_seconds": "300"}
    return load(given | more).settings


def items(seed: int, hour: float) -> list[Item]:
    rows = np.random.default_rng(seed).normal(size=(ROWS, 3))
    at = clock.from_wall(hour * 3600.0 + 1800.0)
    bodies = [json.dumps({"dataframe_split": {"columns": NAMES, "data": [row.tolist()]}}).encode() for row in rows]
    return [
        Item("mlflow", {"content-type": "application/json"}, at, index, body, feedback=Feedback((f"{seed}-{index}",)))
        for index, body in enumerate(bodies)
    ]


class Pod:
    """What a daemon does of an assessment that has to do with the detector."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.settings = settings(folder, **more)
        self.history = History(folder, "m")
        self.baselines = BaselineFiles(folder, "m")
        self.writer = Writer()
        self.restarts: list[str] = []
        self.watch = RegressionWatch(self.settings, self.history, self.writer, self.restarts.append)
        self.baseline: dict[str, Any] | None = self.baselines.read("1")
        self.entries: Entries = ()
        self.before: dict[str, dict[str, Any]] = {}
        """Baselines of versions before."""
        self.shared: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.number = 0

    async def assess(self, model: ServedModel, sample: list[Item], version: ModelVersion = MODEL) -> Assessed:
        settled = self.baseline
        await self.watch.begin(version, settled, self.entries)
        asked = self.watch.ask(version, settled, self.entries, sample, self.before.get)
        self.number += 1
        question, blobs = assessment_question(
            self.settings, sample, number=self.number, seed=self.number, baseline=settled,
            has_answer=lambda item: False, asked=asked,
        )  # fmt: skip
        answer, _ = evaluate(model, question, blobs)
        assert isinstance(answer, Assessed)
        self.baseline = answer.baseline
        self.baselines.write("1", answer.baseline)
        self.watch.take(asked, answer)
        if answer.new_hours is not None:
            self.shared.append((answer.baseline, answer.new_hours))
        return answer

    async def learn(self, model: ServedModel, hours: int = 24, seed: int = 0) -> None:
        """Settle the baseline, gather so many hours, and make one more assessment in the next."""
        await self.assess(model, items(10**6 + seed, HOUR))
        await self.watch.begin(MODEL, self.baseline, self.entries)
        self.gather(range(HOUR, HOUR + hours))
        await self.assess(model, items(1000 * seed + hours, HOUR + hours))
        assert await asyncio.to_thread(self.writer.wait)

    def gather(self, hours: Iterable[int], factor: float = 1.0) -> None:
        """Know errors of these hours as the first model's assessments would have added them, or so many times those."""
        for hour in hours:
            errors, random = HourlyErrors(), np.random.default_rng(hour)
            errors.add(np.full(ROWS, hour), factor * 0.1**2 * 5.25 * random.chisquare(1, size=(ROWS, 19)))
            self.watch._hours[hour] = self.watch._unwritten[hour] = errors.to_dict()

    @property
    def evidence(self) -> float:
        assert self.watch.record is not None
        return self.watch.record.found.evidence


def run(do: Callable[[], Any]) -> None:
    asyncio.run(do())


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, linear: list[ServedModel]) -> Path:
    """The data folder of a pod that has watched the first model for a day, and made a step."""
    folder = tmp_path_factory.mktemp("day")
    run(lambda: Pod(folder).learn(linear[0]))
    return folder


@pytest.fixture
def watched(day: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(day, tmp_path / "data")


def test_a_baseline_that_it_learns_itself_shows_a_change_and_its_end(tmp_path: Path, linear: list[ServedModel]) -> None:
    async def story() -> None:
        pod = Pod(tmp_path)
        await pod.learn(linear[0], hours=22)
        record = pod.watch.record
        assert record is not None and record.found.basis is None, "silent before 24 hours"
        assert record.found.span_hours == 23
        for hour in (23, 24):
            await pod.assess(linear[0], items(hour, HOUR + hour))
        record = pod.watch.record
        assert (record.found.basis, record.found.tolerance, record.since) == ("day", 0.25, None)
        assert 0 < record.found.evidence < record.threshold == 43_200
        assert record.found.detectable_ratio is not None and 1 < record.found.detectable_ratio < 2
        seen = 0
        while pod.watch.record.since is None:
            await pod.assess(linear[1], items(100_000 + seen, HOUR + 25))
            seen += 1
        assert seen == 1, "errors four times as large"
        assert HOUR + 25 not in pod.watch._hours, "what is worse is not learnt as normal"
        since, cleared = pod.watch.record.since, 0
        while pod.watch.record.since is not None:
            assert pod.watch.record.since == since
            await pod.assess(linear[0], items(110_000 + cleared, HOUR + 26))
            cleared += 1
        assert pod.evidence == 0 and cleared <= 3

    run(story)


def test_where_it_stands_is_read_once_another_process_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first step would replace what was kept, and a regression that stands would be one no more."""
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    given = settings(tmp_path)
    record = DetectionRecord(identity=identity_of(given, MODEL, None, ()), number=7)
    history = History(tmp_path, "m")
    history.write_step(given.scope, record, "of", {})
    holder = sqlite3.connect(history.state_file, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")

    async def run() -> None:
        pod = Pod(tmp_path)
        assert pod.watch.record is None
        holder.close()
        await pod.watch.begin(MODEL, None, ())
        assert (pod.watch.record, pod.restarts) == (record, [])
        await pod.writer.close()

    asyncio.run(run())


def test_a_restart_goes_on_to_the_bit(watched: Path, linear: list[ServedModel]) -> None:
    async def story() -> None:
        pod = Pod(watched)
        await pod.watch.begin(MODEL, pod.baseline, ())
        assert pod.evidence > 0 and len(pod.watch._hours) == 25 and pod.restarts == []
        await pod.assess(linear[0], items(7000, HOUR + 25))
        assert await asyncio.to_thread(pod.writer.wait)
        later = Pod(watched)
        await later.watch.begin(MODEL, later.baseline, ())
        assert later.watch.record == pod.watch.record and later.watch._hours == pod.watch._hours
        later.number = pod.number
        for each in (pod, later):
            await each.assess(linear[0], items(7001, HOUR + 25))
        assert later.watch.record is not None and pod.watch.record is not None
        assert later.watch.record.found == pod.watch.record.found

    run(story)


def test_a_request_counts_once_and_one_that_was_used_never_again(watched: Path, linear: list[ServedModel]) -> None:
    async def story() -> None:
        pod = Pod(watched)
        before = pod.watch.record
        assert before is not None
        await pod.assess(linear[0], items(7000, HOUR + 26))
        once = pod.watch.record
        pod.watch.record, pod.number = before, pod.number - 1  # the same noise again
        twice_each = [*items(7000, HOUR + 26), *items(7000, HOUR + 26)]  # as from a mirror that sends again
        await pod.assess(linear[0], twice_each)
        twice = pod.watch.record
        assert once is not None and twice is not None and once.found.requests == twice.found.requests == ROWS
        assert twice.found.evidence == once.found.evidence
        await pod.assess(linear[0], items(7000, HOUR + 27))
        assert pod.evidence == once.found.evidence, "all of them were counted before"
        fresh, used = items(7001, HOUR + 27)[:64], items(7002, HOUR + 27)
        await pod.assess(linear[0], [*fresh, *(replace(each, topped_up=True) for each in used)])
        assert pod.watch.record is not None and pod.watch.record.found.requests == 64

    run(story)


@pytest.mark.parametrize(
    ("reason", "more", "version", "entries"),
    [
        ("threshold", {"alerts.false_alarms_per_month": "2"}, MODEL, ()),
        ("threshold", {"assess.interval_seconds": "30"}, MODEL, ()),
        ("tolerance", {"alerts.tolerance": "0.3"}, MODEL, ()),
        ("level", {"assess.levels": "0 0.2"}, MODEL, ()),
        ("noise", {"assess.noise": "uniform"}, MODEL, ()),
        ("version", {}, ModelVersion(name="m", version="2", run_id="run"), ()),
        ("version", {}, ModelVersion(name="m", version="1", run_id="another"), ()),
        ("baseline", {}, MODEL, (Entry(version="1", run_id="run", accepted=True, by="person", at=5.0),)),
    ],
)
def test_what_is_another_than_it_was_begins_at_0(
    reason: str, more: dict[str, str], version: ModelVersion, entries: Entries, watched: Path
) -> None:
    async def story() -> None:
        pod = Pod(watched, **more)
        assert pod.evidence > 0
        await pod.watch.begin(version, pod.baseline, entries)
        assert pod.watch.record is None and pod.restarts == [reason]
        is_of_the_same_errors = reason in ("threshold", "tolerance")
        assert bool(pod.watch._hours) == is_of_the_same_errors

    run(story)


def test_an_hour_that_is_left_out_rebuilds_the_limit(tmp_path: Path, linear: list[ServedModel]) -> None:
    async def story() -> None:
        pod = Pod(tmp_path)
        await pod.learn(linear[0], hours=5)
        pod.gather(range(HOUR + 6, HOUR + 24))
        pod.gather([HOUR + 7], factor=4.0)
        await pod.assess(linear[0], items(24, HOUR + 24))
        assert await asyncio.to_thread(pod.writer.wait)
        record = pod.watch.record
        assert record is not None and record.found.worst_hour == HOUR + 7
        assert record.found.worst_hour_ratio == pytest.approx(4, rel=0.2)
        await pod.writer.ask(lambda: pod.history.leave_out("1", HOUR + 7), 10)
        for part in range(2):
            await pod.assess(linear[0], items(50_000 + part, HOUR + 25))
            assert await asyncio.to_thread(pod.writer.wait)
            await asyncio.sleep(0)
        assert pod.restarts == ["baseline"]
        found = pod.watch.record.found
        assert found.worst_hour is None and found.basis == "day"

    run(story)


def no_pause(seconds: float) -> None:
    """There is nobody else."""


class Registry:
    """One baseline that pods share."""

    def __init__(self) -> None:
        self.content: dict[str, Any] | None = None
        self.shares = 0

    def share(self, pod: Pod) -> None:
        for baseline, new_hours in pod.shared:
            self.shares += 1
            hours = {str(self.shares): new_hours}
            share(lambda: self.content, lambda content: setattr(self, "content", content), baseline, hours, no_pause)
        pod.shared = []

    @property
    def hours(self) -> dict[int, int]:
        """Rows by hour."""
        assert self.content is not None
        hours = hours_of(self.content)
        assert hours is not None
        return {at: hour.rows for at, hour in hours.errors.hours.items()}


def test_pods_share_what_they_learnt_and_a_new_one_begins_with_it(tmp_path: Path, linear: list[ServedModel]) -> None:
    async def story() -> None:
        registry = Registry()
        pods = [Pod(tmp_path / name) for name in ("a", "b")]
        for seed, pod in enumerate(pods):
            await pod.learn(linear[0], hours=12, seed=seed)
            registry.share(pod)
        assert registry.hours == {HOUR + hour: 2 * ROWS for hour in range(12)}
        late = Pod(tmp_path / "late")
        late.baseline = registry.content
        await late.watch.begin(MODEL, late.baseline, ())
        late.gather(range(HOUR + 12, HOUR + 24))
        await late.assess(linear[0], items(5024, HOUR + 24))
        assert late.watch.record is not None and late.watch.record.found.basis == "day", (
            "12 hours of others, 12 of its own"
        )
        registry.share(late)
        assert registry.hours == {HOUR + hour: ROWS if hour > 11 else 2 * ROWS for hour in range(24)}
        new = Pod(tmp_path / "new")
        new.baseline = registry.content
        await new.assess(linear[0], items(9000, HOUR + 30))
        assert new.watch.record is not None and new.watch.record.found.basis == "day" and new.evidence > 0
        await new.assess(linear[1], items(9001, HOUR + 30))
        assert new.watch.record.since is not None
        assert registry.content is not None
        without = hours_of(leave_out(registry.content, HOUR + 3))
        assert without is not None and HOUR + 3 in without.errors.hours and HOUR + 3 not in without.usable.hours

    run(story)


def test_a_version_that_passed_inherits_until_it_has_a_day_of_its_own(watched: Path, linear: list[ServedModel]) -> None:
    passed = Entry(version="2", run_id="r", accepted=True, by="verdict", against="1", at=9.0, error_ratio_high=1.5)

    async def story() -> None:
        pod, version = Pod(watched), ModelVersion(name="m", version="2", run_id="r")
        assert pod.baseline is not None
        pod.entries, pod.before, pod.baseline = (passed,), {"1": pod.baseline}, None
        for hour in (30, 31):
            await pod.assess(linear[0], items(100 + hour, HOUR + hour), version)
        record = pod.watch.record
        assert record is not None and (record.found.basis, record.version) == ("inherited", "2")
        await pod.assess(linear[0], items(200, HOUR + 32), version)
        assert pod.watch.record.since is None
        pod.gather(range(HOUR + 33, HOUR + 55))
        await pod.assess(linear[0], items(256, HOUR + 55), version)
        assert pod.watch.record.found.basis == "day" and pod.watch.record.since is None
        await pod.assess(linear[1], items(300, HOUR + 56), version)
        assert pod.watch.record.since is not None

    run(story)


def test_nothing_is_inherited_from_what_is_not_known() -> None:
    hourly = {"errors": {"hours": [{"hour": 1}, {"hour": 24}]}}
    chain = (
        Entry(version="1", accepted=True, by="first", at=1.0),
        Entry(version="2", accepted=True, by="verdict", against="1", at=2.0, error_ratio_high=1.2),
        Entry(version="3", accepted=True, by="verdict", against="2", at=3.0, error_ratio_high=1.5),
        Entry(version="4", accepted=False, by="verdict", against="3", at=4.0, error_ratio_high=9.0),
        Entry(version="5", accepted=True, by="verdict", against="3", at=5.0),
    )
    [of_1] = inheritance(chain, "3", None, {"1": {"hourly": hourly}}.get)
    assert of_1.ratio == pytest.approx(1.8)
    both = {"1": {"hourly": hourly}, "2": {"hourly": hourly}}
    assert inheritance(chain, "3", None, both.get) == [({"hourly": hourly}, 1.5)]
    short = {"1": both["1"], "2": {"hourly": {"errors": {"hours": [{"hour": 1}, {"hour": 23}]}}}}
    assert [each.ratio for each in inheritance(chain, "3", None, short.get)] == pytest.approx([1.5, 1.8])
    for version in ("1", "4", "5", "6"):
        assert inheritance(chain, version, None, both.get) == []


def _from(errors: HourlyErrors, hour: int) -> HourlyErrors:
    for earlier in [each for each in errors.hours if each < hour]:
        errors = errors.without_hour(earlier)
    return errors


def test_versions_that_lived_for_less_than_a_day_have_one_together(watched: Path, linear: list[ServedModel]) -> None:
    """Where every version is replaced within a day."""
    passed = tuple(
        Entry(version=version, run_id="r", accepted=True, by="verdict", against=against, at=at, error_ratio_high=1.2)
        for version, against, at in (("2", "1", 9.0), ("3", "2", 10.0))
    )

    async def story() -> None:
        pod, version = Pod(watched), ModelVersion(name="m", version="3", run_id="r")
        assert pod.baseline is not None
        day = hours_of(pod.baseline)
        assert day is not None
        middle = min(day.errors.hours) + 12
        parts = {"1": day.before(middle), "2": replace(day, errors=_from(day.errors, middle))}
        assert not any(part.errors.is_sufficient for part in parts.values())
        pod.before = {name: {**pod.baseline, "hourly": part.to_dict()} for name, part in parts.items()}
        pod.entries, pod.baseline = passed, None
        for hour in (30, 31):
            await pod.assess(linear[0], items(100 + hour, HOUR + hour), version)
        assert pod.watch.record is not None and pod.watch.record.found.basis == "inherited"

    run(story)


def test_a_week_gives_a_closer_limit_that_does_not_move_any_more(watched: Path, linear: list[ServedModel]) -> None:
    async def story() -> None:
        pod = Pod(watched)
        await pod.assess(linear[0], items(500, HOUR + 25))
        assert pod.watch.record is not None and pod.watch.record.found.basis == "day"
        pod.gather(range(HOUR + 25, HOUR + 168))
        await pod.assess(linear[0], items(501, HOUR + 168))
        found = pod.watch.record.found
        assert (found.basis, found.tolerance, found.span_hours) == ("week", 0.1, 168)
        assert pod.baseline is not None and hours_of(pod.baseline) is not None
        assert len(pod.shared) == 1, "its hours are told to the others"
        hours = dict(pod.watch._hours)
        await pod.assess(linear[0], items(502, HOUR + 169))
        assert pod.watch._hours == hours and pod.watch.record.found.basis == "week"
        assert pod.watch.ask(MODEL, pod.baseline, (), [], pod.before.get).question.hours == {}

    run(story)


def test_a_detector_of_another_robmon_begins_at_0_and_is_counted(watched: Path, linear: list[ServedModel]) -> None:
    async def story() -> None:
        pod = Pod(watched)
        before = pod.watch.record
        assert before is not None and before.found.detector is not None
        other = before.found.model_copy(update={"detector": {**before.found.detector, "format": 99}})
        pod.watch.record = before.model_copy(update={"found": other})
        await pod.assess(linear[0], items(503, HOUR + 26))
        assert pod.restarts == ["format"]
        assert pod.watch.record.found.basis == "day" and pod.watch.record.found.detector["updates"] == 1

    run(story)


def test_rows_of_one_request_count_as_their_mean() -> None:
    requests = [SampledRequest(format="mlflow", seed=0, hour=hour) for hour in (7, None, 8, 9)]
    question = Assess.model_construct(requests=requests)
    errors = np.arange(18.0).reshape(9, 2)
    origins, finite = [0, 0, 0, 1, 2, 2, 2, 3, 3], np.ones(9, dtype=bool)
    finite[[4, 7, 8]] = False  # of the last request nothing is left
    counted = _counted(question, errors, finite, origins)
    assert counted.hours.tolist() == [7, 8]
    assert counted.errors.tolist() == [[0, 1, 2, 3], [10, 11, 12, 13]], "as many rows of each as the smallest has"
    nothing = _counted(question, errors, np.zeros(9, dtype=bool), origins)
    assert nothing.errors.shape == (0, 2) and nothing.hours.tolist() == []
