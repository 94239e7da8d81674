"""The loop over trials: perturb, predict, add up. No more than one batch of perturbed inputs is ever held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, Predict, batches, check_rows, copied, detached, namespace
from robmon.robustness.confidence import TemperedErrors
from robmon.robustness.features import Features
from robmon.robustness.noise import Noise, NoisyRows, trial_generator
from robmon.robustness.nonfinite import finite_rows, newly_beyond
from robmon.robustness.outputs import (
    RowErrors,
    classes_of,
    flatten,
    same_classes,
)
from robmon.vocabulary import OutputKind

Progress = Callable[[int, int], None]
"""Told after each trial how many are done, and of how many."""


def part_of(progress: Progress | None, index: int, count: int) -> Progress | None:
    """The progress of one of several assessments, as that of all."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, count * total)


def clean_pass(predict: Predict, inputs: Array, batch_rows: int) -> Array:
    """The outputs for the inputs as they are, as the model returns them, shape `(n, *output_shape)`."""
    parts = []
    for rows in batches(inputs.shape[0], batch_rows):
        outputs = check_rows(detached(predict(copied(inputs[rows]), rows)), rows.stop - rows.start)
        parts.append(copied(outputs))  # the model may return the same buffer at every call
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else namespace(parts[0]).concat(parts)


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


@dataclass(frozen=True)
class Measures:
    """How flattened outputs are judged: row errors against references, and their classes where there are.

    `classes[i]` holds the classes of the i-th reference, shape `(n,)`; `counted` says which rows count, shape `(n,)`.
    """

    kind: OutputKind
    errors: Sequence[RowErrors | TemperedErrors]
    classes: Sequence[NDArray[Any]]
    counted: NDArray[np.bool_]


def run_trials(
    predict: Predict,
    inputs: Array,
    measures: Measures,
    *,
    noise: Noise,
    features: Features,
    levels: Sequence[float],
    trials: int,
    seed: int,
    batch_rows: int,
    largest: Float64 | float | None = None,
    progress: Progress | None = None,
) -> Tally:
    """Run all trials at these levels. Level 0 calls the model on the clean inputs again, trial after trial.

    All levels of a trial share its standard draw (common random numbers). `largest` is the largest number of the type
    in which the model gets its inputs, where that is small.
    """
    n, here, counted = int(inputs.shape[0]), features.like(inputs), measures.counted
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
        stream = noise.stream(trial_generator(seed, trial), features)
        errors = [np.empty((count, len(levels), n)) for count in weightings]
        for rows in batches(n, batch_rows):
            noisy = NoisyRows(noise, inputs[rows], stream, here)
            for index, level in enumerate(levels):
                perturbed = noisy.at(level)
                tally.moves[index, rows] += noisy.squared_moves(perturbed, level)
                tally.beyond[index] += int(np.sum(newly_beyond(perturbed, inputs[rows], largest) & counted[rows]))
                outputs = predict(perturbed, rows)
                flat = flatten(outputs, measures.kind, rows.stop - rows.start)
                tally.nonfinite[index] += int(np.sum(~finite_rows(flat) & counted[rows]))
                for result, measure in zip(errors, measures.errors, strict=True):
                    result[:, index, rows] = measure(flat, rows)
                if measures.classes:
                    said = classes_of(flat, measures.kind)
                    for count, classes in zip(tally.same, measures.classes, strict=True):
                        count[index, rows] += same_classes(said, classes[rows], measures.kind)
        for which, result in enumerate(errors):
            tally.sums[which] += result
            # One mean over all rows at once, so that it does not depend on how they were cut into batches.
            tally.trial_mse[which][trial] = _mean(result[0], counted)
            if trial == 0:
                tally.first[which] = result[0].copy()
        if progress is not None:
            progress(trial + 1, trials)
    return tally


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
