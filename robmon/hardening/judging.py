"""The verdict on a candidate: on rows that nothing was trained on or chosen by, paired, and against a control.

Never by how far the outputs themselves move: a model that was trained with too much noise hardly moves and is wrong.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from robmon.hardening.scores import of_errors
from robmon.robustness.arrays import Float64
from robmon.robustness.result import Assessment
from robmon.robustness.statistics import beta, mean_test

ALPHA: Final = 0.05
"""Chance of each error of a verdict: to see a gain where there is none, or a loss beyond the tolerance."""


@dataclass(frozen=True, eq=False)
class Assessed:
    """One model on the held-out rows, with the draws that the others have.

    Attributes:
        against_labels: against the targets; None of embeddings.
        against_itself: against its own clean outputs.
    """

    against_labels: Assessment | None
    against_itself: Assessment
    precision: Float64 | None = None
    """For embeddings, which have no assessment against labels: precision at 1 of rows, shape `(n, levels)`."""

    @property
    def counts_rows(self) -> bool:
        """Whether a score without noise is 0 or 1: right or wrong."""
        return self.against_labels is None or self.against_labels.row_accuracy is not None

    def scores(self, targets: Float64) -> Float64:
        """Scores of rows at each level, shape `(n, levels)`, see `scores.row_scores`; worst where not finite."""
        found = self.against_labels
        if found is None:
            assert self.precision is not None  # noqa: S101
            return self.precision
        if found.row_accuracy is not None:
            return np.where(np.isnan(found.row_accuracy), 0.0, found.row_accuracy)
        errors = np.where(np.isnan(found.row_errors), np.inf, found.row_errors)
        return of_errors(errors, targets)


@dataclass(frozen=True)
class Clean:
    """Scores without noise.

    Attributes:
        before, control, after: mean scores.
        loss: of the candidate against the model before.
        lost_rows, gained_rows: that were right before and are wrong, and the other way round; None of values.
        pvalue: of the hypothesis that the loss is within the tolerance.
        most_loss: upper limit of the loss at a confidence of 95 %; None where no row changed.
        passed: whether the hypothesis stands.
    """

    before: float
    control: float
    after: float
    loss: float
    lost_rows: int | None
    gained_rows: int | None
    pvalue: float
    most_loss: float | None
    passed: bool


@dataclass(frozen=True)
class Gain:
    """What the candidate gains on another model at the level that decides.

    Attributes:
        gain: of the mean score.
        least_gain: its lower limit at a confidence of 95 %.
        pvalue: of the hypothesis that there is none; rows are the sampling unit.
        passed: whether that is rejected.
    """

    gain: float
    least_gain: float
    pvalue: float
    passed: bool


@dataclass(frozen=True)
class Judgement:
    """The verdict: all three must pass.

    Attributes:
        clean: the score without noise is no worse than tolerated.
        noisy: the score under noise is better than before.
        control: and better than that of the model that was trained alike without noise.
        scores: mean scores by level of the models `before`, `control` and `after`.
    """

    clean: Clean
    noisy: Gain
    control: Gain
    scores: dict[str, list[float]]

    @property
    def passed(self) -> bool:
        """Whether the candidate passes."""
        return self.clean.passed and self.noisy.passed and self.control.passed

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of it."""
        return {name: asdict(getattr(self, name)) for name in ("clean", "noisy", "control")} | {"scores": self.scores}


def judge(
    before: Assessed, control: Assessed, after: Assessed, targets: Float64, level: float, tolerance: float
) -> Judgement:
    """The verdict on `after`.

    Args:
        before, control, after: the models, on the same rows under the same noise.
        targets: of the rows, shape `(n, outputs)`.
        level: at which noisy scores are compared.
        tolerance: loss of the clean score that is tolerated: 0.01 is one point of accuracy, or of the labels' variance.
    """
    at = before.against_itself.levels.index(level)
    scores = {
        name: each.scores(targets) for name, each in {"before": before, "control": control, "after": after}.items()
    }
    judge_clean = judge_classes if before.counts_rows else judge_values
    clean = judge_clean(scores["before"][:, 0], scores["control"][:, 0], scores["after"][:, 0], tolerance)
    return Judgement(
        clean,
        gain(scores["before"][:, at], scores["after"][:, at]),
        gain(scores["control"][:, at], scores["after"][:, at]),
        {name: each.mean(axis=0).tolist() for name, each in scores.items()},
    )


def judge_classes(before: Float64, control: Float64, after: Float64, tolerance: float) -> Clean:
    """Clean scores of classes, each 0 or 1, shape `(n,)`: an exact test on the rows that changed (McNemar 1947).

    Of `m` rows that were right in one model only, `b` were so before. A loss of just the tolerance, `(b - c) / n`,
    would be a share of `(1 + n tolerance / m) / 2` of them.

    >>> before, after = np.ones(100), np.r_[np.zeros(8), np.ones(92)]
    >>> judged = judge_classes(before, before, after, 0.01)
    >>> round(judged.loss, 2), judged.lost_rows, judged.passed, round(judged.pvalue, 3)
    (0.08, 8, False, 0.01)
    """
    rows = len(before)
    lost, gained = int(np.sum(before > after)), int(np.sum(after > before))
    changed = lost + gained
    tolerated = min(1.0, (1.0 + rows * tolerance / changed) / 2.0) if changed else 1.0
    pvalue = beta.cdf(tolerated, lost, gained + 1) if lost else 1.0  # P(at least so many are lost)
    most = (2.0 * beta.upper_limit(lost, changed, 1.0 - ALPHA) - 1.0) * changed / rows if changed else None
    means = (float(before.mean()), float(control.mean()), float(after.mean()))
    return Clean(*means, means[0] - means[2], lost, gained, pvalue, most, pvalue >= ALPHA)


def judge_values(before: Float64, control: Float64, after: Float64, tolerance: float) -> Clean:
    """Clean scores of values, shape `(n,)`: a test of the mean over rows."""
    loss = gain(after + tolerance, before)
    least = gain(before, after).least_gain
    means = (float(before.mean()), float(control.mean()), float(after.mean()))
    return Clean(*means, means[0] - means[2], None, None, loss.pvalue, -least, not loss.passed)


def gain(before: Float64, after: Float64) -> Gain:
    """What the mean score rose by, row by row, shape `(n,)` each; an infinite loss is one."""
    moved = after - before
    if not np.isfinite(moved).all():
        return Gain(-np.inf, -np.inf, 1.0, passed=False)
    moments = mean_test.moments(moved)
    pvalue = mean_test.pvalue(moments)
    return Gain(moments.mean, mean_test.lower_limit(moments, ALPHA), pvalue, pvalue < ALPHA)
