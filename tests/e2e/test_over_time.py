"""The same version becomes worse under a running daemon, which is killed again and again while it watches.

The hours are those of the requests: rows of files arrived when their file was written.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.registry import Registry
from tests.e2e.test_endpoint import NO_REGISTRY
from tests.endpoint import Arrays, V2Model, serving

HOURS = 26
ROWS = 48
SETTINGS = {
    "inputs__files_poll_seconds": 0.2,
    "inputs__max_age_seconds": 40 * 3600,
    "inputs__sample_rows": HOURS * ROWS,
    "assess__levels": "0.2",
    "assess__max_seconds": 200,
    "baseline__min_rows": 32,
    "model__rows_per_second": 1_000_000,
    "model__batch_rows": 4096,
    "worker__timeout_seconds": 400,
}
STATE, EVIDENCE = "robmon_detection_state", "robmon_regression_evidence"


class Sensors:
    """Files of inputs: one a batch, as old as the hour says; none appears before it is whole."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.now = time.time()
        self._written = 0

    def log(self, hours_ago: int, rows: int = ROWS) -> None:
        values = np.random.default_rng(self._written).normal(size=(rows, 2))
        lines = [json.dumps({"length": x, "width": y, "serial": 7}) + "\n" for x, y in values.tolist()]
        new = self.folder / ".new"
        new.write_text("".join(lines))
        at = self.now - 3600 * hours_ago
        os.utime(new, (at, at))
        new.rename(self.folder / f"{self._written}.jsonl")
        self._written += 1


def is_at(daemon: Daemon, state: str) -> bool:
    return daemon.value(STATE, state=state) == 1


def wait_for_limit(daemon: Daemon, sensors: Sensors, hours_ago: int = 1) -> None:
    """Until rows come that are younger than a day of hours: into how many assessments those came is chance."""

    def has_limit() -> bool:
        if not is_at(daemon, "day"):
            sensors.log(hours_ago)
            daemon.wait_for_assessments()
        return is_at(daemon, "day")

    daemon.wait_for(has_limit, "a limit")


def stands(daemon: Daemon) -> bool:
    return daemon.value("robmon_regression_detected", kind="time") == 1


def shared_hours(registry: Path) -> int:
    """How many hours the pods have put beside the model."""
    hours = [0]
    for file in registry.rglob("learnt.json"):
        with contextlib.suppress(ValueError):  # it is just being written
            hours.append(len(json.loads(file.read_bytes())["hourly"]["errors"]["hours"]))
    return max(hours)


@pytest.mark.long
def test_a_version_that_becomes_worse_is_told_whoever_dies(tmp_path: Path) -> None:
    def smooth(arrays: Arrays) -> Arrays:
        return {"y": arrays["length"] + arrays["width"]}

    def steep(arrays: Arrays) -> Arrays:
        return {"y": 3.0 * (arrays["length"] + arrays["width"])}

    sensors, model = Sensors(tmp_path / "inputs"), V2Model(smooth, "kserve", [])
    with serving(model) as server:
        url = f"{server.url}/v2/models/digits/infer"
        settings = SETTINGS | {"inputs__files": str(sensors.folder)}
        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            sensors.log(HOURS + 2)
            daemon.wait_for(lambda: is_at(daemon, "learning") and daemon.assessments() >= 1, "a baseline that settles")
            assert daemon.value(EVIDENCE) is None
            for hour in range(HOURS):
                sensors.log(HOURS + 1 - hour)
            daemon.wait_for(lambda: daemon.assessments() >= 2, "hours that are gathered")
            assert "of the 24 hours that a limit needs" in daemon.get("/").text
            wait_for_limit(daemon, sensors)
            daemon.wait_for_assessments(3)  # with the last of the rows
            before = daemon.value(EVIDENCE)
            assert before and daemon.value("robmon_regression_evidence_threshold") == 30 * 86400 / 0.3
            assert not stands(daemon)
            daemon.kill()

        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            daemon.wait_for(lambda: is_at(daemon, "day"), "what was kept")
            assert daemon.value(EVIDENCE) == before, "to the bit, and no row was counted again"
            assert daemon.count("robmon_detection_restarts_total") == 0
            model.predict = steep
            sensors.log(1)
            daemon.wait_for(lambda: stands(daemon), "the alarm")
            since = daemon.value("robmon_regression_since_timestamp_seconds", kind="time")
            (told,) = daemon.told("worse than its baseline's worst hour")
            assert told["evidence"] >= told["threshold"]
            assert "Worse than its baseline&#x27;s worst hour since" in daemon.get("/").text
            daemon.kill()

        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            daemon.wait_for(lambda: stands(daemon), "the alarm, still")
            assert daemon.value("robmon_regression_since_timestamp_seconds", kind="time") == since
            model.predict = smooth
            for _ in range(8):
                if not stands(daemon):
                    break
                done = daemon.assessments()
                sensors.log(0, rows=10 * ROWS)
                daemon.wait_for(lambda done=done: daemon.assessments() > done, "an assessment")  # type: ignore[misc]
            daemon.wait_for(lambda: not stands(daemon), "the end of the alarm")
            assert daemon.value(EVIDENCE) == 0
            assert daemon.told("no worse than its baseline's worst hour again")


@pytest.mark.long
def test_a_new_pod_begins_with_what_others_learnt_and_a_new_version_inherits_it(
    served: Registry, tmp_path: Path
) -> None:
    model = served.model()
    first, second = model.add(), model.add(1.01)
    model.accept(first)
    model.serve(first)
    sensors = Sensors(tmp_path / "inputs")
    settings = SETTINGS | {"inputs__files": str(sensors.folder)}
    with running_daemon(tmp_path / "a", model.uri, served.tracking_uri, **settings) as daemon:
        sensors.log(HOURS + 2)
        daemon.wait_for_assessments()
        for hour in range(HOURS):
            sensors.log(HOURS + 1 - hour)
        daemon.wait_for(lambda: daemon.assessments() >= 2, "hours that are gathered")
        wait_for_limit(daemon, sensors)
        daemon.wait_for(lambda: shared_hours(served.folder) >= 24, "a baseline that others can read")
        daemon.kill()

    others = Sensors(tmp_path / "more inputs")
    settings = SETTINGS | {"inputs__files": str(others.folder)}
    with running_daemon(tmp_path / "b", model.uri, served.tracking_uri, **settings) as daemon:
        wait_for_limit(daemon, others, hours_ago=0)  # by the hours of the pod that died
        assert daemon.value(EVIDENCE)
        model.serve(second)
        daemon.told("robustness held")
        for _ in range(4):
            others.log(0)
            daemon.wait_for_assessments()
        daemon.wait_for(lambda: is_at(daemon, "inherited"), "hours that are inherited")
        info = [sample for sample in daemon.metrics("robmon_model_info") if sample.name == "robmon_model_info"]
        assert info[0].labels["baseline"] == "inherited" and info[0].labels["model_version"] == second
        assert not stands(daemon)
