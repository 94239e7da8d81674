"""Model outputs as one array, whatever container the model returns them in, and which of its parts are taken.

Parts of one kind and shape stand side by side. Where they differ nothing is guessed: what is assessed is then said by
`output_column`, and without it the outputs are refused with the names of their parts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from robmon.errors import HOW_TO_CHOOSE, PredictionError
from robmon.models.outputs import cells
from robmon.models.outputs.cells import Cells, UnusableError
from robmon.models.outputs.containers import UNNAMED, by_field, invalid, parts_of
from robmon.robustness.sentences import short_name, some_of

OutputColumn = str | int | Sequence[str | int]
"""A part by its name or position, or several of them."""
MAX_NAMES: Final = 10
ONE_BY_ONE: Final = (
    ": if it takes one at a time, set max_batch_rows (flag --max-batch-rows, setting assess.max_batch_rows) to 1"
)
_ECHO: Final = "an input, unchanged"
_RUNNING: Final = "running numbers"


@dataclass
class OutputReader:
    """Reads what a model returns, in one assessment. Which parts are taken is settled by its first answer.

    Attributes:
        column: the parts that are assessed; None: all, if they are of one kind.
        names: for each column of the array the part that it is from; empty where one part is taken.
        notes: what was chosen or left out, in sentences.
        like: the parts of the version that it is compared with, in whose order they stand where they are the same.
    """

    column: OutputColumn | None = None
    names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    like: tuple[str, ...] = ()
    _taken: tuple[str, ...] | None = field(default=None, repr=False)

    def __call__(self, outputs: Any, rows: int, inputs: Any = None) -> Any:
        """The outputs as one array of numbers, or of text for labels, shape `(rows, ...)`.

        A torch tensor stays one, on its device. Truth values become 0 and 1, bytes text.

        Args:
            outputs: what the model returned.
            rows: how many rows it was given.
            inputs: those rows, by which columns that are only handed through are told.

        Raises:
            PredictionError: they are no array of numbers or text with one entry a row, or have several parts and none
                is chosen, or not the one that is (reason `invalid_output`).

        >>> OutputReader()({"mean": [1.0, 2.0], "spread": [[3.0], [4.0]]}, 2).tolist()
        [[1.0, 3.0], [2.0, 4.0]]
        >>> OutputReader("label")({"label": ["a", "b"], "score": [0.9, 0.8]}, 2).tolist()
        ['a', 'b']
        """
        parts = parts_of(outputs, rows)
        if parts[0][0] == UNNAMED:
            return self._of_one(parts[0][1], rows)
        fitting = [(name, part) for name, part in parts if cells.length(part) == rows]
        if self._taken is None:
            self._taken = self._in_order(self._settled(parts, fitting, rows, inputs), names_of(fitting))
        order = {name: at for at, name in enumerate(self._taken)}
        taken = sorted(((name, part) for name, part in fitting if name in order), key=lambda each: order[each[0]])
        if len({name for name, _ in taken}) < len(set(self._taken)):
            raise invalid(f"the parts {_listed(names_of(fitting))}, not {_listed(self._taken)} as before")
        # The name of the only part is the model's word alone: where there is nothing to choose it is not told.
        arrays = [(name, _read(name if len(parts) > 1 else UNNAMED, part).array) for name, part in taken]
        if len(arrays) == 1:
            self.names = ()
            return arrays[0][1]
        self.names = tuple(name for name, array in arrays for _ in range(int(np.prod(array.shape[1:]))))
        return _side_by_side([array for _, array in arrays])

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of the parts that stand side by side, in their order; none where one part is taken."""
        return tuple(dict.fromkeys(self.names))

    def _in_order(self, taken: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
        """The parts that are taken in the order in which they stand: the model's, or that of what it is compared with.

        >>> reader = OutputReader(like=("a", "b"))
        >>> reader({"b": [1.0, 2.0], "a": [3.0, 4.0]}, 2).tolist()
        [[3.0, 1.0], [4.0, 2.0]]
        """
        found = tuple(name for name in names if name in taken)
        if len(found) < 2 or not self.like or found == self.like:
            return found
        if set(found) == set(self.like):
            return self.like
        self.notes.append(
            f"the outputs {_listed(found)} are compared, in this order, with {_listed(self.like)} of the other version"
        )
        return found

    def _settled(
        self, parts: Sequence[tuple[str, Any]], fitting: Sequence[tuple[str, Any]], rows: int, inputs: Any
    ) -> tuple[str, ...]:
        """The names of the parts that are taken."""
        if not fitting:
            raise invalid(f"{len(parts)} parts, none of them with one entry for each of {rows} rows")
        names = names_of(fitting)
        if self.column is not None:
            taken = chosen(self.column, names)
            self.notes.append(f"of the outputs {_listed(names)} what is assessed is {_listed(taken)}, as chosen")
            return taken
        if len(fitting) > 1:
            _check_alike(fitting, inputs)
            self.notes.append(f"the outputs {_listed(names)} stand side by side")
        elif len(parts) > 1:
            self.notes.append(
                f"of {len(parts)} outputs what is assessed is {_listed(names)}: the others have no entry a row"
            )
        return names

    def _of_one(self, part: Any, rows: int) -> Any:
        """The array of a container without names; columns of it by their positions."""
        read = _read(UNNAMED, part)
        array = read.array
        if array.ndim == 0 and rows == 1:  # a model may squeeze its only row
            array = array.reshape(1)
        if array.ndim == 0 or array.shape[0] != rows:
            single = ONE_BY_ONE if rows > 1 and array.ndim > 0 and array.shape[0] == 1 else ""
            raise PredictionError(
                f"the model returned outputs of shape {tuple(array.shape)} for {rows} rows{single}", "invalid_output"
            )
        documents = _documents(read, rows)
        if documents is not None:
            return self._of_json(documents, rows)
        if self.column is None:
            return array
        if array.ndim != 2:
            raise PredictionError(
                f"output_column is {short_name(str(self.column))}, and the outputs have no parts: leave it out",
                "invalid_output",
            )
        taken = chosen(self.column, tuple(map(str, range(array.shape[1]))))
        if self._taken is None:
            self._taken = taken
            self.notes.append(f"of {array.shape[1]} columns what is assessed is {_listed(taken)}, as chosen")
        return array[:, [int(index) for index in taken]]

    def _of_json(self, documents: Sequence[Any], rows: int) -> Any:
        """Outputs that are JSON text are no labels; a field of them may be chosen."""
        fields = [name for name, _ in by_field(documents)] if isinstance(documents[0], Mapping) else []
        if self.column is None or not fields:
            with_fields = f" with the fields {_listed(fields)}" if fields else ""
            choose = f", or choose a field with {HOW_TO_CHOOSE}" if fields else ""
            raise PredictionError(
                f"each row of the outputs is JSON text{with_fields}: let the model return its numbers or "
                f"labels themselves{choose}",
                "invalid_output",
            )
        return self(list(documents), rows)


def names_of(parts: Sequence[tuple[str, Any]]) -> tuple[str, ...]:
    """Each name once, in order."""
    return tuple(dict.fromkeys(name for name, _ in parts))


def chosen(column: OutputColumn, names: Sequence[str]) -> tuple[str, ...]:
    """The names that are meant: exactly, or by the name that stands before a dot, or several behind commas.

    Raises:
        PredictionError: there is no such part (`invalid_output`).

    >>> chosen("scores", ["label", "scores.a", "scores.b"]), chosen("mean, spread", ["mean", "spread", "id"])
    (('scores.a', 'scores.b'), ('mean', 'spread'))
    """
    wanted = [column] if isinstance(column, (str, int)) else list(column)
    found: list[str] = []
    for word in map(str, wanted):
        meant = _meant(word, names) or [
            name for each in word.split(",") for name in _meant(each.strip(), names) or [""]
        ]
        if "" in meant:
            raise PredictionError(
                f"the outputs have no part {short_name(word)}: choose among {_listed(names)} with {HOW_TO_CHOOSE}",
                "invalid_output",
            )
        found += meant
    return tuple(dict.fromkeys(found))


def _meant(word: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if name == word] or [name for name in names if name.startswith(f"{word}.")]


def _read(name: str, part: Any) -> Cells:
    try:
        return cells.read(part)
    except UnusableError as error:
        if name == UNNAMED:
            raise invalid(error.what) from None
        raise PredictionError(
            f"the part {short_name(name)} of the outputs holds {error.what}, not numbers or labels", "invalid_output"
        ) from None


def _check_alike(parts: Sequence[tuple[str, Any]], inputs: Any) -> None:
    """Refuse parts of different kinds or shapes, with what each of them is."""
    told = [(name, *_described(name, part, inputs)) for name, part in parts]
    kinds, shapes = {kind for _, kind, _ in told}, {shape for _, _, shape in told}
    by_position = all(name.partition(".")[0].isdecimal() for name, _ in parts)
    is_table = all(len(shape) <= 1 for shape in shapes) and not by_position
    if len(kinds) == 1 and not kinds & {_RUNNING} and (len(shapes) == 1 or is_table):
        return
    each = [f"{short_name(name)} ({kind}{f' of shape {shape}' if shape else ''})" for name, kind, shape in told]
    raise PredictionError(
        f"the outputs are several parts that differ: {some_of(each, MAX_NAMES)}. "
        f"Choose what is assessed with {HOW_TO_CHOOSE}",
        "invalid_output",
    )


def _described(name: str, part: Any, inputs: Any) -> tuple[str, tuple[int, ...]]:
    """Kind, and shape of one row; a column is one whether it has an axis of its own or not."""
    try:
        read = cells.read(part)
    except UnusableError as error:
        return error.what, ()
    shape = tuple(int(size) for size in read.array.shape[1:])
    shape = () if shape == (1,) else shape
    if _is_input(name, read.array, inputs):
        return _ECHO, shape
    if shape == () and read.kind in (cells.WHOLE, cells.NUMBERS) and _runs(read.array):
        return _RUNNING, shape
    return read.kind, shape


def _is_input(name: str, array: Any, inputs: Any) -> bool:
    """Whether the part is an input of the same name."""
    if isinstance(inputs, Mapping):
        own = inputs.get(name)
    elif hasattr(inputs, "columns") and hasattr(inputs, "iloc"):
        own = inputs[name] if name in inputs.columns and inputs.columns.is_unique else None
    else:
        return False
    if own is None:
        return False
    try:
        same = cells.to_numpy(cells.read(own).array).astype(object), cells.to_numpy(array).astype(object)
    except UnusableError:
        return False
    return same[0].shape == same[1].shape and all(
        mine == theirs or (cells.is_missing(mine) and cells.is_missing(theirs))
        for mine, theirs in zip(same[0].ravel().tolist(), same[1].ravel().tolist(), strict=True)
    )


def _runs(array: Any) -> bool:
    """Whether the numbers count the rows."""
    numbers = cells.to_numpy(array).reshape(-1)
    if len(numbers) < 3 or numbers.dtype.kind == "O":
        return False
    floats = numbers.astype(np.float64)
    return bool(np.all(np.diff(floats) == 1) and floats[0] == np.floor(floats[0]))


def _documents(read: Cells, rows: int) -> list[Any] | None:
    """What JSON texts say, where every row is one of an object or a list."""
    if read.kind != cells.TEXT or read.array.size != rows:
        return None
    texts = read.array.reshape(-1).tolist()
    if any(text is None or not text.lstrip().startswith(("{", "[")) for text in texts):
        return None
    try:
        return [json.loads(text) for text in texts]
    except (ValueError, RecursionError):
        return None


def _side_by_side(arrays: Sequence[Any]) -> Any:
    flat = [array.reshape(array.shape[0], -1) for array in arrays]
    torch = sys.modules.get("torch")
    if torch is not None and all(isinstance(array, torch.Tensor) for array in flat):
        return torch.cat(flat, dim=1)
    joined = [cells.to_numpy(array) for array in flat]
    if len({array.dtype.kind in "OUT" for array in joined}) > 1:
        raise PredictionError(
            "the parts chosen by output_column are text and numbers: choose those of one kind", "invalid_output"
        )
    return np.concatenate(joined, axis=1)


def _listed(names: Sequence[str]) -> str:
    return some_of(map(short_name, names), MAX_NAMES)
