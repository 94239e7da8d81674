"""Attacks rows of the sample: along the gradient where the model is a torch module that has one, else by its answers.

What is found is production data, a little moved: it stays in this process, and numbers alone are told.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError, OverBudgetError
from robmon.history.attack import WORST, AttackFound
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.gradient import gradient_of
from robmon.models.served.predictor import predictor_of
from robmon.models.served.served import ServedModel
from robmon.processes.messages.attack import Attacked, AttackRows
from robmon.processes.messages.question import Assess
from robmon.robustness.arrays import Array, Float64
from robmon.robustness.engine.pace import Pace
from robmon.robustness.engine.predictor import Predictor, through
from robmon.robustness.probes.attack.attack import CUT, SlopeOf, attack_rows
from robmon.robustness.probes.attack.result import Attack
from robmon.robustness.probes.attack.target import Slope
from robmon.robustness.probes.attack.valid_range import of_any_whole, valid_range
from robmon.robustness.probes.certificate.certify import Method, certify_rows
from robmon.worker.context import Evaluation
from robmon.worker.decoding import DecodedSample
from robmon.worker.learning import features_of, learn_inputs, usable_sample
from robmon.worker.refused_rows import retry_without_refused_rows

CERTIFIED_BY: Final[tuple[Method, ...]] = ("lipschitz", "interval")
MOST_PARAMETERS: Final = 5_000_000
"""Of a module that is certified here: nothing bounds the time that a larger one takes."""


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
    sample = usable_sample(evaluation)
    found = retry_without_refused_rows(evaluation, sample, lambda rows: _attack(evaluation, rows, question.radii))
    return Attacked(found=found.model_copy(update={"seconds": round(time.perf_counter() - evaluation.began, 3)}))


def _attack(evaluation: Evaluation, sample: DecodedSample, radii: Sequence[float]) -> AttackFound:
    """What attacks leave of the rows, at most, and what is certified of the same rows, at least."""
    model, asked, layout = evaluation.model, evaluation.question, evaluation.question.specification.layout
    inputs = sample.inputs.take(range(min(sample.inputs.rows, asked.sample_rows)))
    features = features_of(learn_inputs(evaluation, sample), inputs)
    clip = None
    if layout is not None:
        clip = valid_range(layout, inputs.array.shape, None if inputs.whole is None else inputs.whole.pixels)
        features = of_any_whole(features, inputs.whole, inputs.array.shape)
    output_column = asked.specification.output_column
    read, array, pace = OutputReader(output_column), model.put(inputs.array), Pace(model.duty_cycle)
    left_seconds = evaluation.deadline - time.perf_counter()
    if left_seconds <= 0:
        raise OverBudgetError(time.perf_counter() - evaluation.began, asked.max_seconds, "raise attack.max_seconds")
    predictor = _paced(predictor_of(model, inputs, read), pace)
    attack = attack_rows(
        predictor,
        array,
        asked.specification,
        features=features,
        radii=radii,
        clip=clip,
        seed=asked.seed,
        slope_of=None if output_column is not None else _slope_paced(gradient_of(model.module, inputs, array), pace),
        is_free=not inputs.passed(),
        for_rows=lambda rows: _paced(predictor_of(model, inputs.take(rows), read), pace),
        output_names=lambda: read.names,
        max_seconds=left_seconds,
    )
    certified: dict[str, list[float]] = {}
    for method in CERTIFIED_BY if output_column is None and _is_small(model.module) else ():
        if time.perf_counter() < evaluation.deadline:
            certificate = certify_rows(
                predictor,
                array,
                asked.specification,
                features=features,
                radii=attack.radii.tolist(),
                norm=attack.norm,
                method=method,
                output_names=lambda: read.names,
            )
            certified |= {} if certificate.share is None else {method: certificate.share.tolist()}
    return _attack_message(attack, asked, certified)


def _is_small(module: Any) -> bool:
    """Whether there is a module whose certificates take no longer than its attacks."""
    return module is not None and sum(each.numel() for each in module.parameters()) <= MOST_PARAMETERS


def _paced(predictor: Predictor, pace: Pace) -> Predictor:
    """The model, which rests after each call as long as the device's share of time asks."""

    def predict(x: Array, rows: slice) -> Array:
        outputs = predictor.predict(x, rows)
        pace.rest(outputs)
        return outputs

    return through(predictor, predict)


def _slope_paced(make: SlopeOf | None, pace: Pace) -> SlopeOf | None:
    """The gradient, likewise."""
    if make is None:
        return None

    def of(classes: NDArray[Any], kind: Any, batch_rows: int) -> Slope | None:
        made = make(classes, kind, batch_rows)
        if made is None:
            return None
        slope: Slope = made

        def paced(points: NDArray[Any], rows: NDArray[np.int64], is_margin: bool) -> tuple[Any, Float64]:
            answer, gradient = slope(points, rows, is_margin)
            pace.rest(answer)
            return answer, gradient

        return paced

    return of


def _attack_message(attack: Attack, asked: Assess, certified: dict[str, list[float]]) -> AttackFound:
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
        seconds=0.0,
        seed=asked.seed,
        cut=CUT.format(asked.max_seconds) if attack.cut else "",
        notes=list(attack.notes),
        certified=certified,
    )
