"""The time budget: what an assessment will do is fixed before its first trial."""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array
from robmon.robustness.engine.batch import Engine
from robmon.robustness.engine.batch_size import BatchSize, batch_size_of, usual_batch_size
from robmon.robustness.engine.cost import Budget, Cost, batch_timer, first_cost, passes_of
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.engine.rehearsal import TrialRun
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.features import Features
from robmon.robustness.features.whole_numbers import Whole
from robmon.robustness.noise.base import noise_features
from robmon.robustness.noise.by_name import noise_of
from robmon.robustness.specification import Specification
from robmon.vocabulary import PLANNED_SHARE

TUNING_SHARE = 0.05
"""Of the time that is left, what may be spent on finding out which batches are fast."""
TIMED_CALLS = 2
"""To warm up, and to time it once."""
TIMING_SECONDS = 2.0
"""For which batches are timed where there is no budget."""


@dataclass(frozen=True)
class AssessmentPlan:
    """What an assessment will do.

    Attributes:
        rows: how many of the rows given, from the first on.
        trials: how many trials.
        batch_rows: rows given to the predictor at a time.
        seconds: what it is expected to take.
        of_rows: how many rows were given.
        of_trials: how many trials were asked for.
        out_of_memory_retries: how often memory ran out while batches were timed.
    """

    rows: int
    trials: int
    batch_rows: int
    seconds: float
    of_rows: int
    of_trials: int
    out_of_memory_retries: int = 0

    def of(self, specification: Specification) -> Specification:
        """The specification as far as the budget goes."""
        return replace(specification, trials=self.trials, max_batch_rows=self.batch_rows)


def plan_assessment(
    predictor: Predictor,
    inputs: Array,
    specification: Specification,
    *,
    features: Features | None = None,
    feature_names: Sequence[str] | None = None,
    axis: FeatureAxis | None = None,
    whole: Whole | None = None,
    min_rows: int,
    max_seconds: float,
    spare_seconds: float = 0.0,
    began: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> AssessmentPlan:
    """Fit an assessment into a time budget by timing batches after a warm-up, a small one first.

    All rows and trials where they fit; else fewer rows, down to `min_rows`; else, as the last resort, fewer trials,
    down to what the confidence needs (rows carry slope, index and comparison; but a row is always worth more than no
    result). What the timing takes is part of the budget.

    A model that is itself random takes as many clean passes more as there are trials, which is foreseen only of one
    that is known to be.

    Args:
        predictor, inputs, specification: as in `assess_rows`; what is timed is what runs there.
        features, feature_names, axis, whole: likewise.
        min_rows: fewest rows.
        max_seconds: the budget.
        spare_seconds: what to leave of it, unless the smallest assessment needs it.
        began: when the budget began, by the clock; None: now.
        clock: seconds, by which a batch is timed.

    Raises:
        OverBudgetError: not even `min_rows` with the fewest trials fit; holds the seconds needed, which do not depend
            on how many rows are given. Where the rows a second leave no doubt, the model is not called.
        InvalidInputError: fewer rows than `min_rows`, or inputs that cannot be perturbed.

    >>> import numpy as np
    >>> inputs = np.random.default_rng(0).normal(size=(128, 4))
    >>> from robmon.robustness.engine.predictor import FunctionPredictor
    >>> model = FunctionPredictor(lambda x, rows: x.sum(axis=1))
    >>> plan = plan_assessment(model, inputs, Specification(), min_rows=64, max_seconds=60)
    >>> plan.rows, plan.trials
    (128, 39)
    """
    if inputs.shape[0] < min_rows:
        raise InvalidInputError(f"{inputs.shape[0]} rows are fewer than the {min_rows} asked for")
    budget = Budget(max_seconds, clock() if began is None else began, clock)
    asked = _Asked(predictor, inputs, specification, min_rows, spare_seconds, budget)
    budget.check(asked.smallest_passes * min_rows / asked.most_rows_per_second)
    size = usual_batch_size(predictor, specification.max_batch_rows, inputs)
    timely = budget.bounded(predictor, asked.smallest_passes * math.ceil(min_rows / size.rows))
    trial_run = _trial_run(timely, inputs, specification, features, feature_names, axis, whole)
    while True:
        try:
            return _fit(asked, size, trial_run)
        except Exception as error:  # whatever the model raises: it is raised again unless memory ran out
            size.halve(error)


@dataclass(frozen=True)
class _Asked:
    """What is asked for, and the time that there is."""

    predictor: Predictor
    inputs: Array
    specification: Specification
    min_rows: int
    spare_seconds: float
    budget: Budget

    @property
    def passes(self) -> int:
        """How often each row is predicted in a trial."""
        return self.specification.noisy_levels + (1 if self.predictor.is_deterministic is False else 0)

    @property
    def smallest_passes(self) -> int:
        """How often each row is predicted in the smallest assessment."""
        return passes_of(self.specification.needed_trials, self.passes)

    @property
    def most_rows_per_second(self) -> float:
        return self.predictor.rows_per_second or math.inf


def _fit(asked: _Asked, size: BatchSize, trial_run: TrialRun) -> AssessmentPlan:
    """The plan with batches of this size, or of the size that is found to be fast."""
    specification, budget, min_rows, passes = asked.specification, asked.budget, asked.min_rows, asked.passes
    given, trials, fewest = int(asked.inputs.shape[0]), specification.trials, specification.needed_trials

    def seconds(rows: int, times: int) -> float:
        # A batch is paced by the one before it, so that one alone may be timed faster than the pace allows.
        called = cost.of_trials(rows, times, passes, size.rows)
        return max(called, rows / asked.most_rows_per_second * passes_of(times, passes))

    is_paced = asked.predictor.rows_per_second is not None
    batch_seconds = batch_timer(trial_run, budget, specification.noisy_levels, is_paced)
    cost = first_cost(batch_seconds, min(size.rows, min_rows), budget, asked.smallest_passes)
    budget.check(seconds(min_rows, fewest))
    patience_seconds = TUNING_SHARE * budget.left_seconds()
    if not size.retries:
        size.rows = batch_size_of(
            asked.predictor, specification.max_batch_rows, asked.inputs, trial_run.run,
            passes=passes_of(trials, passes), patience_seconds=patience_seconds,
        ).rows  # fmt: skip
    candidates = range(min_rows + 1, given + 1)

    def fitting(allowed: float) -> int:
        """The most rows that fit with all trials, or the fewest."""
        return min_rows + bisect.bisect_right(candidates, allowed, key=lambda rows: seconds(rows, trials))

    # A batch of as many rows as may be assessed is one pass of many: what it takes is little of the budget. That of
    # several trials is timed where it is so little too.
    rows = fitting(PLANNED_SHARE * budget.left_seconds())
    together = _rows_together(given, trials, size, cost, budget)
    cost = cost.and_of(together or min(size.rows, rows), batch_seconds)
    allowed = max(PLANNED_SHARE * (budget.left_seconds() - asked.spare_seconds), seconds(min_rows, fewest))
    rows = fitting(allowed)
    while trials > fewest and seconds(rows, trials) > allowed:
        trials -= 1
    return AssessmentPlan(
        rows, trials, size.rows, seconds(rows, trials), given, specification.trials, out_of_memory_retries=size.retries
    )


def _rows_together(given: int, trials: int, size: BatchSize, cost: Cost, budget: Budget) -> int:
    """Rows of a batch of several trials, as far as to time it is little of the budget; 0 where none has several."""
    affordable = TUNING_SHARE * budget.left_seconds() / max(TIMED_CALLS * given * cost.row_seconds, 1e-12)
    copies = min(size.rows // given, trials, int(affordable))
    return copies * given if copies > 1 else 0


def expected_seconds(
    predictor: Predictor,
    inputs: Array,
    specification: Specification,
    *,
    features: Features | None = None,
    feature_names: Sequence[str] | None = None,
    axis: FeatureAxis | None = None,
    whole: Whole | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds that an assessment without a budget will take, by timing small batches for two seconds or so.

    Arguments are those of `plan_assessment`.

    >>> import numpy as np
    >>> from robmon.robustness.engine.predictor import FunctionPredictor
    >>> model = FunctionPredictor(lambda x, rows: x.sum(axis=1))
    >>> 0 < expected_seconds(model, np.ones((128, 4)), Specification()) < 60
    True
    """
    given, trials, passes = int(inputs.shape[0]), specification.trials, specification.noisy_levels
    trial_run = _trial_run(predictor, inputs, specification, features, feature_names, axis, whole)
    in_all = passes_of(trials, passes)
    size = batch_size_of(predictor, specification.max_batch_rows, inputs, trial_run.run, passes=in_all)
    is_paced = predictor.rows_per_second is not None

    def called_seconds() -> float:
        budget = Budget(TIMING_SECONDS, clock(), clock)
        batch_seconds = batch_timer(trial_run, budget, passes, is_paced)
        cost = first_cost(batch_seconds, min(size.rows, given), budget, None)
        cost = cost.and_of(_rows_together(given, trials, size, cost, budget), batch_seconds)
        return cost.of_trials(given, trials, passes, size.rows)

    while True:
        try:
            return max(called_seconds(), given / (predictor.rows_per_second or math.inf) * in_all)
        except Exception as error:  # whatever the model raises: it is raised again unless memory ran out
            size.halve(error, asked=min(size.rows, given))


def _trial_run(
    predictor: Predictor,
    inputs: Array,
    specification: Specification,
    features: Features | None,
    feature_names: Sequence[str] | None,
    axis: FeatureAxis | None,
    whole: Whole | None,
) -> TrialRun:
    # The scale does not matter to the time, and one measured on a sample that happens not to vary would be refused.
    chosen = noise_of(specification, whole)
    fitted = noise_features(chosen, inputs, 1.0 if features is None else None, features, feature_names, axis, whole)
    return TrialRun(Engine(predictor, inputs, chosen, fitted, seed=0), specification.task)
