"""A served model, with the inputs that are perturbed, as the numerics ask it."""

from __future__ import annotations

from typing import Any

from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.served import ServedModel
from robmon.robustness.engine.predictor import FunctionPredictor, Predictor


def predictor_of(model: ServedModel, inputs: ModelInputs, read: OutputReader) -> Predictor:
    """The model on these inputs: what is perturbed of them is put back among the rest of each row.

    Args:
        model: loaded, or at its endpoint.
        inputs: as the model takes them.
        read: reads its outputs.
    """

    inputs = inputs.resident(model.put)

    def predict(x: Any, rows: slice) -> Any:
        return model.predict(inputs.assemble(x, rows), read)

    usual = model.max_batch_rows or (inputs.batch_rows if model.module is None else None)
    known = [rows for rows in (usual, model.seen.fitting_rows) if rows is not None]
    return FunctionPredictor(
        predict,
        model.device,
        min(known, default=None),
        model.rows_per_second,
        model.seen.is_deterministic,
        model.module,
        model.duty_cycle,
    )
