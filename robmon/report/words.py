"""An assessment in words: the table that is printed, and the sentences under its picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

import numpy as np

from robmon.robustness.statistics.certificate import certified_radii

if TYPE_CHECKING:
    from robmon.robustness.result import Assessment, CurvePoint

WORST_ROWS_TOLD = 5


def table(result: Assessment, baseline: Mapping[float, float] | None = None) -> str:
    """The curve as a table, and under it what it comes to. Columns without any number are left out.

    Args:
        result: what is told.
        baseline: mean MSE of the baseline by level, where there is one.
    """
    head = (
        f"{result.rows} rows, {result.trials} trials of {result.noise} noise, output {result.output}, "
        f"reference {result.reference}, confidence {result.confidence:g}"
    )
    band: tuple[float | None, ...] = result.band or (None,) * len(result.curve)
    share = "share changed" if result.reference == "prediction" else "share wrong"
    columns = {
        "level": [point.level for point in result.curve],
        share if result.output == "label" else "mean MSE": [point.mean_mse for point in result.curve],
        "bound": [point.bound for point in result.curve],
        "band": band,
        "request bound, squared": [point.request_bound for point in result.curve],
        "mean bound": [point.mean_bound for point in result.curve],
        "baseline": [(baseline or {}).get(point.level) for point in result.curve],
        "agreement": [point.agreement for point in result.curve],
        "accuracy": [point.accuracy for point in result.curve],
        "Brier": [point.brier for point in result.curve],
    }
    told = {name: list(map(number, values)) for name, values in columns.items() if any(v is not None for v in values)}
    widths = [max(len(name), *map(len, cells)) for name, cells in told.items()]
    lines = [list(told), *zip(*told.values(), strict=True)]
    rows = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    margin = result.noise_margin()
    below = [f"noise margin {margin}" if margin else "", _worst(result), _certified(result), str(result.masked)]
    return "\n".join([head, *filter(None, [result.cut]), *rows, headline(result), *filter(None, below), *result.notes])


def noise_of(level: float, unit: str) -> str:
    """A noise level in words.

    >>> noise_of(0.1, "standard deviations of each feature"), noise_of(0.1, "share of the cells"), noise_of(3, "volts")
    ('10 % noise', 'noise of 10 % of the cells', 'noise of 3 volts')
    """
    if unit.startswith("standard deviations"):
        return f"{100 * level:g} % noise"
    if unit.startswith("share of "):
        return f"noise of {100 * level:g} % of {unit.removeprefix('share of ')}"
    return f"noise of {level:g} {unit}"


def headline(result: Assessment) -> str:
    """Slope, area and index in a line; where the curve is not straight, the area without the slope, and why."""
    scalars = f"area {number(result.area)}, index {number(result.index)}"
    slope = result.slope
    if slope is None:
        return scalars
    if not slope.is_straight:
        lack = slope.lack_of_fit
        return f"{scalars}; a slope would mislead: the curve is not straight in level² (lack of fit {lack:.2g})"
    return f"slope {slope.value:.4g} ± {slope.stderr:.2g} per level², {scalars}"


def sentence(result: Assessment) -> str:
    """The result in a few sentences, about the highest level whose bound is finite."""
    point = next((point for point in reversed(result.curve) if math.isfinite(point.bound)), None)
    if point is None or point.level == 0:
        return "At every noise level the model returned outputs that are not finite: no bound exists."
    at = noise_of(point.level, result.level_unit)
    parts = [_of_requests(result, point, at), _of_trials(result, point, at)]
    slope, margin = result.slope, result.noise_margin()
    if slope is not None and slope.is_straight:
        parts.append(f"The error rises by {slope.value:.3g} per level².")
    if result.index is not None:
        best = "unmoved" if result.reference == "prediction" else "right"
        parts.append(f"Robustness index {result.index:.3g} (1: {best}, 0: as far off as another row's output).")
    if margin is not None:
        parts.append(f"Noise margin {margin}.")
    if any(not math.isfinite(other.bound) for other in result.curve):
        parts.append("Levels with outputs that are not finite have no point.")
    return " ".join(part for part in parts if part)


def _of_requests(result: Assessment, point: CurvePoint, at: str) -> str:
    """What one request may expect."""
    if result.output == "label" and result.reference == "prediction" and point.agreement is None:
        return ""  # all rows have one class: none could lose it
    if result.output == "label":
        against = "keep their class" if result.reference == "prediction" else "get the true class"
        return f"{100 * (1.0 - point.mean_mse):.3g} % of these requests {against} at {at}."
    if point.request_bound is None or not math.isfinite(point.request_bound):
        return ""
    verb = "move by" if result.reference == "prediction" else "are off by"
    bound = rounded_up(math.sqrt(point.request_bound))
    return f"{100 * result.confidence:g} % of requests {verb} less than {bound} at {at}."


def _of_trials(result: Assessment, point: CurvePoint, at: str) -> str:
    """What a further trial may bring."""
    what = "has a mean squared error of at most"
    if result.output == "label":
        what = f"{'changes' if result.reference == 'prediction' else 'gets wrong'} at most a share of"
    return (
        f"A further trial on these {result.rows} rows at {at} {what} {rounded_up(point.bound)}, "
        f"with {100 * result.confidence:g} % probability."
    )


def _worst(result: Assessment) -> str:
    """Which rows carry the error at the highest level: by their numbers, never by what is in them."""
    point, rows = result.curve[-1], result.worst_rows()
    if point.worst_share is None:
        return ""
    named = ", ".join(str(row) for row in rows[:WORST_ROWS_TOLD])
    more = f" and {len(rows) - WORST_ROWS_TOLD} more" if len(rows) > WORST_ROWS_TOLD else ""
    share = f"the worst 5 % of rows carry {100 * point.worst_share:.3g} % of the error at level {point.level:g}"
    return f"{share}: rows {named}{more} (counted from 0)"


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


def rounded_up(value: float) -> str:
    """Three digits, rounded up, as a bound must be.

    >>> rounded_up(120.38), rounded_up(0.03951), rounded_up(3680.58), rounded_up(0.0)
    ('121', '0.0396', '3690', '0')
    """
    exact = Decimal(value)
    step = Decimal(1).scaleb(exact.adjusted() - 2)
    return f"{float((exact / step).to_integral_value(ROUND_CEILING) * step):g}"


def number(value: float | None) -> str:
    """Four digits; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"
