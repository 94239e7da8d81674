"""Attacks rows of the sample: along the gradient where the model is a torch module that has one, else by its answers.

What is found is production data, a little moved: it stays in this process, and numbers alone are told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from robmon.errors import InvalidInputError, OverBudgetError
from robmon.history.attack import WORST, AttackFound
from robmon.models.outputs import OutputReader
from robmon.models.predictor import predictor_of
from robmon.models.served import ServedModel
from robmon.models.strangers import type_word
from robmon.processes.messages import Assess, Attacked, AttackRows
from robmon.robustness.arrays import Array, Float64, to_numpy
from robmon.robustness.engine.pace import Pace
from robmon.robustness.engine.predictor import Predictor, through
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.probes.attack.attack import attack_rows
from robmon.robustness.probes.attack.gradient import slope_of
from robmon.robustness.probes.attack.result import Attack
from robmon.worker.context import Evaluation
from robmon.worker.decoding import DecodedSample, decode_sample, without_extreme_rows
from robmon.worker.learning import feature_axis, features_of, known_codes, learn_inputs
from robmon.worker.refused_rows import retry_without_refused_rows

TRIED_ROWS: Final = 2
"""With which it is seen whether the module's own answers are those that are read of it."""
SAME: Final = 0.02
"""Of the largest output: answers that differ by less are the same, also where autocast rounds only one of them."""


def attack(model: ServedModel, question: AttackRows, blobs: Sequence[bytes]) -> Attacked:
    """Attack rows of the requests in the blobs, as `robmon.attack` does, in units of the baseline's deviations.

    Args:
        model: the loaded version.
        question: the requests, radii and budget.
        blobs: bodies of the requests.

    Raises:
        RobmonError: too few rows, no time for any attack, outputs that are no classes, a model that raised.
    """
    asked = question.sample
    evaluation = Evaluation(
        model,
        asked,
        blobs,
        began=time.perf_counter(),
        max_seconds=asked.max_seconds,
        min_usable_rows=asked.min_rows,
    )
    sample = decode_sample(evaluation)
    axis = feature_axis(evaluation, sample.inputs, refuses=False)
    sample = without_extreme_rows(evaluation, sample, known_codes(asked), axis)
    found = retry_without_refused_rows(evaluation, sample, lambda rows: _attack(evaluation, rows, question.radii))
    return Attacked(found=_told(found, asked, time.perf_counter() - evaluation.began))


def _attack(evaluation: Evaluation, sample: DecodedSample, radii: Sequence[float]) -> Attack:
    model, asked = evaluation.model, evaluation.question
    inputs = sample.inputs.take(range(min(sample.inputs.rows, asked.sample_rows)))
    features = features_of(learn_inputs(evaluation, sample), inputs)
    read, array = OutputReader(asked.specification.output_column), model.put(inputs.array)
    predictor, pace = predictor_of(model, inputs, read), Pace(model.duty_cycle)
    notes, slope = [], None
    if model.module is not None:
        slope, why_not = _gradient_of(model.module, predictor, array, pace)
        notes += [why_not] if why_not else []
    left_seconds = evaluation.deadline - time.perf_counter()
    if left_seconds <= 0:
        raise OverBudgetError(time.perf_counter() - evaluation.began, asked.max_seconds, "raise attack.max_seconds")
    return attack_rows(
        _paced(predictor, pace),
        array,
        asked.specification,
        features=features,
        radii=radii,
        clip=_range_of(asked.specification.layout, inputs.array),
        seed=asked.seed,
        slope_of=slope,
        is_free=not inputs.passed(),
        output_names=lambda: read.names,
        max_seconds=left_seconds,
        notes=notes,
    )


def _gradient_of(module: Any, predictor: Predictor, array: Array, pace: Pace) -> tuple[Callable[..., Any] | None, str]:
    """What makes the gradient of a module; None, with the reason, where it has none or is not what is served.

    A module may refuse gradients in its own code, may take or return more than one tensor, or be exported for batches
    of one size; then its answers are still those of `predictor`, which is asked alone.
    """
    called = partial(_never_alone, module, pace)
    rows = slice(0, min(TRIED_ROWS, int(array.shape[0])))
    points = to_numpy(array[rows]).reshape(rows.stop, -1)
    try:
        tried = slope_of(called, np.zeros(rows.stop, dtype=np.int64), "logit", array, rows.stop)
        answer, _ = tried(points, np.arange(rows.stop), True)
    except Exception as error:  # the module's code, or torch's, may raise anything
        return None, f"its gradient cannot be had: {type_word(type(error))}"
    own, served = (to_numpy(each).astype(np.float64).ravel() for each in (answer, predictor.predict(array[rows], rows)))
    is_same = own.shape == served.shape and np.allclose(own, served, SAME, SAME * float(np.abs(served).max(initial=0)))
    if not is_same:
        return None, "its gradient is not used: the module's own answers are not those that are read of it"
    return lambda classes, kind, size: slope_of(called, classes, kind, array, size), ""


def _never_alone(module: Any, pace: Pace, x: Any) -> Any:
    """The module's outputs; beside a single row stands itself, for modules that are not made for one."""
    import torch

    outputs = module(torch.cat([x, x]))[:1] if len(x) == 1 else module(x)
    pace.rest(outputs)
    return outputs


def _paced(predictor: Predictor, pace: Pace) -> Predictor:
    """The model, which rests after each call as long as the device's share of time asks."""

    def predict(x: Array, rows: slice) -> Array:
        outputs = predictor.predict(x, rows)
        pace.rest(outputs)
        return outputs

    return through(predictor, predict)


def _range_of(layout: ImageLayout | None, inputs: Any) -> tuple[Float64, Float64] | None:
    """Black and white of pictures as clients send them, a number a channel; None where nothing says them."""
    if layout is None or layout.range is None or inputs.ndim != 4:
        return None
    mean, std = np.array(layout.mean or 0.0), np.array(layout.std or 1.0)
    low, high = (np.squeeze((end - mean) / std) for end in layout.range)
    return low, high


def _told(attack: Attack, asked: Assess, seconds: float) -> AttackFound:
    shares = {WORST: attack.agreement, **attack.by_attack}
    if not all(np.isfinite(share).all() for share in shares.values()):
        raise InvalidInputError("no row of the sample could be attacked")
    return AttackFound(
        norm=attack.norm,
        radii=attack.radii.tolist(),
        agreement={name: share.tolist() for name, share in shares.items()},
        gradient=attack.gradient,
        masked=attack.masked,
        rows=attack.rows,
        queries=float(np.mean(attack.queries)),
        seconds=round(seconds, 3),
        seed=asked.seed,
        cut=attack.cut,
        notes=list(attack.notes),
    )
