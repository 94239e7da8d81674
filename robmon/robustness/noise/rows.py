"""Rows of inputs under one standard draw, at whichever level."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final, Protocol

import array_api_compat
import numpy as np

from robmon.robustness.arrays import (
    Array,
    Float64,
    as_float64,
    concatenation,
    copied,
    is_on_cuda,
    largest_sizes,
    like,
    moved,
    moved_into,
    namespace,
    on_host,
    parts,
    repeated,
    to_numpy,
    zeros_of_rows,
)
from robmon.robustness.features.features import Features
from robmon.robustness.features.whole_numbers import rounded
from robmon.robustness.noise.base import Noise
from robmon.robustness.noise.masking import untouched

FINE: Final = 64
"""How many of the inputs' own steps a level must be that rounding to them is nothing: it changes a realised level by
1e-5 of itself then."""
FAR: Final = 50.0
"""No draw of the noise models is likely to be as far from 0, in standard deviations."""

NEAR_NUMBERS: Final = 2**21
"""In main memory so many numbers, of rows at all levels, are made at once: 8 MiB in float32."""


class NoisyRows(Protocol):
    """Copies of rows, one after the other, each moved by its own draw. Nothing is drawn for level 0."""

    def at(self, level: float) -> Array:
        """The rows at one level. What is returned is the caller's: a model may write into it."""

    def squared_moves(self, perturbed: Array, level: float) -> Array:
        """How far `at(level)` moved each row: its cells' moves in units of the scale, squared and summed.

        Float64, where the rows are, shape `(copies * rows,)`. A cell that is not finite, before or after, is not
        counted.
        """


class AnyNoiseRows:
    """Rows under any noise, computed in float64, whose moves are measured.

    Args:
        noise: the noise.
        rows: floating, shape `(n, *input_shape)`: what `draw` is of.
        draw: gives the standard draw, of the rows' kind.
        features: arrays like `rows`, on the same device.
    """

    def __init__(self, noise: Noise, rows: Array, draw: Callable[[], Array], features: Features) -> None:
        self._noise, self._rows, self._drawn, self._features = noise, rows, draw, features

    @cached_property
    def _draw(self) -> Array:
        return as_float64(self._drawn())

    @cached_property
    def _exact(self) -> Array:
        return as_float64(self._rows)

    @cached_property
    def _untouched(self) -> Array | None:
        """Which cells are not perturbed; None where all are."""
        cells = untouched(self._exact, self._features)
        return cells if bool(namespace(cells).any(cells)) else None

    def at(self, level: float) -> Array:
        """The rows at one level, cast once to their dtype; at level 0 a copy of them.

        Whole numbers are rounded and kept in their range.
        """
        if level == 0:
            return copied(self._rows)
        xp = namespace(self._exact)
        with np.errstate(over="ignore", invalid="ignore"):
            perturbed = self._noise.perturbed(self._exact, self._draw, level, self._features)
            if self._features.limits is not None:
                perturbed = rounded(perturbed, self._exact, self._features.limits)
            if self._untouched is not None:
                perturbed = xp.where(self._untouched, self._exact, perturbed)
            return xp.astype(perturbed, self._rows.dtype, copy=False)

    def moved(self, perturbed: Array) -> Float64:
        """How many cells of each column `at` moved. Shape `(columns,)`."""
        return np.asarray(self._features.axis.as_columns(perturbed != self._rows).sum(axis=0))

    def squared_moves(self, perturbed: Array, level: float) -> Array:
        xp, scale = namespace(self._exact), self._features.scale
        if level == 0:
            return zeros_of_rows(self._exact, xp.float64)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            moves = (as_float64(perturbed) - self._exact) * xp.where(scale > 0, 1.0 / scale, xp.zeros_like(scale))
            squares = xp.reshape(moves * moves, (moves.shape[0], -1))
            return xp.sum(xp.where(xp.isfinite(squares), squares, xp.zeros_like(squares)), axis=1)


class AdditiveRows:
    """Copies of rows under additive noise, in the rows' own precision; their moves are known without measuring them.

    Args:
        rows: float32 or float64, shape `(n, *input_shape)`.
        copies: of the rows, one a trial.
        draws: gives the standard draws, of one copy after the other, each of shape `(n, *input_shape)` or broadcasting
            to it.
        scale: of the rows' kind and dtype, broadcast to one row.
        kept: which cells stay as they are, shape of the rows; None: none does.
        redraws: whether to draw again for each level rather than hold the moves, which are as large as the rows.
        levels: that will be asked for. In main memory few rows are made at all of them at once, while a draw is near
            the processor.
    """

    def __init__(
        self,
        rows: Array,
        copies: int,
        draws: Callable[[], Iterable[Array]],
        scale: Array,
        kept: Array | None = None,
        redraws: bool = False,
        levels: Sequence[float] = (),
    ) -> None:
        self._rows, self._copies, self._draws, self._scale, self._kept = rows, copies, draws, scale, kept
        self._redraws = redraws
        self._shape = (copies * rows.shape[0], *rows.shape[1:])
        noisy = tuple(level for level in dict.fromkeys(levels) if level > 0)
        is_near = not is_on_cuda(rows) and len(noisy) * copies * math.prod(rows.shape) <= NEAR_NUMBERS
        self._levels = noisy if is_near and not redraws else ()

    def _each(self) -> Iterator[Array]:
        """The draws of each copy, of the rows' shape, 0 for cells that stay as they are."""
        xp = namespace(self._rows)
        for draw in self._draws():
            draw = xp.astype(draw, self._rows.dtype, copy=False)
            if draw.shape != self._rows.shape:
                draw = xp.broadcast_to(draw, self._rows.shape)
            yield draw if self._kept is None else xp.where(self._kept, xp.zeros_like(draw), draw)

    def _draw(self) -> Array:
        """Shape `(copies, n, *input_shape)`."""
        return namespace(self._rows).reshape(concatenation(list(self._each())), (self._copies, *self._rows.shape))

    def _size(self, draw: Array) -> Array:
        """Size of the draws of so many rows, shape `(rows,)`."""
        xp = namespace(draw)
        return xp.linalg.vector_norm(xp.reshape(draw, (-1, math.prod(self._rows.shape[1:]))), axis=1)

    def _squared_size(self, draw: Array) -> Array:
        return as_float64(on_host(self._size(draw))) ** 2

    @cached_property
    def _moves(self) -> tuple[Array, Array]:
        """The rows' moves at level 1, and the squares of the draws, row by row."""
        draw = self._draw()
        return draw * self._scale, self._squared_size(draw)

    @cached_property
    def _ready(self) -> tuple[dict[float, Array], Array]:
        """The rows at each level, and the squares of the draws, row by row."""
        xp, sizes = namespace(self._rows), []
        shape = (len(self._levels), self._copies, *self._rows.shape)
        every = xp.empty(shape, dtype=self._rows.dtype, device=array_api_compat.device(self._rows))
        levels = xp.astype(like(np.array(self._levels), self._rows), self._rows.dtype)
        levels = xp.reshape(levels, (-1, *[1] * len(self._rows.shape)))
        for copy, draw in enumerate(self._each()):
            sizes.append(self._size(draw))
            moved_into(every[:, copy], self._rows, draw * self._scale, levels)
        rows = [xp.reshape(at, self._shape) for at in every]
        return dict(zip(self._levels, rows, strict=True)), as_float64(on_host(concatenation(sizes))) ** 2

    @cached_property
    def _squares(self) -> Array:
        if self._levels:
            return self._ready[1]
        return self._squared_size(self._draw()) if self._redraws else self._moves[1]

    def make(self) -> None:
        """Make the rows now that are made at once, and not when the first of them is asked for."""
        if self._levels:
            _ = self._ready

    def at(self, level: float) -> Array:
        xp = namespace(self._rows)
        if level == 0:
            return repeated(self._rows, self._copies)
        with np.errstate(over="ignore", invalid="ignore"):
            if level in self._levels and level in self._ready[0]:
                return self._ready[0].pop(level)
            if not self._redraws:
                return xp.reshape(moved(self._rows, self._moves[0], level), self._shape)
            perturbed = self._draw() * (level * self._scale)
            perturbed += self._rows
            return xp.reshape(perturbed, self._shape)

    def squared_moves(self, perturbed: Array, level: float) -> Array:
        if level == 0:
            return zeros_of_rows(perturbed, namespace(perturbed).float64)
        return level**2 * self._squares


@np.errstate(over="ignore")
def exact_levels(inputs: Array, features: Features) -> tuple[float, float]:
    """The lowest and the highest level at which the moves of additive noise are as they are asked for.

    From the lowest on every feature is moved far enough that rounding is nothing. Up to the highest no number leaves
    what the inputs' type holds, but by a draw of over `FAR`.

    Args:
        inputs: float32 or float64, shape `(n, *input_shape)`.
        features: arrays like them, on their device.

    >>> from robmon.robustness.features.features import measure
    >>> inputs = np.array([[100.0], [101.0]], dtype=np.float32)
    >>> low, high = exact_levels(inputs, measure(inputs, 1.0, correlation=False))
    >>> round(low, 6), high > 1e36
    (0.000771, True)
    """
    xp, largest = namespace(inputs), largest_sizes(inputs)
    number, scale, has = xp.finfo(inputs.dtype), features.scale, features.scale > 0
    inverse = xp.where(has, 1.0 / xp.where(has, scale, 1.0), 0.0)
    room = xp.where(has, (float(number.max) - as_float64(largest)) * inverse / FAR, math.inf)
    bounds = xp.stack([
        xp.max(as_float64(largest) * inverse),
        xp.min(room),
        xp.min(xp.where(has, scale, math.inf)),
        xp.max(scale),
    ])  # fmt: skip
    steps, highest, least_scale, largest_scale = to_numpy(bounds).tolist()
    if least_scale < float(number.smallest_normal) or largest_scale > float(number.max):
        return math.inf, 0.0  # the scale itself is none of the type's
    return FINE * float(number.eps) * steps, highest


def are_kept(inputs: Array, features: Features) -> bool:
    """Whether any cell is not perturbed, see `untouched`: its draw must not count as a move."""
    return any(bool(namespace(inputs).any(untouched(as_float64(inputs[rows]), features))) for rows in parts(inputs))
