"""Model inputs are taken apart, whatever they are."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from robmon.errors import InvalidInputError
from robmon.models.inputs.array import OneArray, split_array
from robmon.models.inputs.frame import WholeColumns, split_frame
from robmon.models.inputs.left_alone import NothingPerturbedError
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.inputs.tensors import split_tensors
from robmon.models.outputs.cells import to_numpy


def split(inputs: Any, integers: Collection[str] = ()) -> ModelInputs:
    """Take model inputs apart.

    Floating-point numbers are perturbed, as are decimal ones; whole numbers where `integers` says that they are
    measurements.

    >>> split({"a": np.array([[1.0, 2.0]]), "kind": np.array([[3]])}).left_alone
    (LeftAlone(name='kind', kind='int64', is_whole=True),)

    Args:
        inputs: array (n, *input_shape), DataFrame (also `WholeColumns`), or dict of named tensors, each (n, ...).
        integers: names of columns, or tensors, of whole numbers that are measurements; `all`: all of them.

    Raises:
        InvalidInputError: they are none of these, have no rows, or nothing in them is perturbed; or one of the names is
            no column of whole numbers.
    """
    names = (integers,) if isinstance(integers, str) else tuple(integers)
    pandas, torch = sys.modules.get("pandas"), sys.modules.get("torch")
    if torch is not None and isinstance(inputs, torch.Tensor):
        inputs = to_numpy(inputs)
    if isinstance(inputs, np.ndarray):
        result = split_array(inputs, names)
    elif isinstance(inputs, WholeColumns):
        result = split_frame(inputs.frame, names, inputs.names, inputs.texts)
    elif pandas is not None and isinstance(inputs, pandas.DataFrame):
        result = split_frame(inputs, names)
    elif isinstance(inputs, Mapping) and inputs:
        result = split_tensors({str(name): to_numpy(tensor) for name, tensor in inputs.items()}, names)
    else:
        raise InvalidInputError(
            f"inputs are an array, a DataFrame or a dict of named arrays, not {type(inputs).__name__}"
        )
    if result.rows == 0:
        raise InvalidInputError("the inputs have no rows")
    return result


def split_as_found(inputs: Any) -> ModelInputs:
    """Model inputs taken apart, of which there may be nothing to perturb: an array without columns; see `perturbing`.

    Raises:
        InvalidInputError: as `split`.
    """
    try:
        return replace(split(inputs), given=inputs)
    except NothingPerturbedError as error:
        return ModelInputs(np.zeros((error.input_rows, 0)), OneArray(), given=inputs)


def perturbing(parts: ModelInputs, integers: Collection[str]) -> ModelInputs:
    """Inputs that were split before it was known which whole numbers are measurements.

    Raises:
        InvalidInputError: as `split`.
    """
    if parts.array.size and not integers:
        return parts
    return parts.split_again(split(parts.given, integers))
