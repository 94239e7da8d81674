"""A comparison of two versions in words: the verdict, what it rests on, and a table of the levels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robmon.report.words import aligned, chance, found_with_power, interval, noise_of, number, percent
from robmon.robustness.arrays import Float64
from robmon.vocabulary import ComparisonScore, NoExponent

if TYPE_CHECKING:
    from robmon.robustness.comparison import Comparison

SCORE_NAMES: dict[ComparisonScore, str] = {"mse": "MSE", "probability": "MSE", "flips": "flip", "triplets": "triplet"}
WHY_FLIPS: dict[NoExponent, str] = {
    "labels": "outputs are labels, which have no probabilities",
    "saturated": "more than 5 % of the top probabilities round to 1, so that what they differ by is lost: let the "
    "model return logits",
    "exponent": "no exponent between 1/8 and 8 brings the probabilities to the common confidence",
    "other_classes": "the mean probability of a class differs by more than 1.5 times in odds, as with another prior or "
    "class weights, which no exponent undoes",
}


def text(result: Comparison, name_a: str = "a", name_b: str = "b") -> str:
    """The verdict in plain words, the pooled ratio and what it is made of, and a table of the levels."""
    plain = [verdict(result, name_a, name_b), flip_note(result), _agreements(result, name_a, name_b)]
    plain += _embeddings(result, name_a, name_b)
    limits = interval(result.confidence, result.pooled_low, result.pooled_high)
    lines = [
        f"pooled ratio {result.pooled_ratio:.4g} ({limits}): "
        f"error of {name_b} over that of {name_a}, all levels together",
        f"compared: {basis(result)}",
    ]
    if result.agreement_a is not None and result.disagreement is not None:
        lines.append(f"other classes without noise: {100 * result.disagreement:.3g} % of the rows")
    lines += _table(result, name_a, name_b)
    if result.score == "mse" and result.a is not None:
        lines.append(f"The difference is in units of twice the variance of the clean outputs of {name_a}.")
    return "\n".join([*filter(None, plain), *lines])


def _table(result: Comparison, name_a: str, name_b: str) -> list[str]:
    limits = f"{100 * result.confidence:g} % interval"
    columns: dict[str, list[str]] = {
        "level": _numbers(result.levels),
        f"{SCORE_NAMES[result.score]} ratio": _numbers(result.ratio),
        limits: _limits(result.ratio_low, result.ratio_high),
        "difference": _numbers(result.delta),
        f"{limits} ": _limits(result.delta_low, result.delta_high),
    }
    if result.agreement_a is not None and result.agreement_b is not None and result.flip_ratio is not None:
        if result.score != "flips":
            columns["flip ratio"] = _numbers(result.flip_ratio)
        columns[f"agreement of {name_a}"] = _numbers(result.agreement_a)
        columns[f"of {name_b}"] = _numbers(result.agreement_b)
    return aligned([list(columns), *zip(*columns.values(), strict=True)])


def verdict(result: Comparison, name_a: str = "a", name_b: str = "b") -> str:
    """The verdict in plain words; where nothing was found, also what could have been."""
    sure = f"{chance(result.pvalue)}, {result.rows} rows"
    beyond = f" by more than the tolerated {100 * result.tolerance:g} %" if result.tolerance else ""
    if result.worse:
        return f"Under noise {name_b} is worse than {name_a}{beyond}: {_size(result, name_a)} ({sure})."
    plain = f"Under noise {name_b} is not shown to be worse than {name_a}{beyond} ({sure})."
    return " ".join(filter(None, [plain, found_with_power(result.detectable_ratio, result.tolerance)]))


def _size(result: Comparison, name_a: str) -> str:
    if np.any(result.delta == math.inf):
        return "its outputs are not all finite"
    if result.pooled_ratio == math.inf:
        return f"it has errors where {name_a} has none"
    if result.score == "triplets":
        return f"it changes {result.pooled_ratio:.4g} times as many triplets"
    return f"its error is {result.pooled_ratio:.4g} times as large"


def _agreements(result: Comparison, name_a: str, name_b: str) -> str:
    """For classifiers: how many classes stay at the highest level."""
    if result.agreement_a is None or result.agreement_b is None:
        return ""
    level = float(result.levels[-1])
    at = f"level {level:g}" if result.a is None else noise_of(level, result.a.level_unit)
    return (
        f"At {at} {percent(float(result.agreement_a[-1]))} of these requests keep their class with {name_a}, "
        f"{percent(float(result.agreement_b[-1]))} with {name_b}."
    )


def _embeddings(result: Comparison, name_a: str, name_b: str) -> list[str]:
    """For embeddings: what each version says of itself at the highest level."""
    at = f"At level {result.levels[-1]:g}"
    told = {
        "move beyond the threshold of": (result.beyond_a, result.beyond_b),
        "are still the nearest to themselves with": (result.self_nearest_a, result.self_nearest_b),
    }
    return [
        f"{at} {percent(float(a[-1]))} of these requests {what} {name_a}, {percent(float(b[-1]))} {what.split()[-1]} "
        f"{name_b}."
        for what, (a, b) in told.items()
        if a is not None and b is not None
    ]


def basis(result: Comparison) -> str:
    """What was compared, and why that."""
    if result.score == "flips":
        return f"shares of changed classes, because {WHY_FLIPS[result.reason or 'labels']}"
    if result.score == "triplets":
        return (
            "triplets of rows of which another than before is the nearer one, each version's against its own clean ones"
        )
    if result.exponents is None:
        return "squared changes of the outputs"
    a, b = result.exponents
    return (
        f"squared changes of the probabilities at a common confidence of {result.common_confidence:.3g} "
        f"(exponents {a:.3g} and {b:.3g})"
    )


def flip_note(result: Comparison) -> str:
    """Where a verdict on probabilities says one thing and flips another: a sentence; else empty."""
    ratio, pooled, pvalue = result.flip_ratio, result.flip_pooled_ratio, result.flip_pvalue
    if result.score != "probability" or ratio is None or pooled is None or pvalue is None:
        return ""
    if not math.isfinite(result.pooled_ratio):
        return ""
    if result.worse:
        is_less = np.round(ratio, 2) < 1
        if not is_less.any():
            return ""
        low, high = (f"{each:.2g}" for each in (ratio[is_less].min(), ratio[is_less].max()))
        ratios = low if low == high else f"{low} to {high}"
        flips = f"The classes themselves change less often {_where(result.levels, is_less)} (flip ratio {ratios}): "
    elif pvalue < result.alpha:
        often = f"{pooled:.3g} times as often" if math.isfinite(pooled) else "where none did"
        flips = f"The classes themselves change {often} ({chance(pvalue)}), which alone would be worse: "
    else:
        return ""
    most = int(np.argmax(result.error_share))
    share = f", {100 * result.error_share[most]:.2g} % of whose error lies at level {result.levels[most]:g}"
    return f"{flips}the verdict rests on the probabilities{share if len(result.levels) > 1 else ''}."


def _where(levels: Float64, chosen: NDArray[np.bool_]) -> str:
    """At which levels, in words; at least one is chosen.

    >>> levels = np.array([0.1, 0.2, 0.4])
    >>> [_where(levels, np.array(chosen, dtype=bool)) for chosen in ([1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1])]
    ['at level 0.1', 'up to level 0.2', 'at levels 0.1, 0.4', 'at every level']
    """
    named = [f"{level:g}" for level in levels[chosen]]
    if len(named) == 1:
        return f"at level {named[0]}"
    if chosen.all():
        return "at every level"
    highest = levels[chosen].max()
    return f"up to level {highest:g}" if np.array_equal(chosen, levels <= highest) else f"at levels {', '.join(named)}"


def _numbers(values: Float64) -> list[str]:
    return list(map(number, values.tolist()))


def _limits(low: Float64, high: Float64) -> list[str]:
    return [f"{first} to {last}" for first, last in zip(_numbers(low), _numbers(high), strict=True)]
