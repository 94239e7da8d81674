"""By what each noise trial of an assessment is measured: errors against which outputs, in which units, and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64, like, to_numpy
from robmon.robustness.clean import CleanPass
from robmon.robustness.confidence import Clean, TemperedErrors
from robmon.robustness.embeddings import Neighbours
from robmon.robustness.engine.reduction import Measures, RowMeasure
from robmon.robustness.false_matches import Threshold, chosen_threshold
from robmon.robustness.judged import at_common_confidence, request_weights
from robmon.robustness.outputs import RowErrors, are_alike, checked_variance, classes_of, normalising_weights
from robmon.robustness.outputs import output_variance as variance_of
from robmon.robustness.specification import Specification
from robmon.robustness.targets import targets_like
from robmon.vocabulary import OutputKind


@dataclass(frozen=True)
class TrialMeasures:
    """What trials are measured by.

    Attributes:
        measures: as the engine takes them. Its errors are against the targets first, where there are any, then against
            the clean outputs, and for a classifier that is compared those at the common confidence behind them.
        own: which of its errors are those against the clean outputs.
        weightings: in how many units errors are: of the outputs, normalised, and those of a comparison.
        variance: shape `(outputs,)`, which normalises area and index.
        clean_variance: shape `(outputs,)`, of these clean outputs.
        has_targets: whether there are any.
        is_one_class: whether all rows have one class without noise.
        brought: a classifier that is compared, at the common confidence; None of others.
        threshold: of embeddings, beyond which two no longer count as the same thing.
    """

    measures: Measures
    own: int
    weightings: int
    variance: Float64
    clean_variance: Float64
    has_targets: bool
    is_one_class: bool
    brought: Clean | None
    threshold: Threshold


def trial_measures(
    passed: CleanPass,
    inputs: Array,
    specification: Specification,
    requests: NDArray[np.int64],
    *,
    targets: Any = None,
    output_variance: Float64 | None = None,
    comparison_variance: Float64 | None = None,
    threshold: Threshold | None = None,
    compare_at: float | Literal["own"] | None = None,
    compare_on: NDArray[np.bool_] | None = None,
    keeps_trials: bool = False,
    seed: int = 0,
) -> TrialMeasures:
    """The measures of an assessment's trials, whose arguments these are.

    Args:
        passed: the clean outputs.
        inputs: shape `(n, *input_shape)`.
        specification: what is assessed.
        requests: shape `(n,)`, the request that each row came from.

    Raises:
        InvalidInputError: targets or a variance do not fit the outputs.
    """
    clean, kind, finite, task = passed.clean, passed.kind, passed.finite, specification.task
    if targets is not None and kind == "embedding":
        raise InvalidInputError(
            "embeddings have no targets: what noise does to them is seen against their own clean ones"
        )
    truth = None if targets is None else targets_like(targets, passed.outputs, clean, kind, task)
    clean_variance = variance_of(passed.seen, kind)
    variance = clean_variance if output_variance is None else checked_variance(output_variance, clean_variance, kind)
    weights = [passed.weights, normalising_weights(variance, kind)]
    if comparison_variance is not None and (kind == "label" or np.size(comparison_variance) == clean_variance.size):
        weights.append(normalising_weights(checked_variance(comparison_variance, clean_variance, kind), kind))
    errors: list[RowMeasure] = [RowErrors(each, weights) for each in (truth, clean) if each is not None]
    own = len(errors) - 1
    judged_rows, brought = None, None
    if compare_at is not None:
        judged_rows = request_weights(requests, passed.counted if compare_on is None else compare_on)
        judged_rows /= judged_rows.sum()
        if task == "classification" and kind not in ("value", "label"):
            row_weights = request_weights(requests, finite if compare_on is None else compare_on)
            brought = at_common_confidence(clean, kind, row_weights, compare_at, passed.outputs)
    if brought is not None and brought.exponent is not None:
        errors.append(TemperedErrors(clean, kind, brought.exponent, truth))
    decided, neighbours = Threshold(None, ""), None
    if kind == "embedding":
        decided = chosen_threshold(specification, threshold, inputs, clean, finite)
        neighbours = Neighbours(clean, finite, specification.distance, decided.distance, seed)
    classes = _classes(clean, truth, kind, finite) if task == "classification" or kind == "label" else []
    measures = Measures(
        kind,
        errors=errors,
        classes=classes,
        counted=passed.counted,
        by_trial=own if keeps_trials else None,
        weights=judged_rows,
        neighbours=neighbours,
    )
    return TrialMeasures(
        measures=measures,
        own=own,
        weightings=len(weights),
        variance=variance,
        clean_variance=clean_variance,
        has_targets=truth is not None,
        is_one_class=bool(classes) and bool(finite.any()) and are_alike(to_numpy(classes[0]), kind),
        brought=brought,
        threshold=decided,
    )


def _classes(clean: Array, truth: Array | None, kind: OutputKind, finite: NDArray[np.bool_]) -> list[Array]:
    """Classes of the clean outputs, finite in the rows that `finite` says, and of the targets where there are any."""
    own = classes_of(clean, kind, like(finite, clean))
    return [own] if truth is None else [own, classes_of(truth, kind)]
