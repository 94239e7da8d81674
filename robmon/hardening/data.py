"""Inputs and targets as they are trained on, chosen by and judged with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import array_api_compat
import numpy as np
import torch
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.hardening.embedding import GALLERY_ROWS, codes_of, has_partner, precision_at_1, unit_of
from robmon.hardening.judging import Assessed
from robmon.hardening.rows import FEWEST_ROWS, Part, child_seed, split
from robmon.hardening.training import predicted
from robmon.library.prepared_rows import PreparedRows, open_predictor
from robmon.robustness.arrays import Array, Float64, to_numpy
from robmon.robustness.clean import CleanPass
from robmon.robustness.engine.batch_size import usual_batch_size
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Noise, noise_features
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
    _noise: Noise
    _features: Features
    _seed: int

    def assessed(self, module: torch.nn.Module) -> Assessed:
        """A model on the held-out rows: all models get the same noise."""
        given: dict[str, Any] = {"features": self._features, "seed": child_seed(self._seed, "test")}
        with open_predictor(module, self.held_out, self.specification) as rows:
            if self.kind == "embedding":
                return Assessed(None, rows.assess(self.specification, **given), self._precision(module, rows.array))
            return Assessed(
                rows.assess(self.specification, targets=self.truth, **given), rows.assess(self.specification, **given)
            )

    def _precision(self, module: torch.nn.Module, inputs: Array) -> Float64:
        """Precision at 1 of the held-out rows that have a partner, at each level, mean over trials."""
        truth, seed = torch.from_numpy(self.truth).to(inputs.device), child_seed(self._seed, "test")
        like, counts = self.train, has_partner(self.truth)
        part = Part.of(
            inputs, truth, like.dtype, self._noise, self._features, seed, unit=like.unit, is_cosine=like.is_cosine
        )
        clean = part.comparable(predicted(module, part.clean))

        def of(level: float) -> Float64:
            trials = range(self.specification.trials) if level else range(1)
            rows = [part.comparable(predicted(module, part.noisy(trial, level))) for trial in trials]
            scores = [precision_at_1(each, clean, truth).cpu().numpy() for each in rows]
            return np.asarray(np.mean(scores, axis=0))

        return np.stack([of(level) for level in self.specification.levels], axis=1)[counts]

    @property
    def judged_rows(self) -> int:
        """How many rows judge: of embeddings those of whose label there is another one."""
        return int(has_partner(self.truth).sum()) if self.kind == "embedding" else len(self.truth)

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
            "the outputs are probabilities whose rows do not sum to 1, and there is no loss for such outputs"
        )
    specification = replace(specification, output=passed.kind)
    is_embedding = passed.kind == "embedding"
    if is_embedding:
        truth, *held_truths = codes_of(targets, *([] if test is None else [test[1]]))
        if len(truth) != len(passed.finite):
            raise InvalidInputError(f"{len(truth)} labels were given for {len(passed.finite)} rows")
    else:
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
    of_outputs = torch.from_numpy(truth).to(rows.array.device, torch.as_tensor(passed.outputs).dtype)
    is_cosine = is_embedding and specification.distance == "cosine"
    unit = unit_of(torch.as_tensor(passed.clean)[torch.from_numpy(train)]) if is_embedding else 1.0

    def part(which: Any, stream: str) -> Part:
        index = torch.from_numpy(which)
        return Part.of(
            rows.array[index], of_outputs[index], dtype, noise, features, child_seed(seed, stream), unit=unit,
            is_cosine=is_cosine,
        )  # fmt: skip

    notes = [passed.form.note, *rows.notes]
    if len(finite) < len(truth):
        notes.append(f"{len(truth) - len(finite)} rows are left out: the module has no finite output for them")
    if test is None:
        notes.append(
            "the rows that judge were drawn from those given: if the module was trained on them before, its score "
            "without noise is flattered, and rows that it has never seen should judge (test)"
        )
        held, held_truth = _given(inputs)[held_out], truth[held_out]
    elif is_embedding:
        held, held_truth = _given(test[0]), held_truths[0]
    else:
        held, held_truth = _given(test[0]), _truth(test[1], passed, specification, len(test[0]))
    if is_embedding:
        held, held_truth, validation, told = _galleries(held, held_truth, truth, validation)
        notes += told
    train_part, validation_part = part(train, "train"), part(validation, "validation")
    return Data(specification, train_part, validation_part, held, held_truth, tuple(notes), noise, features, seed)


def _galleries(
    held: Any, held_truth: Float64, truth: Float64, validation: NDArray[np.intp]
) -> tuple[Any, Float64, NDArray[np.intp], list[str]]:
    """The rows among which the nearest are looked for, no more than can be, and notes.

    Raises:
        InvalidInputError: too few of them have another row of their label.
    """
    notes = []
    if max(len(held_truth), len(validation)) > GALLERY_ROWS:
        notes.append(f"the nearest is looked for among the first {GALLERY_ROWS} rows of each part")
    held, held_truth, validation = held[:GALLERY_ROWS], held_truth[:GALLERY_ROWS], validation[:GALLERY_ROWS]
    for codes, what in ((held_truth, "judge (test)"), (truth[validation], "choose")):
        lonely = int((~has_partner(codes)).sum())
        if len(codes) - lonely < FEWEST_ROWS:
            raise InvalidInputError(
                f"of the {len(codes)} rows that {what}, {len(codes) - lonely} have another one of their label, and "
                f"{FEWEST_ROWS} are needed: give more rows a label"
            )
        if lonely and codes is held_truth:
            notes.append(f"{lonely} rows that judge have no other one of their label, and are nobody's nearest")
    return held, held_truth, validation, notes


def _given(inputs: Any) -> Array:
    return inputs if array_api_compat.is_array_api_obj(inputs) else np.asarray(inputs, dtype=np.float64)


def _truth(targets: Any, passed: CleanPass, specification: Specification, rows: int | None = None) -> Float64:
    """Targets in the form of the outputs, shape `(n, outputs)`; of so many rows, or of those that were passed."""
    count = len(passed.finite) if rows is None else rows
    outputs = np.zeros((count, *passed.outputs.shape[1:]))
    clean = np.zeros((count, passed.clean.shape[1]))
    given = targets if array_api_compat.is_array_api_obj(targets) else np.asarray(targets)
    return np.asarray(to_numpy(targets_like(given, outputs, clean, passed.kind, specification.task)))
