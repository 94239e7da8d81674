"""Shares of a noise error in words: a table, and what there is to say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robmon.report.words import aligned, number, percent
from robmon.robustness.sentences import some_of

if TYPE_CHECKING:
    from robmon.robustness.probes.shares import Attribution

FEATURES_NAMED = 5


def text(result: Attribution) -> str:
    """The shares, largest first, each with its standard error and the features that it is of."""
    what = "share of changed classes" if result.output == "label" else "mean MSE"
    head = (
        f"{what} {number(result.total)} at level {result.level:g} of {result.noise} noise, shared out between "
        f"{len(result.groups)} groups of features: {result.rows} rows, {result.pairs} pairs of orders"
    )
    order = sorted(range(len(result.groups)), key=lambda index: -result.share[index])
    rows = [
        (
            result.groups[index],
            percent(float(result.share[index])),
            f"± {percent(float(result.stderr[index]))}",
            some_of(result.members[result.groups[index]], FEATURES_NAMED),
        )
        for index in order
    ]
    lines = [head, *aligned([("group", "share", "standard error", "features"), *rows])]
    return "\n".join([*lines, *filter(None, [result.cut]), *result.notes])
