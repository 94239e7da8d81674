"""What the last assessment measured: the numbers that matter first, then all of them."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from robmon.export.detection import watching
from robmon.export.page.pieces import number, paragraph, table
from robmon.export.published import FurtherMeasurement, Measurement, Published
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.curve import FurtherNoise, LevelResult, LimitCrossing
from robmon.report.words import noise_of, percent, rounded_up
from robmon.vocabulary import distance_bound
from robmon.wording import duration


class Fact(NamedTuple):
    """A number with its name and what it means."""

    name: str
    value: str
    text: str


def facts(published: Published, measurement: Measurement | None) -> str:
    """The numbers that matter, large."""
    told = [] if measurement is None else [*_of_result(published, measurement.result)]
    told += _evidence(published)
    where = "" if measurement is None else _strongest(measurement.result)
    items = "\n".join(
        f"<div><dt>{html.escape(fact.name)}</dt>"
        f"<dd><strong>{html.escape(fact.value)}</strong> {html.escape(fact.text)}</dd></div>"
        for fact in told
    )
    return f'<div>{where}<dl class="facts">\n{items}\n</dl></div>' if items else ""


def _strongest(result: Assessed) -> str:
    return f"<h2>Under {html.escape(noise_of(result.levels[-1].level, result.level_unit))}</h2>\n"


def _of_result(published: Published, result: Assessed) -> Iterator[Fact]:
    worst = result.levels[-1]
    sure = percent(result.confidence)
    if result.output != "label":
        yield Fact("Request bound", *_request_bound(worst, sure, result.distance))
    yield _trial_bound(published, result, worst, sure)
    yield from _of_embeddings(result, worst)
    if worst.agreement is not None:
        text = f"of the classes stay what they are{_crossed(result.crossings, 'agreement')}"
        yield Fact("Agreement", percent(worst.agreement), text)
    if result.index is not None:
        text = "over all levels: 1 is untouched, 0 as unrelated as another row's output"
        yield Fact("Robustness index", f"{result.index:.3g}", text)
    if result.drifted_features is not None:
        of = f"of {result.features_watched} watched features have drifted from the baseline"
        yield Fact("Input drift", f"{result.drifted_features}", of)


def _of_embeddings(result: Assessed, worst: LevelResult) -> Iterator[Fact]:
    if worst.beyond_threshold is not None and result.threshold is not None:
        text = f"of embeddings move farther than {result.threshold:.4g}, the threshold, from their own"
        yield Fact("Beyond threshold", percent(worst.beyond_threshold), text)
    if worst.self_nearest is not None:
        yield Fact(
            "Self nearest", percent(worst.self_nearest), "of embeddings are still nearer to their own than to any"
        )
    if worst.triplet_flips is not None:
        yield Fact(
            "Triplets", percent(worst.triplet_flips), "of triplets of rows have another of two others as the nearer"
        )


def _request_bound(worst: LevelResult, sure: str, distance: str | None) -> tuple[str, str]:
    if worst.request_bound is None:
        return "none", "so few rows have no bound that holds for single predictions"
    if math.isinf(worst.request_bound):
        return "infinite", "too many outputs are not finite"
    moved = rounded_up(distance_bound(worst.request_bound, distance))
    return moved, f"{sure} of predictions move by less than {moved}"


def _trial_bound(published: Published, result: Assessed, worst: LevelResult, sure: str) -> Fact:
    if worst.bound is None:
        return Fact("Trial bound", "none", f"nothing in {result.noise} is random: all trials are alike")
    value = "infinite" if math.isinf(worst.bound) else rounded_up(worst.bound)
    text = f"the MSE of a further trial, with {sure} probability"
    if published.mse_limit is not None:
        margin = result.noise_margin
        kept = "at no level" if margin is None else f"up to level {margin:g}"
        text += f"; under your limit, {published.mse_limit:.4g}, {kept}{_crossed(result.crossings, 'mse')}"
    return Fact("Trial bound", value, text)


def _crossed(crossings: Sequence[LimitCrossing], score: str) -> str:
    """At which level a score crosses the owner's limit; empty where there is none."""
    what = {"mse": "the mean", "agreement": "the share", "accuracy": "the share of right classes"}[score]
    does = "reaches it" if score == "mse" else "falls below your limit, {},"
    return "".join(
        f"; {what} {does.format(percent(each.limit))} at level {each.text}" for each in crossings if each.score == score
    )


def _evidence(published: Published) -> list[Fact]:
    record = watching(published.view)
    if record is None:
        return []
    share = percent(min(record.found.evidence / record.threshold, 1.0))
    return [Fact("Worse over time?", share, f"of the evidence that raises an alarm, {record.threshold:,.0f}")]


def measured(measurement: Measurement | None, picture: str, now: float) -> str:
    """The curve as it is now, as a picture (which may stand elsewhere) and a table, and what else is told of it."""
    if measurement is None:
        return "<h2>The version served, now</h2>\n<p>No current assessment.</p>"
    result = measurement.result
    index = "none" if result.index is None else f"{result.index:.4g}"
    head = (
        f"Assessed {duration(round(now - measurement.at))} ago: {result.plan.rows} rows, {result.plan.trials} "
        f"trials, robustness index {index}. {_noise(result)}"
    )
    return "\n".join(filter(None, [
        "<h2>The version served, now</h2>",
        paragraph(head),
        _cut(result.plan.cut),
        f'<div class="pair">\n{picture}\n<div>{_table(result)}</div>\n</div>' if picture else _table(result),
        _labels(result),
        _notes(result.notes),
        _named_requests(measurement),
    ]))  # fmt: skip


def _table(result: Assessed | FurtherNoise, caption: str = "") -> str:
    """A line a level; columns of which nothing is known are left out."""
    columns = {
        "noise level": [f"{point.level:.4g}" for point in result.levels],
        "mean distance" if result.distance == "cosine" else "mean MSE": [
            number(point.mean_mse) for point in result.levels
        ],
        f"trial bound, {percent(result.confidence)}": [number(point.bound) for point in result.levels],
        f"{percent(result.confidence)} move by less than": [_moved(point, result.distance) for point in result.levels],
        "agreement": [number(point.agreement) for point in result.levels],
        "median move": [number(point.median_move) for point in result.levels],
        "beyond threshold": [number(point.beyond_threshold) for point in result.levels],
        "triplets changed": [number(point.triplet_flips) for point in result.levels],
        "self nearest": [number(point.self_nearest) for point in result.levels],
        "ratio to the baseline": [number(point.baseline_ratio) for point in result.levels],
    }
    if result.output == "label":
        del columns[f"{percent(result.confidence)} move by less than"]
    kept = {name: cells for name, cells in columns.items() if any(cells)}
    return table(list(kept), zip(*kept.values(), strict=True), caption)


def further_noises(published: Published, now: float) -> str:
    """What further noises have come to, each with its table; and of each that was not run last, why."""
    current = published.current_further(now)
    told = [_further(each, now) for each in current]
    told += [
        paragraph(f"{missed.noise} was not run ({missed.reason}): {missed.why}.", "quiet")
        for each in published.view.further
        if (missed := each.missed or (each.result if not each.result.levels else None)) is not None
    ]
    what = "One an assessment, in turn, in what is left of its time. They raise no alarm."
    return "\n".join(["<h2>Further noises</h2>", paragraph(what), *told]) if told else ""


def _further(measurement: FurtherMeasurement, now: float) -> str:
    result = measurement.result
    ago = duration(round(now - measurement.at))
    index = "" if result.index is None else f", robustness index {result.index:.4g}"
    trials = "1 trial, for nothing in it is random" if result.levels[-1].bound is None else f"{result.trials} trials"
    caption = f"{result.noise}, {ago} ago: {result.rows} rows, {trials}{index}; levels count {result.level_unit}"
    return "\n".join(filter(None, [_table(result, caption), _cut(result.cut), _notes(result.notes)]))


def _moved(point: LevelResult, distance: str | None) -> str:
    return "" if point.request_bound is None else number(distance_bound(point.request_bound, distance))


def _noise(result: Assessed) -> str:
    masked = f" {result.masked[:1].upper()}{result.masked[1:]}." if result.masked else ""
    return f"Levels of {result.noise} noise count {result.level_unit}.{masked}"


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return f'<ul class="quiet">{items}</ul>' if items else ""


def _cut(cut: str) -> str:
    return paragraph(f"{cut[:1].upper()}{cut[1:]}.") if cut else ""


def _labels(result: Assessed) -> str:
    if result.labels is None:
        return paragraph(f"Labels: {result.label_problem}.") if result.label_problem else ""
    worst = result.labels.levels[-1]
    clean = "" if result.labels.clean_mse is None else f"{result.labels.clean_mse:.4g} without noise, "
    right = _crossed(result.labels.crossings, "accuracy")
    return paragraph(
        f"Against labels: {result.labels.rows} rows, mean MSE {clean}{worst.mean_mse:.4g} at level "
        f"{worst.level:.4g}, bound {worst.bound:.4g}{right}."
    )


def _named_requests(measurement: Measurement) -> str:
    told = {
        "Most fragile requests": measurement.fragile_requests,
        "Requests left out, without a finite output even without noise": measurement.nonfinite_requests,
    }
    return "\n".join(paragraph(f"{what}: {', '.join(ids)}") for what, ids in told.items() if ids)
