"""Shares the noise error out between features: once for a settled baseline, and when it is worse."""

from __future__ import annotations

import time

from robmon.errors import InvalidInputError, OverBudgetError
from robmon.history.baseline.baseline import Baseline
from robmon.history.baseline.kept_shares import KeptShares
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.predictor import predictor_of
from robmon.models.served.watched import shown_names
from robmon.processes.messages.findings import SharesResult
from robmon.report.budget import SETTINGS
from robmon.robustness.probes.attribution import attribute_rows
from robmon.robustness.probes.shares import Attribution, largest_beyond, rise_shares
from robmon.worker.batch import BatchResult
from robmon.worker.context import Evaluation
from robmon.worker.decoding import DecodedSample

COMPARABLE_OUTPUTS = ("value", "probability", "multilabel", "label")
"""Of two versions: the scale of logits means nothing."""


def is_to_attribute(evaluation: Evaluation, baseline: Baseline) -> bool:
    """Whether time is to be kept for it: it is asked for, or a settled baseline has no shares and can have them."""
    asked = evaluation.question.attribution
    if asked is None:
        return False
    return asked.now or (baseline.is_settled and baseline.shares is None and not evaluation.model.seen.shares_refusal)


def share_out(
    evaluation: Evaluation, baseline: Baseline, sample: DecodedSample, batch: BatchResult, is_worse: bool
) -> SharesResult | None:
    """Measure the shares where they are wanted, of the rows that were assessed; else tell those of the baseline.

    Args:
        evaluation: of these rows.
        baseline: shares that are the first since it has settled are put into it.
        sample: the rows.
        batch: what came of them.
        is_worse: whether the version is, so that it is to be known why.

    Returns:
        None where nothing was asked for, or nothing is known.
    """
    asked, result = evaluation.question.attribution, batch.assessment
    if asked is None:
        return None
    level, seen = result.levels[-1], evaluation.model.seen

    def comparable(kept: KeptShares | None) -> KeptShares | None:
        return kept if kept is not None and kept.is_of(asked.groups, level, result.noise, result.output) else None

    known = comparable(baseline.shares)
    is_now = asked.now or is_worse
    is_first = baseline.is_settled and known is None and not seen.shares_refusal
    if not is_now and not is_first:
        return _of_baseline(known) if known is not None else _refused(seen.shares_refusal)
    before = known if asked.before is None else comparable(KeptShares.from_dict(asked.before))
    try:
        found = _measure(evaluation, sample, batch, before)
    except (InvalidInputError, OverBudgetError) as error:
        if not is_now:
            seen.shares_refusal = str(error)
        return SharesResult(reason=str(error), is_now=is_now)
    if is_first and not is_now:
        baseline.shares = KeptShares.of(found, asked.groups)
        return _of_baseline(baseline.shares)
    is_of_one_unit = asked.before is None or result.output in COMPARABLE_OUTPUTS
    return _result(found, before if is_of_one_unit else None)


def _measure(
    evaluation: Evaluation, sample: DecodedSample, batch: BatchResult, before: KeptShares | None
) -> Attribution:
    """The shares of the rows that were assessed, between the groups of those before, in the time that is left."""
    model, question, inputs = evaluation.model, evaluation.question, sample.inputs
    rows, result = batch.plan.rows, batch.assessment
    read = OutputReader(question.specification.output_column)
    groups = before.groups if before is not None else dict(question.attribution.groups if question.attribution else {})
    try:
        return attribute_rows(
            predictor_of(model, inputs, read),
            model.put(inputs.array)[:rows],
            batch.plan.of(question.specification),
            level=result.levels[-1],
            feature_names=inputs.names_by,
            groups=groups or None,
            features=batch.features,
            column_names=inputs.column_names,
            output_names=lambda: read.names,
            seed=question.seed,
            clusters=batch.origins,
            largest_inputs=inputs.largest,
            max_seconds=max(evaluation.deadline - time.perf_counter(), 0.0),
            names_rows=False,
        )
    except OverBudgetError as error:
        raise error.advised(SETTINGS.advice(is_endpoint=evaluation.is_endpoint)) from None


def _refused(reason: str) -> SharesResult | None:
    return SharesResult(reason=reason) if reason else None


def _of_baseline(kept: KeptShares) -> SharesResult:
    share, stderr = kept.moments.shares()
    names = shown_names(list(kept.members))
    largest = largest_beyond(names, share, stderr)
    return SharesResult(
        groups=names,
        share=share.tolist(),
        stderr=stderr.tolist(),
        total=kept.moments.total,
        level=kept.level,
        largest=None if largest is None else largest[0],
    )


def _result(found: Attribution, before: KeptShares | None) -> SharesResult:
    names = shown_names(found.groups)
    rise = None if before is None else rise_shares(before.moments, found.moments)
    share, stderr = rise or (found.share, found.stderr)
    largest = largest_beyond(names, share, stderr)
    return SharesResult(
        groups=names,
        share=found.share.tolist(),
        stderr=found.stderr.tolist(),
        total=found.total,
        level=found.level,
        is_now=True,
        rise_share=None if rise is None else rise[0].tolist(),
        rise_stderr=None if rise is None else rise[1].tolist(),
        largest=None if largest is None else largest[0],
        cut=found.cut,
    )
