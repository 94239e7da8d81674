"""How many rows and pairs of orders an attribution has in a time budget, fixed before they are run."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

from robmon.errors import OverBudgetError
from robmon.robustness.engine.rehearsal import TrialRun
from robmon.vocabulary import PLANNED_SHARE

FEWEST_ROWS: Final = 32
"""Fewest rows to which a time budget cuts the inputs."""
SCREEN_ROWS: Final = 20_480
"""So many rows a screen of all features takes in all, as the shares of 8 groups and 256 rows do; but each feature gets
`FEWEST_SCREENED`."""
FEWEST_SCREENED: Final = 16
CLEAN_PASSES: Final = 2


@dataclass(frozen=True)
class AttributionCost:
    """What an attribution takes.

    Attributes:
        groups: how many.
        screened: how many features are tried one at a time first.
    """

    groups: int
    screened: int

    def screened_rows(self, rows: int) -> int:
        """How many of so many rows the screen takes."""
        return min(rows, max(FEWEST_SCREENED, SCREEN_ROWS // max(self.screened, 1)))

    def predicted_rows(self, rows: int, pairs: int) -> int:
        """How many rows the model is given in all."""
        passes = CLEAN_PASSES + pairs * (2 * self.groups - 1)
        return passes * rows + self.screened * self.screened_rows(rows)


@dataclass(frozen=True)
class AttributionPlan:
    """How many of the rows, from the first on, and how many pairs of orders."""

    rows: int
    pairs: int

    def cut_from(self, asked: AttributionPlan) -> str:
        """What is left of what was asked for, in words; empty: all."""
        if self == asked:
            return ""
        return (
            f"the time budget left {self.rows} of {asked.rows} rows and {self.pairs} of {asked.pairs} pairs of orders"
        )


def timed_row(run: TrialRun, rows: int, rows_per_second: float | None) -> float:
    """Seconds that a row takes in a batch of so many; no less than the pace of the model allows."""
    run.run(rows)
    start = time.perf_counter()
    run.run(rows)
    taken = (time.perf_counter() - start) / rows
    return taken if rows_per_second is None else max(taken, 1.0 / rows_per_second)


def fitted(
    asked: AttributionPlan, cost: AttributionCost, row_seconds: float, max_seconds: float, spent_seconds: float
) -> AttributionPlan:
    """Fewer pairs, down to 1, and then fewer rows, so that it fits into what is left of the budget.

    Raises:
        OverBudgetError: not even the fewest rows with one pair fit.
    """
    left = PLANNED_SHARE * (max_seconds - spent_seconds)

    def fits(plan: AttributionPlan) -> bool:
        return cost.predicted_rows(plan.rows, plan.pairs) * row_seconds <= left

    plan, fewest = asked, min(FEWEST_ROWS, asked.rows)
    while plan.pairs > 1 and not fits(plan):
        plan = replace(plan, pairs=plan.pairs - 1)
    while plan.rows > fewest and not fits(plan):
        plan = replace(plan, rows=max(fewest, plan.rows * 9 // 10))
    if not fits(plan):
        needed = cost.predicted_rows(plan.rows, plan.pairs) * row_seconds / PLANNED_SHARE + spent_seconds
        raise OverBudgetError(needed, max_seconds)
    return plan
