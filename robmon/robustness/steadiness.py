"""Whether a model gives the same row the same output: from call to call, and whatever rows stand beside it.

It does not with dropout left on, or a state; nor where batch normalisation is in training mode, or outputs are sorted,
ranked or scaled over the batch, and a little less so under quantisation whose range is the batch's. Then noise in one
row moves others, and what is measured depends on how many rows are asked at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, copied, to_numpy
from robmon.robustness.engine.batch_size import BatchSize
from robmon.robustness.engine.pace import Pace
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.engine.reduction import Measures
from robmon.robustness.engine.trials import Tally
from robmon.vocabulary import OutputKind

PLAIN, NORMALISED = 0, 1
"""Of the weightings of a measure: plain row errors, and those over twice the output variance."""
TOLD: Final = 0.01
"""Share of what the smallest level of noise does from which on it is told what the rows beside a row do: in reduced
precision, batches of other sizes are computed in another order, and their outputs differ by less."""
MATERIAL: Final = 1e-3
"""What they do over twice the output variance that is always told: under noise they may do far more."""
ROUNDING: Final = 1e-8
"""What they do over twice the output variance that is never told: rounding in single precision."""
FEWEST_ROWS: Final = 4
HOW_MANY: Final = (
    "ask as many as production does (max_batch_rows in Python, flag --max-batch-rows, setting assess.max_batch_rows)"
)


def in_other_batches(
    predictor: Predictor,
    inputs: Array,
    measures: Measures,
    own: int,
    size: BatchSize,
    levels: Sequence[float],
    quiet: Tally,
) -> Float64 | None:
    """Row errors of both weightings, shape `(2, n)`, without noise, where batches begin and end elsewhere.

    Those of a row that would be asked on its own are 0. None of a model that is itself random, or takes no such ones.

    Args:
        predictor: the model.
        inputs: shape `(n, *input_shape)`.
        measures: how outputs are judged.
        own: which of them compares with the clean outputs.
        size: of batches.
        levels: the assessed ones.
        quiet: of the trials at level 0.
    """
    n = int(inputs.shape[0])
    if n < FEWEST_ROWS or len(levels) < 2 or size.rows == 1:
        return None
    if quiet.sums[own][PLAIN, 0, measures.counted].any():
        return None
    at, batch_rows = sum(errors.count for errors in measures.errors[:own]), min(size.rows, n)
    found, pace = np.zeros((2, n)), Pace(predictor.duty_cycle)
    starts = [0, *range(batch_rows // 2, n, batch_rows), n]
    try:
        for rows in (slice(start, stop) for start, stop in itertools.pairwise(starts) if stop - start > 1):
            outputs = predictor.predict(copied(inputs[rows]), rows)
            found[:, rows] = to_numpy(measures.reduce(outputs, rows).errors)[at : at + 2]
            pace.rest(outputs)
    except Exception:  # it may be made for so many rows and no others, and raise anything
        return None
    return found


def unsteadiness(
    kind: OutputKind, levels: Sequence[float], every: Tally, own: int, known: NDArray[np.bool_], beside: Float64 | None
) -> list[str]:
    """What is told where the same row does not have the same output: a sentence, or none.

    Args:
        kind: what the outputs are.
        levels: the assessed ones, of which the first is 0.
        every: of all trials at these levels, and all rows.
        own: which of the measures compares with the clean outputs.
        known: which rows have finite ones, shape `(n,)`.
        beside: of `in_other_batches`.
    """
    if not known.any():
        return []
    means = every.sums[own][:2, :, known] / len(every.trial_mse[own])
    if own_mse := float(means[PLAIN, 0].mean()):
        return [_random(own_mse, kind == "label")]
    if beside is None:
        return []
    moved, by_noise = beside[:, known].mean(axis=1), means[:, 1].mean(axis=1)
    if not moved[NORMALISED] > max(ROUNDING, min(MATERIAL, TOLD * by_noise[NORMALISED])):
        return []
    return [
        "the output of a row depends on the rows beside it in the batch: asked among others, without noise, outputs "
        f"move by {moved[PLAIN]:.3g} (MSE), where noise of level {levels[1]:g} gives {by_noise[PLAIN]:.3g}, so that "
        f"all numbers depend on the rows asked at a time. Let the model treat each row by itself, or {HOW_MANY}"
    ]


def _random(own_mse: float, is_label: bool) -> str:
    moved = f"{100 * own_mse:.3g} % of its labels change" if is_label else f"its outputs move by {own_mse:.3g} (MSE)"
    return (
        f"the model is itself random, or keeps a state: asked again without noise, {moved}, and that is in the numbers "
        "of every level"
    )
