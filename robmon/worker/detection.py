"""One step of the detector over time: rows that count, the limit that they are held against, the hours they add to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from robmon.drift.detector import RegressionDetector
from robmon.drift.hourly import MOST_HOURS, HourlyErrors, Score
from robmon.errors import InvalidInputError
from robmon.history.detection import Detection
from robmon.processes.messages import Assess, DetectionQuestion
from robmon.robustness.arrays import Float64
from robmon.robustness.result import Assessment
from robmon.vocabulary import DETECTABLE_WITHIN, DetectionBasis

BASES: Final[tuple[DetectionBasis, ...]] = get_args(DetectionBasis)
"""Each better than those before it."""
NOTABLE_HOUR: Final = 2.0
"""A worst hour that is so many times as bad as the median one is named: it decides what can be seen in all others."""


class _Counted(NamedTuple):
    """The requests that count: the hour each arrived, shape `(m,)`, and their errors by trial, shape `(m, T)`."""

    hours: NDArray[np.int64]
    errors: Float64


class Step(NamedTuple):
    """The detector after an assessment, and the hours that its rows belong to, with them."""

    found: Detection | None
    hours: dict[int, dict[str, Any]]


def detect(question: Assess, result: Assessment, origins: Sequence[int], *, is_settled: bool) -> Step:
    """The detector after this assessment; nothing where none was asked for.

    Args:
        question: which requests count, and what is known so far.
        result: with row errors by trial.
        origins: for each row assessed the index of the request that it came from.
        is_settled: whether the noise was scaled by a baseline that does not move any more; until then errors are not to
            be compared with later ones.
    """
    known = question.detection
    if known is None or result.trial_row_errors is None:
        return Step(None, {})
    score: Score = "flips" if result.output == "label" else "mse"
    counted = _counted(question, result.trial_row_errors, result.finite, origins)
    detector, basis, problem = None, known.basis, ""
    if known.detector is not None:
        try:
            detector = RegressionDetector.from_dict(known.detector)
        except InvalidInputError as error:  # of another robmon
            problem = str(error)
    basis = known.basis if detector is not None else None
    hours = _hours(known, score)
    if known.learns and is_settled:
        try:
            detector, basis = _better(hours, known, score, basis) or (detector, basis)
        except InvalidInputError as error:
            problem = str(error)
    if detector is not None and len(counted.errors):
        detector.update(counted.errors)
    may_learn = is_settled and known.learns and basis != "week" and not (detector is not None and detector.standing)
    changed = _with(known, counted, score) if may_learn and len(counted.errors) else {}
    all_hours = {*hours.hours, *changed}
    found = Detection(
        basis=basis,
        requests=len(counted.errors),
        span_hours=max(all_hours) - min(all_hours) + 1 if all_hours else 0,
        problem=problem,
    )
    return Step(found if detector is None else _told(found, detector), changed)


def _told(found: Detection, detector: RegressionDetector) -> Detection:
    """That, with what there is to say of the detector."""
    limits = detector.limits
    ratio = limits.worst_hour_ratio
    return found.model_copy(
        update={
            "detector": detector.to_dict(),
            "span_hours": max(found.span_hours, limits.span_hours if found.basis == "week" else 0),
            "evidence": detector.evidence,
            "is_standing": detector.standing,
            "tolerance": limits.tolerance,
            "detectable_ratio": detector.detectable_ratio(DETECTABLE_WITHIN, rows=max(found.requests, 1)),
            "worst_hour": limits.worst_hour if ratio > NOTABLE_HOUR else None,
            "worst_hour_ratio": ratio,
            "notes": list(limits.notes),
        }
    )


def _counted(question: Assess, errors: Float64, finite: NDArray[np.bool_], origins: Sequence[int]) -> _Counted:
    """Of each request that counts as many rows, side by side, as every such request has: its mean is over all of them.

    Rows without a finite clean output say nothing of noise.
    """
    rows_of: dict[int, list[int]] = {}
    for row, origin in enumerate(origins):
        if finite[row] and question.requests[origin].hour is not None:
            rows_of.setdefault(origin, []).append(row)
    each = min(map(len, rows_of.values()), default=1)
    hours = [question.requests[origin].hour for origin in rows_of]
    side_by_side = [errors[rows[:each]].ravel() for rows in rows_of.values()]
    shape = (len(side_by_side), each * errors.shape[1])
    return _Counted(np.array(hours, dtype=np.int64), np.array(side_by_side, dtype=np.float64).reshape(shape))


def _hours(known: DetectionQuestion, score: Score) -> HourlyErrors:
    """All hours that are known of this version, but those that a person has left out."""
    parts = [
        HourlyErrors.from_dict(part) for part in ([known.shared] if known.shared else []) + [*known.hours.values()]
    ]
    return _without(_merged(parts, score), known.without)


def _better(
    hours: HourlyErrors, known: DetectionQuestion, score: Score, basis: DetectionBasis | None
) -> tuple[RegressionDetector, DetectionBasis] | None:
    """A detector with a better limit than that of this basis; None where the hours make none.

    Raises:
        InvalidInputError: there is no room for a limit: nothing ever moves, or nearly everything does.
    """
    found: tuple[DetectionBasis, HourlyErrors] | None = None
    if hours.is_sufficient:
        found = ("week" if hours.span_hours >= MOST_HOURS else "day", hours)
    elif known.inherited:
        before = _merged([HourlyErrors.from_dict(part) for part in known.inherited], score)
        found = ("inherited", before.scaled(known.inherited_ratio)) if before.is_sufficient else None
    if found is None or (basis is not None and BASES.index(found[0]) <= BASES.index(basis)):
        return None
    detector = RegressionDetector.of_hours(
        found[1],
        false_alarms_per_month=known.false_alarms_per_month,
        interval_seconds=known.interval_seconds,
        tolerance=known.tolerance,
        clear_evidence=known.clear_evidence,
    )
    return detector, found[0]


def _with(known: DetectionQuestion, counted: _Counted, score: Score) -> dict[int, dict[str, Any]]:
    """The hours that these requests arrived in, with them; none older than what a baseline spans."""
    newest = max(counted.hours.max(), *known.hours, 0)
    changed = {}
    for hour in np.unique(counted.hours[counted.hours > newest - MOST_HOURS]).tolist():
        there = known.hours.get(hour)
        errors = HourlyErrors(score) if there is None else HourlyErrors.from_dict(there)
        these = counted.hours == hour
        errors.add(counted.hours[these], counted.errors[these])
        changed[hour] = errors.to_dict()
    return changed


def _merged(parts: Sequence[HourlyErrors], score: Score) -> HourlyErrors:
    return reduce(HourlyErrors.merged, parts, HourlyErrors(score))


def _without(hours: HourlyErrors, left_out: Sequence[int]) -> HourlyErrors:
    for hour in left_out:
        if hour in hours.hours:
            hours = hours.without_hour(hour)
    return hours
