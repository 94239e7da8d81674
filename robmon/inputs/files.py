"""A file of inputs, as `robmon assess --inputs` takes it: Parquet, CSV, NPY or JSON lines."""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from robmon.errors import InvalidInputError, RobmonError
from robmon.extras import MissingPackageError

if TYPE_CHECKING:
    import pandas as pd

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
    Inputs: TypeAlias = Array | list[Array] | pd.DataFrame | dict[str, Array]

Tell: TypeAlias = Callable[[str], None]
NAMED_LINES: Final = 10
"""Most lines that a sentence names."""


def read_inputs(
    path: str | Path, target: str | Sequence[str] | None = None, tell: Tell = lambda sentence: None
) -> tuple[Inputs, np.ndarray[Any, np.dtype[Any]] | None]:
    """The inputs in a file, and the targets if `target` names a column of it, or several: one an output, in its order.

    `.parquet` and `.csv` (with a header line) give a DataFrame, `.npy` an array, `.jsonl` a DataFrame if its lines are
    objects (a dict of columns where there is no pandas) and an array if they are lists.

    Returns:
        inputs of n rows, and targets: shape (n,) of one column, (n, columns) of several, None of none.

    Raises:
        InvalidInputError: the file cannot be used; one sentence with its path, what is wrong and what is allowed.
        MissingPackageError: pandas, which tables need, is not installed.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(f"{path}: the name of a file of inputs must end in {', '.join(_READERS)}")
    try:
        path.open("rb").close()  # so that every reader's missing file is told alike
        inputs = reader(path, tell)
    except RobmonError:
        raise
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # whatever a parser raises may quote the data
        told = f"{path} is not a {path.suffix.lower()} file that can be read"
        raise InvalidInputError(told + _why(error)) from None
    if len(inputs) == 0:
        raise InvalidInputError(f"{path} has no row")
    return _split_targets(inputs, [target] if isinstance(target, str) else list(target or ()), path)


def _why(error: Exception) -> str:
    """What a parser tells without quoting the data, behind the sentence.

    >>> _why(ValueError("C error: Expected 3 fields in line 7, saw 4")), _why(ValueError("secret"))
    (': expected 3 fields in line 7, saw 4', '')
    """
    if isinstance(error, UnicodeDecodeError):
        return ": it is not UTF-8"
    found = re.search(r"Expected \d+ fields in line \d+, saw \d+", str(error))
    return f": {found[0][:1].lower()}{found[0][1:]}" if found else ""


def _split_targets(
    inputs: Inputs, names: list[str], path: Path
) -> tuple[Inputs, np.ndarray[Any, np.dtype[Any]] | None]:
    if not names:
        return inputs, None
    if isinstance(inputs, (np.ndarray, list)):
        raise InvalidInputError(f"{path} has no named columns, so no target column {names[0]}: give targets in a table")
    for name in names:
        if name not in inputs:
            several = ": names of several are separated by spaces" if "," in name else ""
            raise InvalidInputError(f"{path} has no column {name} for the targets{several}")
    columns = [_target(inputs[name]) for name in names]
    targets = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    if isinstance(inputs, dict):
        return {name: column for name, column in inputs.items() if name not in names}, targets
    return inputs.drop(columns=names), targets


def _target(column: Any) -> np.ndarray[Any, np.dtype[Any]]:
    is_nullable = str(column.dtype).startswith(("Int", "UInt"))
    return column.to_numpy(np.float64, na_value=np.nan) if is_nullable else np.asarray(column)


def _npy(path: Path, tell: Tell) -> Inputs:
    array: Any = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise InvalidInputError(f"{path} holds no rows: an array of shape (rows, ...) is needed")
    if array.dtype.kind not in "biuf":
        raise InvalidInputError(f"{path} holds an array of type {array.dtype}: numbers are needed")
    return array


def _jsonl(path: Path, tell: Tell) -> Inputs:
    lines = [(number, line) for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)]
    rows = [(number, _json_or_none(line)) for number, line in lines if line.strip()]
    usual = Counter(type(row) for _, row in rows).most_common(1)[0][0] if rows else dict
    found = [row for _, row in rows if type(row) is usual]
    if usual not in (dict, list) or 2 * len(found) < len(rows) + bool(rows):
        if usual is type(None):
            raise ValueError("no JSON")
        raise InvalidInputError(f"{path}: every line must be a JSON object, or every line a list")
    if others := [number for number, row in rows if type(row) is not usual]:
        named = ", ".join(map(str, others[:NAMED_LINES])) + (" ..." if len(others) > NAMED_LINES else "")
        what = "JSON object" if usual is dict else "JSON list"
        tell(f"{len(others)} of {len(rows)} lines of {path} are no {what}, and are left out: {named}")
    return _named(found) if usual is dict else _listed(found, path)


def _json_or_none(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _listed(rows: list[Any], path: Path) -> Inputs:
    """One array; a list of arrays where rows differ in shape, or in some are no numbers, which the model judges."""
    try:
        return np.array(rows, dtype=_number_type(rows))
    except (TypeError, ValueError, OverflowError):
        arrays = [_array(row) for row in rows]
    if all(array.dtype == object for array in arrays):
        raise InvalidInputError(f"{path}: the lists must hold numbers")
    return arrays


def _array(row: Any) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        return np.array(row, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        cells = np.empty(len(row), dtype=object)
        cells[:] = row
        return cells


def _named(rows: list[dict[str, Any]]) -> Inputs:
    """Named columns: a table, or without pandas, which the endpoints of others do not need, an array a column."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: _column([row.get(name) for row in rows]) for name in names}
    frame = pandas.DataFrame(rows)
    for name in _perhaps_whole(frame):
        if all(type(row.get(name)) in (int, type(None)) for row in rows):
            frame[name] = frame[name].astype("Int64")
    return frame  # type: ignore[no-any-return]


def _perhaps_whole(frame: pd.DataFrame) -> list[Any]:
    """Columns that pandas may have made floating for their missing cells alone: their numbers are whole."""
    return [
        name
        for name, column in frame.items()
        if column.dtype == np.float64 and column.isna().any() and (column.isna() | (column % 1 == 0)).all()
    ]


def _column(cells: list[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Numbers alone as such, anything else as it is: text, truth values, missing cells, lists."""
    if all(type(cell) in (int, float) for cell in cells):
        return np.array(cells, dtype=np.float64 if any(type(cell) is float for cell in cells) else np.int64)
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column


def _number_type(rows: list[Any]) -> type:
    """int64 for rows of integers alone, else float64."""
    while rows and isinstance(rows[0], list):
        rows = [cell for row in rows for cell in row]
    return np.int64 if rows and all(type(cell) is int for cell in rows) else np.float64


def _csv(path: Path, tell: Tell) -> Inputs:
    read = _pandas(path).read_csv
    return _with_integers(read(path), lambda names: read(path, usecols=names, dtype_backend="numpy_nullable"))


def _parquet(path: Path, tell: Tell) -> Inputs:
    read = _pandas(path).read_parquet
    try:
        return _with_integers(read(path), lambda names: read(path, columns=names, dtype_backend="numpy_nullable"))
    except ImportError:
        raise MissingPackageError("pyarrow", str(path)) from None


def _with_integers(frame: pd.DataFrame, read_again: Callable[[list[Any]], pd.DataFrame]) -> pd.DataFrame:
    """The table with integers among missing cells as such: as floating numbers they would be perturbed."""
    if names := _perhaps_whole(frame):
        again = read_again(names)
        for name in names:
            if name in again and str(again[name].dtype).startswith(("Int", "UInt")):
                frame[name] = again[name]
    return frame


def _pandas(path: Path) -> ModuleType:
    try:
        return importlib.import_module("pandas")
    except ImportError:
        raise MissingPackageError("pandas", str(path)) from None


_READERS: dict[str, Callable[[Path, Tell], Inputs]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".npy": _npy,
    ".jsonl": _jsonl,
}
