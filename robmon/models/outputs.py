"""Model outputs as one array, whatever container the model returns them in."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from robmon.errors import PredictionError
from robmon.strangers import type_word


def as_array(outputs: Any) -> Any:
    """The outputs as one array of numbers, or of text for labels; its first axis are the rows.

    A torch tensor stays one, on its device. Of a tuple the first element counts, as what follows it is a state or a
    loss. The arrays of a dict, like the columns of a DataFrame, stand side by side in the order of their keys, each
    flattened to (rows, columns). Booleans become 0 and 1.

    >>> as_array({"mean": [1.0, 2.0], "spread": [[3.0], [4.0]]}).tolist()
    [[1.0, 3.0], [2.0, 4.0]]

    Raises:
        PredictionError: they are no array of numbers or text (reason `invalid_output`).
    """
    torch = sys.modules.get("torch")
    if isinstance(outputs, tuple) and outputs:
        return as_array(outputs[0])
    if torch is not None and isinstance(outputs, torch.Tensor):
        return _of_tensor(outputs.detach(), torch)
    if isinstance(outputs, Mapping) and outputs:
        return _side_by_side([as_array(value) for value in outputs.values()])
    if hasattr(outputs, "to_numpy"):  # Series and DataFrame
        return _of_numpy(outputs.to_numpy())
    if isinstance(outputs, (np.ndarray, np.generic, list, float, int)):  # a number is what a model squeezes a row to
        try:
            return _of_numpy(np.asarray(outputs))
        except ValueError:
            raise _invalid("a ragged list") from None
    raise _invalid(f"a {type_word(type(outputs))}")


def check_rows(outputs: Any, rows: int) -> Any:
    """The outputs, if there is one for every row; an output without an axis is that of the only row.

    Raises:
        PredictionError: there are more or fewer (reason `invalid_output`).
    """
    if outputs.ndim == 0 and rows == 1:
        return outputs.reshape(1)
    if outputs.ndim == 0 or outputs.shape[0] != rows:
        shape = tuple(outputs.shape)
        raise PredictionError(f"the model returned an array of shape {shape} for {rows} rows", "invalid_output")
    return outputs


def _of_tensor(tensor: Any, torch: Any) -> Any:
    if tensor.is_complex() or tensor.is_sparse or tensor.is_quantized:
        raise _invalid("a complex, sparse or quantized tensor")
    return tensor.to(torch.int64) if tensor.dtype == torch.bool else tensor


def _of_numpy(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind in "iufUT":
        return array
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    if array.dtype.kind == "O":
        return _of_objects(array)
    raise _invalid(f"an array of {'records' if array.dtype.names else array.dtype}")


def _of_objects(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Text stays as it is, numbers (with None for a missing one) become float64."""
    cells = array.ravel().tolist()
    if any(isinstance(cell, str) for cell in cells):
        if all(isinstance(cell, str) for cell in cells):
            return array
        raise _invalid("an array of text and other things")
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError):
        kinds = sorted({type_word(type(cell)) for cell in cells})[:3]
        raise _invalid(f"an array of {', '.join(kinds)}") from None


def _side_by_side(arrays: list[Any]) -> Any:
    if len(arrays) == 1:
        return arrays[0]
    if any(array.ndim == 0 or array.shape[0] != arrays[0].shape[0] for array in arrays):
        raise _invalid("a dict of arrays that differ in rows")
    flat = [array.reshape(array.shape[0], -1) for array in arrays]
    torch = sys.modules.get("torch")
    if torch is not None and all(isinstance(array, torch.Tensor) for array in flat):
        return torch.cat(flat, dim=1)
    joined = [np.asarray(array) for array in flat]
    if len({array.dtype.kind in "OUT" for array in joined}) > 1:
        raise _invalid("a dict of numbers and text")
    return np.concatenate(joined, axis=1)


def _invalid(what: str) -> PredictionError:
    return PredictionError(f"the model returned {what}, not one array of numbers or labels", "invalid_output")
