"""Kills at random moments of a daemon that adds up evidence: no step is lost or there twice, nor any row or hour."""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from robmon.daemon.memory.detection import hours_name
from robmon.drift.hourly import HourlyErrors
from robmon.history.store import History
from robmon.models.uri import default_scope, history_key, parse
from tests.campaign.watch import Finding, Held, asked, begun, hold_to_limits
from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.test_endpoint import NO_REGISTRY
from tests.e2e.test_files import summed
from tests.e2e.test_over_time import HOURS, SETTINGS, Sensors, is_at
from tests.endpoint import V2Model, serving

KILLS = 200
PATIENT_LIVES = 0.6
"""Share of the lives that begin with a good assessment; the others are killed from the first moment on."""
LONGEST_SECONDS = 2.5
MOST_ROWS = 6


class OnDisk(NamedTuple):
    """What the state file holds of the detector at one moment, all of it committed."""

    number: int
    updates: int
    rows_seen: int
    evidence: float
    hour_rows: int
    """Rows in the hours that limits are made from."""
    read_rows: int
    """Lines of the file that counts up to where it has been read."""
    assessments: frozenset[int]
    """Numbers of the assessments in the history."""


@dataclass
class Lives:
    """Daemons on one data folder, one after the other, each killed at a random moment."""

    finding: Finding
    inputs: Path
    history: History
    scope: str
    start: Any
    random: Random = field(default_factory=lambda: Random(17))
    written: int = 0
    told: int = 0
    """Number of the last good assessment that any life told."""

    @property
    def log(self) -> Path:
        """The file that grows."""
        return self.inputs / "live.jsonl"

    def write(self, rows: int) -> None:
        """Some more rows, at once."""
        values = [(self.random.gauss(0, 1), self.random.gauss(0, 1)) for _ in range(rows)]
        with self.log.open("a") as stream:
            stream.write("".join(json.dumps({"length": x, "width": y, "serial": 7}) + "\n" for x, y in values))
        self.written += rows

    def live(self) -> None:
        """One life: rows come, and at a random moment it is killed."""
        with self.start() as daemon:
            with asked(self.finding, daemon):
                if self.random.random() < PATIENT_LIVES:
                    self.write(MOST_ROWS)
                    daemon.wait_for(lambda: daemon.assessments() >= 1, "a good assessment")
                end = time.monotonic() + self.random.uniform(0, LONGEST_SECONDS)
                while time.monotonic() < end:
                    self.write(self.random.randint(1, MOST_ROWS))
                    time.sleep(self.random.uniform(0, 0.3))
            daemon.kill()
        self.finding.times += 1
        self._take_told(daemon)

    def _take_told(self, daemon: Daemon) -> None:
        numbers = [line["number"] for line in daemon.log("assessment") if line["outcome"] == "ok"]
        self.told = max([self.told, *numbers])
        assert not daemon.log("hours of the baseline not read") and not daemon.log("evidence begins at 0")

    def read_bytes(self) -> int:
        """How far the file has been read, of all that is committed."""
        positions = self.history.read_positions(str(self.inputs))
        position = positions.get(f"inode {self.log.stat().st_ino}")
        return 0 if position is None else position.offset

    def on_disk(self) -> OnDisk:
        """What is there now, while nobody writes."""
        record = self.history.read_detection(self.scope)
        assert record is not None and record.found.detector is not None and record.since is None
        detector = record.found.detector
        hours, _ = self.history.read_hours(hours_name(record.identity))
        read = self.log.read_bytes()[: self.read_bytes()]
        numbers = [row["number"] for row in self.history.past.assessments()]
        assert len(numbers) == len({*numbers}), "an assessment is in the history twice"
        return OnDisk(
            record.number,
            detector["updates"],
            detector["rows_seen"],
            record.found.evidence,
            sum(HourlyErrors.from_dict(part).rows for part in hours.values()),
            read.count(b"\n"),
            frozenset(numbers),
        )


def hold(before: OnDisk, now: OnDisk, began: OnDisk, told: int) -> None:
    """What holds after every kill, given what was there after the one before and in the beginning."""
    assert now.number >= max(before.number, told), "a step that was told is lost"
    assert now.assessments >= before.assessments, "an assessment that was there is lost"
    assert now.updates >= before.updates and now.rows_seen >= before.rows_seen
    counted = now.rows_seen - began.rows_seen
    assert counted == now.read_rows - began.read_rows, "a row is counted twice, or read and not counted"
    assert counted == now.hour_rows - began.hour_rows, "evidence and hours are not of the same rows"
    if now.number == before.number:
        assert now[:6] == before[:6], "nothing changes without an assessment"


@pytest.mark.campaign
@pytest.mark.timeout(5400)
def test_kills_while_evidence_and_history_are_written(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The evidence of rows that all come from one file, of which is known how far it has been read."""
    sensors = Sensors(tmp_path_factory.mktemp("inputs") / "files")
    with serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        settings: dict[str, Any] = SETTINGS | {"inputs__files": sensors.folder, "assess__trials": 9}
        settings |= {"assess__confidence": 0.9, "assess__min_rows": 4}  # what the life before had in memory is gone
        start = functools.partial(running_daemon, tmp_path, url, NO_REGISTRY, **settings)
        uri = parse(url)
        history = History(tmp_path / "data", history_key(uri, "digits"))
        lives = Lives(
            begun("kill -9 while evidence is added up", 0), sensors.folder, history, default_scope(uri), start
        )
        with start() as daemon:
            sensors.log(HOURS + 2)
            daemon.wait_for(lambda: is_at(daemon, "learning") and daemon.assessments() >= 1, "a baseline that settles")
            for hour in range(HOURS):
                sensors.log(HOURS + 1 - hour)
            daemon.wait_for(lambda: daemon.assessments() >= 2, "hours that are gathered")

            def has_limit() -> bool:
                lives.write(1)  # a limit comes with the next row, of whatever hour the one before was
                return is_at(daemon, "day")

            daemon.wait_for(has_limit, "a limit")
            held = Held.by(daemon)
            daemon.terminate()
        began = before = lives.on_disk()
        for _ in range(KILLS):
            lives.live()
            now = lives.on_disk()
            hold(before, now, began, lives.told)
            before = now
        with start() as daemon:
            with asked(lives.finding, daemon):
                lives.write(MOST_ROWS)
                everything = lives.log.stat().st_size
                daemon.wait_for(lambda: lives.read_bytes() == everything, "every row that was written counts")
                daemon.wait_for_assessments(2)
            hold_to_limits(lives.finding, held, daemon)
            daemon.terminate()
        now = lives.on_disk()
        hold(before, now, began, lives.told)
        assert now.read_rows == lives.written, "each once"
        assert now.updates - began.updates >= 0.3 * KILLS, "most lives were long enough for a step"
    lives.finding.outcome = (
        f"survived: {now.updates - began.updates} steps on {now.rows_seen - began.rows_seen} rows, each counted once, "
        f"{len(now.assessments)} assessments in the history, none lost"
    )
