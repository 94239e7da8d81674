"""Single cells that are lost, or jump to another value: their levels are shares of the cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robmon.robustness.arrays import Array, namespace
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Clip, Generator, Noise, of_features
from robmon.vocabulary import LARGEST_LEVELS, LEVEL_UNITS


@dataclass(frozen=True)
class SaltAndPepper(Noise):
    """A share of the cells jumps to one of two values, each equally likely: dead pixels, stuck sensors.

    A cell that is hit at one level is hit at every higher one too, with the same value.

    Attributes:
        low, high: the two values, one number or one per feature; None: the baseline's mean minus, or plus, 3 scales.
    """

    low: Any = None
    high: Any = None
    clip: Clip = None
    draws_anywhere = True
    name = "salt_and_pepper"
    unit = LEVEL_UNITS[name]
    largest_level = LARGEST_LEVELS[name]

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        return 2.0 * generator.random(shape) - 1.0  # its size says when a cell is hit, its sign by what

    def apply(self, inputs: Array, draw: Array, level: float, features: Features) -> Array:
        xp, spread = namespace(inputs), 3.0 * features.scale
        low = features.mean - spread if self.low is None else of_features(self.low, inputs, "low", features)
        high = features.mean + spread if self.high is None else of_features(self.high, inputs, "high", features)
        return xp.where(xp.abs(draw) < level, xp.where(draw < 0, low, high), inputs)


@dataclass(frozen=True)
class Missing(Noise):
    """A share of the cells is lost and filled in, as imputation does.

    A cell that is lost at one level is lost at every higher one too.

    Attributes:
        fill: the value filled in, one number or one per feature, also NaN; None: the baseline's mean.
    """

    fill: Any = None
    clip: Clip = None
    draws_anywhere = True
    name = "missing"
    unit = LEVEL_UNITS[name]
    largest_level = LARGEST_LEVELS[name]

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        return generator.random(shape)

    def apply(self, inputs: Array, draw: Array, level: float, features: Features) -> Array:
        fill = features.mean if self.fill is None else of_features(self.fill, inputs, "fill", features)
        return namespace(inputs).where(draw < level, fill, inputs)
