"""The JSON bodies of MLflow's model server and of KServe V1, and their answers.

Numbers are written with as many digits as it takes to read the same ones back.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import PredictionError

Inputs = NDArray[Any] | dict[str, NDArray[Any]]
"""Rows of one array, or of named ones."""


def mlflow_body(inputs: Inputs) -> bytes:
    """A body for `/invocations`: a table if there are only named single cells, else tensors.

    >>> mlflow_body({"length": np.array([1.5, np.nan]), "kind": np.array(["a", "b"], dtype=object)})
    b'{"dataframe_split": {"columns": ["length", "kind"], "data": [[1.5, "a"], [null, "b"]]}}'
    >>> mlflow_body(np.array([[0.1, 2.0]]))
    b'{"inputs": [[0.1, 2.0]]}'
    """
    if not isinstance(inputs, dict):
        return as_json({"inputs": inputs.tolist()})
    cells = {name: as_lists(array) for name, array in inputs.items()}
    if any(array.ndim > 1 for array in inputs.values()):
        return as_json({"inputs": cells})
    return as_json({"dataframe_split": {"columns": list(cells), "data": list(zip(*cells.values(), strict=True))}})


def v1_body(inputs: Inputs) -> bytes:
    """A body for KServe V1's `:predict`: one instance a row.

    >>> v1_body({"length": np.array([1.5]), "kind": np.array([3])})
    b'{"instances": [{"length": 1.5, "kind": 3}]}'
    """
    if not isinstance(inputs, dict):
        return as_json({"instances": inputs.tolist()})
    rows = zip(*map(as_lists, inputs.values()), strict=True)
    return as_json({"instances": [dict(zip(inputs, row, strict=True)) for row in rows]})


def predictions(content: Any) -> Any:
    """What stands under `predictions` in an answer; a list of records as lists by name.

    >>> predictions({"predictions": [{"mean": 1.0}, {"mean": 2.0}]})
    {'mean': [1.0, 2.0]}

    Raises:
        PredictionError: there is nothing of the kind (`invalid_output`).
    """
    if not isinstance(content, dict) or "predictions" not in content:
        raise PredictionError("the endpoint's answer holds no predictions", "invalid_output")
    found = content["predictions"]
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        return found
    if any(not isinstance(record, dict) or record.keys() != found[0].keys() for record in found):
        raise PredictionError("the endpoint's predictions are records that differ in their names", "invalid_output")
    return {name: [record[name] for record in found] for name in found[0]}


def as_lists(array: NDArray[Any]) -> list[Any]:
    """Nested lists; missing numbers are None."""
    if array.dtype.kind == "f" and np.isnan(array).any():
        missing, array = np.isnan(array), array.astype(object)
        array[missing] = None
    lists: list[Any] = array.tolist()
    return lists


def as_json(content: Any) -> bytes:
    """JSON, in which infinite numbers are bare words, as Python's servers read them."""
    return json.dumps(content, default=_plain).encode()


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays in a column of objects as Python's; dates and the like as text."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)
