"""Two classifiers compared: by their probabilities at a common confidence, or, where there is none, by their flips."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.comparison import Comparison, compare_rows
from robmon.robustness.confidence import STEP, Common, other_classes
from robmon.robustness.outputs import classes_of
from robmon.robustness.result import Assessment
from robmon.robustness.statistics.clusters import cluster_means
from robmon.vocabulary import NoExponent, OutputKind

MISSING = np.iinfo(np.int64).min
"""Code of a class that is none."""
NAMED = 2**60
"""Codes from here on are those of named classes: a hash of the name. Below are numbers of classes."""


@dataclass(frozen=True, eq=False)
class TemperedRows:
    """A version of a classifier at the common confidence. Only levels above 0.

    Attributes:
        exponent: that brings it there.
        is_own: whether the common confidence is this version's own mean top probability.
        errors: shape `(requests, levels)`, mean squared changes of the probabilities.
        top: shape `(requests,)`, top probability without noise; NaN where the clean output is not finite.
        sensitivity: shape `(levels,)`, by how much the mean error rises with the mean top probability, where both rise
            with the exponent.
    """

    exponent: float
    is_own: bool
    errors: Float64
    top: Float64
    sensitivity: Float64

    def confidence(self) -> float:
        """Mean top probability, to which another version is brought."""
        return float(np.nanmean(self.top))


@dataclass(frozen=True, eq=False)
class ClassifierRows:
    """What a comparison needs of one version of a classifier. A request is a row where requests have one row each.

    Attributes:
        classes: shape `(n,)`, class of each row without noise, see `class_codes`.
        flips: shape `(requests, levels)`, share of trials in which the class changed, at levels above 0; +Inf where
            there is no class without noise.
        class_means: shape `(classifiers, classes)`, mean probability of each class without noise, at the common
            confidence where it can be brought there; None of labels.
        tempered: the same of its probabilities at the common confidence; None where there are none.
        reason: why there are none.
    """

    classes: NDArray[np.int64]
    flips: Float64
    class_means: Float64 | None
    tempered: TemperedRows | None
    reason: NoExponent | None

    @property
    def has_one_class(self) -> bool:
        """Whether every row gets the same class."""
        return len(np.unique(self.classes[self.classes != MISSING])) < 2

    def first(self, requests: int, rows: int) -> ClassifierRows:
        """The same of the first requests only, which have so many rows."""
        if requests == len(self.flips):
            return self
        tempered = self.tempered
        if tempered is not None:
            # Of fewer rows the mean top probability is another, and another version is brought to that.
            tempered = replace(tempered, is_own=True, errors=tempered.errors[:requests], top=tempered.top[:requests])
        return replace(self, classes=self.classes[:rows], flips=self.flips[:requests], tempered=tempered)


def is_classifier(result: Assessment) -> bool:
    """Whether a comparison of it is one of classes."""
    return result.output == "label" or (result.task == "classification" and result.output != "value")


def classifier_rows(result: Assessment, on: NDArray[np.bool_]) -> ClassifierRows:
    """What a comparison needs of an assessment that was made to be compared (`compare_at`).

    Args:
        result: the assessment.
        on: shape `(n,)`, the rows that are compared: those with a finite clean output in the reference.

    Raises:
        InvalidInputError: it is of no classifier, or was not made to be compared.
    """
    kept = result.row_agreement if result.reference == "prediction" else result.row_accuracy
    if kept is None or not is_classifier(result):
        raise InvalidInputError("the outputs are no classes")
    classes = class_codes(classes_of(result.clean_outputs, result.output), result.output)[on]
    clusters = result.clusters[on]
    flips = cluster_means(np.where((classes == MISSING)[:, None], np.inf, 1.0 - kept[on, 1:]), clusters)
    if result.output == "label":
        return ClassifierRows(classes, flips, None, None, "labels")
    if result.common is None:
        raise InvalidInputError("the assessment was not made to be compared: give it compare_at")
    clean = result.common.clean
    return ClassifierRows(classes, flips, clean.class_means, _tempered(result.common, on, clusters), clean.reason)


def _tempered(common: Common, on: NDArray[np.bool_], clusters: NDArray[np.int64]) -> TemperedRows | None:
    clean = common.clean
    if clean.exponent is None or common.errors is None or common.steps is None:
        return None
    steps, rise = cluster_means(common.steps[on, 1:], clusters), STEP * clean.top_slope
    usable = np.isfinite(steps).all(axis=1)
    knows = usable.any() and rise > 0
    return TemperedRows(
        exponent=clean.exponent,
        is_own=clean.is_own,
        errors=cluster_means(common.errors[on, 1:], clusters),
        top=cluster_means(clean.top[on, None], clusters)[:, 0],
        sensitivity=steps[usable].mean(axis=0) / rise if knows else np.zeros(steps.shape[1]),
    )


def class_codes(classes: NDArray[Any], kind: OutputKind) -> NDArray[np.int64]:
    """Classes as whole numbers that are the same in every process: a class's number, or a hash of its name.

    >>> class_codes(np.array([0, 2, -1]), "logit").tolist() == [0, 2, MISSING]
    True
    >>> class_codes(np.array([1.0, 2.0]), "label").tolist() == class_codes(np.array([1, 2]), "label").tolist()
    True
    """
    if classes.ndim > 1:
        sets = (MISSING if np.any(row < 0) else _code(row.astype(np.int8).tobytes()) for row in classes)
        return np.array(list(sets), dtype=np.int64)
    if kind != "label":
        return np.where(classes < 0, MISSING, classes).astype(np.int64)
    known, which = np.unique(np.array([_code(each) for each in classes.tolist()], dtype=np.int64), return_inverse=True)
    return np.asarray(known[which])


def _code(label: Any) -> int:
    if label is None or label != label:
        return MISSING
    if isinstance(label, (bool, int, float)) and abs(label) < 2**53:
        return int(label)
    content = label if isinstance(label, bytes) else str(label).encode()
    return NAMED | int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) >> 4


def compare_classifiers(
    a: ClassifierRows, b: ClassifierRows, levels: Sequence[float], *, alpha: float = 0.01, tolerance: float = 0.0
) -> Comparison:
    """Compare two versions of a classifier on the same rows and noise: b, brought to a's common confidence, against a.

    Exponents are estimated on the rows that are compared. With `E` a version's mean error and `T` its mean top
    probability, both functions of its exponent, the exponent that brings `T` to c is off by `(c - T) / T'` to first
    order, and the mean error by `E' / T' (c - T)`: as if each row's error were smaller by `E' / T' (top - c)`, which is
    the correction of both where c is a number fixed beforehand. Where c is a's own mean top probability, a's exponent
    is 1, and b follows a row by row: b's errors are corrected by `E' / T' (top of b - top of a)` alone. (Delta method:
    van der Vaart 1998, Asymptotic Statistics, ch. 3 and 5.)

    Raises:
        InvalidInputError: they have other numbers of classes.
    """
    reason = _reason(a, b)
    by_flips = compare_rows(a.flips, b.flips, levels=levels, alpha=alpha, tolerance=tolerance)
    known = np.isfinite(a.flips).all(axis=1)
    beside: dict[str, Any] = {
        "disagreement": _disagreement(a.classes, b.classes),
        "flip_ratio": by_flips.ratio,
        "flip_pooled_ratio": by_flips.pooled_ratio,
        "flip_pvalue": by_flips.pvalue,
        "agreement_a": _agreement(a.flips[known]),
        "agreement_b": _agreement(b.flips[known]),
    }
    one, other = a.tempered, b.tempered
    if reason is not None or one is None or other is None:
        return replace(by_flips, score="flips", reason=reason, **beside)
    compared = compare_rows(
        one.errors, other.errors, _correction(one, other), levels=levels, alpha=alpha, tolerance=tolerance
    )
    return replace(
        compared,
        score="probability",
        exponents=(one.exponent, other.exponent),
        common_confidence=one.confidence(),
        **beside,
    )


def _reason(a: ClassifierRows, b: ClassifierRows) -> NoExponent | None:
    """Why flips decide; None where probabilities do."""
    if a.class_means is None or b.class_means is None:
        return "labels"
    if a.class_means.shape != b.class_means.shape:
        raise InvalidInputError(
            f"the versions have other numbers of classes, {a.class_means.size} and {b.class_means.size}: their errors "
            "cannot be compared"
        )
    if a.tempered is None or b.tempered is None:
        return a.reason or b.reason or "exponent"
    return "other_classes" if other_classes(a.class_means, b.class_means) else None


def _correction(a: TemperedRows, b: TemperedRows) -> Float64:
    """What is subtracted from the errors of a and b, shape `(2, requests, levels)`."""
    target = a.top if a.is_own else np.full_like(a.top, a.confidence())
    off = np.stack([np.outer(each.top - target, each.sensitivity) for each in (a, b)])
    return np.nan_to_num(off, nan=0.0)


def _disagreement(a: NDArray[np.int64], b: NDArray[np.int64]) -> float | None:
    known = a != MISSING
    if not known.any() or np.any(a[known] >= NAMED) != np.any(b >= NAMED):
        return None
    return float(np.mean(a[known] != b[known]))


def _agreement(flips: Float64) -> Float64:
    """Share of unchanged classes by level; a class that is missing without noise is not kept."""
    return np.asarray(1.0 - np.minimum(flips, 1.0).mean(axis=0)) if len(flips) else np.zeros(flips.shape[1])
