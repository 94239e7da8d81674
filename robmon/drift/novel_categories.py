"""How far out a category is, in the unit in which numbers are standardised.

A category that a share p of the rows holds stands for a one-hot cell whose standardised square is (1 - p) / p. Over all
K categories of a column these are K - 1 on average: the distance of correspondence analysis (Greenacre, Theory and
Applications of Correspondence Analysis, 1984). Divided by that a column counts as one of numbers does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from robmon.drift.columns import Column
from robmon.drift.names import Names, key_of
from robmon.drift.novel_rows import NovelRows
from robmon.robustness.arrays import Float64

MOST_COLUMNS: Final = 64
"""Of categories that are counted, the first that there are."""
HALF_A_ROW: Final = 0.5
"""Is added to each category, and to that which was never seen, so that nothing is infinitely far (Jeffreys)."""


def no_categories(rows: NovelRows) -> dict[str, Names]:
    """Counts of nothing yet, of the columns of categories that these rows have."""
    return dict.fromkeys(list(rows.labels)[:MOST_COLUMNS], Names.none())


def counted(known: Mapping[str, Names], rows: NovelRows) -> dict[str, Names]:
    """The counts with these rows too: by hashes alone, no name."""
    return {name: replace(each.added(_column(rows, name)), names={}) for name, each in known.items()}


def squares(known: Mapping[str, Names], rows: NovelRows) -> Float64:
    """The standardised squares of each row's categories, shape `(n, columns)`: without free text and identifiers."""
    found = [_squares(each, rows, name) for name, each in known.items() if not each.reason]
    return np.stack(found, axis=1) if found else np.empty((rows.rows, 0))


def _squares(known: Names, rows: NovelRows, name: str) -> Float64:
    nameless = known.missing + known.other
    categories = len(known.counts) + (nameless > 0)

    def square(label: str | None) -> float:
        count = nameless if label is None else known.counts.get(key_of(label), 0)
        share = (count + HALF_A_ROW) / (known.rows + HALF_A_ROW * (categories + 1))
        return (1 - share) / share / max(categories - 1, 1)

    labels = _labels(rows, name)
    told = {label: square(label) for label in set(labels)}
    return np.array([told[label] for label in labels])


def _labels(rows: NovelRows, name: str) -> list[str | None]:
    return rows.labels[name].tolist() if name in rows.labels else [None] * rows.rows


def _column(rows: NovelRows, name: str) -> Column:
    names = np.array(_labels(rows, name), dtype=object)
    missing = sum(label is None for label in names)
    return Column("name", np.full(rows.rows, np.nan), names, missing, name in rows.declared)
