"""What a model's outputs are: said by the owner, or deduced from the clean outputs of all rows, and then told with why.

A deduction that would rest on a guess is refused with what to set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import HOW_TO_CHOOSE, HOW_TO_SAY, InvalidInputError, PredictionError
from robmon.robustness.arrays import Array, Float64, as_float64, is_floating, namespace, to_numpy
from robmon.robustness.outputs import is_numeric, missing_labels
from robmon.robustness.sentences import some_of
from robmon.vocabulary import OutputKind

MAX_NAMES: Final = 10
MANY_CLASSES: Final = 20
"""More classes than this, and than half of the rows, are told: labels seldom are so many."""


@dataclass(frozen=True)
class OutputForm:
    """What the outputs are.

    Attributes:
        kind: see `robmon.vocabulary.OutputKind`.
        note: the kind, and why it is that, in a sentence.
        is_normalised: whether rows of probabilities are divided by their sum, because they do not sum to 1.
    """

    kind: OutputKind
    note: str
    is_normalised: bool = False


def resolve_output(
    outputs: Array, task: str, output: str | None, names: Sequence[str] = (), inputs: Array | None = None
) -> OutputForm:
    """What the model's numbers are: `output` where given and possible, else by what they look like and the task.

    Regression: value. Embedding: that, one vector a row. Classification, one column: label where all are text or whole
    numbers, whatever their type; probability where they lie between 0 and 1; else logit. Several columns: probability
    where rows sum to 1; else logit, unless all lie between 0 and 1, or only some columns hold whole numbers, or an
    input as it came: such columns may be anything.

    Args:
        outputs: clean outputs, shape `(n, ...)`.
        task: `regression`, `classification` or `embedding`.
        output: what they are, if that was said.
        names: for each column the part of the outputs that it is from, where there are several.
        inputs: the clean inputs, shape `(n, ...)`.

    Raises:
        InvalidInputError: integers or text as regression without `output`; an `output` that these cannot be; classes
            that are not one row of scores, or one label, a row; columns that may be several things.

    >>> resolve_output(np.array([[0.2, 0.8], [0.5, 0.5]]), "classification", None).note
    'output is probability: the rows of 2 columns sum to 1'
    """
    if len(outputs.shape) == 0:
        raise PredictionError("the model returned a single number, not one output a row", reason="invalid_output")
    if task == "embedding":
        return _of_embedding(outputs, names)
    columns = math.prod(outputs.shape[1:])
    if output is not None:
        form = _given(outputs, output)
    elif task == "regression":
        form = _of_regression(outputs, names)
    else:
        form = _of_text(outputs, names) if not is_numeric(outputs) else _of_numbers(outputs, names, inputs)
    if form.kind == "label" and columns != 1:
        raise InvalidInputError(
            f"outputs of shape {tuple(outputs.shape)} are not one label a row: choose one with {HOW_TO_CHOOSE}"
        )
    if form.kind != "value" and len(outputs.shape) > 2 and columns != 1:
        raise InvalidInputError(f"outputs of shape {tuple(outputs.shape)} are not one row of class scores a row")
    return form


def output_notes(
    form: OutputForm, of_one_class: Array | None, so: str = "there is no agreement, index or area"
) -> list[str]:
    """What is told of the outputs: their kind, and that all clean ones are of one class where they are.

    Args:
        form: what they are.
        of_one_class: the flattened clean ones, where all are of one class.
        so: what follows from that; numbers of unchanged classes would be perfect.
    """
    return [form.note] if of_one_class is None else [form.note, _one_class_note(of_one_class, form.kind, so)]


def _one_class_note(clean: Array, kind: OutputKind, so: str) -> str:
    rows = len(clean)
    if kind == "label":
        why = "a model that never decides otherwise, or outputs that are no classes"
    elif int(clean.shape[1]) == 1:
        finite = _table(clean)
        border = 0.5 if kind == "probability" else 0.0
        side = "above" if np.all(finite > border) else "at most"
        why = f"the one column is {side} {border:g} in each"
        why += ": for a regressor the task is regression" if kind != "probability" else ""
    else:
        why = "one column is the largest in each" if kind != "multilabel" else "the same labels in each"
    return f"all {rows} rows get the same class ({why}): {so}"


def normalised(outputs: Array) -> Array:
    """Rows of scores between 0 and 1, shape `(n, classes)`, as probabilities: over their sum, all alike where it is 0.

    >>> normalised(np.array([[0.5, 0.75], [0.0, 0.0]])).tolist()
    [[0.4, 0.6], [0.5, 0.5]]
    """
    numbers = as_float64(outputs)
    xp = namespace(numbers)
    sums = xp.sum(numbers, axis=1, keepdims=True)
    safe = xp.where(sums > 0, sums, xp.ones_like(sums))
    return xp.where(sums == 0, xp.ones_like(numbers) / numbers.shape[1], numbers / safe)


def given_note(output: str) -> str:
    """What is told where the kind of the outputs was given; more may follow."""
    return f"output is {output}: as given"


def _given(outputs: Array, output: str) -> OutputForm:
    note = given_note(output)
    if output == "label":
        if is_numeric(outputs) and is_floating(outputs) and not _is_whole(_table(outputs)):
            raise InvalidInputError("outputs that are not whole numbers are no labels: they may be values")
        return OutputForm("label", note)
    if not is_numeric(outputs):
        raise InvalidInputError(f"text outputs cannot be of kind {output}: they are labels")
    if output in ("value", "logit"):
        return OutputForm("value" if output == "value" else "logit", note)
    table = _table(outputs)
    if not _is_within(table):
        raise InvalidInputError("outputs below 0 or above 1 are no probabilities: they may be logit or value")
    if output == "multilabel":
        return OutputForm("multilabel", f"{note}, each column a class of its own")
    if table.shape[1] == 1 or _sums_to_one(table) or not len(table):
        return OutputForm("probability", note)
    return OutputForm("probability", f"{note}, and its rows are divided by their sums, which are not 1", True)


def _of_regression(outputs: Array, names: Sequence[str]) -> OutputForm:
    if not is_numeric(outputs) or not is_floating(outputs):
        raise InvalidInputError(
            f"outputs of type {outputs.dtype} look like classes: "
            "set the task to classification, or the output to value or label"
        )
    table = _table(outputs)
    counts = np.flatnonzero(_count_rows(table)).tolist()
    if 0 < len(counts) < table.shape[1]:
        raise InvalidInputError(
            f"{_columns(counts, names)} of the outputs counts the rows, and the others do not: choose what is assessed "
            f"with {HOW_TO_CHOOSE}"
        )
    note = "output is value: numbers under regression"
    if table.shape[1] > 1 and len(table) and _is_within(table) and _sums_to_one(table):
        note += (
            f"; the rows of {table.shape[1]} columns sum to 1: if they are probabilities of classes, set the task to "
            "classification (task=, --task, assess.task)"
        )
    return OutputForm("value", note)


def _of_embedding(outputs: Array, names: Sequence[str]) -> OutputForm:
    if not is_numeric(outputs):
        raise InvalidInputError("text outputs are no embeddings: let the model return one vector of numbers a row")
    size = math.prod(outputs.shape[1:])
    if max(outputs.shape[1:], default=1) != size:
        raise InvalidInputError(
            f"outputs of shape {tuple(outputs.shape)} are not one vector a row: let the model return one, or choose it "
            f"with {HOW_TO_CHOOSE}"
        )
    if 1 < len(set(names)) < size:
        raise InvalidInputError(
            f"the outputs are several parts{_of_parts(names)}: choose the embedding with {HOW_TO_CHOOSE}"
        )
    table = _table(outputs)
    if size == 1 and (not is_floating(outputs) or (len(table) and _is_whole(table))):
        raise InvalidInputError(
            "one whole number a row is no embedding: if they are classes, the task is classification"
        )
    counts = np.flatnonzero(_count_rows(table)).tolist()
    if 0 < len(counts) < size:
        raise InvalidInputError(
            f"{_columns(counts, names)} of the outputs counts the rows, and the others do not: choose the embedding "
            f"with {HOW_TO_CHOOSE}"
        )
    return OutputForm("embedding", f"output is embedding: one vector of {size} numbers a row")


def _of_text(outputs: NDArray[Any], names: Sequence[str]) -> OutputForm:
    if outputs.size != len(outputs):
        raise InvalidInputError(
            f"the outputs are {outputs.size // max(len(outputs), 1)} labels a row{_of_parts(names)}: choose one with "
            f"{HOW_TO_CHOOSE}"
        )
    labels = outputs.reshape(-1)
    said = labels[~missing_labels(labels)]
    if all(isinstance(label, int) for label in said.tolist()):
        return OutputForm("label", _label_note("one column of whole numbers", said, len(labels)))
    if _is_fractions(said):
        raise InvalidInputError(
            "the outputs are numbers written as text: let the model return numbers, or say with "
            f"{HOW_TO_SAY} that they are label"
        )
    return OutputForm("label", _label_note("one column of text", said, len(labels)))


def _of_numbers(outputs: Array, names: Sequence[str], inputs: Array | None) -> OutputForm:
    table = _table(outputs)
    columns = table.shape[1]
    if columns == 1:
        return _of_one_column(table[:, 0], is_floating(outputs))
    if 1 < len(set(names)) < columns:
        raise InvalidInputError(
            f"the outputs are several parts with several columns each{_of_parts(names)}: choose one with "
            f"{HOW_TO_CHOOSE}"
        )
    if not len(table):
        return OutputForm("logit", f"output is logit: {columns} columns, of which no row is finite")
    is_within = _is_within(table)
    if is_within and _sums_to_one(table):
        return OutputForm("probability", f"output is probability: the rows of {columns} columns sum to 1")
    _check_one_thing(outputs, table, names, inputs)
    if is_within:
        raise InvalidInputError(
            f"{columns} columns of outputs{_of_parts(names)} lie between 0 and 1, and their rows do not sum to 1. Say "
            f"with {HOW_TO_SAY} what they are: multilabel (each column a class of its own), probability (one class "
            "against the rest: divided by their sums) or logit"
        )
    if _is_whole(table):
        raise InvalidInputError(
            f"the outputs are {columns} columns of whole numbers{_of_parts(names)}: if they are labels, choose one "
            f"with {HOW_TO_CHOOSE}; if they are scores of classes, say with {HOW_TO_SAY} that they are logit"
        )
    return OutputForm("logit", f"output is logit: {columns} columns of numbers, not all between 0 and 1")


def _of_one_column(column: Float64, floating: bool) -> OutputForm:
    if not floating or (len(column) and _is_whole(column)):
        return OutputForm("label", _label_note("one column of whole numbers", column, len(column)))
    if len(column) and _is_within(column):
        why = "one column of numbers between 0 and 1, the second of two classes above 0.5"
        return OutputForm("probability", f"output is probability: {why}")
    why = "one column of numbers, not all between 0 and 1, the second of two classes above 0"
    return OutputForm("logit", f"output is logit: {why}")


def _check_one_thing(outputs: Array, table: Float64, names: Sequence[str], inputs: Array | None) -> None:
    """Refuse columns of which some are another thing than the others.

    A constant column may be one of either kind: of several classes one may have a fixed score.
    """
    varies = table.max(axis=0, initial=-np.inf) > table.min(axis=0, initial=np.inf)
    varying = np.flatnonzero(varies).tolist()
    whole = np.flatnonzero(varies & np.all(table == np.floor(table), axis=0)).tolist()
    within = [column for column in varying if _is_within(table[:, column])] if names else []
    found: tuple[list[int], str] | None = None
    if 0 < len(whole) < len(varying):
        found = whole, "whole numbers"
    elif echoes := _echoes(outputs, varying, inputs):
        found = echoes, "an input, unchanged"
    elif 0 < len(within) < len(varying):
        found = within, "numbers between 0 and 1"
    if found is not None:
        raise InvalidInputError(
            f"the outputs are columns that differ: {_columns(found[0], names)} holds {found[1]}, the others do not. "
            f"Choose what is assessed with {HOW_TO_CHOOSE}"
        )


def _echoes(outputs: Array, columns: Sequence[int], inputs: Array | None) -> list[int]:
    """The columns that hold a column of the inputs, if all of these are there, and others beside them."""
    if inputs is None or len(inputs.shape) != 2 or len(outputs.shape) != 2 or inputs.shape[1] >= len(columns):
        return []
    given, said = to_numpy(as_float64(inputs)), to_numpy(as_float64(outputs))
    same = np.array([[np.array_equal(said[:, column], each, equal_nan=True) for each in given.T] for column in columns])
    echoes = [column for column, row in zip(columns, same, strict=True) if row.any()]
    return echoes if len(echoes) < len(columns) and same.any(axis=0).all() else []


def _label_note(why: str, labels: NDArray[Any], rows: int) -> str:
    note = f"output is label: {why} under classification"
    classes = len(set(labels.tolist()))
    if classes > max(MANY_CLASSES, rows / 2):
        note += f"; they are {classes} classes in {rows} rows: if they are no classes, the task is regression"
    return note


def _table(outputs: Array) -> Float64:
    """The outputs as `(rows, columns)` in float64 and main memory, without rows that are not finite.

    A column lies side by side: NumPy looks at one in a tenth of the time then.
    """
    numbers = to_numpy(as_float64(outputs))
    numbers = np.asfortranarray(numbers.reshape(len(numbers), -1))
    finite = np.isfinite(numbers)
    return numbers if finite.all() else np.asfortranarray(numbers[finite.all(axis=1)])


def _is_whole(numbers: Float64) -> bool:
    return bool(np.all(numbers == np.floor(numbers)))


def _is_within(numbers: Float64) -> bool:
    return bool(np.all((numbers >= -1e-3) & (numbers <= 1 + 1e-3)))


def _sums_to_one(table: Float64) -> bool:
    return bool(np.all(np.abs(table.sum(axis=1) - 1.0) < 2e-3))


def _count_rows(table: Float64) -> NDArray[np.bool_]:
    """In which columns nearly every number is one more than that of the row before. Shape `(columns,)`.

    >>> _count_rows(np.stack([np.arange(9.0), np.arange(9.0) / 2, np.ones(9)], axis=1)).tolist()
    [True, False, False]
    """
    count = np.zeros(table.shape[1], dtype=np.bool_)
    if len(table) >= 8:
        maybe = np.flatnonzero(table[0] == np.floor(table[0]))
        columns = table[:, maybe]
        count[maybe] = (np.diff(columns, axis=0) == 1).mean(axis=0) > 0.9
        count[maybe] &= (columns == np.floor(columns)).all(axis=0)
    return count


def _is_fractions(labels: NDArray[Any]) -> bool:
    """Whether text is that of numbers, and not of whole ones."""
    try:
        numbers = np.array([float(label) for label in labels.tolist()])
    except ValueError:
        return False
    return len(numbers) > 0 and not _is_whole(numbers[np.isfinite(numbers)])


def _columns(columns: Sequence[int], names: Sequence[str]) -> str:
    """Columns by name, or by position."""
    told = [names[column] if names else str(column) for column in columns]
    return f"{'column' if len(told) == 1 else 'each of the columns'} {some_of(told, MAX_NAMES)}"


def _of_parts(names: Sequence[str]) -> str:
    return f" ({some_of(dict.fromkeys(names), MAX_NAMES)})" if names else ""
