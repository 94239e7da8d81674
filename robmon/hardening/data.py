"""Inputs and targets as they are trained on, chosen by and judged with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import array_api_compat
import numpy as np
import torch

from robmon.errors import InvalidInputError
from robmon.hardening.judging import Assessed
from robmon.hardening.rows import Part, child_seed, split
from robmon.library.prepared_rows import PreparedRows, open_predictor
from robmon.robustness.arrays import Array, Float64, to_numpy
from robmon.robustness.clean import CleanPass
from robmon.robustness.engine.batch_size import usual_batch_size
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import noise_features
from robmon.robustness.noise.by_name import noise_of
from robmon.robustness.specification import Specification
from robmon.robustness.targets import targets_like
from robmon.vocabulary import OutputKind


@dataclass(frozen=True, eq=False)
class Data:
    """Rows in three parts.

    Attributes:
        specification: of the assessments on held-out rows, which says what the outputs are.
        train, validation: that are trained on, and chosen by.
        held_out: that judge, as the module takes them.
        truth: of those, shape `(n, outputs)`.
        notes: what was deduced or left out, a sentence each.
    """

    specification: Specification
    train: Part
    validation: Part
    held_out: Any
    truth: Float64
    notes: tuple[str, ...]
    _features: Features
    _seed: int

    def assessed(self, module: torch.nn.Module) -> Assessed:
        """A model on the held-out rows: all models get the same noise."""
        given: dict[str, Any] = {"features": self._features, "seed": child_seed(self._seed, "test")}
        with open_predictor(module, self.held_out, self.specification) as rows:
            return Assessed(
                rows.assess(self.specification, targets=self.truth, **given), rows.assess(self.specification, **given)
            )

    @property
    def kind(self) -> OutputKind:
        """What the outputs are."""
        return cast("OutputKind", self.specification.output)

    @property
    def passes(self) -> int:
        """How many rows pass through a model while it is assessed."""
        return 2 * len(self.truth) * len(self.specification.levels) * self.specification.trials


def prepare(
    rows: PreparedRows,
    inputs: Any,
    targets: Any,
    specification: Specification,
    *,
    scale: Any,
    seed: int,
    test: tuple[Any, Any] | None,
) -> Data:
    """The rows in three parts, with their truth and their noise.

    Raises:
        InvalidInputError: they cannot be trained on.
        PredictionError: the module raised, or returned what is not one output a row.
    """
    size = usual_batch_size(rows.predictor, None, rows.array)
    passed = CleanPass.of(rows.predictor, rows.array, size, specification)
    if passed.kind == "label":
        raise InvalidInputError("the outputs are classes, which have no gradient: give the module that returns scores")
    if passed.form.is_normalised:
        raise InvalidInputError(
            "the outputs are probabilities whose rows do not sum to 1, and no loss is known of them"
        )
    specification = replace(specification, output=passed.kind)
    truth = _truth(targets, passed, specification)
    finite = np.flatnonzero(passed.finite)
    parts = split(len(finite), seed, has_test=test is not None)
    train, validation, held_out = (finite[part] for part in (parts.train, parts.validation, parts.test))
    learnt = rows.array[torch.from_numpy(train)]
    noise = noise_of(specification, rows.whole)
    is_free = scale is None and not specification.acts_on_images
    axis = rows.axis(specification.feature_axis, refuses=is_free)
    features = noise_features(noise, learnt, scale, axis=axis, whole=rows.whole)
    dtype = rows.array.dtype if rows.dtype is None else rows.dtype
    of_outputs = torch.from_numpy(truth).to(rows.array.device, passed.outputs.dtype)

    def part(which: Any, stream: str) -> Part:
        index = torch.from_numpy(which)
        return Part.of(rows.array[index], of_outputs[index], dtype, noise, features, child_seed(seed, stream))

    notes = [passed.form.note, *rows.notes]
    if len(finite) < len(truth):
        notes.append(f"{len(truth) - len(finite)} rows are left out: the module has no finite output for them")
    if test is None:
        notes.append(
            "the rows that judge were drawn from those given: if the module was trained on them before, its score "
            "without noise is flattered, and rows that it has never seen should judge (test)"
        )
        held, held_truth = _given(inputs)[held_out], truth[held_out]
    else:
        held, held_truth = _given(test[0]), _truth(test[1], passed, specification, len(test[0]))
    train_part, validation_part = part(train, "train"), part(validation, "validation")
    return Data(specification, train_part, validation_part, held, held_truth, tuple(notes), features, seed)


def _given(inputs: Any) -> Array:
    return inputs if array_api_compat.is_array_api_obj(inputs) else np.asarray(inputs, dtype=np.float64)


def _truth(targets: Any, passed: CleanPass, specification: Specification, rows: int | None = None) -> Float64:
    """Targets in the form of the outputs, shape `(n, outputs)`; of so many rows, or of those that were passed."""
    count = len(passed.finite) if rows is None else rows
    outputs = np.zeros((count, *passed.outputs.shape[1:]))
    clean = np.zeros((count, passed.clean.shape[1]))
    given = targets if array_api_compat.is_array_api_obj(targets) else np.asarray(targets)
    return np.asarray(to_numpy(targets_like(given, outputs, clean, passed.kind, specification.task)))
