"""What is kept of the outputs of noisy rows: their errors, and whether they say the same class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, concatenation, namespace
from robmon.robustness.embeddings import KEPT, Neighbours
from robmon.robustness.outputs import all_finite, classes_of, flatten, same_classes
from robmon.vocabulary import OutputKind


class RowMeasure(Protocol):
    """Row errors of flattened outputs against what they are compared with, for a curve or for a comparison."""

    count: int
    """How many errors a row has: one a weighting."""

    def __call__(self, outputs: Array, rows: slice) -> Array:
        """Errors of outputs of copies of these rows, where they are; shape `(count, copies * rows)`."""


@dataclass(frozen=True)
class Reduced:
    """What is kept of outputs, of each of their rows, where they are.

    Attributes:
        errors: of all measures, shape `(counts, rows)`, +Inf for a row that is not finite.
        same: whether a row has the class of the i-th reference, shape `(rows,)`; of embeddings what `Neighbours` says.
        is_finite: whether its outputs are, shape `(rows,)`.
    """

    errors: Array
    same: list[Array]
    is_finite: Array


class Reduction(Protocol):
    """What the engine does with the outputs of one batch."""

    def reduce(self, outputs: Array, rows: slice, copies: int = 1) -> Reduced:
        """What is kept of the outputs of so many copies of these rows, one copy after the other."""


@dataclass(frozen=True)
class Measures:
    """How outputs are judged: row errors against references, and their classes where there are.

    Attributes:
        kind: what the outputs are.
        errors: the measures.
        classes: of the i-th reference, shape `(n,)`; empty where outputs are no classes.
        counted: which rows count, shape `(n,)`.
        by_trial: which of the measures' errors at the highest level are kept trial by trial; None: of none.
        weights: shape `(n,)`, of rows in the means of each trial by which versions are compared; None: there are none.
        neighbours: of embeddings, what else is kept of each row; None of others.
    """

    kind: OutputKind
    errors: Sequence[RowMeasure]
    classes: Sequence[Array]
    counted: NDArray[np.bool_]
    by_trial: int | None = None
    weights: Float64 | None = None
    neighbours: Neighbours | None = None

    @property
    def kept(self) -> int:
        """How many numbers are kept of a row that say whether something of it is as it was."""
        return len(self.classes) + (0 if self.neighbours is None else KEPT)

    def reduce(self, outputs: Array, rows: slice, copies: int = 1) -> Reduced:
        """What is kept of the outputs of so many copies of these rows.

        Raises:
            PredictionError: they are not of the form of the references.
        """
        flat = flatten(outputs, self.kind, copies * (rows.stop - rows.start))
        errors = concatenation([measure(flat, rows) for measure in self.errors])
        finite, errors = _where_finite(flat, errors, self.kind)
        said = classes_of(flat, self.kind, finite) if self.classes else None
        same = [same_classes(said, classes[rows], self.kind) for classes in self.classes if said is not None]
        if self.neighbours is not None:
            same += self.neighbours(flat, rows, errors[0, :])
        return Reduced(errors, same, finite)


def _where_finite(outputs: Array, errors: Array, kind: OutputKind) -> tuple[Array, Array]:
    """Which rows of flattened outputs are finite, and the errors, +Inf for rows that are not."""
    if kind == "label":
        return all_finite(outputs), errors
    # An error is finite only where all outputs are. On a device one would have to wait for the answer.
    if isinstance(errors, np.ndarray) and math.isfinite(errors.sum()):
        return np.ones(errors.shape[1], dtype=np.bool_), errors
    xp, finite = namespace(outputs), all_finite(outputs)
    return finite, xp.where(finite & xp.isfinite(errors), errors, float("inf"))
