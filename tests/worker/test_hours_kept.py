"""When the hours of a pod are put into the baseline, from where others begin: early enough for short lives."""

from __future__ import annotations

from typing import Any

import numpy as np

from robmon.drift.hourly import HourlyErrors
from robmon.history.baseline.hours import BaselineHours, HoursTerms
from robmon.processes.messages.question import DetectionQuestion
from robmon.worker.detection import _gathered, _to_keep

FIRST = 480_000
TERMS = HoursTerms("run", "gaussian", 0.4)


def hour(at: int) -> dict[str, Any]:
    errors = HourlyErrors()
    errors.add(np.array([at]), np.ones((1, 4)))
    return errors.to_dict()


def life(there: BaselineHours | None, begins: int, hours: int) -> tuple[list[int], BaselineHours | None]:
    """A pod that lives for so many hours: after how many of them it put something there, and what is there then."""
    kept_after, own = list[int](), dict[int, dict[str, Any]]()
    for passed in range(1, hours + 1):
        own[begins + passed - 1] = hour(begins + passed - 1)
        question = DetectionQuestion(
            false_alarms_per_month=1, interval_seconds=60, tolerance=None, clear_evidence=60, detector=None, basis=None,
            run_id="run", accepted_at=None, hours=own, learns=True, without=[],
        )  # fmt: skip
        over = _gathered(question, TERMS, there, "mse").before(begins + passed)
        kept, new = _to_keep(over, question, there)
        if kept is not None and new is not None:
            there = BaselineHours.from_dict(kept)
            assert {*BaselineHours.from_dict(new).errors.hours} <= {*own}
            kept_after.append(passed)
    return kept_after, there


def known(there: BaselineHours | None) -> list[int]:
    return [] if there is None else sorted(each - FIRST for each in there.errors.hours)


def test_a_pod_that_lives_long_puts_its_hours_there_every_six_and_the_first_at_once() -> None:
    kept_after, there = life(None, FIRST, 48)
    assert kept_after[:4] == [1, 3, 6, 12] and 24 in kept_after and 48 in kept_after and len(kept_after) <= 12
    assert known(there) == list(range(48))


def test_pods_that_live_for_four_hours_each_come_to_a_day_together() -> None:
    there: BaselineHours | None = None
    for pod in range(8):
        kept_after, there = life(there, FIRST + 4 * pod, 4)
        assert kept_after[0] == 1 and 3 in kept_after
    assert there is not None and there.errors.span_hours >= 24 and len(known(there)) >= 24
