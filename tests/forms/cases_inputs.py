"""A case for each line of the manual's table of inputs, by its first cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import Array, DataType, Map, Object, Property

import robmon
from robmon.library.fitting import fit
from robmon.models.served.served import ServedModel
from robmon.models.signature.columns import Columns
from robmon.models.signature.forms import Parts
from robmon.models.signature.hinted import Hinted
from robmon.models.signature.signature import Signature, of_tensors
from robmon.models.signature.tensors import Tensor, TensorSpec
from robmon.models.signature.unsigned import Unsigned

FLOAT = np.dtype(np.float32)


def said(signature: Signature, inputs: Any) -> str:
    """What is kept of the rows, what is perturbed, what the model is called with, and what is told besides."""
    called: list[str] = []

    def predict(given: Any) -> Any:
        called.append(_form(given))
        return np.zeros(len(next(iter(given.values())) if isinstance(given, dict) else given))

    model = ServedModel("pyfunc", "cpu", [], signature, predict, lambda array: array)
    fitted = fit(model, inputs)
    parts = fitted.inputs
    model.predict(parts.assemble(parts.array, slice(0, parts.rows)))
    perturbed = ", ".join(parts.column_names or [f"an array {parts.array.shape}"])
    kept = f"kept {parts.rows} of {fitted.of_rows}; perturbed {perturbed}"
    notes = [note.partition("(counted from 0): ")[2] for note in fitted.notes]
    axis = parts.axis(refuses=False).notes if parts.array.ndim > 2 else ()
    return "; ".join([f"{kept}; called with {', '.join(sorted(set(called)))}", *notes, *axis])


def _form(given: Any) -> str:
    assert not isinstance(given, Parts)
    if isinstance(given, pd.DataFrame):
        return f"({' '.join(map(str, given.columns))})"
    given = next(iter(given.values())) if isinstance(given, dict) else given
    return "list" if isinstance(given, list) else str(given.shape)


def of_columns(*specs: ColSpec) -> Columns:
    return Columns(Schema(list(specs)))


def optional(kind: str, name: str) -> ColSpec:
    return ColSpec(kind, name, required=False)


def whole(*numbers: int | None) -> Any:
    return pd.array(numbers, dtype="Int64")


def lists(lengths: Sequence[int]) -> pd.DataFrame:
    return pd.DataFrame({"e": [[0.5] * length for length in lengths], "x": [0.5] * len(lengths)})


def nan_in_arrays() -> str:
    inputs = np.random.default_rng(0).normal(size=(36, 2))
    inputs[::6, 0] = np.nan
    spec = Tensor(TensorSpec(np.dtype(np.float64), (-1, 2)))
    for signature in (spec, Unsigned(np.dtype(np.float64), None, as_matrix=False)):
        model = ServedModel("pyfunc", "cpu", [], signature, lambda x: np.nansum(x, axis=1), lambda array: array)
        told = str(robmon.assess(model, inputs, levels=(0.1,), trials=19).masked)
    return told


def sensor_lists(signature: Signature, lengths: Sequence[int], width: int) -> str:
    random = np.random.default_rng(0)
    return said(signature, [random.normal(size=(length, width)).astype(np.float32) for length in lengths])


CASES: dict[str, Callable[[], str]] = {
    "optional columns of integers and of floats, empty in some rows": lambda: said(
        of_columns(ColSpec("double", "a"), optional("long", "n"), optional("double", "z")),
        pd.DataFrame({"a": [0.5] * 6, "n": whole(None, None, 1, 2, 3, 4), "z": [None, None, None, None, 0.5, 1.5]}),
    ),
    "null in a column of integers": lambda: said(
        of_columns(ColSpec("double", "a"), ColSpec("long", "n")),
        pd.DataFrame({"a": [0.5] * 6, "n": whole(1, 2, None, 4, 5, 6)}),
    ),
    "a table whose columns are numbered, in another order": lambda: said(
        of_columns(ColSpec("double", 0), ColSpec("double", 1)), pd.DataFrame({1: [0.5, 1.5], 0: [2.5, 3.5]})
    ),
    "an array with NaN, with a signature or without": nan_in_arrays,
    "a column of lists, all of one length": lambda: said(
        of_columns(ColSpec(Array(DataType.double), "e"), ColSpec("double", "x")), lists([2] * 6)
    ),
    "a column of lists of different lengths": lambda: said(
        of_columns(ColSpec(Array(DataType.double), "e"), ColSpec("double", "x")), lists([2, 2, 3, 2, 2, 2])
    ),
    "objects with floating-point properties": lambda: said(
        of_columns(
            ColSpec(
                Object(
                    [
                        Property("width", DataType.double),
                        Property("depth", DataType.double, required=False),
                        Property("label", DataType.string),
                    ]
                ),
                "box",
            )
        ),
        pd.DataFrame({"box": [{"width": 0.5, "label": "a"}] * 3 + [{"width": 0.5, "label": "a", "depth": 1.5}] * 3}),
    ),
    "a signature from a type hint, `list[dict[str, float]]`": lambda: said(
        Hinted(Schema([ColSpec(Map(DataType.double))])), pd.DataFrame({"a": [0.5] * 6, "b": [1.5] * 6})
    ),
    "tensors of variable length, signature `(-1, -1, 16)`": lambda: sensor_lists(
        Tensor(TensorSpec(FLOAT, (-1, -1, 16))), [5, 6, 7, 8, 5, 6], 16
    ),
    "tensors of variable length, no signature": lambda: sensor_lists(
        Unsigned(FLOAT, None, as_matrix=True), [5, 3, 3, 3, 6, 3], 2
    ),
    "a signature that fixes the number of rows, `(1, 3)`": lambda: said(
        of_tensors({"x": (FLOAT, (1, 3))}), np.ones((6, 3))
    ),
    "signatures that fix different numbers of rows": lambda: said(
        of_tensors({"x": (FLOAT, (8, 3)), "y": (FLOAT, (1, 3))}), np.ones((6, 3))
    ),
    "rows of which most do not fit the model": lambda: said(
        of_columns(ColSpec("double", "a"), ColSpec("long", "n")),
        pd.DataFrame({"a": [0.5] * 6, "n": whole(None, None, None, None, 5, 6)}),
    ),
}
