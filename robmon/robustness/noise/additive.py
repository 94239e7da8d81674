"""Errors of measurement: added to each value, or, as errors of gain, a share of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, like, namespace
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Clip, Generator, Noise


@dataclass(frozen=True)
class Gaussian(Noise):
    """Additive normal noise: the sum of many small independent errors."""

    clip: Clip = None
    draws_anywhere = True
    name = "gaussian"

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        return generator.standard_normal(shape)


@dataclass(frozen=True)
class Uniform(Noise):
    """Additive uniform noise on ±sqrt(3), which has variance 1: rounding and bounded tolerances."""

    clip: Clip = None
    draws_anywhere = True
    name = "uniform"

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        return math.sqrt(12.0) * (generator.random(shape) - 0.5)


@dataclass(frozen=True)
class Laplace(Noise):
    """Additive Laplace noise of variance 1: a large error now and then, as differential privacy adds it."""

    clip: Clip = None
    draws_anywhere = True
    name = "laplace"

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        size, sign = generator.random(shape), generator.random(shape)
        xp = namespace(size)
        return math.sqrt(0.5) * xp.sign(sign - 0.5) * xp.log1p(-size)


@dataclass(frozen=True)
class StudentT(Noise):
    """Additive Student's t noise, scaled to variance 1: heavy tails, outliers among ordinary errors.

    Attributes:
        df: degrees of freedom, above 2. At the default of 5 the kurtosis is 9 (normal: 3); at 4 and below the MSE of a
            trial has no variance any more.
    """

    df: float = 5.0
    clip: Clip = None
    draws_anywhere = True
    name = "student_t"

    def __post_init__(self) -> None:
        if not self.df > 2:
            raise InvalidInputError(f"df must be above 2, or the noise has no variance, not {self.df:g}")

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        """By Bailey's polar method (Mathematics of Computation 62, 1994): of two uniform numbers, without rejection."""
        size, angle = 1.0 - generator.random(shape), generator.random(shape)
        xp = namespace(size)
        squared = (self.df - 2.0) * (size ** (-2.0 / self.df) - 1.0)
        return xp.sqrt(squared) * xp.cos(2.0 * math.pi * angle)


@dataclass(frozen=True)
class Multiplicative(Noise):
    """Each value is multiplied by `1 + level * z`, z normal: errors of gain and calibration."""

    clip: Clip = None
    draws_anywhere = True
    name = "multiplicative"
    unit = "share of the value"

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        return generator.standard_normal(shape)

    def apply(self, inputs: Array, draw: Array, level: float, features: Features) -> Array:
        return inputs * (1.0 + level * draw)


@dataclass(frozen=True)
class CommonMode(Noise):
    """Additive normal noise with one draw per row for a whole group of features: sensors that fail together.

    Attributes:
        groups: groups of features or channels, each by name or position; those in no group are not perturbed. None: all
            features form one group.
    """

    groups: Sequence[Sequence[str | int]] | None = None
    clip: Clip = None
    draws_anywhere = True
    name = "common_mode"

    def fitted(self, features: Features, shape: tuple[int, ...]) -> Features:
        is_grouped = self._group_of_each(features, features.axis.columns(shape)) >= 0
        return replace(features, scale=features.scale * is_grouped.reshape(features.axis.scale_shape(shape)))

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        groups = self._group_of_each(features, features.axis.columns(shape))
        shared = generator.standard_normal((shape[0], int(groups.max()) + 1))
        return shared[:, groups].reshape((shape[0], *features.axis.scale_shape(shape)))

    def _group_of_each(self, features: Features, count: int) -> NDArray[np.intp]:
        """The group of each of `count` features, -1 for none."""
        if self.groups is None:
            return np.zeros(count, dtype=np.intp)
        result = np.full(count, -1)
        for index, group in enumerate(self.groups):
            for feature in group:
                position = features.position(feature, count)
                if result[position] >= 0:
                    raise InvalidInputError(f"feature {feature!r} is in two groups")
                result[position] = index
        return result


@dataclass(frozen=True)
class Correlated(Noise):
    """Additive normal noise with the correlation that the features have in the baseline.

    Perturbed rows stay as plausible as the inputs, to second order. For inputs of rank 1 and 2.
    """

    clip: Clip = None
    draws_anywhere = True
    name = "correlated"
    needs_correlation = True

    def fitted(self, features: Features, shape: tuple[int, ...]) -> Features:
        if len(shape) > 2 or features.axis.feature_of is not None:
            raise InvalidInputError(f"correlated noise needs inputs of columns: these are of shape {shape[1:]} each")
        if features.correlation is None:
            raise InvalidInputError(
                "correlated noise needs the correlation of the features, which the baseline does not hold: "
                "record a baseline with this noise"
            )
        return features

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        independent = generator.standard_normal((shape[0], features.axis.columns(shape)))
        xp = namespace(independent)
        mixing = xp.astype(like(features.mixing, independent), independent.dtype)
        return xp.reshape(independent @ xp.matrix_transpose(mixing), shape)
