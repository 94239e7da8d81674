"""Bounds of the error under noise: of a further trial, of a further prediction, of the whole curve.

Each is a different quantity with its own promise; none is ever published under another's name. The bound of the mean
over all inputs is in `mean_bound`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from robmon.errors import InvalidInputError, TooFewTrialsError
from robmon.robustness import student
from robmon.robustness.arrays import Float64

BoundMethod = Literal["order_statistic", "tolerance", "cantelli", "student_t"]
ASSURANCE = 0.95
"""Probability with which the `tolerance` bound keeps its statement, given one set of trials."""


def check_confidence(confidence: float) -> None:
    """Refuse what is no probability strictly between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise InvalidInputError(f"confidence must lie between 0 and 1, not {confidence!r}")


def order_statistic_rank(count: int, confidence: float) -> int:
    """`ceil((count + 1) * confidence)`, guarded against floating point (10 * 0.9 is 9, not a little more).

    >>> order_statistic_rank(19, 0.95), order_statistic_rank(9, 0.9), order_statistic_rank(18, 0.95)
    (19, 9, 19)
    """
    return math.ceil((count + 1) * confidence - 1e-9)


def needed_trials(confidence: float, method: str = "order_statistic") -> int:
    """The smallest number of trials with which the bound exists.

    >>> needed_trials(0.95), needed_trials(0.99), needed_trials(0.95, "tolerance"), needed_trials(0.95, "student_t")
    (19, 99, 59, 2)

    Raises:
        InvalidInputError: the confidence is no probability, or the method is not known.
    """
    check_confidence(confidence)
    _method(method)
    if method == "order_statistic":
        return _smallest(math.ceil(confidence / (1.0 - confidence)), lambda t: order_statistic_rank(t, confidence) <= t)
    if method == "tolerance":
        guess = math.ceil(math.log(1.0 - ASSURANCE) / math.log(confidence))
        return _smallest(guess, lambda t: confidence**t <= 1.0 - ASSURANCE)
    return 2


def _smallest(guess: int, suffices: Callable[[int], bool]) -> int:
    """The smallest count that suffices, looked for from a guess that floating point may have moved by a little."""
    count = max(1, guess - 2)
    while not suffices(count):
        count += 1
    return count


def upper_bound(trial_mse: ArrayLike, confidence: float = 0.95, method: str = "order_statistic") -> float:
    """The trial bound U: the MSE of a further trial on the same rows is at most U with probability `confidence`.

    Args:
        trial_mse: shape `(T,)`, the MSE of each trial, in squared output units. The trials must be independent and
            their number fixed beforehand.
        confidence: the stated probability, an average over assessments.
        method:
            - `order_statistic`: the k-th smallest trial MSE, `k = ceil((T + 1) * confidence)` (David & Nagaraja, Order
              Statistics, 2003, section 7.3). Assumes nothing but i.i.d. trials. Given one set of trials its coverage is
              Beta(k, T + 1 - k) distributed.
            - `tolerance`: the smallest order statistic that covers at least `confidence` with 95 % assurance over sets
              of trials (Wilks, Ann. Math. Statist. 12, 1941).
            - `cantelli`: `mean + s * sqrt((1 + 1/T) * confidence / (1 - confidence))`, Cantelli's inequality with mean
              and standard deviation estimated; a comparator, very loose.
            - `student_t`: `mean + t * s * sqrt(1 + 1/T)`, t the quantile with T - 1 degrees of freedom; exact for
              normal trial MSEs only; a comparator.

    Returns:
        U, in the units of `trial_mse`; +Inf when any trial is not finite.

    Raises:
        TooFewTrialsError: the bound does not exist with so few trials; names the number needed.
        InvalidInputError: no trials in one row, confidence or method not usable.

    >>> upper_bound(range(1, 20))
    19.0
    >>> upper_bound([1.0, 2.0, 3.0])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    robmon.errors.TooFewTrialsError: 3 trials are too few for a 0.95 bound by order_statistic: at least 19 ...
    """
    trials = np.asarray(trial_mse, dtype=np.float64)
    if trials.ndim != 1:
        raise InvalidInputError(f"trial MSEs must be one row of numbers, not of shape {trials.shape}")
    bound = _method(method)
    needed = needed_trials(confidence, method)
    if trials.size < needed:
        raise TooFewTrialsError(trials.size, needed, confidence, method)
    if not np.all(np.isfinite(trials)):
        return math.inf
    return float(bound(trials, confidence))


def _order_statistic(trials: Float64, confidence: float) -> float:
    return float(np.sort(trials)[order_statistic_rank(trials.size, confidence) - 1])


def _tolerance(trials: Float64, confidence: float) -> float:
    """Order statistic k with P(Binomial(T, confidence) <= k - 1) >= assurance."""
    count = trials.size
    log_terms = [
        math.lgamma(count + 1)
        - math.lgamma(j + 1)
        - math.lgamma(count - j + 1)
        + j * math.log(confidence)
        + (count - j) * math.log1p(-confidence)
        for j in range(count)
    ]
    enough = np.cumsum(np.exp(log_terms)) >= ASSURANCE - 1e-12
    # The last is enough up to rounding: upper_bound has refused fewer trials than needed.
    rank = int(np.argmax(enough)) + 1 if enough.any() else count
    return float(np.sort(trials)[rank - 1])


def _cantelli(trials: Float64, confidence: float) -> float:
    return float(trials.mean() + _spread(trials) * math.sqrt(confidence / (1.0 - confidence)))


def _student_t(trials: Float64, confidence: float) -> float:
    return float(trials.mean() + _spread(trials) * student.quantile(confidence, trials.size - 1))


def _spread(trials: Float64) -> float:
    """Standard deviation of a further trial about the mean of these."""
    return float(trials.std(ddof=1)) * math.sqrt(1.0 + 1.0 / trials.size)


_METHODS: dict[str, Callable[[Float64, float], float]] = {
    "order_statistic": _order_statistic,
    "tolerance": _tolerance,
    "cantelli": _cantelli,
    "student_t": _student_t,
}


def _method(method: str) -> Callable[[Float64, float], float]:
    if method not in _METHODS:
        raise InvalidInputError(f"bound {method!r} is not known: it is one of {', '.join(_METHODS)}")
    return _METHODS[method]


def request_bound(row_errors: ArrayLike, confidence: float = 0.95) -> float | None:
    """The request bound V: the row error of a further prediction is at most V with probability `confidence`.

    The k-th smallest of n row errors, `k = ceil((n + 1) * confidence)`: split conformal prediction without a model
    (Vovk, Gammerman & Shafer 2005). The rows, new one included, must be exchangeable.

    Args:
        row_errors: shape `(n,)`, the row errors of one trial (never averages over trials), in squared output units.
        confidence: the stated probability.

    Returns:
        V in squared output units; None where `k > n`; +Inf when an error is not finite.

    >>> request_bound(range(1, 40)), request_bound([1.0, 2.0])
    (38.0, None)
    """
    check_confidence(confidence)
    errors = np.asarray(row_errors, dtype=np.float64)
    rank = order_statistic_rank(errors.size, confidence)
    if rank > errors.size:
        return None
    if not np.all(np.isfinite(errors)):
        return math.inf
    return float(np.partition(errors, rank - 1)[rank - 1])


def curve_band(trial_mse: ArrayLike, confidence: float = 0.95) -> Float64 | None:
    """An upper band of the whole curve: with probability `confidence` a further trial stays under it at every level.

    The first trials give its shape, mean and standard deviation per level; the others calibrate its height: the score
    of a trial is its largest excess over the mean in standard deviations, and the band is the k-th smallest score of
    the m calibration trials, `k = ceil((m + 1) * confidence)`. Exact for i.i.d. trials, whatever the dependence between
    levels (split conformal prediction; Diquigiovanni, Fontana & Vantini 2022, arXiv 2106.01792).

    Args:
        trial_mse: shape `(T, levels)`, squared output units.
        confidence: the stated probability.

    Returns:
        shape `(levels,)`, +Inf at a level with an infinite trial; None where trials are too few (37 or more serve 95 %
        well, 21 are the least).

    >>> trials = np.random.default_rng(0).chisquare(50, size=(39, 2))
    >>> curve_band(trials).shape, curve_band(trials[:20]) is None
    ((2,), True)
    """
    check_confidence(confidence)
    trials = np.asarray(trial_mse, dtype=np.float64)
    shaping = min(len(trials) // 2, len(trials) - needed_trials(confidence))
    if shaping < 2:
        return None
    finite = np.all(np.isfinite(trials), axis=0)
    band = np.full(trials.shape[1], np.inf)
    if finite.any():
        band[finite] = _calibrated(trials[:shaping, finite], trials[shaping:, finite], confidence)
    return band


def _calibrated(shape: Float64, calibration: Float64, confidence: float) -> Float64:
    mean, deviation = shape.mean(axis=0), shape.std(axis=0, ddof=1)
    fixed = np.ptp(np.vstack([shape, calibration]), axis=0) == 0.0
    varying = deviation[deviation > 0]
    # A level whose shaping trials happen to agree still needs a width in which to measure an excess.
    deviation = np.where(deviation > 0, deviation, varying.min() if varying.size else 1.0)
    scores = np.sort(np.max((calibration - mean) / deviation, axis=1, where=~fixed, initial=-np.inf))
    height = scores[order_statistic_rank(len(scores), confidence) - 1]
    return np.asarray(np.where(fixed, mean, mean + (0.0 if np.isinf(height) else height) * deviation))
