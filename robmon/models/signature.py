"""What a model takes, and decoded request rows gathered into it.

Values are widened to the signature's types by the functions of MLflow's own scoring server, so that the rows which it
would serve are the rows that are assessed. A row that does not fit is dropped and counted, and spoils no other.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from robmon.errors import ModelLoadError
from robmon.models import mlmodel
from robmon.models.inputs import ModelInputs, split

if TYPE_CHECKING:
    import pandas as pd

Value = TypeVar("Value")
Collected = tuple[ModelInputs | None, list[int], dict[str, int]]
"""Model inputs (None where no row fits), the indices of the rows in them, and the number of rejected rows by reason."""


class Row(Protocol):
    """One decoded row: named cells, or one unnamed row (a scalar, a nested list or an array without the row axis)."""

    @property
    def columns(self) -> Mapping[str, Any] | None:
        """Cells by name."""

    @property
    def tensor(self) -> Any | None:
        """The unnamed row."""


class Signature(Protocol):
    """What a model takes."""

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows. Rejection reasons: `missing_column`, `wrong_shape`, `wrong_type`, `not_finite`.

        Behind a reason stands the column, where the signature names it.
        """


class _RejectedRowError(Exception):
    """One row does not fit."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read(
    folder: Path, kind: str, *, input_dtype: str | None = None, input_shape: Sequence[int] | None = None
) -> Signature:
    """The signature of the model in a folder; of a model without one, what is assumed.

    Args:
        folder: the model's folder.
        kind: `torch` or `pyfunc`, as robmon loads it.
        input_dtype: `model.input_dtype`, for a model without a signature.
        input_shape: `model.input_shape`, likewise.

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
        schema = Model.load(str(folder)).signature.inputs
    except Exception as error:  # a file of strangers
        raise ModelLoadError(f"the model's signature cannot be read ({type(error).__name__})") from error
    signature = _of_schema(schema)
    if not signature.is_floating():
        types = ", ".join(str(spec.type) for spec in schema.inputs[:10])
        raise ModelLoadError(f"nothing can be perturbed: no input of the model is a floating-point number ({types})")
    return signature


def _of_schema(schema: Any) -> Columns | Tensor | NamedTensors:
    if not schema.is_tensor_spec():
        return Columns(schema)
    specs = [_Spec(np.dtype(spec.type), tuple(spec.shape)) for spec in schema.inputs]
    fixed = [spec.shape[0] for spec in specs if spec.shape[:1] != (-1,)]
    if fixed:
        raise ModelLoadError(f"the signature fixes the number of rows to {fixed[0]}: log the model with -1 there")
    if schema.has_input_names():
        return NamedTensors(dict(zip(schema.input_names(), specs, strict=True)))
    return Tensor(specs[0])


@dataclass(frozen=True)
class _Spec:
    """Type and shape of a tensor, whose first axis are the rows; -1 stands for any size."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def convert(self, value: Any, *, reshape: bool) -> NDArray[Any]:
        """One row's tensor; `reshape`: a flat list of the right length will do, as in the cell of a table."""
        wanted = self.shape[1:]
        array = _as_dtype(value, self.dtype)
        if reshape and array.ndim <= 1 and -1 not in wanted and array.size == prod(wanted):
            array = array.reshape(wanted)
        if array.ndim != len(wanted) or any(
            size not in (-1, actual) for size, actual in zip(wanted, array.shape, strict=True)
        ):
            raise _RejectedRowError("wrong_shape")
        return array


@dataclass(frozen=True)
class Tensor:
    """One unnamed tensor."""

    spec: _Spec

    def is_floating(self) -> bool:
        """Whether there is something to perturb."""
        return self.spec.dtype.kind == "f"

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows; named cells are taken in their order."""

        def convert(row: Row) -> NDArray[Any]:
            named = row.columns is not None
            value = _only_or_all(row.columns) if row.columns is not None else row.tensor
            return self.spec.convert(value, reshape=named)

        arrays, kept, rejected = _each(rows, convert)
        same = _of_one_shape(arrays, rejected)
        return _finish(np.stack([arrays[i] for i in same]) if same else None, [kept[i] for i in same], rejected)


@dataclass(frozen=True)
class NamedTensors:
    """Several tensors, or one, by name."""

    specs: dict[str, _Spec]

    def is_floating(self) -> bool:
        """Whether there is something to perturb."""
        return any(spec.dtype.kind == "f" for spec in self.specs.values())

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows; names come in any order, an unnamed row in the signature's."""

        def convert(row: Row) -> dict[str, NDArray[Any]]:
            named = row.columns is not None
            cells = row.columns if row.columns is not None else self._by_order(row.tensor)
            if missing := self.specs.keys() - cells.keys():
                raise _RejectedRowError(f"missing_column {min(missing)}")
            return {name: spec.convert(cells[name], reshape=named) for name, spec in self.specs.items()}

        tensors, kept, rejected = _each(rows, convert)
        same = _of_one_shape(tensors, rejected)
        inputs = {name: np.stack([tensors[i][name] for i in same]) for name in self.specs} if same else None
        return _finish(inputs, [kept[i] for i in same], rejected)

    def _by_order(self, value: Any) -> dict[str, Any]:
        if len(self.specs) == 1:
            return dict.fromkeys(self.specs, value)
        return dict(zip(self.specs, _cells(value, len(self.specs)), strict=True))


class Columns:
    """Columns of a table, as a DataFrame."""

    def __init__(self, schema: Any) -> None:
        """Takes MLflow's schema of the inputs."""
        self._schema = schema
        self._named = schema.has_input_names()
        self._names: list[Any] = schema.input_names() if self._named else list(range(len(schema.inputs)))
        self._required = set(schema.required_input_names()) if self._named else set(self._names)
        # A column of lists takes a whole unnamed row as its one cell.
        self._one_cell = len(self._names) == 1 and not hasattr(schema.inputs[0].type, "to_numpy")

    def is_floating(self) -> bool:
        """Whether there is something to perturb."""
        return any(hasattr(kind, "to_numpy") and kind.to_numpy().kind == "f" for kind in self._schema.input_types())

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows; unnamed ones are taken in the signature's order, columns that it lacks are dropped."""
        import pandas as pd

        cells, kept, rejected = _each(rows, self._convert)
        if not cells:
            return _finish(None, [], rejected)
        columns = [
            _cast_column(spec, name, [_plain(row.get(name)) for row in cells])
            for spec, name in zip(self._schema.inputs, self._names, strict=True)
            if any(name in row for row in cells)
        ]
        frame = pd.concat(columns, axis=1, join="inner")  # a column lacks the rows whose cells do not fit
        for position in set(range(len(cells))) - set(frame.index):
            rejected[f"wrong_type {next(column.name for column in columns if position not in column.index)}"] += 1
        kept = [kept[i] for i in frame.index]
        return _finish(frame.reset_index(drop=True) if kept else None, kept, rejected)

    def _convert(self, row: Row) -> dict[Any, Any]:
        if row.columns is None:
            values = [row.tensor] if self._one_cell else _cells(row.tensor, len(self._names))
            return dict(zip(self._names, values, strict=True))
        if not self._named:
            values = list(row.columns.values())
            if len(values) < len(self._names):
                raise _RejectedRowError("missing_column")
            return dict(zip(self._names, values, strict=False))
        if missing := self._required - row.columns.keys():
            raise _RejectedRowError(f"missing_column {min(missing)}")
        return {name: row.columns[name] for name in self._names if name in row.columns}


@dataclass(frozen=True)
class Unsigned:
    """A model without a signature: the first row that can be read shows the shape, or the columns.

    Attributes:
        dtype: type of the inputs.
        shape: of one row, if the settings give it.
        as_matrix: named cells are taken as one array, in their order, and not as a DataFrame.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None
    as_matrix: bool

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows."""
        if not self.as_matrix and rows and rows[0].columns is not None:
            return self._collect_columns(rows, rows[0].columns)

        def convert(row: Row) -> NDArray[Any]:
            value = _only_or_all(row.columns) if row.columns is not None else row.tensor
            array = _as_dtype(value, self.dtype)
            if self.shape is not None and array.size == prod(self.shape):
                array = array.reshape(self.shape)
            if self.shape is not None and array.shape != self.shape:
                raise _RejectedRowError("wrong_shape")
            return array

        arrays, kept, rejected = _each(rows, convert)
        same = _of_one_shape(arrays, rejected)
        return _finish(np.stack([arrays[i] for i in same]) if same else None, [kept[i] for i in same], rejected)

    def _collect_columns(self, rows: Sequence[Row], first: Mapping[str, Any]) -> Collected:
        """A DataFrame of the first row's columns: numbers become floating, truth values and text pass through."""
        import pandas as pd

        numbers = {name for name, value in first.items() if _is_number(value)}

        def convert(row: Row) -> dict[str, Any]:
            cells = row.columns
            if cells is None:
                cells = dict(zip(first, _cells(row.tensor, len(first)), strict=True))
            if not first.keys() <= cells.keys():
                raise _RejectedRowError("missing_column")
            if any(_is_number(cells[name]) != (name in numbers) for name in first if cells[name] is not None):
                raise _RejectedRowError("wrong_type")
            return {name: _plain(cells[name]) for name in first}

        cells, kept, rejected = _each(rows, convert)
        if not cells:
            return _finish(None, [], rejected)
        frame = pd.DataFrame(cells, columns=list(first))
        return _finish(frame.astype(dict.fromkeys(numbers, self.dtype)), kept, rejected)


def _cast_column(spec: Any, name: Any, values: list[Any]) -> Any:
    """A column in the signature's type without the cells that do not fit; its index: the positions of the others."""
    import pandas as pd

    try:
        return _cast_cells(spec, name, values)
    except Exception:  # MLflow raises many kinds
        fitting = {}
        for position, value in enumerate(values):
            with contextlib.suppress(Exception):
                fitting[position] = _cast_cells(spec, name, [value])
        if not fitting:
            return pd.Series([], index=pd.Index([], dtype=int), name=name, dtype=object)
        return pd.concat(list(fitting.values())).set_axis(list(fitting))


def _cast_cells(spec: Any, name: Any, values: list[Any]) -> pd.Series[Any]:
    """As the server reads a column. Cells start as Python objects, so that none changes the type of another."""
    import pandas as pd
    from mlflow.models.utils import _enforce_schema
    from mlflow.types import Schema
    from mlflow.utils.proto_json_utils import cast_df_types_according_to_schema

    schema = Schema([spec])
    frame = pd.DataFrame({name: pd.Series(values, dtype=object)})
    frame = cast_df_types_according_to_schema(frame, schema)  # type: ignore[no-untyped-call]
    if frame[name].dtype == object and pd.api.types.infer_dtype(frame[name]) == "string":
        frame[name] = frame[name].infer_objects()  # pandas has a type for text, which the server's parsing gives
    column: pd.Series[Any] = _enforce_schema(frame, schema)[name]
    return column


def _each(rows: Sequence[Row], convert: Callable[[Row], Value]) -> tuple[list[Value], list[int], Counter[str]]:
    """Convert every row; those that are rejected are counted."""
    values: list[Value] = []
    kept: list[int] = []
    rejected: Counter[str] = Counter()
    for index, row in enumerate(rows):
        try:
            values.append(convert(row))
        except _RejectedRowError as error:
            rejected[error.reason] += 1
        else:
            kept.append(index)
    return values, kept, rejected


def _of_one_shape(values: Sequence[Any], rejected: Counter[str]) -> list[int]:
    """Positions of the values that have the shape of the first; the others are counted."""

    def shape(value: Any) -> Any:
        return {name: array.shape for name, array in value.items()} if isinstance(value, dict) else value.shape

    same = [i for i, value in enumerate(values) if shape(value) == shape(values[0])]
    if len(same) < len(values):
        rejected["wrong_shape"] += len(values) - len(same)
    return same


def _finish(inputs: Any, kept: list[int], rejected: Counter[str]) -> Collected:
    counts = {reason: count for reason, count in rejected.items() if count}
    return (None, [], counts) if inputs is None else (split(inputs), kept, counts)


def _as_dtype(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        array = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        raise _RejectedRowError("wrong_type") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _RejectedRowError("not_finite")
    return array


def _cells(value: Any, count: int) -> list[Any]:
    """An unnamed row as `count` cells."""
    cells = value.tolist() if isinstance(value, np.ndarray) else value
    cells = list(cells) if isinstance(cells, (list, tuple)) else [cells]
    if len(cells) != count:
        raise _RejectedRowError("wrong_shape")
    return cells


def _only_or_all(columns: Mapping[str, Any]) -> Any:
    """Named cells as one unnamed row: the only cell as it is, several side by side."""
    values = list(columns.values())
    return values[0] if len(values) == 1 else values


def _plain(cell: Any) -> Any:
    return cell.tolist() if isinstance(cell, (np.ndarray, np.generic)) else cell


def _is_number(value: Any) -> bool:
    """A number, or a missing one; no truth value."""
    return value is None or (isinstance(value, (int, float, np.number)) and not isinstance(value, bool))
