"""What the features of a version's inputs, or outputs, are like: one summary a feature, without any of their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from robmon.drift.columns import UNMEASURED, Column
from robmon.drift.comparison import FeatureDrift, compare_names, compare_numbers, not_measured, with_decisions
from robmon.drift.names import Names
from robmon.drift.numbers import MOST_CELLS, Numbers
from robmon.drift.whole import count_of
from robmon.errors import InvalidInputError

ALL_CELLS = 2**15
"""Cells of all features together, 16 each at least: a baseline of many features stays small."""
LEAST_CELLS = 16


@dataclass(frozen=True)
class Unmeasured:
    """A column of which nothing is measured.

    Attributes:
        reason: what it holds: `datetime`, `object`, or `wide integers`.
        rows: how many cells there were.
    """

    reason: str
    rows: int = 0


Summary = Numbers | Names | Unmeasured
_KINDS: dict[str, type[Numbers] | type[Names]] = {"number": Numbers, "name": Names}


@dataclass(frozen=True)
class Summaries:
    """Summaries of features, by name.

    >>> from robmon.drift.features import array_columns
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(500, 2))
    >>> known = Summaries.none().added(array_columns(rows[:300], ["a", "b"]))
    >>> [feature.drifted for feature in known.compare(array_columns(rows[300:] + [0.0, 1.0], ["a", "b"]), q=0.01)]
    [False, True]
    """

    features: Mapping[str, Summary]

    @classmethod
    def none(cls) -> Summaries:
        """Summaries of nothing yet."""
        return cls({})

    def added(self, columns: Mapping[str, Column]) -> Summaries:
        """With further rows."""
        most = _cells(len(self.features.keys() | columns.keys()))
        more = {name: _added(self.features.get(name), name, column, most) for name, column in columns.items()}
        return Summaries({**self.features, **more})

    def merged(self, other: Summaries) -> Summaries:
        """Both together, such as those of two pods; a feature that only one of them has is as it is there."""
        most = _cells(len(self.features.keys() | other.features.keys()))
        both = {
            name: _merged(summary, other.features[name], most)
            for name, summary in self.features.items()
            if name in other.features
        }
        return Summaries({**other.features, **self.features, **both})

    def compare(self, columns: Mapping[str, Column], q: float) -> tuple[FeatureDrift, ...]:
        """Drift of current rows, feature by feature, and which of them have drifted: see `with_decisions`."""
        features = [
            _compared(name, self.features.get(name, Unmeasured("not in the baseline")), column)
            for name, column in columns.items()
        ]
        lost = [
            not_measured(FeatureDrift(name, 0, summary.rows), "not in these inputs")
            for name, summary in self.features.items()
            if name not in columns
        ]
        return with_decisions([*features, *lost], q)

    @property
    def reasons(self) -> dict[str, str]:
        """Why features are not measured, by name, of those that are not."""
        told = {name: _reason(summary) for name, summary in self.features.items()}
        return {name: reason for name, reason in told.items() if reason}

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: _as_json(summary) for name, summary in self.features.items()}

    @classmethod
    def from_dict(cls, content: Any) -> Summaries:
        """What `to_dict` gave.

        Raises:
            InvalidInputError: it is something else.
        """
        if not isinstance(content, Mapping):
            raise InvalidInputError("these are no summaries of features")
        return cls({str(name): _read(summary) for name, summary in content.items()})


def _cells(features: int) -> int:
    return min(max(ALL_CELLS // max(features, 1), LEAST_CELLS), MOST_CELLS)


def _added(known: Summary | None, name: str, column: Column, most: int) -> Summary:
    if known is None or _is_empty(known):
        missing = 0 if known is None else known.rows
        if column.kind in UNMEASURED:
            known = Unmeasured(column.kind, missing)
        elif column.kind == "name":
            known = replace(Names.none(), missing=missing)
        else:
            known = replace(Numbers.none(), missing=missing)
    if isinstance(known, Unmeasured):
        return replace(known, rows=known.rows + column.rows)
    return known.added(column) if isinstance(known, Names) else known.added(name, column, most)


def _merged(first: Summary, second: Summary, most: int) -> Summary:
    if isinstance(first, Numbers) and isinstance(second, Numbers):
        return first.merged(second, most)
    if isinstance(first, Names) and isinstance(second, Names):
        return first.merged(second)
    for empty, other in ((first, second), (second, first)):
        if _is_empty(empty) and isinstance(other, (Numbers, Names)):
            return replace(other, missing=other.missing + empty.rows)
    reasons = {each.reason for each in (first, second) if isinstance(each, Unmeasured)}
    is_one = len(reasons) == 1 and isinstance(first, Unmeasured) and isinstance(second, Unmeasured)
    return Unmeasured(reasons.pop() if is_one else "object", first.rows + second.rows)


def _is_empty(summary: Summary) -> bool:
    """Whether no cell of the column has held anything yet."""
    return isinstance(summary, Numbers) and summary.rows == summary.missing


def _compared(name: str, summary: Summary, column: Column) -> FeatureDrift:
    if isinstance(summary, Unmeasured):
        return not_measured(FeatureDrift(name, column.rows, summary.rows), summary.reason)
    if isinstance(summary, Names):
        return compare_names(name, summary.reference(), column)
    return compare_numbers(name, summary.reference(), column)


def _reason(summary: Summary) -> str:
    if isinstance(summary, Numbers):
        return "identifier" if summary.identifier else ""
    return summary.reason


def _as_json(summary: Summary) -> dict[str, Any]:
    if isinstance(summary, Unmeasured):
        return {"kind": summary.reason, "rows": summary.rows}
    return {"kind": "number" if isinstance(summary, Numbers) else "name", **summary.to_dict()}


def _read(content: Any) -> Summary:
    if not isinstance(content, Mapping) or not isinstance(content.get("kind"), str):
        raise InvalidInputError("this is no summary of a feature")
    kind = _KINDS.get(content["kind"])
    if kind is None:
        return Unmeasured(content["kind"], count_of(content.get("rows")))
    return kind.from_dict(content)
