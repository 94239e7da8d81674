"""Advice on a model's operators, in words: advice, not a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from robmon.report.words import aligned, number

if TYPE_CHECKING:
    from robmon.robustness.probes.advice.result import Advice, AdviceItem

HEAD: Final = "Advice, not a verdict"
NOTHING: Final = "No rule speaks of what was read."


def text(advice: Advice) -> str:
    """The table, worst measured first, a sentence for each of its lines, and notes; or why nothing was read."""
    if advice.reason:
        return f"{HEAD}: not readable, {advice.reason}."
    lines = [f"{HEAD}: the measured curve decides."]
    if advice.items:
        lines += aligned([header(), *map(cells, advice.items)], names_first=True)
    lines += [f"{item.rule}: {item.text}" for item in advice.items] or [NOTHING]
    return "\n".join([*lines, *advice.notes])


def header() -> list[str]:
    """Names of the columns."""
    return ["rule", "where", "gain", "noise/signal before", "after"]


def cells(item: AdviceItem) -> list[str]:
    """A line of the table."""
    measured = item.measured or {}
    return [item.rule, item.where, number(item.gain), *(number(measured.get(name)) for name in ("before", "after"))]
