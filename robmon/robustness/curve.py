"""The noise robustness curve as a few numbers: slope, area, index, margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robmon.robustness.arrays import Float64


@dataclass(frozen=True)
class Slope:
    """A least-squares slope through the known point at level 0.

    Attributes:
        value: of MSE against level squared, or of agreement against level.
        stderr: its standard error over the rows (levels share their draws, so a residual one would be nonsense).
        lack_of_fit: root mean square distance of the curve from the line, as a share of the curve's own root mean
            square rise: 0 on a straight line, 1 where the line says nothing. None with one level above 0.
    """

    value: float
    stderr: float
    lack_of_fit: float | None


def slope(row_values: Float64, axis: Float64) -> Slope | None:
    """The slope of the mean over rows against an axis, through the point where the axis is 0.

    `value = sum(a (y(a) - y(0))) / sum(a²)`; being linear in the rows, it has a standard error over them.

    Args:
        row_values: shape `(n, levels)`: row errors, or each row's share of unchanged classes.
        axis: shape `(levels,)`, rising from 0: level squared, or level.

    Returns:
        None where a value is not finite.

    >>> slope(np.array([[0.0, 1.0, 4.0], [0.0, 3.0, 12.0]]), np.array([0.0, 1.0, 4.0]))
    Slope(value=2.0, stderr=1.0, lack_of_fit=0.0)
    """
    if not np.all(np.isfinite(row_values)):
        return None
    rise, along = row_values[:, 1:] - row_values[:, :1], axis[1:]
    per_row = rise @ along / float(along @ along)
    value = float(per_row.mean())
    stderr = float(per_row.std(ddof=1)) / math.sqrt(len(per_row)) if len(per_row) > 1 else 0.0
    curve = rise.mean(axis=0)
    lack = None
    if along.size > 1:
        size = float(np.linalg.norm(curve))
        lack = float(np.linalg.norm(curve - value * along)) / size if size > 0 else 0.0
    return Slope(value, stderr, lack)


def area(normalised_mse: Float64, levels: Sequence[float]) -> float | None:
    """The robustness area: mean of the normalised MSE over `u = level²` in [0, max level²], by trapezes.

    Args:
        normalised_mse: shape `(levels,)`, MSE over twice the output variance.
        levels: rising from 0.

    Returns:
        0 where noise changes nothing, 1 where outputs are as unrelated as another row's; None where a value is not
        finite.

    >>> area(np.array([0.0, 0.25, 1.0]), (0.0, 1.0, 2.0))
    0.5
    """
    if not np.all(np.isfinite(normalised_mse)):
        return None
    u = np.asarray(levels, dtype=np.float64) ** 2
    return float(np.trapezoid(normalised_mse, u) / u[-1])


def noise_margin(bounds: Sequence[float], levels: Sequence[float], limit: float) -> float | None:
    """The noise margin: the largest level assessed up to which every bound stays at or under `limit`.

    None where even the bound at level 0 exceeds it. A margin equal to the largest level means: not crossed.

    >>> noise_margin([0.0, 0.1, 0.9], [0.0, 0.1, 0.2], limit=0.5)
    0.1
    """
    margin = None
    for level, bound in zip(levels, bounds, strict=True):
        if bound > limit:
            break
        margin = level
    return margin
