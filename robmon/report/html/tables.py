"""The tables of a report: drift of the inputs, and what a change comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from robmon.report.event_sentences import Row, figure, utc_minute, value_of
from robmon.report.html.period import Period, finite_or_none
from robmon.report.html.story import shares
from robmon.wording import printable

STATISTICS: Final = ("js", "psi", "mean_psi", "ks", "wasserstein")
"""In this order, before all others."""
STATISTIC_NAMES: Final = {
    "js": "JS distance",
    "psi": "PSI",
    "mean_psi": "mean PSI",
    "ks": "KS",
    "wasserstein": "W1 / sd",
}


@dataclass(frozen=True)
class Feature:
    """A line of the table of drift."""

    feature: str
    cells: list[tuple[str, str]]


def drift(period: Period) -> dict[str, Any] | None:
    row = next((each for each in reversed(period.assessments) if each.get("drift")), None)
    if row is None:
        return None
    features = row["drift"]
    found = {name for each in features for name in each if name != "feature"}
    names = [name for name in STATISTICS if name in found] + sorted(found - set(STATISTICS))
    shown = [STATISTIC_NAMES.get(name, printable(name).replace("_", " ")) for name in names]
    rows = [
        Feature(
            "all features" if each["feature"] == "all" else printable(each["feature"]),
            [(label, figure(each.get(name), 3)) for label, name in zip(shown, names, strict=True)],
        )
        for each in sorted(features, key=_drift_order)
    ]
    quality = [_problem(each) for each in row.get("quality") or ()]
    count = f"{figure(row.get('drift_rows'))} rows"
    if row.get("baseline_rows") is not None:
        count += f" against {figure(row['baseline_rows'])} of the baseline"
    watched = f"of {figure(row.get('features_watched'))} watched features the most drifted are shown"
    note = "Effects, not chances: a p-value depends on the number of rows. PSI: above 0.25 is a large shift by custom."
    caption = f"{count}, at {utc_minute(row['at'])}; {watched}."
    return {"caption": caption, "names": shown, "rows": rows, "note": note, "quality": quality}


def _problem(row: Row) -> str:
    problem = printable(row.get("problem")).replace("_", " ")
    return f"{printable(row.get('feature'))}: {problem} in {shares(row.get('ratio'))}"


def _drift_order(row: Row) -> tuple[bool, float, str]:
    return row["feature"] != "all", -max(value_of(row.get("js")), value_of(row.get("psi"))), str(row["feature"])


def causes(period: Period) -> dict[str, Any] | None:
    """What the last verdict said that the change comes from."""
    verdicts = [event for event in period.events if event.get("kind") == "verdict" and event.get("causes")]
    if not verdicts:
        return None
    last = verdicts[-1]
    rows = [_cause(name, last["causes"][name]) for name in ("model", "traffic") if last["causes"].get(name)]
    if not rows:
        return None
    caption = (
        f"Version {printable(last.get('version'))} against version {printable(last.get('against'))}, at "
        f"{utc_minute(last['at'])}: by how much each multiplies the noise error at the highest level."
    )
    names = ["cause", "ratio", "95 % interval", "share of the change"]
    note = "Traffic first, which the older version met too, then the model, on the same rows: the whole is the product."
    return {"caption": caption, "names": names, "rows": rows, "note": note}


def _cause(name: str, part: Mapping[str, Any]) -> list[str]:
    ratio, stderr = finite_or_none(part.get("ratio")), finite_or_none(part.get("log_stderr"))
    limits = "-"
    if ratio is not None and stderr is not None:
        low, high = ratio * math.exp(-1.96 * stderr), ratio * math.exp(1.96 * stderr)
        limits = f"{low:.3g} to {high:.3g}"
    return [name, figure(part.get("ratio"), 3), limits, shares(part.get("share"))]


def attribution(period: Period) -> dict[str, Any] | None:
    """Which groups of features carry the noise error: of the last sample that was asked for it, else the baseline's."""
    rows = [row for row in period.assessments if row.get("attribution")]
    if not rows:
        return None
    row = next((each for each in reversed(rows) if each["attribution"].get("of") == "sample"), rows[-1])
    found = row["attribution"]
    lines = [
        [
            printable(each.get("group")), shares(each.get("share")), shares(each.get("stderr")),
            shares(each.get("rise_share")), shares(each.get("rise_stderr")),
        ]
        for each in sorted(found["groups"], key=lambda each: -value_of(each.get("share")))
    ]  # fmt: skip
    of = "the sample" if found.get("of") == "sample" else "the baseline"
    caption = (
        f"Which features carry the noise error of {of} at level {figure(found.get('level'))}, {utc_minute(row['at'])}."
    )
    names = ["features", "share of the error", "standard error", "share of its rise", "standard error of that"]
    return {"caption": caption, "names": names, "rows": lines}
