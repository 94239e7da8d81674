"""How far work is, and how long the rest will take."""

from __future__ import annotations

import pytest

from robmon.report.progress import PROGRESS_SECONDS, Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_until_a_batch_is_timed_nothing_is_foretold(clock: Clock) -> None:
    pace = Pace("assessing", clock)
    assert pace.expectation == "" and pace.line(6.2) == "assessing: getting ready, 6 s"
    pace.update(2, 39)
    assert pace.line(7.0) == "assessing: 2 of 39 trials, 7 s"


def test_a_batch_that_was_timed_foretells_all(clock: Clock) -> None:
    pace = Pace("assessing", clock)
    pace.expect(5432.1)
    assert pace.expectation == "assessing: this takes about 1 hour 30 minutes"
    clock.now += 1000
    assert pace.line(1003.0) == "assessing: no trial done yet, 16 minutes 43 seconds, about 1 hour 13 minutes left"
    clock.now += 9000
    assert pace.line(10003.0).endswith("no trial done yet, 2 hours 47 minutes"), "later than expected: nothing is known"


def test_trials_that_were_run_say_it_better(clock: Clock) -> None:
    pace = Pace("assessing", clock)
    pace.expect(3.0)
    clock.now += 40
    pace.update(4, 39)
    assert pace.left_seconds == pytest.approx(350.0)


def test_the_next_model_is_timed_anew(clock: Clock) -> None:
    pace = Pace("comparing", clock)
    pace.expect(10.0)
    clock.now += 5
    pace.update(39, 78)
    pace.expect(100.0)
    assert pace.left_seconds == pytest.approx(100.0)
    clock.now += 10
    pace.update(42, 78)
    assert pace.left_seconds == pytest.approx(120.0)


@pytest.mark.parametrize(("seconds", "times"), [(PROGRESS_SECONDS, 1), (0.9 * PROGRESS_SECONDS, 0)])
def test_what_is_soon_done_is_not_announced_and_what_is_not_once(clock: Clock, seconds: float, times: int) -> None:
    announced: list[str] = []
    pace = Pace("assessing", clock)
    pace.on_expectation = lambda: announced.append(pace.expectation)
    pace.expect(seconds)
    pace.expect(2 * seconds)
    assert len(announced) == times
