"""The model's outputs: their kind, how much they vary, how far they moved (row errors), which class they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError, PredictionError
from robmon.robustness.arrays import (
    Array,
    Float64,
    as_float64,
    check_rows,
    detached,
    is_floating,
    like,
    namespace,
    to_numpy,
)

OutputKind = Literal["value", "probability", "logit", "label"]
Task = Literal["regression", "classification"]
KINDS = ("value", "probability", "logit", "label")
TASKS = ("regression", "classification")


def resolve_output(outputs: Array, task: str, output: str | None) -> OutputKind:
    """What the model's numbers are: `output` where given and possible, else by their type and the task.

    Regression: value. Classification: label where they are integers or text; probability where rows sum to 1 (one
    column: where all lie between 0 and 1); else logit.

    Raises:
        InvalidInputError: integers or text as regression without `output`; an `output` that these cannot be; classes
            that are not one row of scores, or one label, a row.

    >>> resolve_output(np.array([[0.2, 0.8], [0.5, 0.5]]), "classification", None)
    'probability'
    """
    if task not in TASKS:
        raise InvalidInputError(f"task {task!r} is not known: it is one of {', '.join(TASKS)}")
    if output is not None and output not in KINDS:
        raise InvalidInputError(f"output {output!r} is not known: it is one of {', '.join(KINDS)}")
    if len(outputs.shape) == 0:
        raise PredictionError("the model returned a single number, not one output a row", reason="invalid_output")
    kind = _given(outputs, output) if output is not None else _deduced(outputs, task)
    columns = int(np.prod(outputs.shape[1:]))
    if kind == "label" and columns != 1:
        raise InvalidInputError(f"outputs of shape {tuple(outputs.shape)} are not one label a row")
    if kind != "value" and len(outputs.shape) > 2:
        raise InvalidInputError(f"outputs of shape {tuple(outputs.shape)} are not one row of class scores a row")
    return kind


def _given(outputs: Array, output: str) -> OutputKind:
    if output == "label":
        if is_numeric(outputs) and is_floating(outputs) and not _are_whole(outputs):
            raise InvalidInputError("outputs that are not whole numbers are no labels: they may be values")
        return "label"
    if _is_text(outputs):
        raise InvalidInputError(f"text outputs cannot be of kind {output}: they are labels")
    if output == "probability":
        numbers = as_float64(outputs)
        xp = namespace(numbers)
        if bool(xp.any((numbers < -1e-3) | (numbers > 1 + 1e-3))):
            raise InvalidInputError("outputs below 0 or above 1 are no probabilities: they may be logit or value")
        return "probability"
    return "value" if output == "value" else "logit"


def _deduced(outputs: Array, task: str) -> OutputKind:
    if not is_numeric(outputs) or not is_floating(outputs):
        if task == "regression":
            raise InvalidInputError(
                f"outputs of type {outputs.dtype} look like classes: "
                "set the task to classification, or the output to value or label"
            )
        return "label"
    if task == "regression":
        return "value"
    numbers = as_float64(outputs)
    xp = namespace(numbers)
    numbers = xp.reshape(numbers, (numbers.shape[0], -1))
    numbers = numbers[xp.all(xp.isfinite(numbers), axis=1)]
    between = bool(xp.all((numbers >= -1e-3) & (numbers <= 1 + 1e-3)))
    sums_to_one = numbers.shape[1] == 1 or bool(xp.all(xp.abs(xp.sum(numbers, axis=1) - 1.0) < 2e-3))
    return "probability" if between and sums_to_one else "logit"


def is_numeric(outputs: Array) -> bool:
    """Whether the outputs hold numbers, not text or objects."""
    return not isinstance(outputs, np.ndarray) or outputs.dtype.kind in "fiub"


def _are_whole(outputs: Array) -> bool:
    numbers = as_float64(outputs)
    xp = namespace(numbers)
    return bool(xp.all(~xp.isfinite(numbers) | (numbers == xp.floor(numbers))))


def _is_text(outputs: Array) -> bool:
    return isinstance(outputs, np.ndarray) and outputs.dtype.kind in "USTO"


def flatten(outputs: Array, kind: OutputKind, rows: int) -> Array:
    """Outputs as `(rows, outputs)` in float64 where they are; labels as `(rows,)` in main memory.

    Raises:
        PredictionError: not one output a row, or not numbers.

    >>> flatten(np.zeros((5, 2, 3), dtype=np.float32), "value", rows=5).shape
    (5, 6)
    """
    outputs = check_rows(outputs, rows)
    if kind == "label":
        labels = to_numpy(outputs)
        if labels.size != rows:
            raise PredictionError(f"the model returned {labels.size} labels for {rows} rows", reason="invalid_output")
        return labels.reshape(rows)
    if not is_numeric(outputs):
        raise PredictionError(
            f"the model returned outputs of type {outputs.dtype}, not numbers", reason="invalid_output"
        )
    outputs = detached(outputs)
    return as_float64(namespace(outputs).reshape(outputs, (rows, -1)))


def missing_labels(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Which labels are no class: NaN or None. Shape `(n,)`.

    >>> missing_labels(np.array(["cat", None], dtype=object)).tolist()
    [False, True]
    """
    if labels.dtype.kind == "f":
        return np.asarray(~np.isfinite(labels))
    if labels.dtype.kind == "O":
        return np.array([label is None or label != label for label in labels], dtype=bool)
    return np.zeros(labels.shape, dtype=bool)


def output_variance(clean: Array, kind: OutputKind) -> Float64:
    """Variance (divisor n) of each output over the finite clean outputs; of labels, `p (1 - p)` per class.

    Variances that are only rounding are 0.

    Args:
        clean: what `flatten` returns.

    Returns:
        shape `(outputs,)`, or `(classes,)` in the order of the sorted labels.

    >>> output_variance(np.array(["cat", "dog", "dog", "cat"]), "label").tolist()
    [0.25, 0.25]
    """
    if kind == "label":
        labels = clean[~missing_labels(clean)]
        shares = np.unique(labels, return_counts=True)[1] / max(len(labels), 1)
        return np.asarray(shares * (1.0 - shares), dtype=np.float64)
    numbers = to_numpy(clean)
    numbers = numbers[np.all(np.isfinite(numbers), axis=1)]
    if not len(numbers):
        return np.zeros(clean.shape[1])
    # Single precision is what models compute in: below its resolution a constant output merely trembles.
    rounding = (4 * np.finfo(np.float32).eps * np.abs(numbers.mean(axis=0))) ** 2
    variance = numbers.var(axis=0)
    return np.asarray(np.where(variance > rounding, variance, 0.0))


def normalising_weights(variance: Float64, kind: OutputKind) -> Float64:
    """Weights w with `sum_j w_j d_j²` the row error over twice the output variance.

    Values: the mean over outputs of `d² / (2 Var)`. Classes: `sum d² / (2 sum Var)`; for labels, whose `d²` counts 1
    where the one-hot distance is 2, `1 / sum Var`. Outputs without variance are left out.

    >>> normalising_weights(np.array([2.0, 0.0, 1.0]), "value").tolist()
    [0.125, 0.0, 0.25]
    """
    has = variance > 0
    if kind == "label":
        return np.array([1.0 / variance.sum() if has.any() else 0.0])
    safe = np.where(has, variance, 1.0)
    if kind == "value":
        return np.asarray(np.where(has, 1.0 / (2.0 * safe), 0.0) / max(int(has.sum()), 1))
    return np.asarray(np.where(has, 1.0 / (2.0 * max(float(variance[has].sum()), 1e-300)), 0.0))


class RowErrors:
    """Row errors against a fixed reference, under several weightings at once.

    Args:
        reference: flattened outputs of all rows, what noisy outputs are compared with.
        weights: one array `(outputs,)` a weighting; the first is usually the plain mean over outputs.

    >>> errors = RowErrors(np.zeros((2, 2)), [np.array([0.5, 0.5]), np.array([1.0, 0.0])])
    >>> errors(np.array([[1.0, 2.0], [np.nan, 0.0]]), slice(0, 2)).tolist()
    [[2.5, inf], [1.0, inf]]
    """

    def __init__(self, reference: Array, weights: Sequence[Float64]) -> None:
        self.reference = reference
        self.labels = len(reference.shape) == 1
        self.weights = [like(weight, reference) for weight in weights] if not self.labels else list(weights)
        self.count = len(self.weights)

    def __call__(self, outputs: Array, rows: slice) -> Float64:
        """Errors of flattened outputs of these rows; shape `(weightings, rows)`, +Inf for a row that is not finite.

        A label that is missing counts as changed.
        """
        reference = self.reference[rows]
        if tuple(outputs.shape) != tuple(reference.shape):
            raise PredictionError(
                f"the model returned outputs of shape {tuple(outputs.shape)}, not {tuple(reference.shape)} as before",
                reason="invalid_output",
            )
        if self.labels:
            flips = changed_labels(outputs, reference).astype(np.float64)
            return np.stack([flips * weight[0] for weight in self.weights])
        xp = namespace(outputs)
        with np.errstate(over="ignore", invalid="ignore"):
            squared = (outputs - reference) ** 2
            finite = xp.all(xp.isfinite(squared), axis=1)
            errors = xp.stack([xp.sum(squared * weight, axis=1) for weight in self.weights])
            errors = xp.where(finite & xp.isfinite(errors), errors, xp.full_like(errors, float("inf")))
        return to_numpy(errors)


def changed_labels(labels: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.bool_]:
    """Which labels differ; a missing one always does. Shape `(n,)`.

    >>> changed_labels(np.array([1.0, 2.0, np.nan]), np.array([1.0, 1.0, np.nan])).tolist()
    [False, True, True]
    """
    return np.asarray(labels != reference, dtype=bool) | missing_labels(labels) | missing_labels(reference)


def classes_of(outputs: Array, kind: OutputKind) -> NDArray[Any]:
    """The class each row of flattened outputs says: its label, or the index of the largest score.

    One column: class 1 where the probability is above 0.5, the logit above 0. A row that is not finite has class -1.
    Shape `(rows,)`, in main memory.

    >>> classes_of(np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, 1.0]]), "probability").tolist()
    [0, 1, -1]
    """
    if kind == "label":
        return np.asarray(outputs)
    xp = namespace(outputs)
    if outputs.shape[1] == 1:
        classes = outputs[:, 0] > (0.5 if kind == "probability" else 0.0)
        classes = xp.astype(classes, xp.int64)
    else:
        classes = xp.argmax(outputs, axis=1)
    finite = xp.all(xp.isfinite(outputs), axis=1)
    return to_numpy(xp.where(finite, classes, xp.full_like(classes, -1)))


def same_classes(classes: NDArray[Any], reference: NDArray[Any], kind: OutputKind) -> NDArray[np.bool_]:
    """Which rows have the class of their reference, as `classes_of` gives both; never where either is missing."""
    if kind == "label":
        return ~changed_labels(classes, reference)
    return np.asarray((classes == reference) & (classes >= 0))
