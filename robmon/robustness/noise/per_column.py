"""Another noise for every column of tabular inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import array_api_compat
import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, namespace
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Generator, Noise
from robmon.robustness.noise.by_name import noise_model


class PerColumn(Noise):
    """A noise model of its own for every column of inputs of rank 2.

    Columns that are given the same noise, by name or as one object, are perturbed together: they share the draws of one
    `CommonMode()`, and keep their correlation under one `Correlated()`. Where a noise takes one number per feature,
    these are its own columns only, in the order of the inputs.

    Args:
        columns: noise by column: its name in a DataFrame, or its position among the perturbed columns.
        default: noise of all other columns; None: they are not perturbed.

    Raises:
        InvalidInputError: no noise has this name; or, when it is used, there is no such column.

    >>> PerColumn({"clicks": "missing"}, default=None).level_unit(relative=True)
    'share of the cells'
    """

    def __init__(self, columns: Mapping[str | int, str | Noise], default: str | Noise | None = "gaussian") -> None:
        self._columns = {column: noise_model(noise) for column, noise in columns.items()}
        self._default = None if default is None else noise_model(default)
        self._noises = [*self._columns.values(), *([self._default] if self._default is not None else [])]
        if not self._noises:
            raise InvalidInputError("noise per column needs the noise of at least one column")
        units = {noise.unit for noise in self._noises}
        super().__init__("per_column", unit=units.pop() if len(units) == 1 else "what each column's noise counts")
        self.draws_anywhere = all(noise.draws_anywhere for noise in self._noises)
        self.is_random = any(noise.is_random for noise in self._noises)
        self.needs_correlation = any(noise.needs_correlation for noise in self._noises)

    def __repr__(self) -> str:
        return f"PerColumn({self._columns!r}, default={self._default!r})"

    def check(self, levels: Sequence[float]) -> None:
        for noise in self._noises:
            noise.check(levels)

    def fitted(self, features: Features, shape: tuple[int, ...]) -> Features:
        if len(shape) != 2:
            raise InvalidInputError(f"noise per column needs inputs of columns: these are of shape {shape[1:]} each")
        features = features.each(shape[1])
        scale = np.zeros(shape[1])
        for noise, at in self._parts(features):
            scale[at] = noise.fitted(features.take(at), (shape[0], len(at))).scale
        return replace(features, scale=scale)

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        drawn = [
            (at, noise.draw(generator, (shape[0], len(at)), features.take(at))) for noise, at in self._parts(features)
        ]
        xp = namespace(drawn[0][1])
        result = xp.zeros(shape, dtype=drawn[0][1].dtype, device=array_api_compat.device(drawn[0][1]))
        for at, part in drawn:
            result[:, at] = part
        return result

    def apply(self, inputs: Array, draw: Array, level: float, features: Features) -> Array:
        result = namespace(inputs).asarray(inputs, copy=True)
        for noise, at in self._parts(features):
            result[:, at] = noise.perturbed(inputs[:, at], draw[:, at], level, features.take(at))
        return result

    def _parts(self, features: Features) -> list[tuple[Noise, list[int]]]:
        """Each noise and the positions of its columns."""
        count = len(features.scale)
        chosen = {features.position(column, count): noise for column, noise in self._columns.items()}
        parts: dict[int, tuple[Noise, list[int]]] = {}
        for position in range(count):
            noise = chosen.get(position, self._default)
            if noise is not None:
                parts.setdefault(id(noise), (noise, []))[1].append(position)
        return list(parts.values())
