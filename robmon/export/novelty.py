"""Unusual queries: novel rows, near-duplicates and bodies that come again, as metrics and on the status page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from robmon.export.families import add, nonempty, of_version
from robmon.export.page.pieces import number, paragraph
from robmon.export.published import Measurement
from robmon.processes.messages.findings import NoveltyFound
from robmon.report.words import percent


def novelty_metrics(of: list[str], found: NoveltyFound | None) -> Iterator[GaugeMetricFamily]:
    """What is unusual about the rows of the last assessment; nothing while the baseline is being learnt."""
    ratio = of_version(
        "robmon_input_novel_ratio",
        "Share of the new rows that are farther out, by a distance in standardised features, than all but detect.alpha "
        "of the baseline's",
    )
    pvalue = of_version(
        "robmon_input_novelty_pvalue", "Probability of so many different novel rows, if all were as the baseline's"
    )
    near = of_version(
        "robmon_input_near_duplicate_rows",
        "New rows that are nearer to another than the baseline's ever were, those with the same content left out",
    )
    if found is not None:
        add(ratio, of, found.ratio)
        add(pvalue, of, found.pvalue)
        add(near, of, found.near_duplicates)
    yield from nonempty(ratio, pvalue, near)


def repeated_metrics(repeated: Mapping[str, int] | None, sources: Sequence[str]) -> Iterator[CounterMetricFamily]:
    """Bodies that came again, of each source that they can come from; nothing where they are not counted."""
    if repeated is None:
        return
    family = CounterMetricFamily(
        "robmon_inputs_repeated",
        "Requests with the same body, to the byte, as one of the last detect.ring different ones, by source",
        labels=["source"],
    )
    for source in sources:
        family.add_metric([source], repeated.get(source, 0))
    yield family


def unusual_queries(measurement: Measurement) -> str:
    """How many of the new rows are unusual, and which requests they came with; empty while nothing is known."""
    found = measurement.result.novelty
    if found is None or not found.rows or (found.ratio is None and found.near_duplicates is None):
        return ""
    told = [paragraph(f"Of {found.rows} new rows {_counts(found)}.")]
    for what, ids in (("Near-duplicates", measurement.near_requests), ("Novel", measurement.novel_requests)):
        if ids:
            told.append(paragraph(f"{what}, requests: {', '.join(ids)}"))
    what = "Unusual is no more than that: a new kind of client is too. Small adversarial noise is not seen this way."
    return "\n".join(["<h2>Unusual queries</h2>", *told, paragraph(what, "quiet")])


def _counts(found: NoveltyFound) -> str:
    parts = []
    if found.ratio is not None:
        parts.append(
            f"{percent(found.ratio)} are farther out than nearly all of the baseline's (p {number(found.pvalue)})"
        )
    if found.near_duplicates is not None:
        parts.append(f"{found.near_duplicates} are nearer to another one than the baseline's ever were")
    parts.append(f"{found.equal_rows} have the same content as another")
    return ", ".join(parts)
