"""The model against its labels: targets in the form of its outputs, and an assessment of the rows that have one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import OverBudgetError, RobmonError, TooFewRowsError
from robmon.models.outputs import OutputReader
from robmon.models.predictor import predictor_of
from robmon.models.served import ServedModel
from robmon.processes.messages import Assess, LabelResult, LevelResult, Rejections, SampledRequest, SlopeResult
from robmon.report.budget import SETTINGS
from robmon.robustness.arrays import Float64
from robmon.robustness.assessment import assess_rows
from robmon.robustness.engine.plan import plan_assessment
from robmon.robustness.features.extreme_rows import extreme_rows
from robmon.robustness.result import Assessment
from robmon.vocabulary import OutputKind
from robmon.worker.decoding import DecodedSample, decode_sample, leave_out, use_accepted


@dataclass(frozen=True)
class AgainstLabels:
    """What came of the labels: a result, or why there is none, and the rows whose label fits the model."""

    rows: int = 0
    result: LabelResult | None = None
    problem: str = ""
    unfit: tuple[int, ...] = ()
    """Indices of the labelled requests whose label fits none of their rows."""
    notes: tuple[str, ...] = ()
    """What was left out of the result, in sentences."""


class _UnfitTargetError(Exception):
    """A target that is none of this model's."""


def assess_labelled(
    model: ServedModel,
    question: Assess,
    blobs: Sequence[bytes],
    unlabelled: Assessment,
    output_variance: Float64 | None,
    max_seconds: float,
) -> AgainstLabels:
    """Assess the rows that have a label against it, in the time that is left, as the others were assessed.

    Whatever is wrong with labels costs this result only.

    Args:
        model: the loaded version.
        question: with the labelled requests.
        blobs: all of the question's.
        unlabelled: the assessment against the model's own outputs.
        output_variance: what normalises area and index, as there.
        max_seconds: the budget.
    """
    found = AgainstLabels()
    began = time.perf_counter()

    def assessed(sample: DecodedSample) -> AgainstLabels:
        nonlocal found
        own = unlabelled.clean_outputs[unlabelled.counted]
        kept, targets = fitting_targets(question.labelled, sample, own, unlabelled.output)
        rows = len(kept)
        unfit = set(sample.origins) - {sample.origins[row] for row in kept}
        found = AgainstLabels(rows, unfit=tuple(sorted(unfit)))
        if rows < question.min_rows:
            return replace(found, problem=f"{rows} labels fit the model, {question.min_rows} are needed")
        result, notes = _assessed(
            model, question, sample.take(kept), targets, unlabelled, output_variance, max_seconds, began
        )
        return replace(found, result=result, notes=tuple(f"against labels, {note}" for note in notes))

    any_rows = question.model_copy(update={"min_rows": 1})  # whether labels fit is told of the first ones too
    try:
        sample = decode_sample(model, question.labelled, blobs[len(question.requests) :], any_rows, Rejections())
        features = unlabelled.features
        codes = features.sentinels.reshape(len(features.sentinels), features.axis.columns(sample.inputs.array.shape))
        extreme = extreme_rows(sample.inputs.array, codes, features.axis)
        sample = leave_out(sample, question.labelled, np.flatnonzero(extreme).tolist(), "extreme_value", 1)
        return use_accepted(model, any_rows, question.labelled, sample, assessed, began + max_seconds)
    except TooFewRowsError as error:
        return replace(found, rows=0, problem=f"no row with a label can be used{error.why and f': {error.why}'}")
    except OverBudgetError as error:
        advised = error.advised(SETTINGS.advice(is_endpoint=model.access is not None))
        return replace(found, problem=str(advised))
    except RobmonError as error:
        return replace(found, problem=str(error))


def _assessed(
    model: ServedModel,
    question: Assess,
    sample: DecodedSample,
    targets: NDArray[Any],
    unlabelled: Assessment,
    output_variance: Float64 | None,
    max_seconds: float,
    began: float,
) -> tuple[LabelResult, Sequence[str]]:
    array = model.put(sample.inputs.array)
    specification = replace(question.specification, output=unlabelled.output)
    read = OutputReader(specification.output_column)
    predictor = predictor_of(model, sample.inputs, read)
    plan = plan_assessment(
        predictor,
        array,
        specification,
        features=unlabelled.features,
        min_rows=question.min_rows,
        max_seconds=max_seconds,
        began=began,
    )
    result = assess_rows(
        predictor,
        array[: plan.rows],
        plan.of(specification),
        targets=targets[: plan.rows],
        features=unlabelled.features,
        output_names=lambda: read.names,
        seed=question.seed,
        output_variance=output_variance,
        clusters=sample.origins[: plan.rows],
        largest_inputs=sample.inputs.largest,
        names_rows=False,
    )
    told = LabelResult(
        rows=result.rows,
        trials=plan.trials,
        levels=level_results(result),
        area=result.area,
        index=result.index,
        clean_mse=result.clean_mse,
        accuracy_slope=slope_results(result).get("accuracy"),
    )
    return told, result.notes


def level_results(result: Assessment) -> list[LevelResult]:
    """The points of a curve as they are sent."""
    return [
        LevelResult(
            level=point.level,
            mean_mse=point.mean_mse,
            bound=point.bound,
            request_bound=point.request_bound,
            agreement=point.agreement,
            realised_level=point.realised_level,
            nonfinite_outputs=point.nonfinite_outputs,
        )
        for point in result.curve
    ]


def slope_results(result: Assessment) -> dict[str, SlopeResult]:
    """The slopes there are, by score."""
    slopes = (result.slope, result.agreement_slope, result.accuracy_slope)
    return {each.score: SlopeResult(value=each.value, lack_of_fit=each.lack_of_fit) for each in slopes if each}


def fitting_targets(
    requests: Sequence[SampledRequest], sample: DecodedSample, outputs: NDArray[Any], output: OutputKind
) -> tuple[list[int], NDArray[Any]]:
    """The rows whose target fits the model's outputs, and these targets.

    The target of a request with several rows is a list with one target a row. Where the model says a score for each of
    several classes, a target is as many numbers, or the class as 0, 1, ... An extreme value among the targets fits
    nothing: it would be all of their MSE.

    Args:
        requests: with their targets, as JSON.
        sample: their rows.
        outputs: some of the model's outputs: shape `(n, outputs)`, or `(n,)` labels.
        output: what they are.

    Returns:
        indices of rows, and the targets: shape `(rows, outputs)`, or `(rows,)`.
    """
    kept: list[int] = []
    targets: list[Any] = []
    for index, (origin, (row, count)) in enumerate(zip(sample.origins, sample.places, strict=True)):
        told = requests[origin].target
        if told is None:
            continue
        try:
            cells = _flat(_of_row(json.loads(told), row, count))
            targets.append(_label(cells, outputs) if output == "label" else _scores(cells, outputs.shape[1], output))
        except _UnfitTargetError:
            continue
        kept.append(index)
    found = np.array(targets)
    if output == "label":
        return kept, found
    usable = np.flatnonzero(~extreme_rows(found, np.full(outputs.shape[1], np.nan)))
    return [kept[index] for index in usable], found[usable]


def _of_row(target: Any, row: int, count: int) -> Any:
    if count == 1:
        return target
    if isinstance(target, list) and len(target) == count:
        return target[row]
    raise _UnfitTargetError


def _flat(target: Any) -> list[Any]:
    if isinstance(target, list):
        return [cell for each in target for cell in _flat(each)]
    return [target]


def _label(cells: list[Any], own: NDArray[Any]) -> Any:
    is_text = own.dtype.kind in "UST" or any(isinstance(label, str) for label in own[:1].tolist())
    if len(cells) != 1 or isinstance(cells[0], str) != is_text:
        raise _UnfitTargetError
    return cells[0]


def _scores(cells: list[Any], columns: int, output: OutputKind) -> list[float]:
    if any(isinstance(cell, str) for cell in cells):
        raise _UnfitTargetError
    if len(cells) == 1 < columns and output not in ("value", "multilabel") and cells[0] in range(columns):
        return [float(column == cells[0]) for column in range(columns)]
    try:
        numbers = [float(cell) for cell in cells]
    except OverflowError:
        raise _UnfitTargetError from None
    possible = (
        all(0 <= number <= 1 for number in numbers)
        if output in ("probability", "multilabel")
        else all(map(math.isfinite, numbers))
    )
    if len(numbers) != columns or not possible:
        raise _UnfitTargetError
    return numbers
