"""One batch of noisy rows: perturb, predict, and reduce the outputs to what is added up.

Trials and plan call the same function, so that the time budget times what runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, batches, check_rows, copied, detached, namespace
from robmon.robustness.confidence import TemperedErrors
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Noise, NoisyRows, Stream
from robmon.robustness.nonfinite import finite_rows, newly_beyond
from robmon.robustness.outputs import (
    RowErrors,
    classes_of,
    flatten,
    is_numeric,
    mean_weights,
    same_classes,
)
from robmon.vocabulary import OutputKind


class RowMeasure(Protocol):
    """Row errors of flattened outputs against what they are compared with, for a curve or for a comparison."""

    count: int
    """How many errors a row has: one a weighting."""

    def __call__(self, outputs: Array, rows: slice) -> Float64:
        """Shape `(count, rows)`, in main memory; +Inf for a row that is not finite."""


@dataclass(frozen=True)
class Reduced:
    """What is kept of one batch of outputs: of each of its rows, in main memory.

    Attributes:
        errors: of the i-th measure, shape `(count, rows)`.
        same: whether a row has the class of the i-th reference, shape `(rows,)`.
        is_finite: whether its outputs are, shape `(rows,)`.
    """

    errors: list[Float64]
    same: list[NDArray[np.bool_]]
    is_finite: NDArray[np.bool_]


class Reduction(Protocol):
    """What the engine does with the outputs of one batch."""

    def reduce(self, outputs: Array, rows: slice) -> Reduced:
        """What is kept of the outputs of these rows."""


@dataclass(frozen=True)
class Measures:
    """How outputs are judged: row errors against references, and their classes where there are.

    Attributes:
        kind: what the outputs are.
        errors: the measures.
        classes: of the i-th reference, shape `(n,)`; empty where outputs are no classes.
        counted: which rows count, shape `(n,)`.
    """

    kind: OutputKind
    errors: Sequence[RowMeasure]
    classes: Sequence[NDArray[Any]]
    counted: NDArray[np.bool_]

    def reduce(self, outputs: Array, rows: slice) -> Reduced:
        """What is kept of the outputs of these rows.

        Raises:
            PredictionError: they are not of the form of the references.
        """
        flat = flatten(outputs, self.kind, rows.stop - rows.start)
        said = classes_of(flat, self.kind) if self.classes else None
        return Reduced(
            errors=[measure(flat, rows) for measure in self.errors],
            same=[same_classes(said, classes[rows], self.kind) for classes in self.classes if said is not None],
            is_finite=finite_rows(flat),
        )


class Rehearsal:
    """Measures that cost what those of an assessment do, where nothing is known yet: the first outputs of a length are
    the reference of all that follow.

    Args:
        task: `regression` or `classification`.
    """

    def __init__(self, task: str) -> None:
        self._task = task
        self._measures: dict[int, Measures] = {}

    def reduce(self, outputs: Array, rows: slice) -> Reduced:
        """As `Measures.reduce`, of rows that begin with the first."""
        count = rows.stop - rows.start
        outputs = check_rows(outputs, count)
        if not is_numeric(outputs):
            outputs = outputs.reshape(count, -1)[:, 0]  # several texts a row are refused when it is known what they are
        if count not in self._measures:
            self._measures[count] = self._of(outputs, count)
        return self._measures[count].reduce(outputs, rows)

    def _of(self, outputs: Array, count: int) -> Measures:
        counted = np.ones(count, dtype=np.bool_)
        if not is_numeric(outputs):
            return Measures("label", [RowErrors(outputs, [mean_weights(outputs)] * 2)], [outputs], counted)
        is_class = self._task == "classification"
        kind: OutputKind = "logit" if is_class else "value"
        flat = flatten(outputs, kind, count)
        errors: list[RowMeasure] = [RowErrors(flat, [mean_weights(flat)] * 2)]
        if not is_class:
            return Measures(kind, errors, [], counted)
        with np.errstate(all="ignore"):
            errors.append(TemperedErrors(flat, kind, 1.0))
        return Measures(kind, errors, [classes_of(flat, kind)], counted)


@dataclass(frozen=True)
class NoisyBatch:
    """What is kept of one batch of rows at one level.

    Attributes:
        outputs: what they were reduced to.
        squared_moves: how far each row was moved, in units of the scale, summed over its cells, shape `(rows,)`.
        is_beyond: whether the noise took it beyond what the model's own type of input holds, shape `(rows,)`.
    """

    outputs: Reduced
    squared_moves: Float64
    is_beyond: NDArray[np.bool_]


class Engine:
    """Runs batches of noisy rows through a predictor.

    Args:
        predictor: the model.
        inputs: shape `(n, *input_shape)`, floating.
        noise: how rows are perturbed.
        features: of the inputs, as the noise perturbs them.
        largest: the largest number of the type in which the model gets its inputs, where that is small.
    """

    def __init__(
        self,
        predictor: Predictor,
        inputs: Array,
        noise: Noise,
        features: Features,
        largest: Float64 | float | None = None,
    ) -> None:
        self.predictor, self.inputs, self.noise, self.features = predictor, inputs, noise, features
        self._largest = largest
        self._here = features.like(inputs)

    def stream(self, generator: np.random.Generator) -> Stream:
        """The standard draws of one trial, batch after batch."""
        return self.noise.stream(generator, self.features)

    def batch(self, stream: Stream, rows: slice, levels: Sequence[float], reduction: Reduction) -> Iterator[NoisyBatch]:
        """Perturb, predict and reduce these rows at one level after another, all under one draw of the stream.

        Level 0 calls the model on the clean inputs again.
        """
        clean = self.inputs[rows]
        noisy = NoisyRows(self.noise, clean, stream, self._here)
        for level in levels:
            perturbed = noisy.at(level)
            # Moves are measured before the model gets the rows: it may write into them.
            moves = noisy.squared_moves(perturbed, level)
            is_beyond = newly_beyond(perturbed, clean, self._largest)
            outputs = reduction.reduce(self.predictor.predict(perturbed, rows), rows)
            yield NoisyBatch(outputs, moves, is_beyond)


def clean_pass(predictor: Predictor, inputs: Array, batch_rows: int) -> Array:
    """The outputs for the inputs as they are, as the model returns them, shape `(n, *output_shape)`."""
    parts = []
    for rows in batches(inputs.shape[0], batch_rows):
        outputs = check_rows(detached(predictor.predict(copied(inputs[rows]), rows)), rows.stop - rows.start)
        parts.append(copied(outputs))  # the model may return the same buffer at every call
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else namespace(parts[0]).concat(parts)
