"""What is kept of the outputs of noisy rows: their errors, and whether they say the same class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, batches, check_rows, concatenation, is_on_cuda, namespace
from robmon.robustness.embeddings import KEPT, Neighbours
from robmon.robustness.outputs import all_finite, classes_of, flatten, same_classes
from robmon.vocabulary import OutputKind

TOGETHER: Final = 2**17
"""So many outputs are reduced at a time: in float64 they are near the processor, whatever the batch takes."""
CUDA_TOGETHER: Final = 2**22
"""Likewise on a CUDA device, where a few take as long as many: 32 MiB."""


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

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """What is kept of the rows of one part after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            concatenation([part.errors for part in parts], axis=1),
            [concatenation(same) for same in zip(*(part.same for part in parts), strict=True)],
            concatenation([part.is_finite for part in parts]),
        )


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
        outputs = check_rows(outputs, copies * (rows.stop - rows.start))
        most = (CUDA_TOGETHER if is_on_cuda(outputs) else TOGETHER) // max(1, math.prod(outputs.shape[1:]))
        pieces = _pieces(rows, copies, max(1, most))
        return Reduced.joined([self._reduced(outputs[where], which, of) for where, which, of in pieces])

    def _reduced(self, outputs: Array, rows: slice, copies: int) -> Reduced:
        flat = flatten(outputs, self.kind, copies * (rows.stop - rows.start))
        errors = concatenation([measure(flat, rows) for measure in self.errors])
        finite, errors = _where_finite(flat, errors, self.kind)
        said = classes_of(flat, self.kind, finite) if self.classes else None
        same = [same_classes(said, classes[rows], self.kind) for classes in self.classes if said is not None]
        if self.neighbours is not None:
            same += self.neighbours(flat, rows, errors[0, :])
        return Reduced(errors, same, finite)


def _pieces(rows: slice, copies: int, most: int) -> Iterator[tuple[slice, slice, int]]:
    """Copies of rows in pieces of at most so many: where each stands, of which rows it is, and how many copies of them.

    >>> list(_pieces(slice(4, 7), 3, 6))
    [(slice(0, 6, None), slice(4, 7, None), 2), (slice(6, 9, None), slice(4, 7, None), 1)]
    >>> list(_pieces(slice(4, 7), 1, 2))
    [(slice(0, 2, None), slice(4, 6, None), 1), (slice(2, 3, None), slice(6, 7, None), 1)]
    """
    count = rows.stop - rows.start
    together = max(1, most // count)
    for first in range(0, copies, together):
        these = min(together, copies - first)
        for part in batches(count, count if these > 1 else min(most, count)):
            start, length = first * count + part.start, (part.stop - part.start) * these
            yield slice(start, start + length), slice(rows.start + part.start, rows.start + part.stop), these


def _where_finite(outputs: Array, errors: Array, kind: OutputKind) -> tuple[Array, Array]:
    """Which rows of flattened outputs are finite, and the errors, +Inf for rows that are not."""
    if kind == "label":
        return all_finite(outputs), errors
    # An error is finite only where all outputs are. On a device one would have to wait for the answer.
    if isinstance(errors, np.ndarray) and math.isfinite(errors.sum()):
        return np.ones(errors.shape[1], dtype=np.bool_), errors
    xp, finite = namespace(outputs), all_finite(outputs)
    return finite, xp.where(finite & xp.isfinite(errors), errors, float("inf"))
