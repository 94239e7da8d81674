"""The clean pass: what a model gives without noise, which of it counts, and what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError, PredictionError
from robmon.robustness.arrays import Array, Float64, in_main_memory, rows_of, to_numpy
from robmon.robustness.embeddings import error_weight, unit_vectors
from robmon.robustness.engine.batch_size import BatchSize, accompanied
from robmon.robustness.engine.clean_pass import clean_pass
from robmon.robustness.engine.predictor import Predictor, through
from robmon.robustness.nonfinite import finite_rows, none_finite
from robmon.robustness.output_kind import OutputForm, normalised, output_notes, resolve_output
from robmon.robustness.outputs import are_alike, classes_of, flatten, is_numeric, mean_weights
from robmon.robustness.specification import Specification
from robmon.vocabulary import OutputKind

ROUNDING: Final = 1e-10
"""A change of the clean outputs below this share of their variance is rounding, not randomness of the model."""


@dataclass(frozen=True, eq=False)
class CleanPass:
    """A model's outputs without noise.

    Attributes:
        predictor: the model, of which outputs are those of `form`, and which is never given one row on its own.
        outputs: as it returned them, or as probabilities or unit vectors, shape `(n, *output_shape)`.
        finite: shape `(n,)`, which rows have a finite output.
        counted: shape `(n,)`, which rows count: those, or all of a version that is compared and has none.
        form: what the outputs are, and why.
        clean: the outputs as `flatten` returns them.
        seen: the same in main memory.
        weights: with which squared changes of the outputs are a row error: their mean; of embeddings the squared
            distance, of unit vectors half of it.
        without_direction: rows left out whose embedding is the zero vector, where distances are angles.
    """

    predictor: Predictor
    outputs: Array
    finite: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    form: OutputForm
    clean: Array
    seen: NDArray[Any]
    weights: Float64
    without_direction: int = 0

    @property
    def kind(self) -> OutputKind:
        """What the outputs are."""
        return self.form.kind

    @property
    def notes(self) -> list[str]:
        """What is told, of classes that are to be kept, of the outputs: a model that decides nothing keeps them all."""
        clean = rows_of(self.seen, self.counted)
        is_one_class = are_alike(to_numpy(classes_of(clean, self.kind)), self.kind)
        so = "a model that decides nothing keeps them everywhere"
        return output_notes(self.form, clean if is_one_class else None, so)

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        inputs: Array,
        size: BatchSize,
        specification: Specification,
        output_names: Callable[[], Sequence[str]] = tuple,
        *,
        is_compared: bool = False,
    ) -> CleanPass:
        """The model's outputs for the inputs as they are.

        Args:
            predictor: the model.
            inputs: shape `(n, *input_shape)`.
            size: of batches; it becomes smaller where memory runs out.
            specification: the task, and what outputs are where that was said.
            output_names: asked after the pass for each output column's part, where outputs have several.
            is_compared: whether a model that has no finite output for any row is to fail a comparison.

        Raises:
            InvalidInputError: nothing says what the outputs are.
            PredictionError: the model returned what is not one output a row, or no finite output for any row.
        """
        predictor = accompanied(predictor, inputs, size)
        outputs = clean_pass(predictor, inputs, size)
        here = in_main_memory(outputs)
        finite = finite_rows(here)
        without_direction = 0
        if specification.task == "embedding" and specification.distance == "cosine" and is_numeric(outputs):
            outputs, predictor, without_direction = _of_directions(outputs, predictor, finite)
            here = in_main_memory(outputs)
            finite = finite_rows(here)
        counted = _counted(here, finite, is_compared, without_direction)
        form = resolve_output(
            rows_of(here, counted),
            specification.task,
            specification.output,
            output_names(),
            rows_of(inputs, counted),
        )
        if form.is_normalised:
            outputs, predictor = normalised(outputs), _normalising(predictor)
            here = in_main_memory(outputs)
        clean = flatten(outputs, form.kind, int(inputs.shape[0]))
        seen = clean if here is outputs else flatten(here, form.kind, int(inputs.shape[0]))
        weights = mean_weights(clean)
        if form.kind == "embedding":
            weights = np.full(int(clean.shape[1]), error_weight(specification.distance))
        return cls(predictor, outputs, finite, counted, form, clean, to_numpy(seen), weights, without_direction)


def _normalising(predictor: Predictor) -> Predictor:
    """The model with its rows of scores as probabilities."""
    return through(predictor, lambda x, rows: normalised(predictor.predict(x, rows)))


def _of_directions(outputs: Array, predictor: Predictor, finite: NDArray[np.bool_]) -> tuple[Array, Predictor, int]:
    """Embeddings as unit vectors, the model that returns such, and how many of them have no direction."""
    if int(np.prod(outputs.shape[1:])) < 2:
        raise InvalidInputError("one number a row has no direction: distance cosine needs 2 or more, or take l2")
    units = unit_vectors(outputs)
    lost = int(np.sum(finite & ~finite_rows(units)))
    return units, through(predictor, lambda x, rows: unit_vectors(predictor.predict(x, rows))), lost


def _counted(outputs: Array, finite: NDArray[np.bool_], is_compared: bool, without_direction: int) -> NDArray[np.bool_]:
    """The rows that count: those with a finite clean output.

    Where there is none nothing can be said, but that the model fails: of a version that is compared, all rows do.
    """
    if finite.any():
        return finite
    if without_direction and not is_compared:
        raise PredictionError(
            "without noise no row has an embedding with a direction: zero vectors have none, and distance cosine needs "
            "it",
            reason="invalid_output",
        )
    if not is_compared:
        raise PredictionError(none_finite(outputs), reason="invalid_output")
    return np.ones_like(finite)


def is_rounding(normalised: Float64) -> bool:
    """Whether a second clean pass differs from the first by rounding only.

    Args:
        normalised: row errors of the second pass over twice the output variance, shape `(..., n)`; those of rows that
            are not finite do not count.
    """
    finite = np.isfinite(normalised)
    return not finite.any() or float(normalised[finite].mean()) < ROUNDING
