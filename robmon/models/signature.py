"""What a model takes, and decoded request rows gathered into it.

Values are widened to the signature's types by the functions of MLflow's own scoring server, so that the rows which it
would serve are the rows that are assessed. A row that does not fit is dropped and counted, and spoils no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from robmon.errors import ModelLoadError
from robmon.models import casting, mlmodel
from robmon.models.inputs import ModelInputs, split

Value = TypeVar("Value")
Collected = tuple[ModelInputs | None, list[int], dict[str, int]]
"""Model inputs (None where no row fits), the indices of the rows in them, and the number of rejected rows by reason."""


class Row(Protocol):
    """One decoded row: named cells, or one unnamed row (a scalar, a nested list or an array without the row axis).

    A row with both may be taken either way. An unnamed row of void type are the bytes of a tensor.
    """

    @property
    def columns(self) -> Mapping[str, Any] | None:
        """Cells by name."""

    @property
    def tensor(self) -> Any | None:
        """The unnamed row."""

    @property
    def reading(self) -> str:
        """How the server makes the signature's types of the cells: a key of `casting.CASTS`."""

    @property
    def texts(self) -> Mapping[str, str] | None:
        """The cells as written, of CSV."""

    @property
    def listed(self) -> bool:
        """Whether each cell stood in a list of its own."""


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


def of_tensors(inputs: Mapping[str, tuple[np.dtype[Any], Sequence[int]]]) -> Signature:
    """The signature of named tensors: dtype and shape (with the axis of the rows) of each.

    Raises:
        ModelLoadError: the number of rows is fixed, or nothing can be perturbed.
    """
    signature = NamedTensors({name: _Spec(dtype, tuple(shape)) for name, (dtype, shape) in inputs.items()})
    _check_rows_are_free(signature.specs.values())
    if not signature.is_floating():
        types = ", ".join(str(dtype) for dtype, _ in list(inputs.values())[:10])
        raise ModelLoadError(f"nothing can be perturbed: no input of the model is a floating-point number ({types})")
    return signature


def _of_schema(schema: Any) -> Columns | Tensor | NamedTensors:
    if not schema.is_tensor_spec():
        return Columns(schema)
    specs = [_Spec(np.dtype(spec.type), tuple(spec.shape)) for spec in schema.inputs]
    _check_rows_are_free(specs)
    if schema.has_input_names():
        return NamedTensors(dict(zip(schema.input_names(), specs, strict=True)))
    return Tensor(specs[0])


def _check_rows_are_free(specs: Iterable[_Spec]) -> None:
    fixed = [spec.shape for spec in specs if spec.shape[:1] != (-1,)]
    if fixed:
        raise ModelLoadError(f"the signature fixes the number of rows: its shape {fixed[0]} does not begin with -1")


@dataclass(frozen=True)
class _Spec:
    """Type and shape of a tensor, whose first axis are the rows; -1 stands for any size."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def convert(self, value: Any, *, reshape: bool) -> NDArray[Any]:
        """One row's tensor; `reshape`: a flat list of the right length will do, as in the cell of a table."""
        wanted = self.shape[1:]
        array = self._of_bytes(value) if _is_raw(value) else _as_dtype(value, self.dtype)
        if reshape and array.ndim <= 1 and -1 not in wanted and array.size == prod(wanted):
            array = array.reshape(wanted)
        if array.ndim != len(wanted) or any(
            size not in (-1, actual) for size, actual in zip(wanted, array.shape, strict=True)
        ):
            raise _RejectedRowError("wrong_shape")
        return array

    def _of_bytes(self, raw: NDArray[Any]) -> NDArray[Any]:
        """A row sent as bytes without any description: this tensor, little endian; at most one size is open."""
        wanted = self.shape[1:]
        try:
            array = np.frombuffer(raw.tobytes(), self.dtype.newbyteorder("<")).reshape(wanted)
        except (ValueError, TypeError):
            raise _RejectedRowError("wrong_shape") from None
        return _as_dtype(array, self.dtype)


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
            _refuse_text(row)
            named = row.columns is not None
            return self.spec.convert(_unnamed(row), reshape=named)

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
            _refuse_text(row)
            named = row.columns is not None
            by_name = _named(row, self.specs.keys())
            cells = by_name if by_name is not None else self._by_order(row.tensor)
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
        self._textual = {spec.name for spec in schema.inputs if getattr(spec.type, "name", "") == "string"}
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
        casts = [casting.CASTS[rows[index].reading] for index in kept]
        columns = [
            casting.column(spec, name, [row.get(name) for row in cells], casts)
            for spec, name in zip(self._schema.inputs, self._names, strict=True)
            if any(name in row for row in cells)
        ]
        frame = pd.concat(columns, axis=1, join="inner")  # a column lacks the rows whose cells do not fit
        for position in set(range(len(cells))) - set(frame.index):
            rejected[f"wrong_type {next(column.name for column in columns if position not in column.index)}"] += 1
        kept = [kept[i] for i in frame.index]
        return _finish(frame.reset_index(drop=True) if kept else None, kept, rejected)

    def _convert(self, row: Row) -> dict[Any, Any]:
        named = _named(row, self._required) if self._named or row.tensor is None else None
        if named is None:
            values = [row.tensor] if self._one_cell else _cells(row.tensor, len(self._names))
            return dict(zip(self._names, values, strict=True))
        if row.texts is not None:
            named = row.texts if row.reading == "text" else {**named, **self._as_written(named, row.texts)}
        if not self._named:
            values = list(named.values())
            if len(values) < len(self._names):
                raise _RejectedRowError("missing_column")
            return dict(zip(self._names, values, strict=False))
        if missing := self._required - named.keys():
            raise _RejectedRowError(f"missing_column {min(missing)}")
        return {name: named[name] for name in self._names if name in named}

    def _as_written(self, named: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, str]:
        """What the model takes for text: a `02139`, though it looks like a number."""
        written = self._textual & texts.keys()
        return {name: texts[name] for name in written if named[name] == named[name]}  # NaN is a missing cell


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
        if not self.as_matrix and rows and rows[0].columns is not None and rows[0].tensor is None:
            return self._collect_columns(rows, rows[0].columns)

        def convert(row: Row) -> NDArray[Any]:
            array = _as_dtype(_unnamed(row), self.dtype)
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
            return {name: casting.plain(cells[name]) for name in first}

        cells, kept, rejected = _each(rows, convert)
        if not cells:
            return _finish(None, [], rejected)
        frame = pd.DataFrame(cells, columns=list(first))
        return _finish(frame.astype(dict.fromkeys(numbers, self.dtype)), kept, rejected)


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


def _refuse_text(row: Row) -> None:
    """The server reads CSV for models of columns only."""
    if row.reading == "text":
        raise _RejectedRowError("wrong_type")


def _named(row: Row, names: Collection[str]) -> Mapping[str, Any] | None:
    """The cells of a row that is to be taken by name: one that has no other form, or whose names are the model's."""
    if row.columns is not None and (row.tensor is None or row.columns.keys() >= set(names)):
        return row.columns
    return None


def _unnamed(row: Row) -> Any:
    """A row without its names."""
    return row.tensor if row.tensor is not None or row.columns is None else _only_or_all(row.columns)


def _is_raw(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "V"


def _as_dtype(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    if _is_raw(value):
        raise _RejectedRowError("wrong_type")
    try:
        array = np.asarray(value, dtype=dtype)
    except (TypeError, ValueError, OverflowError):
        raise _RejectedRowError("wrong_type") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _RejectedRowError("not_finite")
    return array


def _cells(value: Any, count: int) -> list[Any]:
    """An unnamed row as `count` cells."""
    if _is_raw(value):
        raise _RejectedRowError("wrong_type")
    cells = value.tolist() if isinstance(value, np.ndarray) else value
    cells = list(cells) if isinstance(cells, (list, tuple)) else [cells]
    if len(cells) != count:
        raise _RejectedRowError("wrong_shape")
    return cells


def _only_or_all(columns: Mapping[str, Any]) -> Any:
    """Named cells as one unnamed row: the only cell as it is, several side by side."""
    values = list(columns.values())
    return values[0] if len(values) == 1 else values


def _is_number(value: Any) -> bool:
    """A number, or a missing one; no truth value."""
    return value is None or (isinstance(value, (int, float, np.number)) and not isinstance(value, bool))
