"""The inputs as they are through a predictor, batch by batch."""

from __future__ import annotations

from robmon.robustness.arrays import Array, batches, check_rows, concatenation, copied, on_host
from robmon.robustness.engine.batch_size import BatchSize
from robmon.robustness.engine.pace import Pace
from robmon.robustness.engine.predictor import Predictor


def clean_pass(predictor: Predictor, inputs: Array, size: BatchSize) -> Array:
    """The outputs for the inputs as they are, as the model returns them, shape `(n, *output_shape)`.

    Args:
        predictor: the model.
        inputs: shape `(n, *input_shape)`.
        size: of batches; it becomes smaller where memory runs out.
    """
    while True:
        try:
            return _clean_pass(predictor, inputs, size.rows)
        except Exception as error:  # whatever the model raises: it is raised again unless memory ran out
            size.halve(error, asked=min(size.rows, int(inputs.shape[0])))


def _clean_pass(predictor: Predictor, inputs: Array, batch_rows: int) -> Array:
    parts, pace = [], Pace(predictor.duty_cycle)
    for rows in batches(inputs.shape[0], batch_rows):
        outputs = on_host(check_rows(predictor.predict(copied(inputs[rows]), rows), rows.stop - rows.start))
        parts.append(copied(outputs))  # the model may return the same buffer at every call
        pace.rest(outputs)
    return concatenation(parts)
