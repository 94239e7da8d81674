"""Of many assessments so many as can be drawn or sent: of each stretch of time the worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any


def worst_of(
    rows: Iterable[dict[str, Any]], most: int, badness: Callable[[dict[str, Any]], tuple[bool, float]]
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """About so many of many assessments: the worst of each stretch of time, and those that say what others do not.

    The last of each version and of all stay, and those that hold an attribution.

    Returns:
        those, in their order, and how many there were of each version.
    """
    counts: Counter[str] = Counter()
    kept: list[tuple[dict[str, Any], bool]] = []
    before: dict[str, Any] | None = None
    for row in rows:
        counts[str(row.get("version", "-"))] += 1
        if before is not None:
            kept.append((before, before.get("version") != row.get("version") or "attribution" in before))
        before = row
        if len(kept) >= 2 * most:
            kept = _halved(kept, badness)
    return [row for row, _ in kept] + ([before] if before is not None else []), counts


def _halved(
    kept: list[tuple[dict[str, Any], bool]], badness: Callable[[dict[str, Any]], tuple[bool, float]]
) -> list[tuple[dict[str, Any], bool]]:
    """The worse of two neighbours, unless one of them must stay."""
    found: list[tuple[dict[str, Any], bool]] = []
    is_open = False
    for each in kept:
        if is_open and not each[1]:
            found[-1] = max(found[-1], each, key=lambda one: badness(one[0]))
            is_open = False
        else:
            found.append(each)
            is_open = not each[1]
    return found
