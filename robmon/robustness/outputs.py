"""The model's outputs: their kind, how much they vary, how far they moved (row errors), which class they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import HOW_TO_SAY, InvalidInputError, PredictionError
from robmon.robustness.arrays import (
    Array,
    Float64,
    as_float64,
    by_copy,
    check_rows,
    detached,
    like,
    namespace,
    to_numpy,
)
from robmon.vocabulary import OutputKind


def is_numeric(outputs: Array) -> bool:
    """Whether the outputs hold numbers, not text or objects."""
    return not isinstance(outputs, np.ndarray) or outputs.dtype.kind in "fiub"


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
        if labels.dtype.kind == "f" and np.any(np.isfinite(labels) & (labels != np.floor(labels))):
            raise PredictionError(
                "outputs taken for labels are not whole numbers under noise: say with "
                f"{HOW_TO_SAY} whether they are value, probability or logit",
                reason="invalid_output",
            )
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
    if not (finite := np.isfinite(numbers)).all():
        numbers = numbers[finite.all(axis=1)]
    if not len(numbers):
        return np.zeros(clean.shape[1])
    means = _means(numbers)
    # Single precision is what models compute in: below its resolution a constant output merely trembles.
    rounding = (4 * np.finfo(np.float32).eps * np.abs(means)) ** 2
    moves = numbers - means
    moves *= moves
    variance = _means(moves)
    return np.asarray(np.where(variance > rounding, variance, 0.0))


def checked_variance(given: Float64, measured: Float64, kind: OutputKind) -> Float64:
    """Output variances that were given, in the place of those measured.

    Raises:
        InvalidInputError: they are no variances, or not as many as there are outputs.
    """
    variance = np.asarray(given, dtype=np.float64).ravel()
    if not np.all(np.isfinite(variance)) or np.any(variance < 0):
        raise InvalidInputError("output variances must be finite numbers of at least 0")
    if kind != "label" and variance.size != measured.size:
        raise InvalidInputError(f"{variance.size} output variances were given for {measured.size} outputs")
    return variance


def _means(numbers: Float64) -> Float64:
    """The mean of each column, of several in a third of the time that NumPy's own takes for long ones."""
    if numbers.shape[1] == 1:
        return np.asarray(numbers.mean(axis=0))
    return np.asarray(np.einsum("ij->j", numbers) / len(numbers))


def mean_weights(clean: Array) -> Float64:
    """Weights with which a row error is the plain mean over outputs; `clean` is what `flatten` returns."""
    columns = int(clean.shape[1]) if len(clean.shape) > 1 else 1
    return np.full(columns, 1.0 / columns)


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
    >>> errors(np.array([[1.0, 2.0], [3.0, 0.0]]), slice(0, 2)).tolist()
    [[2.5, 4.5], [1.0, 9.0]]
    """

    def __init__(self, reference: Array, weights: Sequence[Float64]) -> None:
        self.reference = reference
        self.labels = len(reference.shape) == 1
        self.weights = list(weights)
        self._weights = None if self.labels else like(np.stack(self.weights, axis=1), reference)
        self.count = len(self.weights)

    def __call__(self, outputs: Array, rows: slice) -> Array:
        """Errors of flattened outputs of copies of these rows, one copy after the other, where they are.

        Shape `(weightings, copies * rows)`; of a row that is not finite it is any number. A label that is missing
        counts as changed.
        """
        reference = self.reference[rows]
        if tuple(outputs.shape[1:]) != tuple(reference.shape[1:]):
            raise PredictionError(
                f"the model returned outputs of shape {tuple(outputs.shape)}, not {tuple(reference.shape)} as before",
                reason="invalid_output",
            )
        if self.labels:
            flips = changed_labels(outputs, reference).astype(np.float64)
            return np.stack([flips * weight[0] for weight in self.weights])
        xp = namespace(outputs)
        with np.errstate(over="ignore", invalid="ignore"):
            moves = xp.reshape(by_copy(outputs, reference) - reference, outputs.shape)
            moves *= moves
            return xp.matrix_transpose(moves @ self._weights)


def changed_labels(labels: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.bool_]:
    """Which labels differ; a missing one always does. Shape of the labels, which may be copies of the reference's rows.

    >>> changed_labels(np.array([1.0, 2.0, np.nan]), np.array([1.0, 1.0, np.nan])).tolist()
    [False, True, True]
    """
    changed = np.asarray(by_copy(labels, reference) != reference, dtype=bool) | missing_labels(reference)
    return changed.reshape(labels.shape) | missing_labels(labels)


def classes_of(outputs: Array, kind: OutputKind, finite: Array | None = None) -> Array:
    """The class each row of flattened outputs says: its label, or the index of the largest score.

    One column: class 1 where the probability is above 0.5, the logit above 0. A row that is not finite has class -1.
    Shape `(rows,)`, where the outputs are; of several labels at once, whose set is the class, `(rows, labels)`, 0 or 1.

    Args:
        outputs: what `flatten` returns.
        kind: what they are.
        finite: which rows are, shape `(rows,)`; None: to be found out.

    >>> classes_of(np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, 1.0]]), "probability").tolist()
    [0, 1, -1]
    """
    if kind == "label":
        return np.asarray(outputs)
    xp = namespace(outputs)
    finite = all_finite(outputs) if finite is None else finite
    if kind == "multilabel":
        return xp.where(finite[:, None], xp.astype(outputs > 0.5, xp.int64), -1)
    if outputs.shape[1] == 1:
        classes = xp.astype(outputs[:, 0] > (0.5 if kind == "probability" else 0.0), xp.int64)
    else:
        classes = xp.argmax(outputs, axis=1)
    return xp.where(finite, classes, -1)


def all_finite(outputs: Array) -> Array:
    """Which rows of flattened outputs are finite in every output, as labels that are not missing are; shape `(rows,)`,
    where they are."""
    if len(outputs.shape) == 1:
        return ~missing_labels(outputs)
    with np.errstate(invalid="ignore"):
        return namespace(outputs).sum(outputs * 0.0, axis=1) == 0.0  # twice as fast as to ask for each


def same_classes(classes: Array, reference: Array, kind: OutputKind) -> Array:
    """Which rows have the class of their reference, as `classes_of` gives both; never where either is missing.

    The classes may be those of copies of the reference's rows, one copy after the other. Shape `(copies * rows,)`.
    """
    if kind == "label":
        return ~changed_labels(classes, reference)
    xp = namespace(classes)
    same = (by_copy(classes, reference) == reference) & (reference >= 0)
    return xp.reshape(xp.all(same, axis=-1) if kind == "multilabel" else same, (-1,))


def are_alike(classes: NDArray[Any], kind: OutputKind) -> bool:
    """Whether all rows, missing classes aside, have one class, as `classes_of` gives them.

    >>> are_alike(np.array([1, 1, -1]), "logit"), are_alike(np.array(["cat", "dog"]), "label")
    (True, False)
    """
    is_there = ~missing_labels(classes) if kind == "label" else classes.reshape(len(classes), -1)[:, 0] >= 0
    said = classes[is_there]
    return bool(len(said) == 0 or np.all(said == said[:1]))
