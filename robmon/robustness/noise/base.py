"""Noise: its standard draw, and how a level of it perturbs rows of inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64, as_float64, copied, like, namespace, numbers, to_numpy
from robmon.robustness.checks import check_largest
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.features import Features, checked, fitting, measure
from robmon.robustness.features.whole_numbers import Whole, rounded
from robmon.robustness.noise.masking import untouched

Draw = Callable[[np.random.Generator, tuple[int, ...]], Float64]
"""`draw(generator, shape)`: a standard draw in float64 that broadcasts to `shape`, `(rows, *input_shape)`."""
Apply = Callable[[Array, Array, float, Features], Array]
"""`apply(inputs, draw, level, features)`: the perturbed inputs, in float64 as the inputs are, of the same shape."""
Stream = Callable[[tuple[int, ...]], Float64]
"""Called with the shape of batch after batch, it gives their standard draws."""
Limit = float | tuple[float, ...] | None
Clip = tuple[Limit, Limit] | None
"""The valid range of inputs, low and high: each one number, one a feature or channel, or None for no limit."""


class Noise:
    """A noise model. `Noise(name, draw)` makes one of your own, and `robmon.noise` has those that robmon brings.

    Additive noise is `inputs + level * scale * draw`. All levels of one trial share one standard draw. Whatever the
    noise, cells that hold NaN, an infinity or a sentinel, and features of scale 0, stay as they are.

    Args:
        name: what results and metrics call it.
        draw: `draw(generator, shape) -> z` in float64; for additive noise mean 0 and variance 1. It must take from the
            generator row after row, as NumPy's own distributions do, so that two short draws equal one long one; rows
            must be independent of one another, or the request bound and all standard errors are wrong.
        apply: `apply(inputs, z, level, features)`, the perturbed inputs; None: additive. Inputs are float64, a NumPy
            array or torch tensor `(rows, *input_shape)`; z is of the same kind, as are `features.scale` and
            `features.mean`, which broadcast to one row. Level 0 must give the inputs back.
        unit: what a level counts, for axis labels; None: what `scale` is in, as for additive noise.
        largest_level: the largest level that has a meaning, 1 for shares.
        clip: the valid range `(low, high)` of the inputs, each one number, one a feature, or None: perturbed values are
            clipped to it. A value that lies outside by itself is moved no further out, and not brought in.

    >>> def coin(generator, shape):
    ...     return generator.choice([-1.0, 1.0], size=shape)
    >>> Noise("coin", coin).name
    'coin'
    """

    name: str
    unit: str | None = None
    largest_level: float = math.inf
    clip: Clip = None
    needs_correlation: bool = False
    """Whether it needs `features.correlation`."""
    _draw: Draw | None = None
    _apply: Apply | None = None

    def __init__(
        self,
        name: str,
        draw: Draw | None = None,
        *,
        apply: Apply | None = None,
        unit: str | None = None,
        largest_level: float = math.inf,
        clip: Clip = None,
    ) -> None:
        self.name, self.unit, self.largest_level, self.clip = name, unit, largest_level, clip
        self._draw, self._apply = draw, apply

    def __repr__(self) -> str:
        return f"Noise({self.name!r})"

    def level_unit(self, relative: bool, word: str = "feature") -> str:
        """What a level counts, where each feature, or channel, has a scale of its own."""
        return self.unit or (f"standard deviations of each {word}" if relative else "input units")

    def check(self, levels: Sequence[float]) -> None:
        """Refuse levels that have no meaning, and a valid range that is empty."""
        if self.clip is not None and (not isinstance(self.clip, tuple | list) or len(self.clip) != 2):
            raise InvalidInputError(f"clip of {self.name} noise is a pair: its low end and its high end, or None")
        low, high = (None if end is None else numbers(end, "clip") for end in self.clip or (None, None))
        if low is not None and high is not None and np.any(low >= high):
            raise InvalidInputError(f"clip of {self.name} noise is empty: its low end must lie below its high end")
        check_largest(self.name, levels, self.largest_level, self.level_unit(True))

    def fitted(self, features: Features, shape: tuple[int, ...]) -> Features:
        """The features of inputs of `shape` as this noise perturbs them: scale 0 for those that it leaves alone.

        Raises:
            InvalidInputError: this noise cannot perturb these features.
        """
        return features

    def stream(self, generator: np.random.Generator, features: Features) -> Stream:
        """The standard draws of one trial, in main memory."""
        return lambda shape: self.draw(generator, shape, features)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...], features: Features) -> Float64:
        """A standard draw in float64 that broadcasts to `shape`."""
        return generator.standard_normal(shape) if self._draw is None else self._draw(generator, shape)

    def apply(self, inputs: Array, draw: Array, level: float, features: Features) -> Array:
        """The inputs at one level, before they are clipped."""
        if self._apply is not None:
            return self._apply(copied(inputs), copied(draw), level, features)  # a user's function may write into them
        return inputs + (level * features.scale) * draw

    def perturbed(self, inputs: Array, draw: Array, level: float, features: Features) -> Array:
        """The inputs at one level, clipped to the valid range."""
        perturbed = self.apply(inputs, draw, level, features)
        if tuple(perturbed.shape) != tuple(inputs.shape):
            raise InvalidInputError(
                f"{self.name} noise made inputs of shape {tuple(perturbed.shape)} of {tuple(inputs.shape)}"
            )
        low, high = self.clip or (None, None)
        xp = namespace(inputs)
        if low is not None:
            perturbed = xp.maximum(perturbed, xp.minimum(inputs, of_features(low, inputs, "clip", features)))
        if high is not None:
            perturbed = xp.minimum(perturbed, xp.maximum(inputs, of_features(high, inputs, "clip", features)))
        return perturbed


class NoisyRows:
    """Rows of inputs under one standard draw, at whichever level. Nothing is drawn for level 0.

    Args:
        noise: the noise.
        rows: floating, shape `(n, *input_shape)`.
        stream: where the draw is taken from.
        features: arrays like `rows`, on the same device.
    """

    def __init__(self, noise: Noise, rows: Array, stream: Stream, features: Features) -> None:
        self._noise, self._rows, self._stream, self._features = noise, rows, stream, features

    @cached_property
    def _draw(self) -> Array:
        shape = tuple(self._rows.shape)
        draw = numbers(self._stream(shape), f"what {self._noise.name} noise draws")
        if draw.ndim != len(shape) or any(a not in (1, b) for a, b in zip(draw.shape, shape, strict=True)):
            raise InvalidInputError(
                f"{self._noise.name} noise drew numbers of shape {draw.shape} for inputs of {shape}"
            )
        if not np.all(np.isfinite(draw)):
            raise InvalidInputError(f"{self._noise.name} noise drew NaN or infinite numbers: every draw must be finite")
        return like(draw, self._rows)

    @cached_property
    def _exact(self) -> Array:
        return as_float64(self._rows)

    @cached_property
    def _untouched(self) -> Array | None:
        """Which cells are not perturbed; None where all are."""
        cells = untouched(self._exact, self._features)
        return cells if bool(namespace(cells).any(cells)) else None

    def at(self, level: float) -> Array:
        """The rows at one level, computed in float64 and cast once to their dtype; at level 0 a copy of them.

        Whole numbers are rounded and kept in their range.

        What is returned is the caller's: a model may write into it.
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

    def squared_moves(self, perturbed: Array, level: float) -> Float64:
        """How far `at(level)` moved each row: its cells' moves in units of the scale, squared and summed. Shape `(n,)`.

        A cell that is not finite, before or after, is not counted.
        """
        if level == 0:
            return np.zeros(int(perturbed.shape[0]))
        xp, scale = namespace(self._exact), self._features.scale
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            moves = (as_float64(perturbed) - self._exact) * xp.where(scale > 0, 1.0 / scale, xp.zeros_like(scale))
            squares = xp.reshape(moves * moves, (moves.shape[0], -1))
            sums = xp.sum(squares, axis=1)
            if not bool(xp.all(xp.isfinite(sums))):
                sums = xp.sum(xp.where(xp.isfinite(squares), squares, xp.zeros_like(squares)), axis=1)
        return to_numpy(sums)


def of_features(values: Any, inputs: Array, what: str, features: Features) -> Array:
    """Numbers that a noise is given, one or one a feature, as an array that broadcasts to the inputs."""
    return like(fitting(numbers(values, what), tuple(inputs.shape), what, features.axis), inputs)


def noise_features(
    noise: Noise,
    inputs: Array,
    scale: Array | float | None = None,
    features: Features | None = None,
    names: Sequence[str] | None = None,
    axis: FeatureAxis | None = None,
    whole: Whole | None = None,
) -> Features:
    """The features as the noise perturbs them: those given, or measured on the inputs with this scale.

    Raises:
        InvalidInputError: both are given, nothing can be perturbed, or the noise cannot perturb these features.
    """
    if features is not None and scale is not None:
        raise InvalidInputError("features hold a scale: give either, not both")
    if features is None:
        told = None if names is None else tuple(names)
        features = measure(inputs, scale, correlation=noise.needs_correlation, names=told, axis=axis, whole=whole)
    elif names is not None:
        features = replace(features, names=tuple(names))
    return checked(noise.fitted(features, tuple(inputs.shape)))


def trial_generator(seed: int, trial: int) -> np.random.Generator:
    """The random numbers of one trial: a stream of its own, fixed by seed and trial, used row after row.

    So the noise of a row depends neither on how the rows are cut into batches nor on how many follow.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(trial,))))
