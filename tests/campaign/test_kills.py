"""Kills at random moments: no number twice, no row in assessments of two lives, no line lost or read twice."""

from __future__ import annotations

import collections
import contextlib
import datetime
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from tests.campaign.watch import Finding, Held, asked, begun, hold_to_limits, lasting_processes
from tests.e2e.daemon import ROWS, Daemon, Row, running_daemon
from tests.e2e.registry import Registry
from tests.e2e.test_endpoint import NO_REGISTRY
from tests.e2e.test_files import append, summed
from tests.endpoint import Arrays, V2Model, serving

WORKER, READER, FETCH, DAEMON = "robmon.worker", "robmon.reader", "robmon.fetch", "the daemon"
ROWS_OF_A_LIFE = 40
SERIAL_OF_CANARY = 0
"""The synthetic canary's rows are nobody's: columns that noise leaves alone are 0 there."""
PATIENT_LIVES = 0.8
SETTINGS = {
    "inputs__sample_rows": 1000,
    "inputs__files_poll_seconds": 0.2,
    "assess__interval_seconds": 0.4,
    "assess__max_seconds": 300,  # rows that a budget leaves out are in no assessment, and are not read again
    "assess__trials": 9,
    "assess__confidence": 0.9,
    "model__poll_seconds": 0.5,
}


Call = tuple[float, set[int]]


@dataclass
class Lives:
    """Daemons on one data folder, one after the other, each killed at a random moment.

    Attributes:
        finding: the line of the table.
        folder: of the daemons.
        start: starts one.
        chances: how likely a process of a module is killed at each look.
        calls: time and serials of the rows of every call of a model so far, in order.
        seconds: how long a life is at least and at most, and the alias stands.
        move: moves the alias.
    """

    finding: Finding
    folder: Path
    inputs: Path
    start: Callable[[], contextlib.AbstractContextManager[Daemon]]
    chances: dict[str, float]
    calls: Callable[[], list[Call]]
    seconds: tuple[float, float]
    move: Callable[[Random], None] | None = None
    random: Random = field(default_factory=lambda: Random(5))
    kills: collections.Counter[str] = field(default_factory=collections.Counter)
    moves: int = 0
    serials: Iterator[int] = field(default_factory=lambda: itertools.count(10**11))
    written: set[int] = field(default_factory=set)
    logs: list[tuple[float, list[dict[str, Any]]]] = field(default_factory=list)
    """When a life began, and its lines on assessments, life by life."""
    held: Held | None = None
    """What the first daemon held once it had assessed."""

    def write(self) -> None:
        """Log some more requests, each with a serial of its own; sometimes the file is rotated before."""
        rows: list[Row] = []
        for length, width, _ in self.random.choices(ROWS, k=ROWS_OF_A_LIFE // 2):
            rows.append((length, width, next(self.serials)))
            self.written.add(rows[-1][2])
        log = self.inputs / "log.jsonl"
        if log.exists() and self.random.random() < 0.3:
            log.rename(self.inputs / f"log-{rows[0][2]}.jsonl")
        append(log, rows)

    def live(self) -> None:
        """One life: rows come, the alias moves, processes are killed, and at last the daemon.

        The first life and most others begin with a good assessment; in the rest everything is killed from the first
        moment on.
        """
        self.write()
        began = time.time()
        with self.start() as daemon:
            with asked(self.finding, daemon):
                if self.held is None or self.random.random() < PATIENT_LIVES:
                    daemon.wait_for(lambda: good(daemon), "a good assessment")
                self.held = self.held or Held.by(daemon)
                self._suffer(daemon)
            daemon.kill()
            self.kills[DAEMON] += 1
        self.logs.append((began, daemon.log("assessment")))
        self.finding.times = self.kills.total()

    def _suffer(self, daemon: Daemon) -> None:
        """Some seconds in which rows come, the alias moves, and processes are killed."""
        random = self.random
        end = time.monotonic() + random.uniform(*self.seconds)
        writes_at, moves_at = (random.uniform(time.monotonic(), end) for _ in range(2))
        while (now := time.monotonic()) < end:
            if now > writes_at:
                self.write()
                writes_at = end
            if now > moves_at and self.move is not None:
                self.move(random)
                self.moves += 1
                moves_at = now + random.uniform(*self.seconds)
            self._kill_some(daemon)
            time.sleep(random.uniform(0, 0.4))

    def _kill_some(self, daemon: Daemon) -> None:
        with contextlib.suppress(psutil.Error):
            for module, chance in self.chances.items():
                for child in daemon.children(module):
                    if self.random.random() < chance:
                        child.kill()
                        self.kills[module] += 1

    def end(self) -> None:
        """A last life, in peace: all that is there is assessed, and no more is left over or held than in the first."""
        assert self.held is not None
        self.write()
        began = time.time()
        with self.start() as daemon:
            with asked(self.finding, daemon):
                daemon.wait_for(lambda: self.asked_about() >= self.written, "every line that was written is assessed")
                daemon.wait_for_assessments(2)
                assert lasting_processes(daemon) <= 3, "no process is left"
                if self.move is not None:
                    self.move(self.random)
                daemon.wait_for(lambda: not left_over(daemon), "the sweep of what dead processes left")
            hold_to_limits(self.finding, self.held, daemon)
        self.logs.append((began, daemon.log("assessment")))

    def asked_about(self) -> set[int]:
        """The serials of all rows that any model was asked about."""
        return {serial for _, serials in self.calls() for serial in serials}

    def check(self) -> int:
        """That no number, seed or row is in two good assessments of two lives; how many there were."""
        rows_of, calls = [], self.calls()
        numbers: collections.Counter[int] = collections.Counter()
        lives_of_seed: collections.defaultdict[int, set[int]] = collections.defaultdict(set)
        for life, (before, lines) in enumerate(self.logs):
            rows: set[int] = set()
            for line in lines:
                at = datetime.datetime.fromisoformat(line["timestamp"]).timestamp()
                if line["outcome"] == "ok":
                    assert line["cut"] is None
                    numbers[line["number"]] += 1
                    lives_of_seed[line["seed"]].add(life)
                    rows |= set().union(*(serials for when, serials in calls if before < when <= at))
                before = at
            rows_of.append(rows)
        twice = [number for number, count in numbers.items() if count > 1]
        assert not twice, f"numbers came twice: {twice}"
        twice = [seed for seed, lives in lives_of_seed.items() if len(lives) > 1]
        assert not twice, f"seeds came in two lives: {twice}"
        lives_of_row = collections.Counter(row for rows in rows_of for row in rows - {SERIAL_OF_CANARY})
        assert lives_of_row.keys() <= self.written
        again = [row for row, lives in lives_of_row.items() if lives > 1]
        assert not again, f"{len(again)} rows of {len(lives_of_row)} were assessed in two lives"
        return numbers.total()


def good(daemon: Daemon) -> int:
    """How many good assessments it has told."""
    return sum(line["outcome"] == "ok" for line in daemon.log("assessment"))


def calls_in(seen: Path) -> list[Call]:
    """What an odd model wrote there of its calls."""
    if not seen.exists():
        return []
    words = (line.split() for line in seen.read_text(encoding="ascii").splitlines())
    return [(float(at), set(map(int, serials))) for at, *serials in words]


def left_over(daemon: Daemon) -> list[Path]:
    """Temporary files, and folders that a dead process has left."""
    folders = [*daemon.temporary.glob("robmon-fetch-*"), *daemon.temporary.glob("tmp*")]
    return [*folders, *daemon.data_dir.rglob("*.tmp"), *daemon.data_dir.rglob("*.unfinished*")]


def until_killed(lives: Lives, wanted: dict[str, int]) -> None:
    """Live until so many kills of each kind, then check what all lives left."""
    while any(lives.kills[module] < count for module, count in wanted.items()):
        lives.live()
    lives.end()
    assessments = lives.check()
    assert assessments >= lives.kills[DAEMON] / 2, "most lives are long enough for assessments"
    told = ", ".join(f"{count} {module.removeprefix('robmon.')}" for module, count in lives.kills.items())
    lives.finding.outcome = f"survived: {told}; alias moved {lives.moves} times; {assessments} good assessments, "
    lives.finding.outcome += f"{len(lives.written)} lines, none lost or assessed in two lives"


SHORT = {DAEMON: 2, WORKER: 1, READER: 1}
LONG = {DAEMON: 40, WORKER: 40, READER: 100, FETCH: 20}
INPUTS = [("length", "FP64", [-1]), ("width", "FP64", [-1]), ("serial", "INT64", [-1])]


@pytest.mark.parametrize(
    "wanted",
    [SHORT, pytest.param(LONG, marks=[pytest.mark.campaign, pytest.mark.timeout(7200)])],
    ids=["short", "long"],
)
def test_kills_beside_an_endpoint(
    wanted: dict[str, int], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its version changes; no model has to be loaded, so that there are many assessments between the kills."""
    inputs = tmp_path_factory.mktemp("inputs")
    calls: list[Call] = []

    def predict(arrays: Arrays) -> Arrays:
        calls.append((time.time(), {int(serial) for serial in arrays["serial"].reshape(-1)}))
        return summed(arrays)

    model = V2Model(predict, "triton", INPUTS, "1")

    def move(random: Random) -> None:
        model.version = str(random.randint(1, 3))

    with serving(model) as server:
        url = f"{server.url}/v2/models/digits/infer"
        settings = SETTINGS | {"inputs__files": inputs, "model__rows_per_second": 20_000}
        start = functools.partial(running_daemon, tmp_path, url, NO_REGISTRY, **settings)
        chances = {WORKER: 0.1, READER: 0.2, FETCH: 0.5}  # an endpoint is asked for its version in no time
        finding = begun("kill -9 while the version behind an endpoint changes")
        until_killed(Lives(finding, tmp_path, inputs, start, chances, lambda: list(calls), (0.5, 4), move), wanted)


@pytest.mark.campaign
@pytest.mark.timeout(7200)
def test_kills_while_the_alias_moves(
    served: Registry, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """200 kills; models are fetched from a registry, loaded, judged and replaced meanwhile."""
    inputs, seen = tmp_path_factory.mktemp("inputs"), tmp_path_factory.mktemp("seen") / "seen"
    model = served.model()
    versions = [model.add(weight, seen=seen) for weight in (1.0, 1.02, 4.0)]
    model.serve(versions[0])
    settings = SETTINGS | {"inputs__files": inputs}
    lives = Lives(
        begun("kill -9 while the alias moves"),
        tmp_path,
        inputs,
        functools.partial(running_daemon, tmp_path, model.uri, served.tracking_uri, **settings),
        {WORKER: 0.06, READER: 0.15, FETCH: 0.12},
        lambda: calls_in(seen),
        (3, 9),
        lambda random: model.serve(random.choice(versions)),
    )
    until_killed(lives, {DAEMON: 35, WORKER: 40, READER: 75, FETCH: 50})
    assert sum(lives.kills.values()) >= 200
