"""One step of the detector over time: rows that count, the limit that they are held against, the hours they add to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from robmon.drift.detector import RegressionDetector
from robmon.drift.hourly import HourlyErrors, Score
from robmon.errors import InvalidInputError
from robmon.history.baseline.baseline import Baseline
from robmon.history.baseline.hours import BaselineHours, HoursTerms, hours_of
from robmon.history.detection import Detection
from robmon.processes.messages.question import Assess, DetectionQuestion, InheritedBaseline
from robmon.robustness.arrays import Float64
from robmon.robustness.result import Assessment
from robmon.vocabulary import DETECTABLE_WITHIN, FEWEST_HOURS, MOST_HOURS, DetectionBasis

BASES: Final[tuple[DetectionBasis, ...]] = get_args(DetectionBasis)
"""Each better than those before it."""
SPANS_KEPT: Final = (6, 12, FEWEST_HOURS, 48, 96, MOST_HOURS)
"""Hours that are spanned when they are put into the baseline, and so beside the model."""
FIRST_KEPT: Final = (1, 3)
NEW_KEPT: Final = 6
"""So many hours that a pod has gathered itself are put there too, and then every so many: it may live for less."""
NOTABLE_HOUR: Final = 2.0
"""A worst hour that is so many times as bad as the median one is named: it decides what can be seen in all others."""


class _Counted(NamedTuple):
    """The requests that count: the hour each arrived, shape `(m,)`, and their errors by trial, shape `(m, T)`."""

    hours: NDArray[np.int64]
    errors: Float64


class Step(NamedTuple):
    """One step.

    Attributes:
        found: the detector after it; None where none was asked for.
        hours: those that its rows belong to, with them.
        baseline_hours: all hours that are over, where that is a time to keep them in the baseline; None: it is not.
        new_hours: those of them that the baseline did not have before.
    """

    found: Detection | None
    hours: dict[int, dict[str, Any]]
    baseline_hours: dict[str, Any] | None = None
    new_hours: dict[str, Any] | None = None


def detect(question: Assess, baseline: Baseline, result: Assessment, origins: Sequence[int]) -> Step:
    """The detector after this assessment; nothing where none was asked for.

    Args:
        question: which requests count, and what is known so far.
        baseline: that scaled the noise. As long as it moves errors are not to be compared with later ones.
        result: with row errors by trial.
        origins: for each row assessed the index of the request that it came from.
    """
    known = question.detection
    if known is None or result.trial_row_errors is None:
        return Step(None, {})
    score: Score = "flips" if result.output == "label" else "mse"
    counted = _counted(question, result.trial_row_errors, result.finite, origins)
    problem, detector = "", None
    if known.detector is not None:
        with contextlib.suppress(InvalidInputError):  # one of another robmon, which begins at 0
            detector = RegressionDetector.from_dict(known.detector)
    basis = known.basis if detector is not None else None
    is_of_other_format = known.detector is not None and detector is None
    terms = _terms(question, known)
    there = hours_of({"hourly": baseline.hourly}, terms)
    gathered = _gathered(known, terms, there, score)
    changed: dict[int, dict[str, Any]] = {}
    kept: dict[str, Any] | None = None
    new: dict[str, Any] | None = None
    if known.learns and baseline.is_settled and len(counted.errors):
        over = gathered.before(int(counted.hours.max()))
        kept, new = _to_keep(over, known, there)
        try:
            detector, basis = _better(over, known, basis) or (detector, basis)
        except InvalidInputError as error:
            problem = str(error)
        if basis != "week":
            changed = _with(known, counted, score)
    if detector is not None and len(counted.errors):
        detector.update(counted.errors)
        if detector.standing:
            changed = {}  # what is worse is not learnt as normal
    all_hours = {*gathered.usable.hours, *changed}
    found = Detection(
        basis=basis,
        requests=len(counted.errors),
        span_hours=max(all_hours) - min(all_hours) + 1 if all_hours else 0,
        is_of_other_format=is_of_other_format,
        problem=problem,
    )
    return Step(found if detector is None else _with_limits(found, detector), changed, kept, new)


def _with_limits(found: Detection, detector: RegressionDetector) -> Detection:
    """What was found, with the detector's limits."""
    limits = detector.limits
    ratio = limits.worst_hour_ratio
    return found.model_copy(
        update={
            "detector": detector.to_dict(),
            "span_hours": max(found.span_hours, limits.span_hours if found.basis == "week" else 0),
            "evidence": detector.evidence,
            "is_standing": detector.standing,
            "tolerance": limits.tolerance,
            "detectable_ratio": detector.detectable_ratio(DETECTABLE_WITHIN),
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


def _terms(question: Assess, known: DetectionQuestion) -> HoursTerms:
    specification = question.specification
    noise = specification.noise if isinstance(specification.noise, str) else specification.noise.name
    return HoursTerms(known.run_id, noise, specification.levels[-1], known.accepted_at)


def _gathered(known: DetectionQuestion, terms: HoursTerms, there: BaselineHours | None, score: Score) -> BaselineHours:
    """All hours that are known of this version: `there`, in its baseline, and those that were gathered here since."""
    if there is None or there.errors.score != score:
        there = BaselineHours(terms, HourlyErrors(score))
    since = [HourlyErrors.from_dict(part) for hour, part in known.hours.items() if hour > there.last_hour]
    alike = [part for part in since if part.score == score]
    return BaselineHours(terms, _merged([there.errors, *alike], score), there.left_out | set(known.without))


def _to_keep(
    over: BaselineHours, known: DetectionQuestion, there: BaselineHours | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The hours that are over, and those of them that are new to the baseline, where they span so many more now."""
    last_kept, span = (there.last_hour, there.errors.span_hours) if there is not None else (-1, 0)
    own = sum(hour <= over.last_hour for hour in known.hours)
    own_kept = sum(hour <= last_kept for hour in known.hours)
    is_time = any(span < due <= over.errors.span_hours for due in SPANS_KEPT)
    is_first = any(own_kept < due <= own for due in FIRST_KEPT)
    if not (is_time or is_first or own - own_kept >= NEW_KEPT):
        return None, None
    parts = (known.hours[hour] for hour in known.hours if last_kept < hour <= over.last_hour)
    new = _merged([HourlyErrors.from_dict(part) for part in parts], over.errors.score)
    return over.to_dict(), replace(over, errors=new).to_dict()


def _better(
    over: BaselineHours, known: DetectionQuestion, basis: DetectionBasis | None
) -> tuple[RegressionDetector, DetectionBasis] | None:
    """A detector with a better limit than that of this basis; None where the hours make none.

    Raises:
        InvalidInputError: there is no room for a limit: nothing ever moves, or nearly everything does.
    """
    hours = over.usable
    found: tuple[DetectionBasis, HourlyErrors] | None = None
    if hours.is_sufficient:
        found = ("week" if hours.span_hours >= MOST_HOURS else "day", hours)
    elif known.inherited:
        together = _merged([hours, *_before(known.inherited, over)], hours.score)
        found = ("inherited", together) if together.is_sufficient else None
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


def _before(inherited: Sequence[InheritedBaseline], own: BaselineHours) -> Iterator[HourlyErrors]:
    """Hours of versions before, as this one's errors would be; none that were gathered in another way."""
    for each in inherited:
        hours = hours_of(each.baseline)
        if hours is not None and _way(hours) == _way(own):
            yield hours.usable.scaled(each.ratio)


def _way(hours: BaselineHours) -> tuple[Score, str, float]:
    return hours.errors.score, hours.terms.noise, hours.terms.level


def _with(known: DetectionQuestion, counted: _Counted, score: Score) -> dict[int, dict[str, Any]]:
    """The hours that these requests arrived in, with them; none older than what a baseline spans."""
    newest = max(counted.hours.max(), *known.hours, 0)
    changed = {}
    for hour in np.unique(counted.hours[counted.hours > newest - MOST_HOURS]).tolist():
        errors = HourlyErrors(score)
        if hour in known.hours and (there := HourlyErrors.from_dict(known.hours[hour])).score == score:
            errors = there
        these = counted.hours == hour
        errors.add(counted.hours[these], counted.errors[these])
        changed[hour] = errors.to_dict()
    return changed


def _merged(parts: Sequence[HourlyErrors], score: Score) -> HourlyErrors:
    return reduce(HourlyErrors.merged, parts, HourlyErrors(score))
