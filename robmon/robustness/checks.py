"""What is refused of the options of an assessment, each by itself. Needs no NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Final

from robmon.errors import InvalidInputError
from robmon.vocabulary import BOUNDS, NOISE_NAMES, fewest_trials

ASSURANCE: Final = 0.95
"""Probability with which the `tolerance` bound keeps its statement, given one set of trials."""

MOST_COSINE: Final = 2.0
"""The largest cosine distance: of embeddings that point in opposite directions."""

LARGEST_LEVEL: Final = 1e100
"""The square of a larger one is hardly a number."""


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """The levels in rising order, 0 first.

    Raises:
        InvalidInputError: a level is negative or not finite, occurs twice, or none is above 0.

    >>> check_levels([0.2, 0.1])
    (0.0, 0.1, 0.2)
    """
    if isinstance(levels, str):
        raise InvalidInputError("levels are a list of numbers, not text")
    try:
        numbers = [float(level) for level in levels]
    except (TypeError, ValueError):
        raise InvalidInputError("levels are a list of numbers, as in levels=(0.1, 0.2)") from None
    if any(not math.isfinite(level) or level < 0 for level in numbers):
        raise InvalidInputError("levels must be finite numbers of at least 0")
    if max(numbers, default=0.0) > LARGEST_LEVEL:
        raise InvalidInputError(f"levels must be at most {LARGEST_LEVEL:g}")
    if len(set(numbers)) != len(numbers):
        raise InvalidInputError("levels must differ from one another")
    if not any(numbers):
        raise InvalidInputError("at least one level must be above 0")
    return tuple(sorted({0.0, *numbers}))


def words(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names that are given as one, as several, or not at all.

    >>> words("all"), words(["a", "b"]), words(None)
    (('all',), ('a', 'b'), ())
    """
    return (given,) if isinstance(given, str) else tuple(given or ())


def check_largest(noise: str, levels: Sequence[float], largest: float, unit: str) -> None:
    """Refuse levels beyond the largest that has a meaning."""
    if max(levels) > largest:
        raise InvalidInputError(
            f"level {max(levels):g} of {noise} noise has no meaning: levels count {unit}, at most {largest:g}"
        )


def check_jpeg(levels: Sequence[float]) -> None:
    """Refuse levels that are no steps of an encoder's quality."""
    told = " ".join(f"{level:g}" for level in levels if level != round(level))
    if told:
        raise InvalidInputError(f"levels of jpeg noise are whole steps of quality below 100, such as 50, not {told}")


def check_noise_name(noise: Any) -> None:
    """Refuse the name of no noise model, and what is neither a name nor a noise."""
    is_known = noise in NOISE_NAMES if isinstance(noise, str) else hasattr(noise, "perturbed")
    if not is_known:
        raise InvalidInputError(
            f"noise {noise!r} is not known: it is a robmon.Noise or one of {', '.join(NOISE_NAMES)}"
        )


def check_whole(number: int, name: str) -> None:
    """Refuse what is no whole number."""
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise InvalidInputError(f"{name} must be a whole number, not {type(number).__name__}")


def check_above_zero(number: float, name: str) -> None:
    """Refuse what is no finite number above 0."""
    if isinstance(number, bool) or not isinstance(number, Real) or not 0 < number < math.inf:
        raise InvalidInputError(f"{name} must be a number above 0, not {number!r}")


def check_seed(seed: int) -> None:
    """Refuse what is no seed."""
    check_whole(seed, "seed")
    if seed < 0:
        raise InvalidInputError(f"seed must be at least 0, not {seed}")


def check_limit(limit: float) -> None:
    """Refuse what is no limit of an MSE."""
    if not isinstance(limit, Real) or not limit >= 0:
        raise InvalidInputError(f"the limit of the MSE must be at least 0, not {limit!r}")


def check_limit_of_share(name: str, limit: float) -> None:
    """Refuse what is no share of the rows that is to be kept."""
    if not isinstance(limit, Real) or isinstance(limit, bool) or not 0 < limit <= 1:
        raise InvalidInputError(f"{name} is a share of the rows, above 0 and at most 1, not {limit!r}")


def check_threshold(threshold: float | None, distance: str) -> None:
    """Refuse what is no distance beyond which two embeddings are not taken for the same thing."""
    is_number = isinstance(threshold, Real) and not isinstance(threshold, bool)
    if threshold is not None and not (is_number and 0 < threshold < math.inf):
        raise InvalidInputError(f"the threshold of distances must be a finite number above 0, not {threshold!r}")
    if threshold is not None and distance == "cosine" and threshold > MOST_COSINE:
        raise InvalidInputError(
            f"the threshold of cosine distances must be at most {MOST_COSINE:g}, which none exceeds, not {threshold:g}"
        )


def check_confidence(confidence: float) -> None:
    """Refuse what is no probability strictly between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise InvalidInputError(f"confidence must lie between 0 and 1, not {confidence!r}")


def needed_trials(confidence: float, method: str = "order_statistic") -> int:
    """The smallest number of trials with which the bound exists.

    >>> needed_trials(0.95), needed_trials(0.99), needed_trials(0.95, "tolerance"), needed_trials(0.95, "student_t")
    (19, 99, 59, 2)

    Raises:
        InvalidInputError: the confidence is no probability, or the method is not known.
    """
    check_confidence(confidence)
    check_word("bound", method, BOUNDS)
    if method == "order_statistic":
        return fewest_trials(confidence)
    if method == "tolerance":
        return math.ceil(math.log(1.0 - ASSURANCE) / math.log(confidence))
    return 2


def check_word(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise InvalidInputError(f"{name} {word!r} is not known: it is one of {', '.join(known)}")
