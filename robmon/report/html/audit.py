"""An audit as one page: a ranking, a picture and a table for each group, and what has no result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from robmon.report.audit import Group, headline, name, table, title
from robmon.report.event_sentences import figure
from robmon.report.html.charts import Chart, Line
from robmon.report.html.document import render
from robmon.report.html.pictures import Picture, picture_of
from robmon.report.ranking import crossings
from robmon.robustness.ranking import Ranking
from robmon.wording import printable

MOST_CURVES: Final = 100


def audit_page(content: Mapping[str, Any], rankings: Sequence[Ranking | None], what: str, head: str) -> str:
    """The page as HTML: the same bytes for the same results.

    Args:
        content: of the audit, as JSON has it.
        rankings: of its groups.
        what: was audited.
        head: a sentence under the title.
    """
    failures = content["failures"]
    rows = [[name(each), printable(each["reason"]), printable(each["why"])] for each in failures]
    groups = zip(content["groups"], rankings, strict=True)
    return render(
        "audit.html",
        what=printable(what),
        head=printable(head),
        examined=content["examined"],
        all=content["examined"] + len(failures),
        without_inputs=list(map(printable, content["without_inputs"])),
        groups=[_group(place, group, ranking) for place, (group, ranking) in enumerate(groups)],
        failures={"caption": "", "names": ["version", "reason", "why"], "rows": rows} if rows else None,
    )


def _group(place: int, group: Group, ranking: Ranking | None) -> dict[str, Any]:
    header, *rows = table(group, ranking)
    caption = "Sorted by the robustness index." if ranking is None else f"Ranked by {ranking.score}"
    if ranking is not None:
        caption += "; in brackets the RankDiff, places gained against clean inputs."
    notes = [] if ranking is None else [str(ranking.conditions), *(f"{n}: {why}" for n, why in ranking.left_out)]
    return {
        "title": title(group),
        "best": headline(group, ranking),
        "picture": None if ranking is None else _picture(place, ranking),
        "table": {"caption": caption, "names": header, "rows": rows},
        "crossings": [] if ranking is None else crossings(ranking),
        "probes": list(_probes(group)),
        "notes": list(map(printable, notes)),
    }


def _picture(place: int, ranking: Ranking) -> Picture:
    """Scores against level: the best and the worst at the highest one, and all others behind."""
    order = ranking.ranks[:, -1].argsort(kind="stable").tolist()
    best, worst = order[0], order[-1]
    lines = [_line(ranking, index, "before") for index in order[1:-1][:MOST_CURVES]]
    lines += [_line(ranking, worst, "new"), _line(ranking, best, "old")]
    keys = [("old", f"{ranking.names[best]}, the best there"), ("new", f"{ranking.names[worst]}, the last there")]
    keys += [("before", "the others")] if len(lines) > 2 else []
    chart = Chart(f"{ranking.score[:1].upper()}{ranking.score[1:]} against noise level.", lines, is_time=False)
    return picture_of(chart, f"scores-{place}", "", keys)


def _line(ranking: Ranking, index: int, style: str) -> Line:
    return Line(style, list(zip(ranking.levels, ranking.scores[index].tolist(), strict=True)))


def _probes(group: Group) -> Iterator[dict[str, Any]]:
    """Of attacks and certificates the share of rows by radius, of advice the items; or why there are none."""
    yield from _shares(group, "attack", "agreement", "Under attack at most this share of rows keeps its class.")
    yield from _shares(group, "certificate", "share", "Proved: at least this share of rows keeps its class.")
    items = [
        [name(each), printable(item["rule"]), figure(item["gain"]), printable(item["where"])]
        for each in group["versions"]
        for item in each.get("advice", {}).get("items", ())
    ]
    if items:
        names = ["version", "rule", "gain", "where"]
        yield {"caption": "Read of the layers: advice, not a verdict.", "names": names, "rows": items}


def _shares(group: Group, probe: str, key: str, caption: str) -> Iterator[dict[str, Any]]:
    asked = [each for each in group["versions"] if probe in each]
    if not asked:
        return
    radii: list[float] = next((each[probe]["radii"] for each in asked if each[probe].get(key)), [])
    rows = []
    for each in asked:
        shares = each[probe].get(key)
        rest = [figure(share) for share in shares] if shares else ["-"] * len(radii)
        rows.append([name(each), *rest, "" if shares else printable(each[probe].get("reason", "-"))])
    yield {"caption": caption, "names": ["version", *(f"radius {radius:g}" for radius in radii), ""], "rows": rows}
