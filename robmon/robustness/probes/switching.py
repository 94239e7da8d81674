"""Noise of which some features are switched on and the others off, step by step, under one and the same draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, copied, like, namespace, repeated, zeros_of_rows
from robmon.robustness.engine.batch import Engine
from robmon.robustness.noise.rows import NoisyRows

Switch = Callable[[int, Sequence[int], slice], NDArray[np.bool_]]
"""`switch(step, trials, rows)`: of which features noise is on at a step, shape `(trials * rows, features)`, or `(1,
features)` where that is the same for all; one trial after the other."""


class SwitchingEngine(Engine):
    """An engine whose "levels" are steps: at step 0 rows are as they came, at others noise is on where it is switched.

    Args:
        level: the noise level at which it is on.
        switch: of which features it is on.
        engine: the other arguments of `Engine`.
    """

    def __init__(self, level: float, switch: Switch, **engine: Any) -> None:
        super().__init__(**engine)
        self._level, self._switch = level, switch
        axis, self._scale_shape = self._features.axis, self._features.axis.scale_shape(tuple(self.inputs.shape))
        columns = range(axis.columns(tuple(self.inputs.shape)))
        self._feature_of = np.array(columns if axis.feature_of is None else axis.feature_of, dtype=np.intp)

    def switched_by(self, switch: Switch) -> SwitchingEngine:
        """The same rows and noise, switched otherwise."""
        engine = copy(self)
        engine._switch = switch
        return engine

    def calls_together(self, call_rows: int, levels: Sequence[float]) -> int:
        return 1

    def noisy_rows(self, trials: Sequence[int], rows: slice, levels: Sequence[float]) -> NoisyRows:
        def is_on(step: int) -> Array:
            features = self._switch(step, trials, rows)
            cells = features[:, self._feature_of]
            return like(cells.reshape(len(cells), *self._scale_shape), self.inputs)

        noisy = super().noisy_rows(trials, rows, (self._level,))
        return _SwitchedRows(noisy, self._level, repeated(self.inputs[rows], len(trials)), is_on)


class _SwitchedRows:
    """Copies of rows of which noise moves some features only."""

    def __init__(self, noisy: NoisyRows, level: float, clean: Array, is_on: Callable[[int], Array]) -> None:
        self._noisy, self._level, self._clean, self._is_on = noisy, level, clean, is_on

    @cached_property
    def _all_on(self) -> Array:
        return self._noisy.at(self._level)

    def at(self, level: float) -> Array:
        if level == 0:
            return copied(self._clean)
        return namespace(self._clean).where(self._is_on(int(level)), self._all_on, self._clean)

    def squared_moves(self, perturbed: Array, level: float) -> Array:
        """Nobody asks how far rows were moved, feature by feature."""
        return zeros_of_rows(perturbed, namespace(perturbed).float64)
