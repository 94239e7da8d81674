"""Values on a grid: coarser sensors, fewer digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robmon.robustness.arrays import Array, namespace
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Clip, Generator, Noise


@dataclass(frozen=True)
class Quantize(Noise):
    """Values are rounded to a grid with a step of level times scale: a coarser sensor, fewer digits.

    Deterministic, so all trials are alike. With a fine grid the error's variance is step² / 12.
    """

    clip: Clip = None
    name = "quantize"
    is_random = False

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        return np.zeros((1,) * len(shape))

    def apply(self, inputs: Array, draw: Array, level: float, features: Features) -> Array:
        xp, step = namespace(inputs), level * features.scale + draw
        safe = xp.where(step > 0, step, xp.ones_like(step))
        return xp.where(step > 0, xp.round(inputs / safe) * safe, inputs)
