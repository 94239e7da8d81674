"""Targets in the form of a model's outputs, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, like, to_numpy
from robmon.robustness.outputs import missing_labels
from robmon.vocabulary import OutputKind


def targets_like(targets: Any, outputs: Array, clean: Array, kind: OutputKind, task: str) -> Array:
    """Targets in the form of the flattened clean outputs."""
    truth = to_numpy(targets)
    if task == "classification" and kind not in ("label", "multilabel"):
        truth = _scores_of(truth, int(clean.shape[1]))
    if truth.shape[:1] != tuple(outputs.shape[:1]) or truth.size != int(np.prod(outputs.shape)):
        columns = int(np.prod(outputs.shape[1:]))
        advice = f": give {columns} columns, one an output" if columns > 1 else ""
        if task == "classification":
            advice = ": give one class 0, 1, ... a row, or one column a class"
        if kind == "multilabel":
            advice = ": give one column of 0 and 1 a label"
        raise InvalidInputError(
            f"targets of shape {truth.shape} do not fit outputs of shape {tuple(outputs.shape)}{advice}"
        )
    if kind == "label":
        truth = truth.reshape(-1)
        if missing_labels(truth).any():
            raise InvalidInputError("targets must not hold missing labels")
        _check_same_classes(truth, clean[~missing_labels(clean)])
        return truth
    if truth.dtype.kind not in "fiub" or not np.all(np.isfinite(truth)):
        raise InvalidInputError("targets must be finite numbers")
    if kind in ("probability", "multilabel") and not np.all((truth >= 0) & (truth <= 1)):
        raise InvalidInputError("targets of probabilities must lie between 0 and 1: give 0 and 1, one column a class")
    return like(truth.reshape(tuple(clean.shape)).astype(np.float64), clean)


def _scores_of(classes: NDArray[Any], columns: int) -> NDArray[Any]:
    """Classes 0, 1, ..., shape `(n,)`, as one column a class, for a model with such columns; other targets as are."""
    if columns < 2 or classes.ndim != 1 or classes.dtype.kind not in "fiub":
        return classes
    if not np.all(np.isfinite(classes)) or np.any(classes != np.floor(classes)):
        raise InvalidInputError(
            f"the model has {columns} classes: targets must be whole numbers from 0 to {columns - 1}, "
            "or one column a class"
        )
    if classes.min() < 0 or classes.max() >= columns:
        raise InvalidInputError(f"the model has {columns} classes, and the targets are not among 0 to {columns - 1}")
    return np.asarray(np.eye(columns)[classes.astype(np.int64)])


def _check_same_classes(truth: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse targets of another kind than the model's labels, and those that have no class in common with them.

    Of two classes a model may say always one where always the other is true.
    """
    of_text = [{isinstance(each, str | bytes) for each in values.tolist()} for values in (truth, labels)]
    if len(of_text[0] | of_text[1]) > 1:
        raise InvalidInputError(
            f"targets of type {truth.dtype} cannot be compared with labels of type {labels.dtype}: "
            "give the classes as the model returns them"
        )
    true, said = set(truth.tolist()), set(labels.tolist())
    if said and len(true | said) > 2 and not true & said:
        raise InvalidInputError(
            "the targets and the model's labels have no class in common: give the classes as the model returns them"
        )
