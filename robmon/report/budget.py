"""A time budget in words: what it left of an assessment, and what to do where it is too short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from robmon.robustness.engine.plan import AssessmentPlan


@dataclass(frozen=True)
class BudgetNames:
    """By which names the reader sets what decides whether an assessment fits into its budget.

    Attributes:
        seconds: the budget.
        pace: how fast an endpoint may be asked.
        needs: what makes the smallest assessment as large as it is.
    """

    seconds: str
    pace: str
    needs: str

    def to_raise(self, *, is_endpoint: bool) -> str:
        """What to raise where the budget is too short."""
        return self.seconds + (f", or {self.pace} if the endpoint can take it" if is_endpoint else "")

    def advice(self, *, is_endpoint: bool) -> str:
        """What to do where not even the smallest assessment fits.

        >>> OPTIONS.advice(is_endpoint=False)
        'raise max_seconds, or lower confidence or levels'
        """
        return f"raise {self.to_raise(is_endpoint=is_endpoint)}, or lower {self.needs}"

    def cut(self, plan: AssessmentPlan, max_seconds: float, *, is_endpoint: bool) -> str:
        """What the budget left of rows and trials, and what to raise; empty where nothing was cut.

        >>> from robmon.robustness.engine.plan import AssessmentPlan
        >>> plan = AssessmentPlan(8, 19, 8, 7.5, of_rows=256, of_trials=39)
        >>> OPTIONS.cut(plan, 10.0, is_endpoint=False)
        'cut to fit max_seconds = 10: the first 8 of 256 rows, 19 of 39 trials; raise max_seconds'
        """
        rows = f"the first {plan.rows} of {plan.of_rows} rows" if plan.rows < plan.of_rows else ""
        trials = f"{plan.trials} of {plan.of_trials} trials" if plan.trials < plan.of_trials else ""
        left = ", ".join(filter(None, (rows, trials)))
        raised = self.to_raise(is_endpoint=is_endpoint)
        return left and f"cut to fit {self.seconds} = {max_seconds:g}: {left}; raise {raised}"


SETTINGS: Final = BudgetNames(
    seconds="assess.max_seconds",
    pace="model.rows_per_second and model.batch_rows",
    needs="assess.confidence, assess.levels or assess.min_rows",
)
"""Of the daemon."""
OPTIONS: Final = BudgetNames(seconds="max_seconds", pace="rows_per_second and batch_rows", needs="confidence or levels")
"""Of the library functions, and of the commands."""
