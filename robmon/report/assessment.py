"""An assessment in words: a plain sentence, the table that is printed, and the sentences under its picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from robmon.report.words import aligned, noise_of, number, percent, rounded_up
from robmon.robustness.sentences import some_of
from robmon.robustness.statistics.certificate import certified_radii
from robmon.vocabulary import distance_bound

if TYPE_CHECKING:
    from robmon.robustness.crossing import Crossing
    from robmon.robustness.curve_point import CurvePoint
    from robmon.robustness.result import Assessment

WORST_ROWS_NAMED = 5
_AXES: Final = {"level_squared": "level²", "level": "level", "severity": "severity"}


def text(result: Assessment, baseline: Mapping[float, float] | None = None) -> str:
    """What it comes to in a plain sentence, the curve as a table, and what else there is to say of it.

    Args:
        result: what is said.
        baseline: mean MSE of the baseline by level, where there is one.
    """
    head = (
        f"{result.rows} rows, {result.trials} trial{'s' * (result.trials > 1)} of {result.noise} noise, "
        f"output {result.output}, reference {result.reference}, confidence {result.confidence:g}"
    )
    below = [*_limits(result), _worst(result), _certified(result), str(result.masked)]
    lines = [opening(result), head, *filter(None, [result.cut]), *_table(result, baseline or {}), headline(result)]
    return "\n".join([*lines, *filter(None, below), *result.notes])


def _limits(result: Assessment) -> list[str]:
    """How much noise the owner's limits allow: by the bound, and by the mean."""
    margin = result.noise_margin()
    return [*([] if margin is None else [f"noise margin {margin}"]), *map(_crossing, result.crossings)]


def _crossing(crossed: Crossing) -> str:
    """At which level a score crosses its limit."""
    does = "the mean reaches" if crossed.score == "mse" else f"{crossed.score} falls below"
    return f"{does} {crossed.limit:g} at level {crossed}"


def _table(result: Assessment, baseline: Mapping[float, float]) -> list[str]:
    """The curve; columns without any number are left out."""
    band: tuple[float | None, ...] = result.band or (None,) * len(result.curve)
    columns: dict[str, Sequence[float | None]] = {
        "level": [point.level for point in result.curve],
        _error_name(result): [point.mean_mse for point in result.curve],
        "bound": [point.bound for point in result.curve],
        "band": band,
        "request bound" if result.distance == "cosine" else "request bound, squared": [
            point.request_bound for point in result.curve
        ],
        "mean bound": [point.mean_bound for point in result.curve],
        "baseline": [baseline.get(point.level) for point in result.curve],
        "agreement": [point.agreement for point in result.curve],
        "median move": [None if point.move_quantiles is None else point.move_quantiles[0] for point in result.curve],
        "beyond threshold": [point.beyond_threshold for point in result.curve],
        "triplets changed": [point.triplet_flips for point in result.curve],
        "self nearest": [point.self_nearest for point in result.curve],
        "accuracy": [point.accuracy for point in result.curve],
        "Brier": [point.brier for point in result.curve],
    }
    known = {name: list(map(number, values)) for name, values in columns.items() if any(v is not None for v in values)}
    return aligned([list(known), *zip(*known.values(), strict=True)])


def _error_name(result: Assessment) -> str:
    if result.output == "label":
        return "share changed" if result.reference == "prediction" else "share wrong"
    return "mean distance" if result.distance == "cosine" else "mean MSE"


def headline(result: Assessment) -> str:
    """Slope, area and index in a line; where the curve is not straight, the area without the slope, and why."""
    scalars = f"area {number(result.area)}, index {number(result.index)}"
    slope = result.slope
    if slope is None:
        return scalars
    if not slope.is_straight:
        lack = slope.lack_of_fit
        axis = _AXES[slope.axis]
        return f"{scalars}; a slope would mislead: the curve is not straight in {axis} (lack of fit {lack:.2g})"
    return f"slope {slope.value:.4g} ± {slope.stderr:.2g} per {_AXES[slope.axis]}, {scalars}"


def opening(result: Assessment) -> str:
    """What people want to know first, at the highest level whose errors are finite, and where outputs are not."""
    point = _highest(result)
    if point is None:
        return "At every noise level the model returned outputs that are not finite: no bound exists."
    lost = [f"{other.level:g}" for other in result.curve if not math.isfinite(other.mean_mse)]
    failing = f" At level{'s' * (len(lost) > 1)} {', '.join(lost)} its outputs are not all finite." if lost else ""
    told = _of_classes(result, point) or _of_embeddings(result, point)
    return (told or _of_requests(result, point) or _of_trials(result, point)) + failing


def explanation(result: Assessment) -> str:
    """What else the result says, in sentences that follow the opening; empty where there is no bound."""
    point = _highest(result)
    if point is None:
        return ""
    parts = [_of_requests(result, point), _of_trials(result, point)]
    slope, margin = result.slope, result.noise_margin()
    if slope is not None and slope.is_straight:
        parts.append(f"The error rises by {slope.value:.3g} per {_AXES[slope.axis]}.")
    if result.index is not None:
        best = "unmoved" if result.reference == "prediction" else "right"
        parts.append(f"Robustness index {result.index:.3g} (1: {best}, 0: as far off as another row's output).")
    if margin is not None:
        parts.append(f"Noise margin {margin}.")
    parts += [f"{_crossing(each).capitalize()}." for each in result.crossings if each.score != "mse"]
    return " ".join(part for part in parts if part and part not in opening(result))


def _highest(result: Assessment) -> CurvePoint | None:
    """The point of the highest level above 0 whose errors are finite."""
    return next((point for point in reversed(result.curve) if math.isfinite(point.mean_mse) and point.level), None)


def _of_classes(result: Assessment, point: CurvePoint) -> str:
    """How many classes stay, or are right; empty where there are none."""
    at = noise_of(point.level, result.level_unit)
    if point.accuracy is not None:
        clean = percent(result.curve[0].accuracy or 0.0)
        return f"{percent(point.accuracy)} of these requests get the true class at {at}, {clean} without noise."
    if point.agreement is None and (result.output == "label" or result.task == "classification"):
        return f"All {result.rows} requests get the same class: nothing is known of how easily it changes."
    if point.agreement is None:
        return ""
    kept = "all their labels" if result.output == "multilabel" else "their class"
    return f"{percent(point.agreement)} of these requests keep {kept} at {at}."


def _of_embeddings(result: Assessment, point: CurvePoint) -> str:
    """How many embeddings are still taken for what they are of; empty where that is not known."""
    at, threshold = noise_of(point.level, result.level_unit), result.threshold
    told = []
    if point.beyond_threshold is not None and threshold is not None:
        told.append(
            f"{percent(1.0 - point.beyond_threshold)} of these requests stay within {threshold:.3g} of themselves"
        )
    if point.self_nearest is not None:
        told.append(f"{percent(point.self_nearest)} are still the nearest to themselves")
    return f"{', and '.join(told)}, at {at}." if told else ""


def _of_requests(result: Assessment, point: CurvePoint) -> str:
    """What one request may expect of numbers."""
    if result.output == "label" or point.request_bound is None or not math.isfinite(point.request_bound):
        return ""
    verb = "move by" if result.reference == "prediction" else "are off by"
    bound, at = (
        rounded_up(distance_bound(point.request_bound, result.distance)),
        noise_of(point.level, result.level_unit),
    )
    return f"{100 * result.confidence:g} % of requests {verb} less than {bound} at {at}."


def _of_trials(result: Assessment, point: CurvePoint) -> str:
    """What a further trial may bring."""
    what = "has a mean squared error of at most"
    if result.distance is not None:
        what = f"moves embeddings by a mean {'' if result.distance == 'cosine' else 'squared '}distance of at most"
    if result.output == "label":
        what = f"{'changes' if result.reference == 'prediction' else 'gets wrong'} at most a share of"
    if point.bound is None:
        return (
            f"Nothing in {result.noise} noise is random: on these {result.rows} rows at "
            f"{noise_of(point.level, result.level_unit)} its mean squared error is {point.mean_mse:.3g}."
        )
    return (
        f"A further trial on these {result.rows} rows at {noise_of(point.level, result.level_unit)} {what} "
        f"{rounded_up(point.bound)}, with {100 * result.confidence:g} % probability."
    )


def _worst(result: Assessment) -> str:
    """Which rows carry the error at the highest level: by their numbers, never by what is in them."""
    point, rows = result.curve[-1], result.worst_rows()
    if point.worst_share is None:
        return ""
    share = f"the worst 5 % of rows carry {100 * point.worst_share:.3g} % of the error at level {point.level:g}"
    return f"{share}: rows {some_of(rows, WORST_ROWS_NAMED)} (counted from 0)"


def _certified(result: Assessment) -> str:
    """The certificates of the level that reaches farthest, if there are any."""
    radii = [
        (float(np.median(point.certified_radius[result.counted])), point)
        for point in result.curve[1:]
        if point.certified_radius is not None
    ]
    if not radii:
        return ""
    radius, point = max(radii, key=lambda each: each[0])
    if radius == 0:
        return ""
    most = float(certified_radii([result.trials], result.trials, point.level, result.confidence)[0])
    return (
        f"certified: under noise of level {point.level:g} the majority vote of half the rows keeps its class within an "
        f"L2 radius of {radius:.3g} {result.level_unit.split(' of ')[0]} ({100 * result.confidence:g} % for each row; "
        f"{result.trials} trials can show {most:.3g} at most)"
    )
