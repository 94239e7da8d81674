"""The noise robustness curve as a few numbers: slope, area, index, margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.checks import check_limit

Score = Literal["mse", "agreement", "accuracy"]
Axis = Literal["level_squared", "level", "severity"]
ROUNDING = 1e-10
"""A rise below this share of the score is rounding, and lies on any line."""
STRAIGHT = 0.1
"""Up to this lack of fit a slope describes its curve: to a tenth of it, which is what a comparison tolerates too."""


@dataclass(frozen=True)
class Slope:
    """A least-squares slope through the known point at level 0.

    Attributes:
        value: change of the score per unit of the axis.
        stderr: its standard error over the rows (levels share their draws, so a residual standard error would be
            meaningless).
        lack_of_fit: root mean square distance of the curve from the line, as a share of the curve's own root mean
            square rise: 0 for a straight line, 1 where the line explains nothing. None with a single level above 0.
        score: what rises or falls: `mse`, `agreement` or `accuracy`.
        axis: against what: `level_squared`, `level`, or `severity`, the rank of the level.
    """

    value: float
    stderr: float
    lack_of_fit: float | None
    score: Score
    axis: Axis

    @property
    def is_straight(self) -> bool:
        """Whether the curve is close enough to the line for the slope to stand for it; if not, use the area."""
        return self.lack_of_fit is None or self.lack_of_fit <= STRAIGHT


@dataclass(frozen=True)
class NoiseMargin:
    """How much noise the owner's limit for the bound allows.

    Attributes:
        level: the largest level assessed up to which every bound stays at or below the limit; None where even the one
            at level 0 exceeds it.
        limit: the owner's, in squared output units.
        crossed_at: the first level whose bound exceeds the limit; None where none does.

    >>> str(NoiseMargin(0.2, 3.0, 0.4))
    '0.2: the bound first exceeds 3 at level 0.4'
    """

    level: float | None
    limit: float
    crossed_at: float | None

    @property
    def crossed(self) -> bool:
        """Whether any level assessed exceeds the limit."""
        return self.crossed_at is not None

    def __str__(self) -> str:
        if self.level is None:
            return "exceeded even without noise"
        if self.crossed_at is None:
            return f"not crossed up to the highest level assessed, {self.level:g}"
        return f"{self.level:g}: the bound first exceeds {self.limit:g} at level {self.crossed_at:g}"


def axis_values(levels: Sequence[float], axis: str) -> Float64:
    """Where each level lies on an axis; shape `(levels,)`, 0 first.

    `severity` counts the levels 0, 1, 2, ..., as studies of corruptions do whose severities have no unit.

    Raises:
        InvalidInputError: no such axis.

    >>> axis_values((0.0, 0.1, 0.4), "severity").tolist()
    [0.0, 1.0, 2.0]
    """
    level = np.asarray(levels, dtype=np.float64)
    axes = {"level_squared": level**2, "level": level, "severity": np.arange(float(level.size))}
    if axis not in axes:
        raise InvalidInputError(f"axis {axis!r} is not known: it is one of {', '.join(axes)}")
    return axes[axis]


def slope(row_values: Float64, levels: Sequence[float], score: Score, axis: Axis) -> Slope | None:
    """The slope of the mean over rows against an axis, through the point at level 0.

    `value = sum(a (y(a) - y(0))) / sum(a²)`; being linear in the rows, it has a standard error over them.

    To first order in the noise the MSE rises as level² times the mean squared norm of the model's Jacobian over the
    number of outputs, and the shares of a class fall as the level, so those are their axes. Kim et al. 2025
    (arXiv 2509.20939) call the slope of accuracy against severity the robustness slope; higher, nearer 0, is better.

    Args:
        row_values: shape `(n, levels)`: row errors, or each row's share of unchanged, or right, classes.
        levels: rising from 0.
        score: what the row values are.
        axis: see `axis_values`.

    Returns:
        None where a value is not finite, or all levels are 0.

    Raises:
        InvalidInputError: no such axis.

    >>> slope(np.array([[0.0, 1.0, 4.0], [0.0, 3.0, 12.0]]), (0.0, 1.0, 2.0), "mse", "level_squared")
    Slope(value=2.0, stderr=1.0, lack_of_fit=0.0, score='mse', axis='level_squared')
    """
    along = axis_values(levels, axis)[1:]
    if not np.all(np.isfinite(row_values)) or not np.any(along):
        return None
    rise = row_values[:, 1:] - row_values[:, :1]
    per_row = rise @ along / float(along @ along)
    value = float(per_row.mean())
    stderr = float(per_row.std(ddof=1)) / math.sqrt(len(per_row)) if len(per_row) > 1 else 0.0
    curve = rise.mean(axis=0)
    lack = None
    if along.size > 1:
        size = float(np.linalg.norm(curve))
        moves = size > ROUNDING * float(np.linalg.norm(row_values.mean(axis=0)))
        lack = float(np.linalg.norm(curve - value * along)) / size if moves else 0.0
    return Slope(value, stderr, lack, score, axis)


def area(normalised_mse: Float64, levels: Sequence[float], axis: Axis = "level_squared") -> float | None:
    """The robustness area: mean of the normalised MSE over `u = level²` in [0, max level²], by trapezes.

    Two independent outputs of the same law are twice their variance apart, so an MSE of that size is no better than
    another row's output; `1 - MSE / (2 Var)` is Lin's concordance (Biometrics 45, 1989) without its mean-shift term.

    Args:
        normalised_mse: shape `(levels,)`, MSE over twice the output variance, without unit.
        levels: rising from 0.
        axis: over which the mean is taken, `level` where nothing is known of the law to first order.

    Returns:
        0 where noise changes nothing, 1 where outputs are as unrelated as another row's; None where a value is not
        finite.

    >>> area(np.array([0.0, 0.25, 1.0]), (0.0, 1.0, 2.0))
    0.5
    """
    if not np.all(np.isfinite(normalised_mse)):
        return None
    u = axis_values(levels, axis)
    return float(np.trapezoid(normalised_mse, u) / u[-1])


def noise_margin(bounds: Sequence[float], levels: Sequence[float], limit: float) -> NoiseMargin:
    """The noise margin: how far the level may rise before a bound exceeds the limit. A bound at the limit keeps it.

    Args:
        bounds: one a level, in squared output units.
        levels: rising from 0.
        limit: in the same units.

    >>> print(noise_margin([0.0, 0.1, 0.9], [0.0, 0.1, 0.2], limit=0.5))
    0.1: the bound first exceeds 0.5 at level 0.2
    """
    check_limit(limit)
    kept = 0
    while kept < len(bounds) and bounds[kept] <= limit:
        kept += 1
    return NoiseMargin(levels[kept - 1] if kept else None, limit, levels[kept] if kept < len(bounds) else None)
