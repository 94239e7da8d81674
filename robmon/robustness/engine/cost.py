"""What calls of a predictor take, as they are timed, and the time that there is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from robmon.errors import OverBudgetError
from robmon.robustness.arrays import Array
from robmon.robustness.engine.predictor import Predictor, through
from robmon.robustness.engine.rehearsal import TrialRun
from robmon.vocabulary import PLANNED_SHARE

CLEAN_PASSES = 2
FEW_ROWS = 2
"""Of the batch that is timed first: whatever a row takes, it is soon known that the budget is too short."""
WARM_CALLS = 4
"""What is left of the budget is to hold so many of a batch that is timed, by a second call after one to warm up."""
BatchSeconds = Callable[[int, bool], float]
"""Seconds that a batch of so many rows takes, after a call to warm up or at the first one."""
TIMINGS = 6
"""Most timings of a batch, of which the median is taken: a busy machine may make any one of them far too long."""
QUICK_SECONDS = 0.02
"""Another timing of a batch begins until they have taken this together, or `PATIENT_SHARE` of the budget."""
PATIENT_SHARE = 0.02
PATIENT_SECONDS = 0.2
"""Nor longer than this, nor at a predictor with a pace, whose rows are somebody's traffic."""


@dataclass(frozen=True)
class Budget:
    """A time budget, which began at some time of the clock."""

    max_seconds: float
    began: float
    clock: Callable[[], float]

    def left_seconds(self) -> float:
        """What is left of it."""
        return self.max_seconds - (self.clock() - self.began)

    def check(self, smallest_seconds: float, at_least: bool = False) -> None:
        """Refuse where the smallest assessment, which takes so long or `at_least` that, does not fit into what is left.

        Raises:
            OverBudgetError: it does not.
        """
        left = self.left_seconds()
        if smallest_seconds > PLANNED_SHARE * left:
            needed = smallest_seconds / PLANNED_SHARE + self.max_seconds - left
            raise OverBudgetError(needed, self.max_seconds, at_least=at_least)

    def bounded(self, predictor: Predictor, smallest_calls: int) -> Predictor:
        """The predictor; a call that uses up the budget is the last one, and tells what the fewest calls will take."""

        def bounded(x: Array, rows: slice) -> Array:
            called = self.clock()
            outputs = predictor.predict(x, rows)
            if self.left_seconds() <= 0:
                self.check(smallest_calls * (self.clock() - called), at_least=True)
            return outputs

        return through(predictor, bounded)


def passes_of(trials: int, passes: int) -> int:
    """How often each row is predicted, with so many passes a trial."""
    return CLEAN_PASSES + trials * passes


@dataclass(frozen=True)
class Cost:
    """What calls of the predictor take: each something of its own, and something a row.

    Without the former, a model whose calls are expensive whatever their size would be planned fewer rows in vain.

    Attributes:
        rows, seconds: of the largest batch that was timed.
        call_seconds, row_seconds: of a call, and of a row.
    """

    rows: int
    seconds: float
    call_seconds: float
    row_seconds: float

    def of_trials(self, rows: int, trials: int, passes: int, batch_rows: int) -> float:
        """Seconds of an assessment of so many rows, with so many passes a trial, of which several may share a batch."""
        calls = math.ceil(rows / batch_rows)
        groups = calls * math.ceil(trials / max(1, batch_rows // rows))
        return (CLEAN_PASSES * calls + passes * groups) * self.call_seconds + (
            passes_of(trials, passes) * rows * self.row_seconds
        )

    def and_of(self, rows: int, batch_seconds: BatchSeconds, warm: bool = True) -> Cost:
        """The cost by this batch and a larger one, which is timed; itself where that is no larger."""
        if rows <= self.rows:
            return self
        seconds = batch_seconds(rows, warm)
        # Smaller ones come first: a predictor that paces itself, as at an endpoint, rests after a call that is slow.
        less = min(self.seconds, seconds)
        each = (seconds - less) / (rows - self.rows)
        return Cost(rows, seconds, max(less - each * self.rows, 0.0), each)


def first_cost(batch_seconds: BatchSeconds, target_rows: int, budget: Budget, smallest_passes: int | None) -> Cost:
    """The cost by the smallest batch, and by one as large as the smallest assessment has, or as time allows.

    Nothing is refused where `smallest_passes`, the passes of the smallest assessment, is None.

    Raises:
        OverBudgetError: the budget is too short to find it out, and for an assessment whatever a row costs.
    """
    few = min(FEW_ROWS, target_rows)
    seconds = batch_seconds(few, True)
    cost = Cost(few, seconds, 0.0, seconds / few)
    affordable = PLANNED_SHARE * budget.left_seconds() / max(cost.row_seconds, 1e-12)
    if affordable < few + 1:
        if smallest_passes is None:
            return cost
        # So little time that no larger batch can be timed: all that the first took may be the call's own.
        budget.check(seconds * smallest_passes, at_least=few < target_rows)
    is_tight = affordable < WARM_CALLS * (few + 1)
    rows = max(int(affordable if is_tight else affordable / WARM_CALLS), few + 1)
    return cost.and_of(min(target_rows, rows), batch_seconds, warm=not is_tight)


def batch_timer(trial_run: TrialRun, budget: Budget, levels: int, is_paced: bool) -> BatchSeconds:
    """Times a batch at one of so many levels, with its share of the draw that they have in common."""
    patience_seconds = QUICK_SECONDS
    if not is_paced:
        patience_seconds = max(QUICK_SECONDS, min(PATIENT_SHARE * budget.max_seconds, PATIENT_SECONDS))

    def once(step: Callable[..., None], *of: int) -> float:
        start = budget.clock()
        step(*of)
        return budget.clock() - start

    def batch_seconds(rows: int, warm: bool) -> float:
        if warm:
            trial_run.run(rows)
        seconds = [once(trial_run.run, rows)]
        if warm and not is_paced and levels * seconds[0] < QUICK_SECONDS <= PATIENT_SHARE * budget.max_seconds:
            # Of what takes so little the levels share more than the draw.
            seconds = [once(trial_run.run, rows, levels)]
            while len(seconds) < TIMINGS and sum(seconds) < patience_seconds:
                seconds.append(once(trial_run.run, rows, levels))
            return statistics.median(seconds) / levels
        drawing = [once(trial_run.draw, rows)]
        while len(seconds) < TIMINGS and sum(seconds) < patience_seconds:
            seconds.append(once(trial_run.run, rows))
            drawing.append(once(trial_run.draw, rows))
        whole = statistics.median(seconds)
        return max(whole - statistics.median(drawing) * (1.0 - 1.0 / levels), whole / levels)

    return batch_seconds
