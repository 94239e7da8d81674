"""The loop over trials, and what they add up to. No more than one batch of perturbed inputs is ever held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64, batches
from robmon.robustness.engine.batch import Engine, Measures, NoisyBatch
from robmon.robustness.noise.base import trial_generator

Progress = Callable[[int, int], None]
"""Told after each trial how many are done, and of how many."""


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


def run_trials(
    engine: Engine,
    measures: Measures,
    *,
    levels: Sequence[float],
    trials: int,
    seed: int,
    batch_rows: int,
    progress: Progress | None = None,
) -> Tally:
    """Run all trials at these levels. Level 0 calls the model on the clean inputs again, trial after trial.

    All levels of a trial share its standard draw (common random numbers).
    """
    n, counted = int(engine.inputs.shape[0]), measures.counted
    weightings = [errors.count for errors in measures.errors]
    tally = Tally(
        sums=[np.zeros((count, len(levels), n)) for count in weightings],
        trial_mse=[np.empty((trials, len(levels))) for _ in weightings],
        first=[np.empty((len(levels), n)) for _ in weightings],
        same=[np.zeros((len(levels), n)) for _ in measures.classes],
        nonfinite=[0] * len(levels),
        beyond=[0] * len(levels),
        moves=np.zeros((len(levels), n)),
    )
    for trial in range(trials):
        stream = engine.stream(trial_generator(seed, trial))
        errors = [np.empty((count, len(levels), n)) for count in weightings]
        for rows in batches(n, batch_rows):
            for index, batch in enumerate(engine.batch(stream, rows, levels, measures)):
                _add(tally, errors, batch, index, rows, counted[rows])
        for which, result in enumerate(errors):
            tally.sums[which] += result
            # One mean over all rows at once, so that it does not depend on how they were cut into batches.
            tally.trial_mse[which][trial] = _mean(result[0], counted)
            if trial == 0:
                tally.first[which] = result[0].copy()
        if progress is not None:
            progress(trial + 1, trials)
    return tally


def _add(
    tally: Tally,
    errors: Sequence[Float64],
    batch: NoisyBatch,
    index: int,
    rows: slice,
    counted: NDArray[np.bool_],
) -> None:
    """Add a batch at the level of this index to the errors of its trial, and to what is summed over trials."""
    tally.moves[index, rows] += batch.squared_moves
    tally.beyond[index] += int(np.sum(batch.is_beyond & counted))
    tally.nonfinite[index] += int(np.sum(~batch.outputs.is_finite & counted))
    for result, each in zip(errors, batch.outputs.errors, strict=True):
        result[:, index, rows] = each
    for count, same in zip(tally.same, batch.outputs.same, strict=True):
        count[index, rows] += same


def _mean(errors: Float64, rows: NDArray[np.bool_]) -> Float64:
    """The mean over some rows of errors `(levels, n)`."""
    return np.asarray((errors if rows.all() else np.ascontiguousarray(errors[:, rows])).mean(axis=1))


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
    )
