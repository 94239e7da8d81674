"""How many rows a model is given at a time: as asked, as it takes, or as is fast; fewer where memory runs out."""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from robmon.errors import SingleRowError, is_out_of_memory
from robmon.robustness.arrays import Array, check_rows, default_batch_rows, is_on_cuda, namespace
from robmon.robustness.engine.device_memory import release_memory
from robmon.robustness.engine.predictor import Predictor, through
from robmon.robustness.engine.tuning import PATIENT_SECONDS, Run, fastest_rows

MODULE_ROWS: Final = 1024
"""Most rows of a batch of a torch module: what its layers hand on should stay near the processor."""
NEAR_IMAGE_NUMBERS: Final = 2**17
"""Likewise on a processor, numbers of a batch of images or sequences, of which layers make several times as many. Large
blocks of memory go back to the system after each layer, and to get their pages anew may take as long as to compute."""
CALL_ROWS: Final = 4096
"""Of anything else: each call has a price, as a DataFrame has."""

_known: MutableMapping[Any, dict[tuple[Any, ...], int]] = WeakKeyDictionary()
"""What was found of a module, by its inputs' device, type and the shape of a row."""


@dataclass
class BatchSize:
    """Rows that a predictor is given at a time, which become fewer as memory runs out.

    Attributes:
        rows: how many.
        device: where the predictor computes.
        retries: how often memory ran out.
    """

    rows: int
    device: str = "cpu"
    retries: int = 0

    def halve(self, error: Exception, asked: int | None = None) -> None:
        """Half as many rows from now on, if it is memory that ran out; what can be given back of it is.

        Args:
            error: what was raised.
            asked: how many rows the model was given, where that is less.

        Raises:
            SingleRowError: memory ran out with a single row.
            Exception: the error itself, where it says something else.
        """
        if not is_out_of_memory(error):
            raise error
        rows = self.rows if asked is None else asked
        if rows == 1:
            raise SingleRowError(self.device, self.retries + 1) from error
        self.rows = (rows + 1) // 2
        self.retries += 1
        release_memory(error)


def usual_batch_size(predictor: Predictor, asked: int | None, inputs: Array) -> BatchSize:
    """Rows that a predictor is given at a time where nothing has been measured: as asked, as it takes, or by memory."""
    shape = tuple(int(length) for length in inputs.shape)
    most = CALL_ROWS if predictor.module is None else MODULE_ROWS
    if predictor.module is not None and len(shape) > 2 and not is_on_cuda(inputs):
        most = min(most, NEAR_IMAGE_NUMBERS // math.prod(shape[1:]))
    return BatchSize(asked or predictor.max_batch_rows or default_batch_rows(shape, most), predictor.device)


def batch_size_of(
    predictor: Predictor,
    asked: int | None,
    inputs: Array,
    run: Run,
    *,
    passes: int,
    patience_seconds: float = PATIENT_SECONDS,
) -> BatchSize:
    """Rows that a predictor is given at a time.

    As usual, but of a torch module as is fastest on its device where nothing is asked for. That is found out at the
    first assessment, and remembered with the module.

    Args:
        predictor: the model.
        asked: by the caller.
        inputs: shape `(n, *input_shape)`, where the model takes them.
        run: runs a batch of so many rows, and waits for it.
        passes: how often the assessment will predict each row.
        patience_seconds: what may be spent on finding it out, at most `PATIENT_SECONDS`.
    """
    if asked or predictor.max_batch_rows or predictor.module is None:
        return usual_batch_size(predictor, asked, inputs)
    known = _known.setdefault(predictor.module, {})
    key = (str(inputs.device), inputs.dtype, *inputs.shape[1:])
    if key not in known:
        usual = usual_batch_size(predictor, None, inputs).rows
        known[key] = fastest_rows(run, inputs, usual, passes, min(patience_seconds, PATIENT_SECONDS))
    return BatchSize(known[key], predictor.device)


def accompanied(predictor: Predictor, inputs: Array, size: BatchSize) -> Predictor:
    """The predictor, which is never given one row on its own: beside it stands the row before, as it is.

    Models that squeeze, or that compute over the batch, are not made for one row. A batch of 1 row, which is how
    production calls the model then, stays one, as does the only row.
    """
    if inputs.shape[0] == 1:
        return predictor
    predict = predictor.predict

    def with_neighbour(x: Array, rows: slice) -> Array:
        if x.shape[0] != 1 or size.rows == 1:
            return predict(x, rows)
        at = min(rows.start, 1)
        other = inputs[rows.start - 1 : rows.start] if at else inputs[1:2]
        pair = namespace(x).concat([other, x] if at else [x, other])
        return check_rows(predict(pair, slice(rows.start - at, rows.start - at + 2)), 2)[at : at + 1]

    return through(predictor, with_neighbour)
