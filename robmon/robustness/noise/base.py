"""Noise: its standard draw, and how a level of it perturbs rows of inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, cast

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64, copied, like, namespace, numbers
from robmon.robustness.checks import check_largest
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.features import Features, checked, fitting, measure
from robmon.robustness.features.whole_numbers import Whole

Draw = Callable[[np.random.Generator, tuple[int, ...]], Float64]
"""`draw(generator, shape)`: a standard draw in float64 that broadcasts to `shape`, `(rows, *input_shape)`."""
Apply = Callable[[Array, Array, float, Features], Array]
"""`apply(inputs, draw, level, features)`: the perturbed inputs, in float64 as the inputs are, of the same shape."""
Limit = float | tuple[float, ...] | None
Clip = tuple[Limit, Limit] | None
"""The valid range of inputs, low and high: each one number, one a feature or channel, or None for no limit."""


class Generator(Protocol):
    """Where a draw takes its random numbers from: NumPy's generator, or PyTorch's on a device."""

    def standard_normal(self, size: tuple[int, ...]) -> Array:
        """Normal, of mean 0 and variance 1."""

    def random(self, size: tuple[int, ...]) -> Array:
        """Uniform on [0, 1)."""


class Noise:
    """A noise model. `Noise(name, draw)` makes one of your own; `robmon.noise` has those that robmon brings.

    Additive noise is `inputs + level * scale * draw`. All levels of one trial share one standard draw. Whatever the
    noise, cells that hold NaN, an infinity or a sentinel, and features of scale 0, stay unchanged.

    Args:
        name: what results and metrics call it.
        draw: `draw(generator, shape) -> z` in float64, from a `numpy.random.Generator`; for additive noise with mean 0
            and variance 1. It must consume the generator row after row, as NumPy's own distributions do, so that two
            short draws equal one long one; rows must be independent of one another, or the request bound and all
            standard errors are wrong.
        apply: `apply(inputs, z, level, features)` returns the perturbed inputs; None: additive. Inputs are float64, a
            NumPy array or torch tensor `(rows, *input_shape)`; z is of the same kind, as are `features.scale` and
            `features.mean`, which broadcast to one row. Level 0 must return the inputs unchanged.
        unit: what a level counts, for axis labels; None: the unit of the scale, as for additive noise.
        largest_level: the largest level that makes sense, 1 for shares.
        clip: the valid range `(low, high)` of the inputs, each one number, one per feature, or None: perturbed values
            are clipped to it. A value already outside is moved no further out, and not brought in.

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
    draws_anywhere: bool = False
    """Whether `draw` asks a `Generator` for nothing else than what that has, so that it can draw on a device. A
    subclass with another draw has to say so itself."""
    usual_levels: tuple[float, ...] | None = None
    """What stands in the place of the usual levels, where those mean nothing."""
    is_random: bool = True
    """Whether it draws: of a noise that does not all trials are alike, so one is run, and there is no trial bound."""
    acts_on_images: bool = False
    """Whether it perturbs pictures, pixels and all, see `noise.images`."""
    axis: Literal["level_squared", "level"] = "level_squared"
    """Against what the MSE rises to first order."""
    _draw: Draw | None = None
    _apply: Apply | None = None

    def __init_subclass__(cls) -> None:
        if "draw" in vars(cls) and "draws_anywhere" not in vars(cls):
            cls.draws_anywhere = False

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

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        """A standard draw that broadcasts to `shape`, of the kind that the generator gives; features are NumPy's."""
        return generator.standard_normal(shape) if self._draw is None else self._draw(cast("Any", generator), shape)

    @property
    def is_additive(self) -> bool:
        """Whether it is `inputs + level * scale * draw` and nothing else."""
        return self._apply is None and self.clip is None and type(self).apply is Noise.apply

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
        scale = 1.0 if noise.acts_on_images else scale
        told = None if names is None else tuple(names)
        features = measure(inputs, scale, correlation=noise.needs_correlation, names=told, axis=axis, whole=whole)
    elif names is not None:
        features = replace(features, names=tuple(names))
    return checked(noise.fitted(features, tuple(inputs.shape)))
