"""What attacks have found: which rows lost their class within which radius, by which attack, and the nearest points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64
from robmon.robustness.probes.attack.ball import Ball
from robmon.robustness.probes.attack.target import Target

HALVINGS: Final = 8
"""Of the way between a row and its nearest witness: how near the border of the class is on it."""


class Witnesses:
    """Points that were seen to have lost their row's class.

    Args:
        ball: of all rows, of infinite radius.
        radii: rising.
        names: of the attacks.

    Attributes:
        lost: by attack, which rows it flipped within which radius, shape `(n, radii)`.
        points: at each radius, shape `(radii, n, cells)`; rows without a witness as they were.
        distances: of each row's nearest witness, shape `(n,)`; infinite where there is none.
    """

    def __init__(self, ball: Ball, radii: Float64, names: Sequence[str]) -> None:
        rows = len(ball.centre)
        home = ball.points(np.zeros_like(ball.centre))
        self._ball, self._radii, self._names = ball, radii, list(names)
        self._nearest, self._finder = home.copy(), np.zeros(rows, dtype=np.int64)
        self.lost = {name: np.zeros((rows, len(radii)), dtype=bool) for name in names}
        self.points = np.stack([home] * len(radii))
        self.distances = np.full(rows, np.inf)

    @property
    def flipped(self) -> NDArray[np.bool_]:
        """Which rows lost their class within which radius, by whichever attack."""
        return np.asarray(np.any(list(self.lost.values()), axis=0))

    def take(self, name: str, points: NDArray[Any], rows: NDArray[np.int64], target: Target) -> None:
        """What an attack says of rows, each looked at once more in a call of its own: no attack is believed."""
        if rows.size:
            flipped = target.margins(points, rows) < 0
            self._add(np.full(flipped.sum(), self._names.index(name)), points[flipped], rows[flipped])

    def draw_back(self, target: Target, is_over: Callable[[], bool]) -> None:
        """Look on the way from each row to its nearest witness for one that is nearer still."""
        rows = np.flatnonzero(np.isfinite(self.distances))
        ball = self._ball.of(rows)
        moves = ball.moves_to(self._nearest[rows])
        kept, lost = np.zeros((len(rows), 1)), np.ones((len(rows), 1))
        for _ in range(HALVINGS):
            if is_over() or not rows.size:
                return
            middle = (kept + lost) / 2
            points = ball.points(middle * moves)
            flipped = target.margins(points, rows) < 0
            lost, kept = np.where(flipped[:, None], middle, lost), np.where(flipped[:, None], kept, middle)
            self._add(self._finder[rows[flipped]], points[flipped], rows[flipped])

    def _add(self, finders: NDArray[np.int64], points: NDArray[Any], rows: NDArray[np.int64]) -> None:
        distances = self._ball.of(rows).distances(points)
        within = distances[:, None] <= self._radii
        is_new = within & ~self.flipped[rows]
        for index in range(len(self._radii)):
            self.points[index, rows[is_new[:, index]]] = points[is_new[:, index]]
        for place, name in enumerate(self._names):
            self.lost[name][rows[finders == place]] |= within[finders == place]
        nearer = distances < self.distances[rows]
        self.distances[rows[nearer]] = distances[nearer]
        self._nearest[rows[nearer]], self._finder[rows[nearer]] = points[nearer], finders[nearer]
