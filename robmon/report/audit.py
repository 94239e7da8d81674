"""An audit in words: how many versions, what is best in each group, and what failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from robmon.report.event_sentences import figure
from robmon.report.ranking import best, cells, crossings
from robmon.report.words import aligned
from robmon.robustness.ranking import Ranking
from robmon.wording import printable

Group = Mapping[str, Any]
MOST_LINES: Final = 20
"""Of a table on the terminal; JSON and page have all."""
INDEX_NAMES: Final = ("version", "index", "area", "output", "rows")


def text(content: Mapping[str, Any], rankings: Sequence[Ranking | None]) -> str:
    """What a terminal shows of an audit.

    Args:
        content: as JSON has it.
        rankings: of its groups.
    """
    return "\n".join(_lines(content, rankings))


def _lines(content: Mapping[str, Any], rankings: Sequence[Ranking | None]) -> Iterator[str]:
    failures = content["failures"]
    for group, ranking in zip(content["groups"], rankings, strict=True):
        yield f"{title(group)}: {headline(group, ranking)}"
        header, *rows = table(group, ranking)
        yield from aligned([header, *rows[:MOST_LINES]], names_first=True)
        if len(rows) > MOST_LINES:
            yield f"... and {len(rows) - MOST_LINES} more, in the JSON file and on the page"
        yield from crossings(ranking) if ranking is not None else ()
        yield ""
    for failure in failures:
        yield f"no result: {name(failure)}: {failure['reason']}: {printable(failure['why'])}"
    if content["without_inputs"]:
        yield f"not audited, because the map says no inputs for them: {', '.join(content['without_inputs'])}"
    yield f"{content['examined']} of {content['examined'] + len(failures)} versions have a result."


def title(group: Group) -> str:
    """What a group is of."""
    inputs, settings = PurePath(group["inputs"]).name, group["settings"]["specification"]
    count = len(group["versions"])
    return printable(f"{inputs}, {settings['noise']} noise, {count} version{'s' if count != 1 else ''}")


def headline(group: Group, ranking: Ranking | None) -> str:
    """The best of a group, or why nobody knows."""
    return best(ranking) if ranking is not None else f"not ranked: {group['no_ranking']}."


def table(group: Group, ranking: Ranking | None) -> list[list[str]]:
    """The table's header, and a row per version, the best first; the robustness index beside the ranks."""
    if ranking is None:
        rows = [
            [name(each), figure(each["index"]), figure(each["area"]), printable(each["output"]), figure(each["rows"])]
            for each in group["versions"]
        ]
        return [list(INDEX_NAMES), *rows]
    header, *rows = cells(ranking)
    index = {name(each): figure(each["index"]) for each in group["versions"]}
    ranked = [[*rows[place], index.get(ranking.names[place], "-")] for place in ranking.order]
    return [[*header, "index"], *ranked]


def name(version: Mapping[str, Any]) -> str:
    """What a version goes by, as in the ranking."""
    aliases = f" ({', '.join(version['aliases'])})" if version["aliases"] else ""
    return f"{version['name']}/{version['version']}{aliases}"
