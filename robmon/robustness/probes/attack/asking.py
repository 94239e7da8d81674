"""How an attack asks a model: about points that come from any rows, in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, batches, concatenation, like, namespace, to_numpy
from robmon.robustness.clean import CleanPass
from robmon.robustness.engine.batch_size import BatchSize
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.output_kind import normalised
from robmon.robustness.probes.attack.target import Ask

ForRows = Callable[[NDArray[np.int64]], Predictor]
"""The model on some of the rows: what of them is not in the array goes with them."""


def asking(passed: CleanPass, inputs: Array, size: BatchSize, *, is_free: bool, for_rows: ForRows | None) -> Ask:
    """The model, asked about points that come from any rows.

    A model that is given more than the array, such as other columns of a table, is asked by `for_rows`; where nobody
    made that, about whole batches of rows in their order.

    Args:
        passed: the model's clean pass.
        inputs: shape `(n, *input_shape)`.
        size: of batches.
        is_free: whether the answer for a row depends on the row of the array alone.
        for_rows: see there.
    """
    xp, shape = namespace(inputs), tuple(inputs.shape[1:])

    def of(points: NDArray[Any]) -> Array:
        return xp.astype(like(points.reshape(-1, *shape), inputs), inputs.dtype, copy=False)

    def ask_freely(points: NDArray[Any], rows: NDArray[np.int64]) -> Array:
        most = min(size.rows, int(inputs.shape[0]))
        parts = ((part, slice(0, part.stop - part.start)) for part in batches(len(rows), most))
        return concatenation([passed.predictor.predict(of(points[part].copy()), at) for part, at in parts])

    def ask_for_rows(points: NDArray[Any], rows: NDArray[np.int64]) -> Array:
        answers = []
        for part in batches(len(rows), size.rows):
            count = part.stop - part.start
            places = np.resize(np.arange(part.start, part.stop), max(count, 2))  # no model is made for a single row
            predictor = for_rows(rows[places])  # type: ignore[misc]
            answer = predictor.predict(of(points[places]), slice(0, len(places)))
            answers.append((normalised(answer) if passed.form.is_normalised else answer)[:count])
        return concatenation(answers)

    def ask_in_order(points: NDArray[Any], rows: NDArray[np.int64]) -> Array:
        answers = []
        for part in batches(int(inputs.shape[0]), size.rows):
            here = (rows >= part.start) & (rows < part.stop)
            if here.any():
                x = to_numpy(inputs[part]).reshape(part.stop - part.start, -1).copy()
                x[rows[here] - part.start] = points[here]
                answers.append(passed.predictor.predict(of(x), part)[rows[here] - part.start])
        return concatenation(answers)

    if is_free:
        return ask_freely
    return ask_in_order if for_rows is None else ask_for_rows
