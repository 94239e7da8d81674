"""The loop over trials, and what they add up to. No more than one batch of perturbed inputs is ever held."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64, batches
from robmon.robustness.engine.batch import Engine, Measures

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


def run_trials(
    engine: Engine,
    measures: Measures,
    *,
    levels: Sequence[float],
    trials: int,
    batch_rows: int,
    progress: Progress | None = None,
) -> Tally:
    """Run all trials at these levels. Level 0 calls the model on the clean inputs again, trial after trial.

    As many trials are run together as a batch has room for.
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
    together, done = _share(trials, batch_rows // n), 0
    while done < trials:
        these = range(done, min(done + together, trials))
        try:
            parts = [engine.batch(these, rows, levels, measures) for rows in batches(n, batch_rows)]
        except Exception:
            if len(these) == 1:
                raise
            together = 1  # a model may be made for so many rows and no more: it is asked for those of one trial
            continue
        _add(tally, weightings, these, parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1), counted)
        done = these.stop
        if progress is not None:
            progress(done, trials)
    return tally


def _add(tally: Tally, weightings: Sequence[int], trials: range, values: Float64, counted: NDArray[np.bool_]) -> None:
    """Add what `Engine.batch` gives of all rows in these trials, shape `(levels, values, trials, n)`."""
    *same, is_finite, is_beyond, moves = np.moveaxis(values[:, sum(weightings) :], 1, 0)
    tally.moves += moves.sum(axis=1)
    for index in range(len(values)):
        tally.beyond[index] += int(is_beyond[index][:, counted].sum())
        tally.nonfinite[index] += int((1.0 - is_finite[index][:, counted]).sum())
    for total, each in zip(tally.same, same, strict=True):
        total += each.sum(axis=1)
    ends = np.cumsum(weightings)
    for which, (count, end) in enumerate(zip(weightings, ends, strict=True)):
        errors = np.moveaxis(values[:, end - count : end], 1, 0)
        tally.sums[which] += errors.sum(axis=2)
        # One mean over all rows at once, so that it does not depend on how they were cut into batches.
        tally.trial_mse[which][trials.start : trials.stop] = _mean(errors[0], counted).T
        if trials.start == 0:
            tally.first[which] = errors[0][:, 0].copy()


def _share(trials: int, most: int) -> int:
    """How many trials are run together where at most so many can be: as few groups as there can be, and as equal."""
    groups = math.ceil(trials / max(1, most))
    return math.ceil(trials / groups)


def _mean(errors: Float64, rows: NDArray[np.bool_]) -> Float64:
    """The mean over some rows of errors `(levels, trials, n)`."""
    return np.asarray((errors if rows.all() else np.ascontiguousarray(errors[..., rows])).mean(axis=-1))


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
