"""Runs the synthetic canary: makes it once a baseline has settled, and compares what the model gives for it since."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from robmon.drift.names import Names
from robmon.drift.numbers import Numbers
from robmon.drift.summaries import Summaries
from robmon.errors import InvalidInputError, PredictionError
from robmon.history.baseline.baseline import Baseline
from robmon.history.baseline.canary import Canary, Outputs, rows_of_size, tolerance
from robmon.history.baseline.drawn_rows import digest, draw_from, draw_rows
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.predictor import predictor_of
from robmon.models.served.served import ServedModel
from robmon.processes.messages.findings import CanaryResult
from robmon.robustness.arrays import Float64, to_numpy
from robmon.robustness.engine.batch_size import BatchSize, accompanied
from robmon.robustness.engine.clean_pass import clean_pass
from robmon.robustness.result import Assessment
from robmon.worker.context import Evaluation

PASSES: Final = 3
"""Of the rows when it is made: twice alike, and in other batches."""
PARTS: Final = 3
IS_RANDOM: Final = "the model is itself random: it gives the same rows other outputs again"

MADE_ANEW: Final = "it was made anew: device or settings are others"


def run_canary(
    evaluation: Evaluation, baseline: Baseline, inputs: ModelInputs, result: Assessment
) -> CanaryResult | None:
    """Make the baseline's canary, or run it again; None while the baseline is being learnt.

    Args:
        evaluation: of the version that the baseline is of.
        baseline: a canary that is made is put into it.
        inputs: of the sample, which show the form that the model takes.
        result: of the assessment.
    """
    if not baseline.is_settled:
        return None
    where = _where(evaluation)
    known = baseline.canary if baseline.canary is not None and baseline.canary.where == where else None
    if known is not None and known.reason:
        return CanaryResult(reason=known.reason)
    try:
        drawn, word = _drawn(baseline, inputs)
    except InvalidInputError as error:
        baseline.canary = Canary.without(str(error), where)
        return CanaryResult(reason=str(error))
    if not _has_time(evaluation, drawn.rows * (PASSES if known is None else 1)):
        return CanaryResult(reason="nothing was left of the time budget, assess.max_seconds")
    if known is None or known.inputs != word:
        return _make(evaluation, baseline, drawn, word, where, result)
    return _compare(evaluation, known, drawn)


def _drawn(baseline: Baseline, inputs: ModelInputs) -> tuple[ModelInputs, str]:
    """Rows drawn from the baseline, and a digest of them."""
    shape = tuple(int(length) for length in inputs.array.shape)
    axis = baseline.axis_of(shape)
    rows = rows_of_size(int(np.prod(shape[1:])))
    seed = _seed(baseline)
    array = draw_rows(baseline.inputs, axis, shape[1:], rows, seed, inputs.whole)
    if len(shape) == 2 and axis.feature_of is None and inputs.whole is None:
        _draw_columns(baseline, inputs.names_by(axis), array, seed)
    cells = _cells(baseline, inputs, rows, seed)
    word = hashlib.blake2b(repr((digest(array), cells)).encode(), digest_size=8).hexdigest()
    return inputs.drawn(array.astype(inputs.array.dtype), cells), word


def _draw_columns(baseline: Baseline, names: Sequence[str], array: Float64, seed: int) -> None:
    """Put what the summaries of columns give into the array: within their range, so positive where they were."""
    if not isinstance(baseline.inputs_seen, Summaries):
        return
    for index, name in enumerate(names):
        summary = baseline.inputs_seen.features.get(name)
        drawn = draw_from(summary, len(array), seed - 1 - index) if isinstance(summary, Numbers) else None
        if drawn is not None and not baseline.inputs.indicators[index]:
            array[:, index] = drawn


def _cells(baseline: Baseline, inputs: ModelInputs, rows: int, seed: int) -> dict[str, Sequence[Any]]:
    """Cells of the columns that pass through, by name, of those whose summary can be drawn from."""
    seen = baseline.inputs_seen
    cells: dict[str, Sequence[Any]] = {}
    for number, (name, values) in enumerate(inputs.passed().items()):
        summary = seen.features.get(name) if isinstance(seen, Summaries) and len(values.shape) == 1 else None
        if isinstance(summary, Names) and baseline.salt:
            continue  # hashes are no names that the model knows
        drawn = draw_from(summary, rows, seed + number) if isinstance(summary, (Numbers, Names)) else None
        if drawn is not None:
            cells[name] = drawn
    return cells


def _seed(baseline: Baseline) -> int:
    """The same for the same baseline, another for another."""
    told = baseline.inputs.moments.mean.tobytes()
    return int.from_bytes(hashlib.blake2b(told, digest_size=7).digest()) + 2**32


def _make(
    evaluation: Evaluation,
    baseline: Baseline,
    drawn: ModelInputs,
    word: str,
    where: Mapping[str, Any],
    result: Assessment,
) -> CanaryResult:
    model, parts = evaluation.model, -(-drawn.rows // PARTS)
    try:
        first, again, cut = (_outputs(evaluation, drawn, rows) for rows in (drawn.rows, drawn.rows, parts))
    except PredictionError as error:
        if not _is_the_models(error):
            return CanaryResult(reason=f"it could not be made: {error}")
        baseline.canary = Canary.without(f"the model does not take drawn rows: {error}", where)
        return CanaryResult(reason=baseline.canary.reason)
    spread = np.maximum(first.differences(again), first.differences(cut))
    allowed = tolerance(spread, first.dtype, model.use.precision)
    if result.own_mse > 0 or tolerance(first.differences(again), first.dtype, model.use.precision) is None:
        baseline.canary = Canary.without(IS_RANDOM, where)
    elif allowed is None:
        baseline.canary = Canary.without("the outputs of a row depend on the rows beside it", where)
    else:
        notes = [] if baseline.canary is None else [MADE_ANEW]
        baseline.canary = Canary(
            rows=drawn.rows, seed=_seed(baseline), inputs=word, takes=str(drawn.array.dtype), where=dict(where),
            outputs=first, tolerance=allowed,
        )  # fmt: skip
        return CanaryResult(rows=drawn.rows, ratio=0.0, notes=notes)
    return CanaryResult(reason=baseline.canary.reason)


def _compare(evaluation: Evaluation, known: Canary, drawn: ModelInputs) -> CanaryResult:
    try:
        outputs = _outputs(evaluation, drawn, drawn.rows)
    except PredictionError as error:
        if not _is_the_models(error):
            return CanaryResult(reason=f"it could not be run: {error}")
        told = [f"on rows that it took before: {error}"]
        return CanaryResult(rows=drawn.rows, ratio=1.0, is_changed=True, notes=told)
    change = known.change(outputs, str(drawn.array.dtype))
    return CanaryResult(rows=drawn.rows, ratio=change.ratio, is_changed=change.is_changed, notes=list(change.notes))


def _outputs(evaluation: Evaluation, drawn: ModelInputs, batch_rows: int) -> Outputs:
    """What the model gives for the rows, in batches of at most so many."""
    model = evaluation.model
    predictor = predictor_of(model, drawn, OutputReader(evaluation.question.specification.output_column))
    array = model.put(drawn.array)
    asked = evaluation.question.specification.max_batch_rows or predictor.max_batch_rows or batch_rows
    size = BatchSize(1 if asked == 1 else max(2, min(batch_rows, asked)), predictor.device)
    with model.as_it_is():  # as it was before it was compiled, and will be in the next worker
        return Outputs.of(to_numpy(clean_pass(accompanied(predictor, array, size), array, size)))


def _is_the_models(error: PredictionError) -> bool:
    """Whether it is the model that does not take the rows, and not the moment."""
    return error.reason in ("model_raised", "invalid_output", "endpoint_status") and not error.is_unavailable


def _has_time(evaluation: Evaluation, rows: int) -> bool:
    paced_seconds = rows / (evaluation.model.rows_per_second or np.inf)
    return time.perf_counter() + paced_seconds <= evaluation.deadline


def _where(evaluation: Evaluation) -> dict[str, Any]:
    """What outputs may rightly depend on: where it is another, a canary is made anew."""
    specification, model = evaluation.question.specification, evaluation.model
    column = specification.output_column
    return {
        "device": _device_name(model),
        "precision": model.use.precision,
        "output_column": list(column) if isinstance(column, tuple) else column,
        "integers": list(specification.perturbed_integers),
    }


def _device_name(model: ServedModel) -> str:
    """The kind of device: GPUs of other kinds round otherwise."""
    if model.access is not None:
        return "endpoint"
    torch = sys.modules.get("torch")
    if model.device.startswith("cuda") and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(model.device))
    return model.device
