"""One batch of noisy rows: perturb, predict, and reduce the outputs to what is added up.

Trials and plan call the same function, so that the time budget times what runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Final, Self

import numpy as np

from robmon.robustness.arrays import (
    Array,
    Float64,
    are_of_one_form,
    as_float64,
    batches,
    check_rows,
    concatenation,
    copied,
    is_on_cuda,
    is_single_or_double,
    namespace,
    on_host,
    repeated,
    to_numpy,
    zeros_of_rows,
)
from robmon.robustness.engine.pace import Pace
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.engine.reduction import TOGETHER, Reduced, Reduction
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Noise
from robmon.robustness.noise.draws import Draws
from robmon.robustness.noise.masking import untouched
from robmon.robustness.noise.rows import NEAR_NUMBERS, AdditiveRows, AnyNoiseRows, NoisyRows, are_kept, exact_levels
from robmon.robustness.nonfinite import newly_beyond

HELD_BYTES: Final = 2**25
"""On a CUDA device, draws that are larger are drawn again for each level and not held: the memory is the model's."""
CALLS_TOGETHER: Final = 8
"""In main memory, of so many calls the rows are made together, if they are few, and the outputs reduced together: what
does it would have to be fetched anew after each call, since the model's numbers took its place near the processor."""
KEPT_BYTES: Final = 2**24


class Engine:
    """Runs batches of noisy rows through a predictor.

    Args:
        predictor: the model.
        inputs: shape `(n, *input_shape)`, floating.
        noise: how rows are perturbed.
        features: of the inputs, as the noise perturbs them.
        seed: fixes the noise.
        largest: the largest number of the type in which the model gets its inputs, where that is small.
        draws_as: what draws in the place of the inputs' own back end, see `Draws`.
    """

    def __init__(
        self,
        predictor: Predictor,
        inputs: Array,
        noise: Noise,
        features: Features,
        seed: int,
        largest: Float64 | float | None = None,
        draws_as: str | None = None,
    ) -> None:
        # From the largest block that was freed glibc learns how much it need not give back to the system: else each
        # batch may take its memory again page by page, which for a small model is a tenth of its time.
        np.empty(KEPT_BYTES, dtype=np.uint8)
        self.predictor, self.inputs = predictor, inputs
        self._noise, self._largest = noise, largest
        self._features = features.like(inputs)
        self.draws = Draws(noise, inputs, features, seed, draws_as)
        self._pace = Pace(predictor.duty_cycle)
        with np.errstate(over="ignore"):
            self._scale = namespace(inputs).astype(self._features.scale, inputs.dtype)
        seen = on_host(inputs)
        as_seen = features.like(seen)
        self._are_some_kept = are_kept(seen, as_seen)
        is_exact = noise.is_additive and self._features.limits is None and is_single_or_double(inputs)
        self._lowest, self._highest = exact_levels(seen, as_seen) if is_exact else (math.inf, 0.0)

    def asking(self, predictor: Predictor) -> Self:
        """The same rows and noise with another predictor, whose pace begins now: what went before has had its rest."""
        engine = copy(self)
        engine.predictor, engine._pace = predictor, Pace(predictor.duty_cycle)
        return engine

    def calls_together(self, call_rows: int, levels: Sequence[float]) -> int:
        """How many calls, of so many rows each at each of these levels, are best made one after the other."""
        if is_on_cuda(self.inputs) or not self._are_exact(levels):
            return 1
        numbers = call_rows * len(levels) * math.prod(int(length) for length in self.inputs.shape[1:])
        return max(1, min(CALLS_TOGETHER, NEAR_NUMBERS // max(1, numbers)))

    def batch(
        self,
        trials: Sequence[int],
        rows: slice,
        levels: Sequence[float],
        reduction: Reduction,
        call_trials: int | None = None,
        told: Callable[[int], None] | None = None,
    ) -> Array:
        """Perturb, predict and reduce these rows in each of these trials, at one level after another.

        All levels of a trial share its draw (common random numbers). Level 0 calls the model on the clean inputs again.

        Args:
            trials, rows, levels: which.
            reduction: what is kept of the outputs.
            call_trials: the rows of how many trials the model is given at a time, at most; None: of all.
            told: told how many trials are predicted, again and again.

        Returns:
            where the outputs are, float64, shape `(levels, values, trials, rows)`; of each row the errors of all
            measures, whether it has the class of each reference, whether its outputs are finite, whether the noise took
            it beyond what the model's own type of input holds, and how far it was moved, see `NoisyRows.squared_moves`.
        """
        clean, count = self.inputs[rows], rows.stop - rows.start
        calls = [trials[of] for of in batches(len(trials), call_trials or len(trials))]
        kept, beyond, moves, predicted = _Kept(reduction, rows), [], [], 0
        for call, noisy in zip(calls, self._noisy_rows_of(calls, rows, levels), strict=True):
            for level in levels:
                perturbed = noisy.at(level)
                # Moves are measured before the model gets the rows: it may write into them.
                moves.append(noisy.squared_moves(perturbed, level))
                if self._largest is not None:
                    beyond.append(newly_beyond(perturbed, clean, self._largest))
                outputs = on_host(check_rows(self.predictor.predict(perturbed, rows), len(call) * count))
                kept.add(outputs)
                self._pace.rest(outputs)
                del perturbed, outputs  # not in memory beside the next ones
            predicted += len(call)
            if told is not None:
                told(predicted)
        reduced = kept.of_all_calls()
        if not beyond:
            beyond = [zeros_of_rows(reduced.is_finite, reduced.is_finite.dtype)]
        values = [reduced.errors, *reduced.same, reduced.is_finite, concatenation(beyond), concatenation(moves)]
        return _by_level(_side_by_side(values), [len(call) for call in calls], len(levels), count)

    def _noisy_rows_of(
        self, calls: Sequence[Sequence[int]], rows: slice, levels: Sequence[float]
    ) -> Sequence[NoisyRows]:
        """These rows in the trials of each call; of several calls they are made before the first, if they are few."""
        noisy = [self.noisy_rows(call, rows, levels) for call in calls]
        if len(noisy) > 1:
            for each in noisy:
                if isinstance(each, AdditiveRows):
                    each.make()
        return noisy

    def noisy_rows(self, trials: Sequence[int], rows: slice, levels: Sequence[float]) -> NoisyRows:
        """These rows in each of these trials, one trial after the other, which are asked for at these levels."""
        clean, copies = self.inputs[rows], len(trials)

        def draw() -> Array:
            return self.draws.of(trials, rows)

        def each() -> Iterator[Array]:
            return self.draws.each(trials, rows)

        if not any(levels):
            return AdditiveRows(clean, copies, each, self._scale)  # of level 0 alone nothing need be known
        if self._are_exact(levels):
            kept = untouched(as_float64(clean), self._features) if self._are_some_kept else None
            redraws = self._noise.draws_anywhere and is_on_cuda(clean) and copies * clean.nbytes > HELD_BYTES
            return AdditiveRows(clean, copies, each, self._scale, kept, redraws, levels)
        return AnyNoiseRows(self._noise, clean if copies == 1 else repeated(clean, copies), draw, self._features)

    def _are_exact(self, levels: Sequence[float]) -> bool:
        """Whether all moves at these levels are as they are asked for, so that they need not be measured."""
        lowest = min((level for level in levels if level > 0), default=math.inf)
        return lowest >= self._lowest and max(levels) <= self._highest


class _Kept:
    """What is kept of the outputs of one call after the other; few outputs wait for others: each step of a reduction
    takes as long for few numbers.

    Args:
        reduction: of outputs.
        rows: of which each call's outputs are copies.
    """

    def __init__(self, reduction: Reduction, rows: slice) -> None:
        self._reduction, self._rows = reduction, rows
        self._waiting: list[Array] = []
        self._numbers = 0
        """Numbers in the outputs that wait."""
        self._parts: list[Reduced] = []

    def add(self, outputs: Array) -> None:
        """Keep what is to be kept of these."""
        numbers = math.prod(outputs.shape)
        if self._waiting and not (
            self._numbers + numbers <= TOGETHER and are_of_one_form(self._waiting[0][:1], outputs[:1])
        ):
            self._reduce()
        is_alone = 2 * numbers > TOGETHER
        # A copy: the model may return the same buffer at every call.
        self._waiting.append(outputs if is_alone else copied(outputs))
        self._numbers += numbers
        if is_alone:
            self._reduce()

    def of_all_calls(self) -> Reduced:
        """All that was kept, call after call."""
        if self._waiting:
            self._reduce()
        return Reduced.joined(self._parts)

    def _reduce(self) -> None:
        outputs, self._waiting, self._numbers = concatenation(self._waiting), [], 0
        copies = int(outputs.shape[0]) // (self._rows.stop - self._rows.start)
        self._parts.append(self._reduction.reduce(outputs, self._rows, copies))


def _side_by_side(values: Sequence[Array]) -> Array:
    """Values of shape `(some, rows)` each, or of one alone, as one float64 array, shape `(values, rows)`.

    It is where they are, or in main memory where any of them is.
    """
    rows = int(values[-1].shape[-1])
    if any(isinstance(each, np.ndarray) for each in values):
        return np.concatenate([to_numpy(each).reshape(-1, rows) for each in values], dtype=np.float64)
    xp = namespace(values[-1])
    return xp.concat([xp.reshape(as_float64(each), (-1, rows)) for each in values])


def _by_level(values: Array, calls: Sequence[int], levels: int, count: int) -> Array:
    """Values of rows, call after call, each of so many trials and of these level after level, by level and trial.

    Shape `(levels, values, trials, count)`.
    """
    xp, start, parts = namespace(values), 0, []
    for trials in calls:
        stop = start + levels * trials * count
        parts.append(xp.moveaxis(xp.reshape(values[:, start:stop], (-1, levels, trials, count)), 0, 1))
        start = stop
    return concatenation(parts, axis=2)
