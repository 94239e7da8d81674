"""A file of inputs, as `robmon assess --inputs` takes it: Parquet, CSV, NPY or JSON lines."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from robmon.errors import InvalidInputError, RobmonError
from robmon.extras import MissingPackageError

if TYPE_CHECKING:
    import pandas as pd

    Inputs: TypeAlias = np.ndarray[Any, np.dtype[Any]] | pd.DataFrame | dict[str, np.ndarray[Any, np.dtype[Any]]]


def read_inputs(path: str | Path, target: str | None = None) -> tuple[Inputs, np.ndarray[Any, np.dtype[Any]] | None]:
    """The inputs in a file, and the targets if `target` names a column of it.

    `.parquet` and `.csv` (with a header line) give a DataFrame, `.npy` an array, `.jsonl` a DataFrame if its lines are
    objects (a dict of columns where there is no pandas) and an array if they are lists.

    Returns:
        inputs of n rows, and targets of shape (n,) or None.

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
        inputs = reader(path)
    except RobmonError:
        raise
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from None
    except Exception:  # whatever a parser raises may quote the data
        raise InvalidInputError(f"{path} is not a {path.suffix.lower()} file that can be read") from None
    if len(inputs) == 0:
        raise InvalidInputError(f"{path} has no row")
    return _split_target(inputs, target, path)


def _split_target(
    inputs: Inputs, target: str | None, path: Path
) -> tuple[Inputs, np.ndarray[Any, np.dtype[Any]] | None]:
    if target is None:
        return inputs, None
    if isinstance(inputs, np.ndarray):
        raise InvalidInputError(f"{path} has no named columns, so no target column {target}: give targets in a table")
    if target not in inputs:
        raise InvalidInputError(f"{path} has no column {target} for the targets")
    targets = np.asarray(inputs[target])
    if isinstance(inputs, dict):
        return {name: column for name, column in inputs.items() if name != target}, targets
    return inputs.drop(columns=target), targets


def _npy(path: Path) -> Inputs:
    array: Any = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise InvalidInputError(f"{path} holds no rows: an array of shape (rows, ...) is needed")
    if array.dtype.kind not in "biuf":
        raise InvalidInputError(f"{path} holds an array of type {array.dtype}: numbers are needed")
    return array


def _jsonl(path: Path) -> Inputs:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    kinds = set(map(type, rows))
    if kinds == {dict}:
        return _named(rows)
    if kinds - {list}:
        raise InvalidInputError(f"{path}: every line must be a JSON object, or every line a list")
    try:
        return np.array(rows, dtype=_number_type(rows))
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError(f"{path}: the lists must hold numbers only and have one shape") from None


def _named(rows: list[dict[str, Any]]) -> Inputs:
    """Named columns: a table, or without pandas, which the endpoints of others do not need, an array a column."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: _column([row.get(name) for row in rows]) for name in names}
    frame: Inputs = pandas.DataFrame(rows)
    return frame


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


def _csv(path: Path) -> Inputs:
    frame: Inputs = _pandas(path).read_csv(path)
    return frame


def _parquet(path: Path) -> Inputs:
    try:
        frame: Inputs = _pandas(path).read_parquet(path)
    except ImportError:
        raise MissingPackageError("pyarrow", str(path)) from None
    return frame


def _pandas(path: Path) -> ModuleType:
    try:
        return importlib.import_module("pandas")
    except ImportError:
        raise MissingPackageError("pandas", str(path)) from None


_READERS: dict[str, Callable[[Path], Inputs]] = {".parquet": _parquet, ".csv": _csv, ".npy": _npy, ".jsonl": _jsonl}
