"""What the settings of alerts buy with a baseline, and hours that a person leaves out of it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robmon.drift.detector import RegressionDetector
from robmon.drift.hourly import HourlyErrors
from robmon.errors import InvalidInputError
from robmon.history.baseline.checksum import with_checksum
from robmon.history.baseline.hours import BaselineHours, HoursTerms
from robmon.history.detection import DetectionRecord
from robmon.history.store import History
from robmon.library.detection_power import power_sentences, read_hours
from robmon.library.left_out_hours import leave_out_hour
from robmon.models.access import EndpointAccess
from robmon.models.loading import RemoteModel
from robmon.models.uri import Endpoint, parse

FIRST = 498_811  # 2026-11-26T19
SETTINGS: dict[str, Any] = {
    "false_alarms_per_month": 1.0,
    "interval_seconds": 60.0,
    "tolerance": None,
    "most_rows": 256,
}


def baseline(hours: int = 168, bad: int | None = None, rows: int = 300) -> dict[str, Any]:
    random, errors = np.random.default_rng(0), HourlyErrors()
    for hour in range(hours):
        each = random.lognormal(0.0, 1.0, size=(rows, 19)) * (4.0 if hour == bad else 1.0)
        errors.add(np.full(rows, FIRST + hour), each)
    content = BaselineHours(HoursTerms(None, "gaussian", 0.4), errors).to_dict()
    return with_checksum({"format": 2, "hourly": content})


def written(folder: Path, content: Any) -> Path:
    file = folder / "baseline.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_what_is_seen_and_how_soon_is_what_the_detector_itself_predicts(tmp_path: Path) -> None:
    hours = read_hours(written(tmp_path, baseline()))
    told = power_sentences(hours, **SETTINGS)
    detector = RegressionDetector.of_hours(hours.errors)
    rows = 5  # 300 an hour, an assessment a minute
    for ratio in (1.5, 2.0):
        assessments, in_rows = detector.delay(ratio, rows=rows)
        assert f"x{ratio:g} of the worst hour is seen within about {assessments:.0f} assessments" in told[0]
        assert f"({in_rows:.0f} rows)" in told[0]
    assert "baseline of 168 hours and a tolerance of 10%" in told[0] and len(told) == 1
    smallest = float(re.search(r"below x([0-9.]+) never", told[0])[1])  # type: ignore[index]
    assert math.isinf(detector.delay(smallest - 0.02)[0]) and math.isfinite(detector.delay(smallest + 0.02)[0])


def test_a_bad_hour_is_named_with_what_it_costs(tmp_path: Path) -> None:
    hours = read_hours(written(tmp_path, baseline(24, bad=2)))
    told = power_sentences(hours, **SETTINGS)
    assert "a tolerance of 25%" in told[0]
    assert re.match("the worst hour, 2026-11-26T21, is [34][.0-9]* times as bad as the median one", told[-1])
    assert told[-1].endswith("robmon baseline --without-hour 2026-11-26T21 leaves it out")
    assert not any("worst hour, " in each for each in power_sentences(hours.leaving_out(FIRST + 2), **SETTINGS))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is no baseline"),
        ("[]", "is no baseline"),
        ({"format": 2}, "its checksum does not fit"),
        (with_checksum({"format": 2}), "has no hours, which give limits in time: the daemon puts them into the one"),
        ({"format": 1}, "has no hours"),
        (with_checksum({"format": 2, "hourly": {"noise": "x"}}), "the hours of the baseline are damaged"),
    ],
)
def test_what_has_no_hours_is_refused_in_one_sentence(content: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=told):
        read_hours(written(tmp_path, content))
    with pytest.raises(InvalidInputError, match=r"none\.json cannot be read: No such file"):
        read_hours(tmp_path / "none.json")
    few = BaselineHours.from_dict(baseline(12)["hourly"])
    with pytest.raises(InvalidInputError, match="spans 24 hours"):
        power_sentences(few, **SETTINGS)


def test_an_hour_is_left_out_where_the_daemon_reads_it(tmp_path: Path) -> None:
    endpoint = parse("http://127.0.0.1:1/v2/models/m/versions/3/infer")
    assert isinstance(endpoint, Endpoint)
    from robmon.models.uri import history_key

    history = History(tmp_path, history_key(endpoint, "m"))
    record = DetectionRecord(identity={"version": ["3", None], "threshold": [2.0, 60.0]})
    history.write_step("s", record, "3/x", {FIRST: {}, FIRST + 5: {}})
    model = RemoteModel(endpoint, EndpointAccess())
    given: dict[str, Any] = {"name": "m", "data_dir": tmp_path, "is_shared": True}
    with pytest.raises(
        InvalidInputError, match=r"2026-11-26T20 is not among .* they are 2, from 2026-11-26T19 to 2026-11-27T00"
    ):
        leave_out_hour(model, FIRST + 1, **given)
    assert leave_out_hour(model, FIRST + 5, **given) == [str(tmp_path)]
    assert history.read_hours("3/x")[1] == {FIRST + 5}
