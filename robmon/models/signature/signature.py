"""What a model takes, and decoded request rows gathered into it.

Values are widened to the signature's types by the functions of MLflow's own scoring server, so that the rows which it
would serve are the rows that are assessed. A row that does not fit is dropped and counted, and spoils no other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robmon.errors import ModelLoadError
from robmon.models import mlmodel
from robmon.models.inputs.measurements import measurements_advice
from robmon.models.signature.collected import Collected, Row
from robmon.models.signature.columns import Columns
from robmon.models.signature.hinted import Hinted
from robmon.models.signature.tensors import NamedTensors, Tensor, TensorSpec
from robmon.models.signature.unsigned import Unsigned


class Signature(Protocol):
    """What a model takes."""

    @property
    def fixed_rows(self) -> int | None:
        """How many rows every call has, where that is fixed."""

    @property
    def takes(self) -> str:
        """What one row is, in words, such as `64 columns`; empty where nothing fixes it."""

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows. Rejection reasons: `missing_column`, `wrong_shape`, `wrong_type`, `other_shape`.

        Behind a reason stands the column, where the signature names it.
        """


def read(
    folder: Path,
    kind: str,
    *,
    input_dtype: str | None = None,
    input_shape: Sequence[int] | None = None,
    integers: Collection[str] = (),
) -> Signature:
    """The signature of the model in a folder; of a model without one, what is assumed.

    Args:
        folder: the model's folder.
        kind: `torch` or `pyfunc`, as robmon loads it.
        input_dtype: `model.input_dtype`, for a model without a signature.
        input_shape: `model.input_shape`, likewise.
        integers: columns of whole numbers that are measurements.

    Raises:
        ModelLoadError: the signature cannot be read, or nothing in it can be perturbed.
    """
    if mlmodel.read(folder).inputs is None:
        dtype = np.dtype(input_dtype or ("float32" if kind == "torch" else "float64"))
        shape = tuple(input_shape) if input_shape is not None else None
        return Unsigned(dtype, shape, as_matrix=kind == "torch" or shape is not None)
    # MLflow's own reading, because its functions below want its objects.
    from mlflow.models import Model

    try:
        model = Model.load(str(folder))
        schema, is_hinted = model.signature.inputs, bool(model.signature._is_signature_from_type_hint)
    except Exception as error:  # a file of strangers
        raise ModelLoadError(f"the model's signature cannot be read ({type(error).__name__})") from error
    signature = Hinted(schema) if is_hinted else _of_schema(schema)
    if not signature.is_floating() and not integers:
        raise _nothing([str(spec.type) for spec in schema.inputs])
    return signature


def of_tensors(inputs: Mapping[str, tuple[np.dtype[Any], Sequence[int]]], integers: Collection[str] = ()) -> Signature:
    """The signature of named tensors: dtype and shape (with the axis of the rows) of each.

    Args:
        inputs: by name.
        integers: tensors of whole numbers that are measurements.

    Raises:
        ModelLoadError: the tensors fix different numbers of rows, or nothing can be perturbed.
    """
    specs = {name: TensorSpec(dtype, tuple(shape)) for name, (dtype, shape) in inputs.items()}
    signature = NamedTensors(specs, _fixed_rows(specs.values()))
    if not signature.is_floating() and not integers:
        raise _nothing([str(dtype) for dtype, _ in inputs.values()])
    return signature


def blank_rows(signature: Signature, count: int) -> Any | None:
    """So many rows of zeros as a tensor, or tensors by name; None where the signature leaves a size open."""
    if isinstance(signature, Unsigned):
        return None if signature.shape is None else np.zeros((count, *signature.shape), signature.dtype)
    if isinstance(signature, Tensor):
        return _blank(signature.spec, count)
    if not isinstance(signature, NamedTensors):
        return None
    named = {name: _blank(spec, count) for name, spec in signature.specs.items()}
    return None if any(each is None for each in named.values()) else named


def _blank(spec: TensorSpec, count: int) -> Any | None:
    return None if -1 in spec.shape[1:] else np.zeros((count, *spec.shape[1:]), spec.dtype)


def _nothing(types: Sequence[str]) -> ModelLoadError:
    told = ", ".join(types[:10])
    advice = f"; {measurements_advice([])}" if any(word in told for word in ("int", "long")) else ""
    return ModelLoadError(
        f"nothing can be perturbed: no input of the model is a floating-point number ({told}){advice}"
    )


def _of_schema(schema: Any) -> Columns | Tensor | NamedTensors:
    if not schema.is_tensor_spec():
        return Columns(schema)
    specs = [TensorSpec(np.dtype(spec.type), tuple(spec.shape)) for spec in schema.inputs]
    fixed = _fixed_rows(specs)
    if schema.has_input_names():
        return NamedTensors(dict(zip(schema.input_names(), specs, strict=True)), fixed)
    return Tensor(specs[0], fixed)


def _fixed_rows(specs: Collection[TensorSpec]) -> int | None:
    """The number of rows that the model takes in every call, where its signature fixes it."""
    sizes = {spec.shape[0] if spec.shape else 0 for spec in specs} - {-1}
    if len(sizes) > 1 or 0 in sizes:
        shapes = ", ".join(str(spec.shape) for spec in specs)
        raise ModelLoadError(f"the inputs of the model have no common number of rows: their shapes are {shapes}")
    return sizes.pop() if sizes else None
