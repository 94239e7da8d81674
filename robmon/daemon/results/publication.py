"""What is published and remembered of one good assessment: no input is among it. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from robmon import clock
from robmon.export.published import BaselineInfo, FurtherMeasurement, Measurement, ServedComparison, View
from robmon.inputs.sample import Item
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.model import ModelVersion
from robmon.processes.messages.question import Assess

SHOWN_IDS: Final = 10
SHOWN_ID_CHARACTERS: Final = 128


@dataclass(frozen=True)
class Finding:
    """What came of one assessment: the result, the requests that it is of, and what their answers said."""

    result: Assessed
    items: Sequence[Item]
    served: ServedComparison | None
    question: Assess | None = None
    """What the worker was asked."""

    @classmethod
    def of(cls, question: Assess, items: Sequence[Item], result: Assessed) -> Finding:
        """Of the answer to that question about `items`. Each served answer is compared once only, and marked here: a
        quiet model's sample holds the same ones for an hour."""
        answered = [item for request, item in zip(question.requests, items, strict=True) if request.answer is not None]
        for item in answered:
            item.feedback.answer_compared = True
        if result.served is None:
            return cls(result, items, None, question)
        served = ServedComparison(result.served, max(item.received_at for item in answered))
        return cls(result, items, served, question)

    @property
    def duration_seconds(self) -> float:
        """Seconds of all its phases together."""
        return sum(self.result.phase_seconds.values())


def view_after(view: View, model: ModelVersion, finding: Finding, baseline: BaselineInfo, now: float) -> View:
    """What is known after that assessment of `model`, done at `now` by the clock that never steps."""
    result, items = finding.result, finding.items
    unusual = result.novelty
    lost = dict.fromkeys(result.plan.origins[row] for row in result.nonfinite_rows)
    measurement = Measurement(
        model.version,
        result,
        now,
        finding.duration_seconds,
        fragile_requests=shown_ids([items[index] for index in result.worst_requests]),
        nonfinite_requests=shown_ids([items[index] for index in lost]),
        near_requests=shown_ids([items[index] for index in unusual.near_requests] if unusual else ()),
        novel_requests=shown_ids([items[index] for index in unusual.novel_requests] if unusual else ()),
    )
    view = view if finding.served is None else view.with_served(finding.served)
    if result.further is not None:
        view = view.with_further(FurtherMeasurement(model.version, result.further, now, finding.duration_seconds))
    return replace(view.with_causes(result), measurement=measurement, baseline=baseline, last_assessment_at=now)


def notes_of_age(items: Sequence[Item]) -> list[str]:
    """A sentence on requests of a verdict that are older than an input may be; mostly none."""
    old = [item.received_at for item in items if item.is_old]
    if not old:
        return []
    since = clock.utc(clock.as_shown(min(old)))
    return [f"{len(old)} of {len(items)} requests are older than inputs.max_age_seconds, from {since} on: few come"]


def shown_ids(items: Iterable[Item]) -> tuple[str, ...]:
    """The first id of the first requests that have one, fit to be shown: printable ASCII."""
    ids = (item.feedback.ids[0] for item in items if item.feedback.ids)
    shown = ("".join(c if " " <= c <= "~" else "?" for c in each[:SHOWN_ID_CHARACTERS]) for each in ids)
    return tuple(islice(shown, SHOWN_IDS))


def summary(model: ModelVersion, finding: Finding) -> dict[str, Any]:
    """What is logged and remembered of an assessment."""
    result = finding.result
    worst, slope = result.levels[-1], result.slopes.get("mse")
    return {
        "version": model.version,
        "number": result.number,
        "seed": result.seed,
        "draws": result.draws,
        "rows": result.plan.rows,
        "trials": result.plan.trials,
        "cut": result.plan.cut or None,
        "noise_level": worst.level,
        "mse": finite(worst.mean_mse),
        "bound": finite(worst.bound),
        "index": result.index,
        "slope": slope.value if slope is not None else None,
        "baseline": result.baseline.get("source"),
        "seconds": round(finding.duration_seconds, 3),
    }


def finite(value: float | None) -> float | str | None:
    """A number as JSON can hold it."""
    return value if value is None or abs(value) != float("inf") else "+Inf"
