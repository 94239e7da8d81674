"""Classifiers at a common confidence: the scale of logits means nothing, so it is taken out before they are compared.

Both versions' probabilities are raised to an exponent each, `p^s / sum p^s`, so that their mean top probability over
the clean rows is the same: of logits that is a temperature of `1 / s` (Guo et al. 2017, ICML, arXiv 1706.04599, who fit
it to labels). Row errors are then squared changes of those probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robmon.errors import PredictionError
from robmon.robustness.arrays import Array, Float64, by_copy, like, namespace, to_numpy
from robmon.vocabulary import NoExponent

MOST_CONFIDENCE = 0.9
"""An overconfident reference blinds the comparison: nothing moves a probability of 0.999."""
SMALLER_CLASSES = 0.1
"""Share of rows that classes other than the largest must hold for `MOST_CONFIDENCE`: where one class is nearly
everything, a high confidence is the truth."""
LARGEST_EXPONENT = 8.0
SATURATED_SHARE = 0.05
OTHER_ODDS = 1.5
STEP = 0.01
"""By which the logarithm of the exponent is moved to see what errors and confidence do with it."""
TOLERANCE = 1e-12
"""Of the mean top probability that an exponent brings about."""


def class_scores(outputs: Array, kind: str) -> Array:
    """Numbers whose softmax over the last axis are the outputs' probabilities, shape `(n, classifiers, classes)`.

    Several columns are one classifier; one column is the second of two classes; each column of `multilabel` outputs is
    a classifier of two classes.

    Args:
        outputs: flattened, shape `(n, columns)`, of kind `logit`, `probability` or `multilabel`.
        kind: what they are.

    >>> np.exp(class_scores(np.array([[0.2, 0.8]]), "probability")).round(6).tolist()
    [[[0.2, 0.8]]]
    >>> np.exp(class_scores(np.array([[0.8]]), "probability")).round(6).tolist()
    [[[0.2, 0.8]]]
    """
    xp = namespace(outputs)
    is_binary = outputs.shape[1] == 1 or kind == "multilabel"
    if kind == "logit":
        return xp.stack([xp.zeros_like(outputs), outputs], axis=-1) if is_binary else outputs[:, None, :]
    outputs = xp.where(outputs < 0.0, xp.zeros_like(outputs), outputs)
    if not is_binary:
        # A row of zeros only says nothing of its classes.
        is_empty = xp.all(outputs == 0.0, axis=1)[:, None]
        outputs = xp.where(is_empty, xp.ones_like(outputs), outputs)
    outputs = xp.where(outputs > 1.0, xp.ones_like(outputs), outputs)
    with np.errstate(divide="ignore"):
        if is_binary:
            return xp.stack([xp.log1p(-outputs), xp.log(outputs)], axis=-1)
        return xp.log(outputs)[:, None, :]


def probabilities(scores: Array, exponent: float = 1.0) -> Array:
    """Softmax of `exponent * scores` over the last axis: `p^s / sum p^s` of the probabilities p that they stand for.

    >>> probabilities(np.log(np.array([[[0.2, 0.8]]])), 2.0).round(4).tolist()
    [[[0.0588, 0.9412]]]
    """
    xp = namespace(scores)
    scaled = exponent * scores
    powers = xp.exp(scaled - xp.max(scaled, axis=-1, keepdims=True))
    return powers / xp.sum(powers, axis=-1, keepdims=True)


def top_probabilities(chances: Array) -> Float64:
    """The largest probability of each row, mean over its classifiers; shape `(n,)`, in main memory."""
    xp = namespace(chances)
    return to_numpy(xp.mean(xp.max(chances, axis=-1), axis=-1))


@dataclass(frozen=True, eq=False)
class Clean:
    """A classifier's clean outputs at the common confidence.

    Attributes:
        confidence: the common confidence: mean top probability over the clean rows.
        is_own: whether that is this version's own mean, not a number fixed beforehand or another version's.
        exponent: what the probabilities are raised to; None where there is none that is of use.
        reason: why there is none: `saturated` or `exponent`.
        top: shape `(n,)`, top probability of each row at the exponent; NaN where the clean output is not finite.
        top_slope: derivative of the mean top probability by the logarithm of the exponent.
        class_means: shape `(classifiers, classes)`, mean probability of each class at the exponent.
    """

    confidence: float
    is_own: bool
    exponent: float | None
    reason: NoExponent | None
    top: Float64
    top_slope: float
    class_means: Float64


def bring(clean: Array, kind: str, weights: Float64, confidence: float | None = None, resolution: float = 0.0) -> Clean:
    """Bring a classifier's clean outputs to a confidence.

    Args:
        clean: flattened clean outputs, shape `(n, columns)`.
        kind: `logit`, `probability` or `multilabel`.
        weights: shape `(n,)`, of the rows in all means.
        confidence: the mean top probability wanted; None: this is the reference, whose own it is, but at most 0.9 where
            classes other than the largest hold at least a tenth of the rows.
        resolution: distance of 1 to the next larger number in the dtype in which the model returned probabilities.

    >>> logits = np.random.default_rng(0).normal(size=(500, 3))
    >>> a = bring(logits, "logit", np.ones(500))
    >>> b = bring(3 * logits, "logit", np.ones(500), a.confidence)
    >>> a.exponent, round(b.exponent, 6), round(a.confidence, 2)
    (1.0, 0.333333, 0.59)
    """
    is_finite = np.isfinite(to_numpy(clean)).all(axis=1)
    rows = np.flatnonzero(is_finite)
    scores = class_scores(clean if is_finite.all() else clean[like(rows, clean)], kind)
    weights = weights[rows] / max(weights[rows].sum(), 1e-300)
    own = float(weights @ top_probabilities(probabilities(scores))) if rows.size else math.nan
    is_own = False
    if confidence is None:
        caps = own > MOST_CONFIDENCE and _smaller_classes(scores, weights) >= SMALLER_CLASSES
        confidence, is_own = (MOST_CONFIDENCE, False) if caps else (own, True)
    reason: NoExponent | None = None
    exponent: float | None = None
    if kind != "logit" and rows.size and _saturated_share(clean, kind, is_finite, resolution) > SATURATED_SHARE:
        reason = "saturated"
    else:
        exponent = 1.0 if is_own and rows.size else _exponent(scores, weights, confidence)
        reason = "exponent" if exponent is None else None
    top = np.full(len(is_finite), math.nan)
    at = probabilities(scores, 1.0 if exponent is None else exponent)
    top[rows] = top_probabilities(at)
    moved = top_probabilities(probabilities(scores, math.exp(STEP) * (exponent or 1.0)))
    means = np.tensordot(weights, to_numpy(at), axes=1)
    return Clean(confidence, is_own, exponent, reason, top, float(weights @ (moved - top[rows])) / STEP, means)


def _smaller_classes(scores: Array, weights: Float64) -> float:
    """Share of rows in all classes but the largest; mean over classifiers."""
    classes = to_numpy(namespace(scores).argmax(scores, axis=-1))
    largest = [np.bincount(column, weights).max() for column in classes.T]
    return 1.0 - float(np.mean(largest))


def _saturated_share(clean: Array, kind: str, is_finite: NDArray[np.bool_], resolution: float) -> float:
    """Share of top probabilities that round to 1 where numbers next to it are `resolution` apart (below it, half that).

    Logits lose nothing there: they say by how much the largest leads.
    """
    chances = to_numpy(clean)[is_finite]
    is_binary = chances.shape[1] == 1 or kind == "multilabel"
    top = np.maximum(chances, 1.0 - chances) if is_binary else chances.max(axis=1)
    return float(np.mean(top >= 1.0 - resolution / 4.0))


def _exponent(scores: Array, weights: Float64, confidence: float) -> float | None:
    """The exponent that brings the mean top probability to the confidence, which rises with it; None outside [1/8, 8].

    False position in the Illinois form (Dowell & Jarratt 1971, BIT 11, 168-174) on the logarithm of the exponent.
    """

    def excess(log_exponent: float) -> float:
        return float(weights @ top_probabilities(probabilities(scores, math.exp(log_exponent)))) - confidence

    low, high = -math.log(LARGEST_EXPONENT), math.log(LARGEST_EXPONENT)
    below, above = excess(low), excess(high)
    if not (below <= 0.0 <= above and below < above):
        return None
    side = 0
    middle = low
    for _ in range(200):
        middle = (low * above - high * below) / (above - below)
        here = excess(middle)
        if abs(here) <= TOLERANCE or high - low <= TOLERANCE:
            break
        if here < 0.0:
            low, below = middle, here
            above *= 0.5 if side < 0 else 1.0
            side = -1
        else:
            high, above = middle, here
            below *= 0.5 if side > 0 else 1.0
            side = 1
    return math.exp(middle)


def other_classes(a: Float64, b: Float64) -> bool:
    """Whether some class's mean probability differs by more than 1.5 times in odds between two versions.

    A class that in both holds less than a tenth of an even share of what the largest leaves is not looked at: next to
    nothing of the errors is its own.

    Args:
        a, b: shape `(classifiers, classes)`.

    >>> even, uneven = np.array([[0.5, 0.5]]), np.array([[0.65, 0.35]])
    >>> other_classes(even, even), other_classes(even, uneven)
    (False, True)
    """
    rest = 1.0 - np.minimum(a.max(axis=1), b.max(axis=1))
    holds = np.maximum(a, b) >= rest[:, None] / (10.0 * max(a.shape[1] - 1, 1))
    odds_a, odds_b = (each * (1.0 - other) for each, other in ((a, b), (b, a)))
    return bool(np.any(holds & ((odds_a > OTHER_ODDS * odds_b) | (odds_b > OTHER_ODDS * odds_a))))


class TemperedErrors:
    """Row errors at the common confidence, at the exponent and at one that is `exp(STEP)` times as large.

    Args:
        clean: flattened clean outputs.
        kind: what they are.
        exponent: of this version.
        truth: probabilities that outputs are compared with, in the shape of `clean`; None: the clean outputs' own.
    """

    count = 2

    def __init__(self, clean: Array, kind: str, exponent: float, truth: Array | None = None) -> None:
        self.kind = kind
        self.exponents = (exponent, math.exp(STEP) * exponent)
        scores = class_scores(clean, kind)
        if truth is None:
            self.references = [probabilities(scores, each) for each in self.exponents]
        else:
            true = probabilities(class_scores(truth, "multilabel" if kind == "multilabel" else "probability"))
            self.references = [true, true]

    def __call__(self, outputs: Array, rows: slice) -> Array:
        """Mean squared change over the classes, of copies of these rows, one copy after the other, where they are.

        Shape `(2, copies * rows)`; of a row that is not finite it is any number.
        """
        reference = self.references[0][rows]
        scores = class_scores(outputs, self.kind)
        if tuple(scores.shape[1:]) != tuple(reference.shape[1:]):
            raise PredictionError("the model returned another number of outputs than before", reason="invalid_output")
        xp = namespace(scores)
        with np.errstate(over="ignore", invalid="ignore"):
            errors = xp.stack(
                [
                    xp.mean((by_copy(probabilities(scores, exponent), reference) - each[rows]) ** 2, axis=(-2, -1))
                    for exponent, each in zip(self.exponents, self.references, strict=True)
                ]
            )
            return xp.reshape(errors, (2, -1))


@dataclass(frozen=True, eq=False)
class Common:
    """What an assessment found of a classifier at the common confidence.

    Attributes:
        clean: the clean outputs there.
        errors: shape `(n, levels)`, row errors over trials: mean squared change of the probabilities, +Inf where a row
            is not finite; None without an exponent.
        steps: shape `(n, levels)`, what they change by when the logarithm of the exponent rises by `STEP`.
    """

    clean: Clean
    errors: Float64 | None
    steps: Float64 | None
