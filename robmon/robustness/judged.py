"""What of an assessment a verdict rests on: rows by requests, each trial's means, a classifier's common confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, is_floating, namespace
from robmon.robustness.confidence import Clean, Common, TemperedErrors, bring
from robmon.robustness.engine.reduction import Measures
from robmon.vocabulary import ComparisonScore, OutputKind

ROUNDING: Final = 1e-12
"""Of a sum of the weights of rows, which is 1."""


@dataclass(frozen=True, eq=False)
class JudgedTrials:
    """Means of each trial in the units of a verdict, over the rows that are compared, where each request counts alike.

    Attributes:
        values: shape `(T, levels)`, errors of values over twice the variance of the reference's outputs, or, of the
            reference itself, of its own.
        probabilities: the same of squared changes of the probabilities at the common confidence; None without.
        flips: the same of changed classes; None where outputs are no classes.
        triplets: the same of changed triplets; None where outputs are no embeddings.
    """

    values: Float64
    probabilities: Float64 | None
    flips: Float64 | None
    triplets: Float64 | None = None

    def by_score(self, score: ComparisonScore) -> Float64 | None:
        """The trials' values of a score."""
        if self.triplets is not None:
            return self.triplets if score == "triplets" else None
        known = {"mse": self.values, "probability": self.probabilities, "flips": self.flips, "triplets": None}
        return known[score]


def request_weights(groups: NDArray[np.int64], on: NDArray[np.bool_]) -> Float64:
    """Weights of rows, shape `(n,)`, so that each request counts as much as another; those off the rows `on` are 0."""
    _, which = np.unique(groups, return_inverse=True)
    sizes = np.bincount(which, on)
    return np.where(on, 1.0 / np.maximum(sizes[which], 1.0), 0.0)


def judged_trials(weighted: Float64 | None, measures: Measures, weightings: int) -> JudgedTrials | None:
    """What a verdict may speak of, trial by trial: errors of values by the weights of the reference where those are
    known, else by its own; those of probabilities at the common confidence; flips.
    """
    if weighted is None:
        return None
    errors = sum(measure.count for measure in measures.errors)
    tempered = measures.errors[-1] if isinstance(measures.errors[-1], TemperedErrors) else None
    flips = _changed(weighted[..., errors]) if measures.classes else None
    if measures.neighbours is not None:
        # The threshold comes first of what is kept, the triplets second.
        return JudgedTrials(weighted[..., weightings - 1], None, None, _changed(weighted[..., errors + 1]))
    return JudgedTrials(
        values=weighted[..., weightings - 1],
        probabilities=None if tempered is None else weighted[..., errors - tempered.count],
        flips=flips,
    )


def _changed(kept: Float64) -> Float64:
    """Shares of what is changed, of those of what is kept."""
    return np.where(kept > 1.0 - ROUNDING, 0.0, 1.0 - kept)


def at_common_confidence(
    clean: Array, kind: OutputKind, weights: Float64, compare_at: float | Literal["own"], outputs: Array
) -> Clean:
    """A classifier's clean outputs at the common confidence."""
    resolution = float(namespace(outputs).finfo(outputs.dtype).eps) if is_floating(outputs) else 0.0
    return bring(clean, kind, weights, None if compare_at == "own" else compare_at, resolution)


def common_of(brought: Clean | None, sums: Sequence[Float64], trials: int) -> Common | None:
    """What was measured at the common confidence; sums are of the measure for it, if there is one."""
    if brought is None or not sums:
        return None if brought is None else Common(brought, None, None)
    errors, moved = (np.asarray(each.T) / trials for each in sums[0])
    with np.errstate(invalid="ignore"):
        return Common(brought, errors, moved - errors)
