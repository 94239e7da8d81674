"""Where an attack may move rows: a ball of one norm around each, within a valid range, some cells left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64, numbers
from robmon.robustness.checks import check_word

Norm = Literal["inf", "2"]
NORMS: Final[tuple[Norm, ...]] = get_args(Norm)
STEPS: Final = 4
"""Of the rows' own type, towards where they were, for what rounding in float64 has left outside by its last bits."""
NEARLY_WHOLE: Final = 1e-9
"""A move that is so little less than a whole number of steps is rounding, and that number."""


def check_ball(radii: Sequence[float], norm: str) -> Float64:
    """The radii, rising, each once.

    Raises:
        InvalidInputError: a radius is not above 0 or not finite, or the norm is not known.

    >>> check_ball((0.2, 0.1), "inf").tolist()
    [0.1, 0.2]
    """
    found = np.unique(numbers(radii, "radii"))
    if not found.size or not np.all(np.isfinite(found)) or found[0] <= 0:
        raise InvalidInputError("radii must be finite numbers above 0")
    check_word("norm", norm, NORMS)
    return found


@dataclass(frozen=True)
class Ball:
    """Moves of rows, in units of the scale: shape `(n, cells)`, 0 where a cell is left alone.

    Attributes:
        centre: the rows, float64, shape `(n, cells)`.
        scale: of each cell, shape `(n, cells)`, 0 where it is left alone.
        low, high: the valid range of each cell, infinite where there is none; a cell outside by itself moves no further
            out.
        whole: which cells move by whole numbers, shape `(n, cells)`.
        norm: `inf` or `2`.
        radius: of each row, in units of the scale, shape `(n, 1)`; infinite where no distance is too large.
        dtype: of the rows that the model gets.
    """

    centre: Float64
    scale: Float64
    low: Float64
    high: Float64
    whole: NDArray[np.bool_]
    norm: Norm
    radius: Float64
    dtype: np.dtype[np.floating]

    def of(self, rows: NDArray[np.int64]) -> Ball:
        """The ball of some of the rows, which may be repeated."""
        names = ("centre", "scale", "low", "high", "whole", "radius")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def within(self, radius: float | Float64) -> Ball:
        """The ball of another radius, one for all or one per row."""
        return replace(self, radius=np.broadcast_to(np.reshape(radius, (-1, 1)), (len(self.centre), 1)))

    @property
    def movable(self) -> NDArray[np.bool_]:
        """Which cells are not left alone, shape `(n, cells)`."""
        return self.scale > 0

    def projected(self, moves: Float64) -> Float64:
        """The nearest moves within the ball, without regard to the valid range."""
        moves = np.where(self.movable, moves, 0.0)
        if self.norm == "inf":
            return np.clip(moves, -self.radius, self.radius)
        return moves * np.minimum(1.0, self.radius / np.maximum(_lengths(moves), 1e-300))

    def steepest(self, directions: Float64) -> Float64:
        """Of all moves as long as the radius those that go furthest along directions; 0 where they are 0."""
        directions = np.where(self.movable, directions, 0.0)
        if self.norm == "inf":
            return self.radius * np.sign(directions)
        largest = np.max(np.abs(directions), axis=1, keepdims=True, initial=0.0)
        directions = directions / np.where(largest > 0, largest, 1.0)  # their squares may be too small for a number
        return self.radius * directions / np.maximum(_lengths(directions), 1e-300)

    def anywhere(self, generator: np.random.Generator) -> Float64:
        """Moves as long as the radius in directions that are each as likely as any other: corners, for `inf`."""
        normal = generator.standard_normal(self.centre.shape)
        return self.steepest(np.where(self.movable, normal, 0.0))

    def points(self, moves: Float64) -> NDArray[np.floating]:
        """The rows moved so, in their own type, within the ball to the last bit: rounded towards where they were.

        Whole numbers are rounded to the nearest one where that lies within the ball. Cells that are left alone, and
        rows that do not move, are as they were.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            exact = self.centre + self.scale * moves
            exact = np.maximum(exact, np.minimum(self.centre, self.low))
            exact = np.minimum(exact, np.maximum(self.centre, self.high))
            home = self.centre.astype(self.dtype)
            made = np.where(moves != 0, exact, self.centre).astype(self.dtype)
            is_beyond = np.abs(made.astype(np.float64) - self.centre) > np.abs(exact - self.centre)
            made = np.where(is_beyond, np.nextafter(made, home), made)
            if self.whole.any():
                made = self._in_whole_steps(made, exact)
            for _ in range(STEPS):
                outside = self.distances(made) > self.radius[:, 0]
                if not outside.any():
                    return made
                made[outside] = np.where(self.whole, _one_less(made, home), np.nextafter(made, home))[outside]
        outside = self.distances(made) > self.radius[:, 0]
        made[outside] = home[outside]
        return made

    def _in_whole_steps(self, made: NDArray[np.floating], exact: Float64) -> NDArray[np.floating]:
        """Points of which the cells of whole numbers are such: the nearest, or in a ball too small for them the last
        ones on the way."""
        way = exact - self.centre
        inner = self.centre + np.sign(way) * np.floor(np.abs(way) + NEARLY_WHOLE)
        nearest = self.centre + np.round(way)
        is_valid = (nearest >= np.minimum(self.centre, self.low)) & (nearest <= np.maximum(self.centre, self.high))
        nearest = np.where(is_valid, nearest, inner)
        found = np.where(self.whole, nearest, made).astype(self.dtype)
        outside = self.distances(found) > self.radius[:, 0]
        found[outside] = np.where(self.whole, inner, made).astype(self.dtype)[outside]
        return np.asarray(found)

    def distances(self, points: NDArray[np.floating]) -> Float64:
        """How far points are from the rows, in units of the scale, shape `(n,)`."""
        return np.asarray(sizes(self.moves_to(points), self.norm))

    def moves_to(self, points: NDArray[np.floating]) -> Float64:
        """The moves that lead to points."""
        with np.errstate(invalid="ignore"):
            moves = (points.astype(np.float64) - self.centre) / np.where(self.movable, self.scale, 1.0)
        return np.where(self.movable, moves, 0.0)


def sizes(moves: Float64, norm: Norm) -> Float64:
    """How long moves are, shape `(n,)`."""
    if norm == "inf":
        return np.asarray(np.max(np.abs(moves), axis=1, initial=0.0))
    return np.asarray(_lengths(moves)[:, 0])


def _lengths(moves: Float64) -> Float64:
    return np.asarray(np.linalg.norm(moves, axis=1, keepdims=True))


def _one_less(made: NDArray[np.floating], home: NDArray[np.floating]) -> NDArray[np.floating]:
    """One whole step nearer to where they were."""
    return np.asarray(made - np.sign(made - home))
