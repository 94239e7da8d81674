"""Embeddings: vectors of which only the distances mean something. How far noise moves them, against what decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, as_float64, like, namespace, to_numpy
from robmon.vocabulary import Distance

GALLERY_ROWS: Final = 2048
"""Most rows, the first ones, among which the nearest is looked for."""
TRIPLETS_A_ROW: Final = 32
MOVE_QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
"""Of the distances that noise moves embeddings by, which a result tells."""
KEPT: Final = 3
"""How many shares are kept of each row, see `Neighbours`."""
SCORES_AT_A_TIME: Final = 2**21
ROUNDING: Final = 1e-12
"""Two distances that differ by less, in units of the squared vectors they are made of, are one."""


def unit_vectors(outputs: Array) -> Array:
    """Rows of outputs over their length, shape and place as they are; NaN where a row has no direction.

    >>> unit_vectors(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [nan, nan]]
    """
    xp = namespace(outputs)
    vectors = xp.reshape(as_float64(outputs), (int(outputs.shape[0]), -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        vectors = vectors / xp.max(xp.abs(vectors), axis=1, keepdims=True)  # so that no square overflows
        lengths = xp.sqrt(xp.sum(vectors * vectors, axis=1, keepdims=True))
        return xp.reshape(vectors / lengths, outputs.shape)


def distances(row_errors: Array, distance: str) -> Array:
    """Distances of which row errors are made: those of `l2` are squared, those of `cosine` are distances themselves.

    >>> distances(np.array([0.25, math.inf]), "l2").tolist(), distances(np.array([0.25]), "cosine").tolist()
    ([0.5, inf], [0.25])
    """
    return namespace(row_errors).sqrt(row_errors) if distance == "l2" else row_errors


def error_weight(distance: str) -> float:
    """What each squared difference of two vectors counts in a row error: of two unit vectors at an angle, half the sum
    of them is 1 less its cosine."""
    return 1.0 if distance == "l2" else 0.5


@dataclass(frozen=True, eq=False)
class EmbeddingRows:
    """What noise does to each row's embedding, as shares of its trials. Rows are those given, NaN where left out.

    Attributes:
        threshold: two embeddings nearer than this are taken for the same thing; None where none is known.
        threshold_note: the threshold, and where it comes from, in a sentence.
        beyond: shape `(n, levels)`, share of trials in which the embedding moved beyond it; None without one.
        triplet_flips: shape `(n, levels)`, share of the row's triplets, over all trials, whose order changed, see
            `Neighbours`; 0 of a row all of whose triplets are ties; None where fewer than 3 rows are there.
        self_nearest: shape `(n, levels)`, share of trials in which the row's own clean embedding was still the nearest;
            None where there are no others.
        tie_share: shape `(n,)`, share of the row's triplets that are ties without noise, and left out; 1 where the row
            has none, or is left out itself.
        ties: how many triplets are ties, of the rows that count.
    """

    threshold: float | None
    threshold_note: str
    beyond: Float64 | None
    triplet_flips: Float64 | None
    self_nearest: Float64 | None
    tie_share: Float64
    ties: int

    @property
    def has_triplets(self) -> NDArray[np.bool_]:
        """Which rows have a triplet that is no tie, shape `(n,)`."""
        return np.asarray(self.tie_share < 1.0)


class Neighbours:
    """What each noisy embedding still says of the clean ones: whether it is within the threshold of its own, how many
    of its triplets have their order, whether its own is the nearest.

    A triplet is a row and two others: which of these is nearer to it is the only thing that an embedding says of them,
    whatever its scale, its rotation and its dimension. They are drawn by the seed, the same for every version; where
    the row has no more pairs of others than are drawn, all of them. One whose two distances are the same without noise
    is a tie, and left out.

    Args:
        clean: flattened clean embeddings, shape `(n, dimension)`, unit vectors where distances are cosines.
        counted: shape `(n,)`, which rows have one.
        distance: `l2` or `cosine`.
        threshold: which distance is one too many; None: none is known.
        seed: fixes the triplets.

    >>> near = Neighbours(np.array([[0.0], [1.0], [3.0]]), np.ones(3, dtype=bool), "l2", 1.5, seed=0)
    >>> [each.tolist() for each in near(np.array([[0.2], [2.6], [2.9]]), slice(0, 3), np.array([0.04, 2.56, 0.01]))]
    [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]
    """

    def __init__(
        self, clean: Array, counted: NDArray[np.bool_], distance: str, threshold: float | None, seed: int
    ) -> None:
        known = to_numpy(clean)
        rows = np.flatnonzero(counted)[:GALLERY_ROWS]
        self._center = known[rows].mean(axis=0) if len(rows) else np.zeros(known.shape[1])
        centred = known - self._center
        column_of, gallery = _columns(centred, rows)
        vectors = centred[gallery] if len(gallery) else np.zeros((1, known.shape[1]))
        self._distance, self.threshold = distance, threshold
        self.has_others = len(gallery) > 1
        """Whether there is another embedding that could be the nearest."""
        self.triplets = _Triplets.drawn(centred, counted, rows, column_of, seed)

        def place(values: NDArray[Any]) -> Array:
            return like(np.ascontiguousarray(values), clean)

        self._gallery = place(vectors.T)
        self._half_squares = place(0.5 * np.square(vectors).sum(axis=1))
        self._center, self._centred = place(self._center), place(centred)
        self._own = place(np.maximum(column_of, 0))
        self._outside = place(column_of < 0) if bool(np.any(column_of[counted] < 0)) else None
        self._first, self._second = place(self.triplets.first), place(self.triplets.second)
        self._order = place(self.triplets.order)
        self._share = place(1.0 / np.maximum(np.abs(self.triplets.order).sum(axis=1), 1.0))
        self._is_without = place(~self.triplets.has)

    def __call__(self, outputs: Array, rows: slice, row_errors: Array) -> list[Array]:
        """Of outputs of copies of these rows, where they are, each of shape `(copies * rows,)`: 1 where the embedding
        stays within the threshold, the share of the triplets that keep their order, 1 where its own is the nearest. All
        are 0 where it is not finite.

        Args:
            outputs: flattened, unit vectors where distances are cosines.
            rows: which they are.
            row_errors: of them, shape `(copies * rows,)`.
        """
        xp = namespace(outputs)
        count, columns = int(outputs.shape[0]), int(self._half_squares.shape[0])
        within = xp.zeros_like(row_errors)
        if self.threshold is not None:
            within = as_float64(distances(row_errors, self._distance) <= self.threshold)
        index = like(np.arange(count) % (rows.stop - rows.start) + rows.start, outputs)
        step = max(1, SCORES_AT_A_TIME // columns)
        parts = [self._of(outputs[at : at + step], index[at : at + step]) for at in range(0, count, step)]
        return [within, *(xp.concat([part[which] for part in parts]) for which in (0, 1))]

    def _of(self, outputs: Array, rows: Array) -> tuple[Array, Array]:
        """Kept triplets and whether the own one is nearest, of these rows, one output each."""
        xp = namespace(outputs)
        count, columns = int(outputs.shape[0]), int(self._half_squares.shape[0])
        centred = outputs - self._center
        with np.errstate(invalid="ignore", over="ignore"):
            # The larger a score, the nearer: half the squared distance, less what is the same of all.
            scores = centred @ self._gallery - self._half_squares
            flat, start = xp.reshape(scores, (-1,)), like(np.arange(count) * columns, outputs)
            own = xp.take(flat, start + xp.take(self._own, rows))
            if self._outside is not None:
                known = xp.take(self._centred, rows, axis=0)
                of_own = xp.sum(centred * known, axis=1) - 0.5 * xp.sum(known * known, axis=1)
                own = xp.where(xp.take(self._outside, rows), of_own, own)
            nearest = as_float64(own >= xp.max(scores, axis=1))
            first, second = (
                xp.reshape(xp.take(flat, xp.reshape(start[:, None] + xp.take(each, rows, axis=0), (-1,))), (count, -1))
                for each in (self._first, self._second)
            )
            kept = xp.sum(as_float64((first - second) * xp.take(self._order, rows, axis=0) > 0), axis=1)
        shares = kept * xp.take(self._share, rows)
        return xp.where(xp.take(self._is_without, rows) & (own == own), xp.ones_like(shares), shares), nearest


@dataclass(frozen=True, eq=False)
class _Triplets:
    """Triplets of every row.

    Attributes:
        first, second: shape `(n, triplets)`, columns of the gallery.
        order: 1 where the first is the nearer one without noise, -1 where the second is, 0 of a tie.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    order: Float64

    @property
    def has(self) -> NDArray[np.bool_]:
        """Which rows have one that is no tie, shape `(n,)`."""
        return np.asarray(np.any(self.order != 0, axis=1))

    @property
    def tie_share(self) -> Float64:
        """Share of each row's that are ties, shape `(n,)`; 1 where there are none."""
        count = self.order.shape[1]
        return np.asarray(np.mean(self.order == 0, axis=1)) if count else np.ones(len(self.order))

    def ties(self, counted: NDArray[np.bool_]) -> int:
        """How many are ties, of the rows that count."""
        return int(np.sum(self.order[counted] == 0))

    @classmethod
    def drawn(
        cls,
        centred: Float64,
        counted: NDArray[np.bool_],
        rows: NDArray[np.int64],
        column_of: NDArray[np.int64],
        seed: int,
    ) -> _Triplets:
        """Drawn by the seed for every row, of others among `rows`."""
        n, others = len(centred), len(rows) - 1
        place = np.zeros(n, dtype=np.int64)
        place[counted] = np.arange(int(counted.sum())) % max(len(rows), 1)
        pair_of = _pairs(n, others, seed)
        if pair_of is None:
            none = np.zeros((n, 0), dtype=np.int64)
            return cls(none, none, none.astype(np.float64))
        # Numbers of others count past the row itself, or, where it is not among them, past one of them.
        first, second = (column_of[rows[pair + (pair >= place[:, None])]] for pair in pair_of)
        gallery = centred[_gallery_rows(column_of, rows)]
        squares, lengths = np.square(gallery).sum(axis=1), np.linalg.norm(centred, axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            gap = _dots(centred, gallery, first) - _dots(centred, gallery, second)
            gap -= 0.5 * (squares[first] - squares[second])
            size = lengths[:, None] * (np.sqrt(squares[first]) + np.sqrt(squares[second])) + squares[first]
            order = np.where(np.abs(gap) > ROUNDING * (size + squares[second]), np.sign(gap), 0.0)
        order[(first == second) | ~counted[:, None]] = 0.0
        return cls(first, second, order)


def _pairs(n: int, others: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """For every row pairs of different others, by number: all there are where they are few; None where there are
    none."""
    if others < 2:
        return None
    if others * (others - 1) // 2 <= TRIPLETS_A_ROW:
        first, second = np.triu_indices(others, 1)
        return np.tile(first, (n, 1)), np.tile(second, (n, 1))
    draw = np.random.default_rng([seed, TRIPLETS_A_ROW])
    first = draw.integers(0, others, size=(n, TRIPLETS_A_ROW))
    second = draw.integers(0, others - 1, size=(n, TRIPLETS_A_ROW))
    return first, second + (second >= first)


def _columns(vectors: Float64, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every row its column in the gallery, -1 where it has none, and the row that each column is of.

    Rows of the very same embedding share a column, so that none of them is nearer than another by rounding.
    """
    known: dict[bytes, int] = {}
    gallery: list[int] = []
    vectors = vectors + 0.0  # of 0 and -0 the bytes differ
    for row in rows.tolist():
        if known.setdefault(vectors[row].tobytes(), len(gallery)) == len(gallery):
            gallery.append(row)
    columns = [known.get(vector.tobytes(), -1) for vector in vectors]
    return np.array(columns, dtype=np.int64), np.array(gallery, dtype=np.int64)


def _gallery_rows(column_of: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first of the rows that has each column."""
    return rows[np.unique(column_of[rows], return_index=True)[1]]


def _dots(vectors: Float64, gallery: Float64, columns: NDArray[np.int64]) -> Float64:
    """Products of each row's vector with those of its columns, shape of the columns."""
    found = np.empty(columns.shape)
    step = max(1, SCORES_AT_A_TIME // max(1, len(gallery)))
    for at in range(0, len(vectors), step):
        rows = slice(at, at + step)
        found[rows] = np.take_along_axis(vectors[rows] @ gallery.T, columns[rows], axis=1)
    return found


def move_quantiles(row_errors: Float64, distance: Distance | str) -> Float64:
    """Quantiles, see `MOVE_QUANTILES`, of the distances of all rows and trials; shape `(4,)`, +Inf where they are.

    >>> move_quantiles(np.array([0.0, 1.0, 4.0]), "l2").round(2).tolist()
    [1.0, 1.8, 1.9, 1.98]
    """
    moves = np.asarray(distances(row_errors, distance)).ravel()
    method: Any = "linear" if np.all(np.isfinite(moves)) else "higher"
    return np.asarray(np.quantile(moves, MOVE_QUANTILES, method=method))


def embedding_rows(
    near: Sequence[Float64], trials: int, counted: NDArray[np.bool_], neighbours: Neighbours, threshold_note: str
) -> EmbeddingRows:
    """What noise does to each row, of what `Neighbours` says summed over trials, shape `(levels, n)` each."""
    within, order, nearest = (np.where(counted, each / trials, math.nan).T for each in near)
    triplets = neighbours.triplets
    return EmbeddingRows(
        threshold=neighbours.threshold,
        threshold_note=threshold_note,
        beyond=None if neighbours.threshold is None else 1.0 - within,
        triplet_flips=1.0 - order if triplets.order.shape[1] else None,
        self_nearest=nearest if neighbours.has_others else None,
        tie_share=np.where(counted, triplets.tie_share, 1.0),
        ties=triplets.ties(counted),
    )
