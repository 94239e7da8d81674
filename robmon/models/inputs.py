"""Model inputs taken apart: what is perturbed, as one array, and how to put a whole input together again.

`split` runs once an assessment, `ModelInputs.assemble` once a batch of every trial and level, so whatever does not
change with the noise is worked out by the former.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.models.cells import to_numpy
from robmon.robustness.arrays import default_batch_rows
from robmon.robustness.features.channels import FeatureAxis, NamedTensor, Read, choose, named, of_fixed_size
from robmon.robustness.features.whole_numbers import LARGEST_WHOLE, Whole
from robmon.vocabulary import ALL_INTEGERS

if TYPE_CHECKING:
    import pandas as pd

FloatArray: TypeAlias = NDArray[np.floating[Any]]
AnyArray: TypeAlias = NDArray[Any]
LEFT_ALONE_TOLD: Final = 10
"""Columns that are named in a note."""
FRAME_ROWS: Final = 16384
"""Most rows of a batch of DataFrames: what a call of a model that takes them costs whatever its size, some
milliseconds, is most of it before."""
COPIES_KEPT: Final = 3
"""Of how many batches of copied rows is kept what does not change with the noise."""


@dataclass(frozen=True)
class WholeColumns:
    """A DataFrame of which some columns hold whole numbers, whatever their dtype, as those with a missing cell do.

    Others hold text, though all of it may look like numbers.
    """

    frame: Any
    names: frozenset[Any]
    texts: frozenset[Any] = frozenset()


@dataclass(frozen=True)
class LeftAlone:
    """A column, or named tensor, that passes through as it is.

    Attributes:
        name: its name.
        kind: what it holds: `text`, or a dtype.
        is_whole: whether it holds whole numbers, which may be measurements.
    """

    name: str
    kind: str
    is_whole: bool

    def told(self, option: str) -> str:
        """Its name, what it holds, and the option that perturbs it."""
        return (
            f"{self.name} ({self.kind}{f': a measurement? {option} {as_option([self.name])}' if self.is_whole else ''})"
        )


def as_option(names: Sequence[str]) -> str:
    r"""Names as a command line takes them in one word.

    >>> as_option(["age", "rooms"]), as_option(["hours per week"])
    ('age,rooms', '\'["hours per week"]\'')
    """
    if any(re.search(r"[\s,'\"]", name) for name in names):
        return f"'{json.dumps(list(names))}'"
    return ",".join(names)


class Rebuild(Protocol):
    """Makes of rows that were put together again what the model takes: it knows what is not the same in every row."""

    def __call__(self, batch: Any, rows: slice) -> Any:
        """Those rows as the model takes them."""

    def take(self, indices: NDArray[np.intp]) -> Rebuild:
        """That of the rows with these indices, in this order."""


_Rest: TypeAlias = "tuple[_Array | _Columns | _Tensors, Rebuild | None]"


@dataclass(frozen=True)
class ModelInputs:
    """Rows of model inputs. Build it with `split`.

    Attributes:
        array: what is perturbed, shape (rows, *input_shape). An array is taken as it is, as is the only one of several
            named tensors that is perturbed; a DataFrame's perturbed columns are a float64 matrix; several perturbed
            named tensors are flattened and stand side by side. Whole numbers are float64 here.
        left_alone: the columns, or named tensors, that pass through.
        whole: which columns of the array are whole numbers, and within what they stay; None: none.
        tensors: the perturbed named tensors.
        given: the inputs as they were given to `split`; None of some of their rows.
        absent: the optional columns that rows lacked when they were gathered, each with in how many.
    """

    array: FloatArray
    _layout: _Array | _Columns | _Tensors
    left_alone: tuple[LeftAlone, ...] = ()
    whole: Whole | None = None
    tensors: tuple[NamedTensor, ...] | None = None
    given: Any = field(default=None, repr=False, compare=False)
    absent: tuple[str, ...] = ()
    _rebuild: Rebuild | None = None
    _fixed_axis: int | None = None
    _known_copies: dict[tuple[int, int, int], _Rest] = field(default_factory=dict, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.array)

    def axis(self, asked: int | None = None, read: Read | None = None, *, refuses: bool = True) -> FeatureAxis:
        """Which axis of the array counts features, see `channels.choose`."""
        if asked is None and self._fixed_axis is not None:
            return of_fixed_size(self.array.shape, self._fixed_axis)
        return choose(self.array, tensors=self.tensors, asked=asked, read=read, refuses=refuses)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the perturbed features where nothing says how the inputs are read, see `names_by`."""
        return self.names_by(self.axis(refuses=False))

    def names_by(self, axis: FeatureAxis) -> tuple[str, ...]:
        """Names of the perturbed features: columns, `input[i]`, `name[i]`; of rank 3 and more `channel_i`."""
        if isinstance(self._layout, _Columns):
            return tuple(map(str, self._layout.perturbed.tolist()))
        return named(axis, self.array.shape, self.tensors)

    @cached_property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the array's columns, where the inputs have named columns or tensors."""
        if isinstance(self._layout, _Columns):
            return tuple(map(str, self._layout.perturbed.tolist()))
        if self.tensors is None or self.array.ndim > 2:
            return None
        flat = [_flat_names(tensor) for tensor in self.tensors]
        return tuple(name for names in flat for name in names)

    @cached_property
    def largest(self) -> NDArray[np.float64] | None:
        """The largest number that the model gets of each feature, 65504 of float16; None where it gets any."""
        is_half = self._layout.is_half(self.array)
        return np.where(is_half, float(np.finfo(np.float16).max), np.inf) if is_half.any() else None

    @property
    def batch_rows(self) -> int | None:
        """Rows of a batch that suit what the model gets of them, a DataFrame; None where it gets anything else."""
        if self._rebuild is not None or not isinstance(self._layout, _Columns):
            return None
        return default_batch_rows((self.rows, self.array.shape[1] + self._layout.others.shape[1]), FRAME_ROWS)

    @property
    def not_floating(self) -> int:
        """How many columns, or named tensors, pass through."""
        return len(self.left_alone)

    def told(self, option: str) -> tuple[str, ...]:
        """Sentences on what passes through, and on optional columns that rows lack, column by column.

        Args:
            option: which makes measurements of whole numbers, such as `--integers`.
        """
        absent = (f"optional columns are absent: {_short(self.absent)}",) if self.absent else ()
        if not self.left_alone:
            return absent
        return (f"left alone: {_short((each.told(option) for each in self.left_alone), LEFT_ALONE_TOLD)}", *absent)

    def passed(self) -> dict[str, Any]:
        """What passes through, by name: columns of a DataFrame, or whole tensors, `(n, ...)`."""
        return self._layout.passed()

    def assemble(self, array: Any, rows: slice) -> Any:
        """What the model takes: `array` in the place of the perturbed values, all others those of `rows`.

        Args:
            array: perturbed values of those rows, shape (len(rows), *input_shape), NumPy or torch; or of several copies
                of them, one after the other.
            rows: a slice of step 1 of the rows.

        Returns:
            An array (the same object, unless it holds whole numbers), a DataFrame, or a dict of named tensors, like the
            inputs given to `split`; or what they were `rebuilt` to.
        """
        layout, rebuild = self._layout, self._rebuild
        if len(array) != rows.stop - rows.start:
            layout, rebuild = self._copies(rows, len(array))
            rows = slice(0, len(array))
        batch = layout.assemble(array, rows)
        return batch if rebuild is None else rebuild(batch, rows)

    def _copies(self, rows: slice, length: int) -> _Rest:
        """What does not change with the noise, of those rows again and again; kept because it is wanted at every level.

        Of the latest few lengths only: the batch of all trials, that of the last ones, and one alone.
        """
        key = (rows.start, rows.stop, length)
        if key not in self._known_copies:
            while len(self._known_copies) >= COPIES_KEPT:
                self._known_copies.pop(next(iter(self._known_copies)))
            index = np.tile(np.arange(rows.start, rows.stop), length // (rows.stop - rows.start))
            rebuild = None if self._rebuild is None else self._rebuild.take(index)
            self._known_copies[key] = self._layout.take(index), rebuild
        return self._known_copies[key]

    def take(self, indices: Sequence[int] | AnyArray) -> ModelInputs:
        """The rows with these indices, in this order."""
        index = np.asarray(indices, dtype=np.intp)
        rebuild = None if self._rebuild is None else self._rebuild.take(index)
        array, layout = self.array[index], self._layout.take(index)
        return replace(self, array=array, _layout=layout, _rebuild=rebuild, given=None, _known_copies={})

    def resident(self, put: Callable[[AnyArray], Any]) -> ModelInputs:
        """The same rows, of which the tensors that pass through lie where `put` puts them, once and for all batches."""
        if not isinstance(self._layout, _Tensors):
            return self
        return replace(self, _layout=self._layout.resident(put), _known_copies={})

    def drawn(self, array: FloatArray, cells: Mapping[str, Sequence[Any]]) -> ModelInputs:
        """Rows of another array, of which what passes through is from `cells`, else neutral: 0, no text, False.

        Args:
            array: in the place of what is perturbed, shape (rows, *input_shape).
            cells: of columns, or named tensors, that pass through: one a row, by name.

        Raises:
            InvalidInputError: some of it cannot be neutral, or rows are not all of one form.
        """
        if self._rebuild is not None:
            raise InvalidInputError("its inputs are nested, or not of one size")
        layout = self._layout.drawn(len(array), cells)
        return replace(self, array=array, _layout=layout, given=None, absent=(), _known_copies={})

    def rebuilt(self, rebuild: Rebuild, fixed_axis: int | None = None) -> ModelInputs:
        """The same rows, of which the model takes what `rebuild` makes of them.

        Args:
            rebuild: what it makes of them.
            fixed_axis: the only axis of the array whose size is the same in every sample.
        """
        return replace(self, _rebuild=rebuild, _fixed_axis=fixed_axis, _known_copies={})


def perturbing(parts: ModelInputs, integers: Collection[str]) -> ModelInputs:
    """Inputs that were split before it was known which whole numbers are measurements.

    Raises:
        InvalidInputError: as `split`.
    """
    if parts.array.size and not integers:
        return parts
    return replace(
        split(parts.given, integers),
        given=parts.given,
        absent=parts.absent,
        _rebuild=parts._rebuild,
        _fixed_axis=parts._fixed_axis,
    )


def split_as_found(inputs: Any) -> ModelInputs:
    """Model inputs taken apart, of which there may be nothing to perturb: an array without columns; see `perturbing`.

    Raises:
        InvalidInputError: as `split`.
    """
    try:
        return replace(split(inputs), given=inputs)
    except NothingPerturbedError as error:
        return ModelInputs(np.zeros((error.input_rows, 0)), _Array(), given=inputs)


class NothingPerturbedError(InvalidInputError):
    """Inputs of which nothing is a floating-point number, nor a whole one that is said to be a measurement."""

    def __init__(self, sentence: str, rows: int) -> None:
        self.input_rows = rows
        super().__init__(sentence)


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
        result = _split_array(inputs, names)
    elif isinstance(inputs, WholeColumns):
        result = _split_frame(inputs.frame, names, inputs.names, inputs.texts)
    elif pandas is not None and isinstance(inputs, pandas.DataFrame):
        result = _split_frame(inputs, names)
    elif isinstance(inputs, Mapping) and inputs:
        result = _split_tensors({str(name): to_numpy(tensor) for name, tensor in inputs.items()}, names)
    else:
        raise InvalidInputError(
            f"inputs are an array, a DataFrame or a dict of named arrays, not {type(inputs).__name__}"
        )
    if result.rows == 0:
        raise InvalidInputError("the inputs have no rows")
    return result


@dataclass(frozen=True)
class _Array:
    """One array: all of it is perturbed. Its dtype, where that is one of whole numbers."""

    dtype: np.dtype[Any] | None = None

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        return np.zeros(1, dtype=np.bool_)  # the array has the type that the model gets

    def passed(self) -> dict[str, Any]:
        return {}

    def assemble(self, array: Any, rows: slice) -> Any:
        return array if self.dtype is None else _cast(array, self.dtype)

    def take(self, indices: AnyArray) -> _Array:
        return self

    def drawn(self, rows: int, cells: Mapping[str, Sequence[Any]]) -> _Array:
        return self


def _split_array(array: AnyArray, integers: Sequence[str]) -> ModelInputs:
    if array.ndim == 0:
        raise InvalidInputError("the inputs have no rows")
    if array.dtype.kind == "f":
        return ModelInputs(array, _Array())
    if array.dtype.kind not in "iu" or ALL_INTEGERS not in integers:
        advice = "" if array.dtype.kind not in "iu" else f"; {measurements_advice([])}"
        raise NothingPerturbedError(
            f"nothing can be perturbed: the inputs are {array.dtype}, not floating-point numbers{advice}", len(array)
        )
    return ModelInputs(as_numbers(array, "the inputs"), _Array(array.dtype), whole=Whole.of(array.dtype))


def measurements_advice(names: Sequence[str]) -> str:
    """How whole numbers are perturbed."""
    listed = as_option(names[:LEFT_ALONE_TOLD]) if names else ALL_INTEGERS
    return (
        f"whole numbers that are measurements are perturbed, and rounded, with --integers {listed} (assess.integers, "
        "integers= in Python)"
    )


def as_numbers(array: AnyArray, what: str) -> FloatArray:
    """Whole numbers in float64, exactly.

    Raises:
        InvalidInputError: they are too large for that.
    """
    if array.size and max(int(array.max()), -int(array.min())) > LARGEST_WHOLE:
        raise InvalidInputError(
            f"whole numbers beyond 2**53 in {what} would be rounded even without noise: they are no measurements, or "
            "need another unit"
        )
    return array.astype(np.float64)


@dataclass(frozen=True)
class _Columns:
    """A DataFrame: some columns are perturbed and get their own dtype back, the others pass through.

    Attributes:
        perturbed: names of the perturbed columns.
        dtypes: their dtypes (of Python objects `Decimal`, `int` or `float`), each with the positions of the perturbed
            columns that have it.
        others: the columns that pass through, with a RangeIndex.
        order: positions in (perturbed by dtype, others) that give the columns in their first order; None where they do.
    """

    perturbed: pd.Index[Any]
    dtypes: tuple[tuple[Any, NDArray[np.intp]], ...]
    others: pd.DataFrame
    order: NDArray[np.intp] | None

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        is_half = np.zeros(array.shape[1], dtype=np.bool_)
        for dtype, positions in self.dtypes:
            is_half[positions] = dtype == np.float16
        return is_half

    def passed(self) -> dict[str, Any]:
        others = self.others
        return {str(title): others.iloc[:, position] for position, title in enumerate(others.columns)}

    @cached_property
    def _names(self) -> list[pd.Index[Any]]:
        """Of the perturbed columns of each dtype."""
        return [self.perturbed] if len(self.dtypes) == 1 else [self.perturbed[at] for _, at in self.dtypes]

    def assemble(self, array: Any, rows: slice) -> pd.DataFrame:
        """A frame of its own at every call, over values that nobody else has: the model may keep it, or write into it.

        What passes through is shared, or copied where pandas does not copy on write.
        """
        import pandas as pd

        values, index = np.asarray(array), pd.RangeIndex(len(array))
        others = self.others if len(self.others) == len(values) else self.others.iloc[rows].set_axis(index)
        parts = []
        for names, (dtype, positions) in zip(self._names, self.dtypes, strict=True):
            of_dtype = values if len(self.dtypes) == 1 else values[:, positions]
            part = pd.DataFrame(of_dtype, columns=names.view(), index=index, copy=False)
            parts.append(part if dtype == values.dtype else _as_dtype(part, dtype))
        if others.shape[1] == 0 and len(parts) == 1:
            return parts[0]
        frame = pd.concat([*parts, others], axis=1)
        return frame if self.order is None else frame.iloc[:, self.order]

    def take(self, indices: AnyArray) -> _Columns:
        return _Columns(self.perturbed, self.dtypes, self.others.iloc[indices].reset_index(drop=True), self.order)

    def drawn(self, rows: int, cells: Mapping[str, Sequence[Any]]) -> _Columns:
        import pandas as pd

        columns = {
            position: _drawn_column(self.others.iloc[:, position], rows, cells.get(str(name)))
            for position, name in enumerate(self.others.columns.tolist())
        }
        others = pd.DataFrame(columns, index=pd.RangeIndex(rows)).set_axis(self.others.columns, axis=1)
        return _Columns(self.perturbed, self.dtypes, others, self.order)


def _drawn_column(column: pd.Series[Any], rows: int, cells: Sequence[Any] | None) -> pd.Series[Any]:
    """Cells of a column's dtype: those given, or as many neutral ones."""
    import pandas as pd

    types, dtype = pd.api.types, column.dtype
    if cells is not None:
        is_whole = types.is_integer_dtype(dtype) or types.is_bool_dtype(dtype)
        return pd.Series([round(cell) if is_whole else cell for cell in cells]).astype(dtype)
    is_text = types.is_string_dtype(dtype) and all(isinstance(cell, str) for cell in column[column.notna()].tolist())
    for is_of, neutral in ((types.is_bool_dtype(dtype), False), (types.is_numeric_dtype(dtype), 0), (is_text, "")):
        if is_of:
            return pd.Series([neutral] * rows, dtype=dtype)
    if types.is_datetime64_any_dtype(dtype):
        return pd.Series([pd.Timestamp(0, tz=getattr(dtype, "tz", None))] * rows, dtype=dtype)
    raise InvalidInputError(f"nothing neutral is known for column {column.name}, which holds {dtype}")


def _as_dtype(part: pd.DataFrame, dtype: Any) -> pd.DataFrame:
    """The columns in a dtype of pandas, or as Python objects of a type."""
    if not isinstance(dtype, type):
        return part.astype(dtype)
    make = (lambda cell: Decimal(repr(cell))) if dtype is Decimal else dtype
    objects = {
        position: [None if cell != cell else make(cell) for cell in part.iloc[:, position].tolist()]
        for position in range(part.shape[1])
    }
    return type(part)(objects, index=part.index, dtype=object).set_axis(part.columns, axis=1)


@dataclass(frozen=True)
class _Kind:
    """What a column of a DataFrame holds."""

    kind: str
    dtype: Any
    is_number: bool = False
    is_whole: bool = False


def _kind_of(frame: pd.DataFrame, position: int, dtype: Any, is_known_whole: bool) -> _Kind:
    import pandas as pd

    if pd.api.types.is_float_dtype(dtype):
        return _Kind("whole numbers" if is_known_whole else str(dtype), dtype, True, is_known_whole)
    if pd.api.types.is_integer_dtype(dtype):
        return _Kind(str(dtype), dtype, True, True)
    if pd.api.types.is_object_dtype(dtype):
        return _kind_of_objects(frame.iloc[:, position])
    return _Kind("text" if pd.api.types.is_string_dtype(dtype) else str(dtype), dtype)


def _kind_of_objects(column: Any) -> _Kind:
    cells = column[column.notna()].tolist()
    if cells and all(isinstance(cell, Decimal) for cell in cells):
        is_whole = all(cell == cell.to_integral_value() for cell in cells if cell.is_finite())
        return _Kind("decimal", Decimal, True, is_whole)
    if cells and all(isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool) for cell in cells):
        is_whole = not any(isinstance(cell, (float, np.floating)) for cell in cells)
        return _Kind("object", int if is_whole else float, True, is_whole)
    return _Kind("text" if all(isinstance(cell, str) for cell in cells) else "object", column.dtype)


def _split_frame(
    frame: pd.DataFrame,
    integers: Sequence[str],
    known_whole: Collection[Any] = frozenset(),
    texts: Collection[Any] = frozenset(),
) -> ModelInputs:
    titles = frame.columns.tolist()
    kinds = [
        _Kind("text", None, False, False) if title in texts else _kind_of(frame, position, dtype, title in known_whole)
        for position, (title, dtype) in enumerate(zip(titles, frame.dtypes.tolist(), strict=True))
    ]
    names = [str(title) for title in titles]
    _check_names(integers, {name: kind.is_number for name, kind in zip(names, kinds, strict=True)})
    wanted = [
        kind.is_number and (not kind.is_whole or ALL_INTEGERS in integers or name in integers)
        for name, kind in zip(names, kinds, strict=True)
    ]
    left = tuple(
        LeftAlone(name, kind.kind, kind.is_whole)
        for name, kind, is_wanted in zip(names, kinds, wanted, strict=True)
        if not is_wanted
    )
    if not any(wanted):
        raise _nothing("column", left, len(frame))
    perturbed, passed = np.flatnonzero(wanted), np.flatnonzero(~np.array(wanted))
    dtypes: dict[Any, list[int]] = {}
    for position, index in enumerate(perturbed):
        dtypes.setdefault(kinds[index].dtype, []).append(position)
    groups = tuple((dtype, np.array(positions, dtype=np.intp)) for dtype, positions in dtypes.items())
    assembled = np.concatenate([*(perturbed[positions] for _, positions in groups), passed])
    order = np.argsort(assembled)
    layout = _Columns(
        perturbed=frame.columns[perturbed],
        dtypes=groups,
        others=frame.iloc[:, passed].reset_index(drop=True),
        order=None if np.array_equal(order, np.arange(len(order))) else order,
    )
    for index in perturbed:
        if kinds[index].is_whole:
            as_numbers(_present(frame.iloc[:, int(index)]), f"column {names[index]}")
    array = _numbers(frame.iloc[:, perturbed])
    whole = Whole.of_columns([kinds[index].dtype if kinds[index].is_whole else None for index in perturbed])
    return ModelInputs(array, layout, left, whole)


def _numbers(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Columns of numbers, of whichever dtypes, in memory of their own."""
    if all(isinstance(dtype, np.dtype) and dtype.kind == "f" for dtype in frame.dtypes):
        return np.array(frame.to_numpy(dtype=np.float64), order="C")
    columns = (frame.iloc[:, position] for position in range(frame.shape[1]))
    return np.column_stack([column.to_numpy(dtype=np.float64, na_value=np.nan) for column in columns])


def _present(column: Any) -> AnyArray:
    return np.array([int(cell) for cell in column[column.notna()].tolist()], dtype=object)


def _check_names(integers: Sequence[str], numbers: Mapping[str, bool]) -> None:
    """Refuse names that are none of the inputs' columns of numbers."""
    wrong = [name for name in integers if name != ALL_INTEGERS and not numbers.get(name, False)]
    if wrong:
        known = _short([name for name, is_number in numbers.items() if is_number]) or "none"
        raise InvalidInputError(
            f"integers names {_short(wrong)}, no column of numbers among the inputs: those are {known}"
        )


def _nothing(what: str, left: Sequence[LeftAlone], rows: int) -> NothingPerturbedError:
    whole = [each.name for each in left if each.is_whole]
    told = _short(f"{each.name}: {each.kind}" for each in left)
    advice = f"; {measurements_advice(whole)}" if whole else ""
    return NothingPerturbedError(
        f"nothing can be perturbed: no {what} has floating-point numbers ({told}){advice}", rows
    )


@dataclass(frozen=True)
class _Tensor:
    """A perturbed named tensor: its place among the flattened columns, its own shape (without rows) and dtype."""

    columns: slice
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Tensors:
    """Named tensors, in the order in which they were given: perturbed ones, and those that pass through.

    The only perturbed one is the array; several are flattened, side by side.
    """

    tensors: dict[str, _Tensor | Any]

    @cached_property
    def _is_one(self) -> bool:
        return sum(isinstance(tensor, _Tensor) for tensor in self.tensors.values()) == 1

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        if self._is_one:
            return np.zeros(1, dtype=np.bool_)  # the array has the type that the model gets
        is_half = np.zeros(array.shape[1], dtype=np.bool_)
        for tensor in self.tensors.values():
            if isinstance(tensor, _Tensor):
                is_half[tensor.columns] = tensor.dtype == np.float16
        return is_half

    def passed(self) -> dict[str, Any]:
        return {name: to_numpy(each) for name, each in self.tensors.items() if not isinstance(each, _Tensor)}

    def assemble(self, array: Any, rows: slice) -> dict[str, Any]:
        return {
            name: _cast(self._own(array, tensor), tensor.dtype) if isinstance(tensor, _Tensor) else _copy(tensor[rows])
            for name, tensor in self.tensors.items()
        }

    def _own(self, array: Any, tensor: _Tensor) -> Any:
        return array if self._is_one else array[:, tensor.columns].reshape(len(array), *tensor.shape)

    def resident(self, put: Callable[[AnyArray], Any]) -> _Tensors:
        return _Tensors(
            {
                name: tensor if isinstance(tensor, _Tensor) else _put(tensor, put)
                for name, tensor in self.tensors.items()
            }
        )

    def drawn(self, rows: int, cells: Mapping[str, Sequence[Any]]) -> _Tensors:
        return _Tensors(
            {
                name: tensor if isinstance(tensor, _Tensor) else _drawn_tensor(name, tensor, rows, cells.get(name))
                for name, tensor in self.tensors.items()
            }
        )

    def take(self, indices: AnyArray) -> _Tensors:
        return _Tensors(
            {name: tensor if isinstance(tensor, _Tensor) else tensor[indices] for name, tensor in self.tensors.items()}
        )


def _drawn_tensor(name: str, tensor: AnyArray, rows: int, cells: Sequence[Any] | None) -> AnyArray:
    """A tensor of that type: the cells given, or neutral ones."""
    if cells is not None:
        return np.asarray([round(cell) if tensor.dtype.kind in "biu" else cell for cell in cells]).astype(tensor.dtype)
    if tensor.dtype.kind == "O" and all(isinstance(cell, str) for cell in tensor.ravel().tolist()):
        return np.full((rows, *tensor.shape[1:]), "", dtype=object)
    if tensor.dtype.kind not in "biuUST":
        raise InvalidInputError(f"nothing neutral is known for tensor {name}, which holds {tensor.dtype}")
    return np.zeros((rows, *tensor.shape[1:]), dtype=tensor.dtype)


def _copy(tensor: Any) -> Any:
    """The model may write into what it is given."""
    return tensor.copy() if isinstance(tensor, np.ndarray) else tensor.clone()


def _put(tensor: AnyArray, put: Callable[[AnyArray], Any]) -> Any:
    try:
        return put(tensor)
    except (TypeError, ValueError):  # of text, or of another byte order: the model is left to say what it makes of it
        return tensor


def _split_tensors(tensors: dict[str, AnyArray], integers: Sequence[str]) -> ModelInputs:
    if any(tensor.ndim == 0 for tensor in tensors.values()):
        raise InvalidInputError("every named tensor needs a first axis of rows")
    if len({len(tensor) for tensor in tensors.values()}) > 1:
        raise InvalidInputError(
            "the named tensors differ in rows: "
            + _short(f"{name} has {len(tensor)}" for name, tensor in tensors.items())
        )
    _check_names(integers, {name: tensor.dtype.kind in "fiu" for name, tensor in tensors.items()})
    layout: dict[str, _Tensor | AnyArray] = {}
    perturbed: dict[str, AnyArray] = {}
    left: list[LeftAlone] = []
    dtypes: list[Any] = []
    width = 0
    for name, tensor in tensors.items():
        is_whole = tensor.dtype.kind in "iu"
        if tensor.dtype.kind != "f" and not (is_whole and (ALL_INTEGERS in integers or name in integers)):
            layout[name] = tensor
            left.append(LeftAlone(name, _tensor_kind(tensor), is_whole))
            continue
        size = prod(tensor.shape[1:])
        layout[name] = _Tensor(slice(width, width + size), tensor.shape[1:], tensor.dtype)
        perturbed[name] = as_numbers(tensor, f"tensor {name}") if is_whole else tensor
        dtypes += [tensor.dtype if is_whole else None] * size
        width += size
    if not perturbed:
        raise _nothing("tensor", left, len(next(iter(tensors.values()))))
    told = tuple(
        NamedTensor(name, each.columns, each.shape) for name, each in layout.items() if isinstance(each, _Tensor)
    )
    if len(perturbed) == 1:
        array = next(iter(perturbed.values()))
        whole = None if dtypes[:1] in ([], [None]) else Whole.of(dtypes[0])
    else:
        array = np.concatenate([tensor.reshape(len(tensor), -1) for tensor in perturbed.values()], axis=1)
        whole = Whole.of_columns(dtypes)
    return ModelInputs(array, _Tensors(layout), tuple(left), whole, told)


def _tensor_kind(tensor: AnyArray) -> str:
    return "text" if tensor.dtype.kind in "UST" else str(tensor.dtype)


def _flat_names(tensor: NamedTensor) -> tuple[str, ...]:
    """A name for every cell of a row of a named tensor."""
    if not tensor.shape:
        return (tensor.name,)
    return tuple(f"{tensor.name}[{index}]" for index in range(prod(tensor.shape)))


def _cast(array: Any, dtype: np.dtype[Any]) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return array.to(getattr(torch, dtype.name))
    return array.astype(dtype, copy=False)


def _short(words: Iterable[str], limit: int = 10) -> str:
    listed = [word if len(word) <= 100 else f"{word[:100]}..." for word in words]
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "")
