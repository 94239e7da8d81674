"""The loop over trials, and what they add up to. No more than one batch of perturbed inputs is ever held."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from robmon.errors import is_out_of_memory
from robmon.robustness.arrays import (
    Array,
    Float64,
    batches,
    concatenation,
    copied,
    is_on_cuda,
    like,
    namespace,
    to_numpy,
)
from robmon.robustness.engine.batch import Engine
from robmon.robustness.engine.batch_size import BatchSize
from robmon.robustness.engine.reduction import Measures

Progress = Callable[[int, int], None]
"""Told how many trials are done, and of how many, again and again."""


def part_of(progress: Progress | None, index: int, count: int) -> Progress | None:
    """The progress of one of several assessments, as that of all."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, count * total)


@dataclass
class Tally:
    """What the trials add up to. Rows that do not count are in sums, first and same, but in nothing else.

    `errors[i]` belongs to the i-th measure. Its sums over trials have shape `(weightings, levels, n)`; the trial MSEs
    of its first weighting `(T, levels)`; the first trial's row errors of its first weighting `(levels, n)`.
    """

    sums: list[Float64]
    trial_mse: list[Float64]
    first: list[Float64]
    same: list[Float64]
    """In how many trials a row had the class of the i-th reference, shape `(levels, n)` each."""
    nonfinite: list[int]
    """Rows with an output that is not finite, over all trials, per level."""
    beyond: list[int]
    """Rows that the noise took beyond what the model's own type of input holds, likewise."""
    moves: Float64
    """Squared moves of the inputs' cells in units of the scale, summed over cells and trials, shape `(levels, n)`."""
    by_trial: Float64 | None = None
    """Row errors of `Measures.by_trial` at the highest level, shape `(n, T)`; None where none are kept."""
    weighted: Float64 | None = None
    """Means of each trial by `Measures.weights`, shape `(T, levels, values)`: the errors of all measures in their
    order, then whether rows had the class of each reference, or what of an embedding was kept; None without weights."""
    near: list[Float64] = field(default_factory=list)
    """For embeddings: what `Neighbours` says, summed over trials, shape `(levels, n)` each."""
    every: Float64 | None = None
    """For embeddings: row errors of the first measure's first weighting, shape `(levels, T, n)`."""


def run_trials(
    engine: Engine,
    measures: Measures,
    *,
    levels: Sequence[float],
    trials: int,
    size: BatchSize,
    progress: Progress | None = None,
) -> Tally:
    """Run all trials at these levels. Level 0 calls the model on the clean inputs again, trial after trial.

    As many trials are run together as a batch has room for. What they add up to stays where the outputs are, so that a
    device is not waited for, and is moved to main memory once, at the end.

    Args:
        engine: of the rows.
        measures: how outputs are judged.
        levels: at which.
        trials: how many.
        size: of batches; it becomes smaller where memory runs out.
        progress: told of the trials that are done.
    """
    sums = _Sums(measures, trials)
    for _, values in trial_values(engine, measures, levels=levels, trials=trials, size=size, progress=progress):
        sums.add(values)
    return sums.tally()


def trial_values(
    engine: Engine,
    measures: Measures,
    *,
    levels: Sequence[float],
    trials: int,
    size: BatchSize,
    progress: Progress | None = None,
) -> Iterator[tuple[range, Array]]:
    """Run all trials at these levels, some at a time: those, and what `Engine.batch` gives of all rows in them."""
    n, most, done, predicted = int(engine.inputs.shape[0]), trials, 0, 0

    def tell(count: int) -> None:
        nonlocal predicted
        predicted = done + count
        if progress is not None:
            progress(predicted, trials)

    while done < trials:
        call_trials = max(1, min(most, size.rows // n))
        together = engine.calls_together(call_trials * n, levels) if n <= size.rows else 1
        these = range(done, min(done + _share(trials, call_trials * together), trials))
        try:
            if n <= size.rows:
                values = engine.batch(these, slice(0, n), levels, measures, call_trials, tell)
            else:
                parts = [engine.batch(these, rows, levels, measures) for rows in batches(n, size.rows)]
                values = concatenation(parts, axis=-1)
                tell(1)
        except Exception as error:  # whatever the model raises: it is raised again where nothing else can be tried
            call_trials = min(call_trials, len(these))
            if is_out_of_memory(error):
                size.halve(error, asked=min(size.rows, call_trials * n))
            elif predicted or call_trials == 1:
                raise
            else:
                most = 1  # a model may be made for so many rows and no more: it is asked for those of one trial
            continue
        yield these, values
        done = these.stop


class _Sums:
    """What is added up of what `Engine.batch` gives, where it is.

    Args:
        measures: how outputs are judged.
        trials: how many there will be.
    """

    def __init__(self, measures: Measures, trials: int) -> None:
        self._measures, self._trials, self._done = measures, trials, 0
        ends = np.cumsum([errors.count for errors in measures.errors]).tolist()
        self._errors = [slice(end - errors.count, end) for errors, end in zip(measures.errors, ends, strict=True)]
        """Of each measure, where among the values its errors are; behind them stands the rest."""
        self._by_trial: dict[str, Array] = {}
        """What is kept of each trial, by what it is: `mse`, `rows`, `every`, `weighted`."""

    def add(self, values: Array) -> None:
        """Add the values of all rows in some trials, shape `(levels, values, trials, n)`."""
        values = values if is_on_cuda(values) else to_numpy(values)
        xp, counted = namespace(values), self._measures.counted
        errors = xp.stack([values[:, of.start] for of in self._errors], axis=1)
        if not self._done:
            self._totals, self._first = xp.zeros_like(values[:, :, 0]), copied(errors[:, :, 0])
        self._add(values)
        if self._measures.by_trial is not None:
            self._keep("rows", errors[-1, self._measures.by_trial], axis=0)
        if self._measures.neighbours is not None:
            self._keep("every", errors[:, 0], axis=1)
        if self._measures.weights is not None:
            self._keep("weighted", self._weighted_means(values, self._measures.weights), axis=2)
        if not counted.all():
            errors = xp.take(errors, like(np.flatnonzero(counted), errors), axis=-1)
        # One mean over all rows at once, so that it does not depend on how they were cut into batches.
        self._keep("mse", xp.mean(errors, axis=-1), axis=2)
        self._done += int(values.shape[2])

    def _keep(self, name: str, part: Array, axis: int) -> None:
        """Keep what is of these trials, which are along the axis, among that of all.

        All of it lies in one array, made before: small ones that stay, each between large ones that go, would keep the
        memory of those from being used again.
        """
        if name not in self._by_trial:
            shape = (*part.shape[:axis], self._trials, *part.shape[axis + 1 :])
            place = array_api_compat.device(part)
            self._by_trial[name] = namespace(part).empty(shape, dtype=part.dtype, device=place)
        these = slice(self._done, self._done + int(part.shape[axis]))
        self._by_trial[name][(*[slice(None)] * axis, these)] = part

    def _add(self, values: Array) -> None:
        """In main memory trial after trial, so that sums are the same to the last bit however trials are grouped."""
        if is_on_cuda(values):
            self._totals += namespace(values).sum(values, axis=2)
            return
        for trial in range(values.shape[2]):
            self._totals += values[:, :, trial]

    def _weighted_means(self, values: Array, weights: Float64) -> Array:
        """Of errors and what is kept, over the rows that have a weight; shape `(levels, values, trials)`."""
        kept = values[:, : self._errors[-1].stop + self._measures.kept]
        rows = np.flatnonzero(weights > 0)  # 0 times an infinite error is no number
        if rows.size < len(weights):
            kept, weights = namespace(kept).take(kept, like(rows, kept), axis=-1), weights[rows]
        return kept @ like(weights, kept)

    def tally(self) -> Tally:
        """What it is in all, in main memory. Rows that do not count are in what is a row's own, and in nothing else."""
        counted = self._measures.counted
        totals = np.moveaxis(to_numpy(self._totals), 1, 0)
        first = np.moveaxis(to_numpy(self._first), 1, 0)
        by_trial = {name: to_numpy(each) for name, each in self._by_trial.items()}
        *kept, finite, beyond, moves = totals[self._errors[-1].stop :]
        classes = len(self._measures.classes)
        return Tally(
            sums=[totals[of] for of in self._errors],
            trial_mse=[by_trial["mse"][:, index].T for index in range(len(self._errors))],
            first=list(first),
            same=kept[:classes],
            near=kept[classes:],
            every=by_trial.get("every"),
            nonfinite=(self._done - finite[:, counted]).sum(axis=-1).astype(int).tolist(),
            beyond=beyond[:, counted].sum(axis=-1).astype(int).tolist(),
            moves=moves,
            by_trial=by_trial["rows"].T if "rows" in by_trial else None,
            weighted=by_trial["weighted"].transpose(2, 0, 1) if "weighted" in by_trial else None,
        )


def _share(trials: int, most: int) -> int:
    """How many trials are run together where at most so many can be: as few groups as there can be, and as equal."""
    groups = math.ceil(trials / most)
    return math.ceil(trials / groups)


def repeated(tally: Tally, times: int) -> Tally:
    """The tally as if its only trial had come out the same every time, as a deterministic model's clean pass does."""
    return Tally(
        sums=[sums * times for sums in tally.sums],
        trial_mse=[np.repeat(mse, times, axis=0) for mse in tally.trial_mse],
        first=tally.first,
        same=[same * times for same in tally.same],
        nonfinite=tally.nonfinite,
        beyond=tally.beyond,
        moves=tally.moves * times,
        weighted=None if tally.weighted is None else np.repeat(tally.weighted, times, axis=0),
        near=[near * times for near in tally.near],
        every=None if tally.every is None else np.repeat(tally.every, times, axis=1),
    )


def joined(low: Tally, high: Tally) -> Tally:
    """Two tallies of the same trials at different levels, side by side."""
    return Tally(
        sums=[np.concatenate(pair, axis=1) for pair in zip(low.sums, high.sums, strict=True)],
        trial_mse=[np.concatenate(pair, axis=1) for pair in zip(low.trial_mse, high.trial_mse, strict=True)],
        first=[np.concatenate(pair, axis=0) for pair in zip(low.first, high.first, strict=True)],
        same=[np.concatenate(pair, axis=0) for pair in zip(low.same, high.same, strict=True)],
        nonfinite=low.nonfinite + high.nonfinite,
        beyond=low.beyond + high.beyond,
        moves=np.concatenate([low.moves, high.moves], axis=0),
        by_trial=high.by_trial,
        weighted=None
        if low.weighted is None or high.weighted is None
        else np.concatenate([low.weighted, high.weighted], axis=1),
        near=[np.concatenate(pair, axis=0) for pair in zip(low.near, high.near, strict=True)],
        every=None if low.every is None or high.every is None else np.concatenate([low.every, high.every], axis=0),
    )


def of_rows(tally: Tally, rows: NDArray[np.bool_]) -> Tally:
    """The tally of these rows alone."""
    if rows.all():
        return tally
    return replace(
        tally,
        sums=[sums[..., rows] for sums in tally.sums],
        first=[first[:, rows] for first in tally.first],
        same=[same[:, rows] for same in tally.same],
        moves=tally.moves[:, rows],
        near=[near[:, rows] for near in tally.near],
        every=None if tally.every is None else tally.every[..., rows],
    )
