"""What a column of categories is like: counts by a hash of each name, and the names of those that are frequent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from robmon.drift.columns import FEW_TO_TELL, Column
from robmon.drift.reference import NameReference
from robmon.drift.whole import count_of
from robmon.errors import InvalidInputError

MOST_KEYS = 200
"""Categories that are counted one by one while a column is being learnt."""
MOST_NAMES = 50
NAME_ROWS = 5
NAME_SHARE = 0.01
"""A name is kept from so many rows and so large a share on: one that fewer hold may be what a person wrote."""
LONGEST_NAME = 64
KEY_BYTES = 8


@dataclass(frozen=True)
class Names:
    """Counts of the categories of one column.

    Attributes:
        counts: rows by the hash of their name, of at most 200 names.
        names: by hash, of at most 50 names that 5 rows and 1 % or more hold.
        rest: rows of all other names.
        missing, other: cells of the column that hold nothing, or no name at all.
        spaced: rows whose name has a space in it.
        declared: whether the owner says that it holds categories.

    >>> import numpy as np
    >>> seen = Names.none().added(Column("name", np.zeros(7), np.array(["(other)"] * 6 + ["b"], dtype=object)))
    >>> sorted(seen.counts.values()), list(seen.names.values())
    ([1, 6], ['(other)'])
    """

    counts: Mapping[str, int]
    names: Mapping[str, str]
    rest: int = 0
    missing: int = 0
    other: int = 0
    spaced: int = 0
    declared: bool = False

    @classmethod
    def none(cls) -> Names:
        """A summary of no rows."""
        return cls({}, {})

    @property
    def rows(self) -> int:
        """How many cells of the column are counted."""
        return sum(self.counts.values()) + self.rest + self.missing + self.other

    def added(self, column: Column) -> Names:
        """With further rows of the column."""
        cells = column.present_names
        told = Counter(cells)
        names = {key_of(name): name for name in told}
        more = Names(
            {key: told[name] for key, name in names.items()},
            names,
            missing=column.missing,
            other=column.rows - column.missing - len(cells),
            spaced=sum(has_space(name) * rows for name, rows in told.items()),
            declared=column.declared,
        )
        return self.merged(more)

    def merged(self, other: Names) -> Names:
        """Both together."""
        total = Counter(self.counts)
        total.update(other.counts)
        kept = sorted(total, key=lambda key: (-total[key], key))[:MOST_KEYS]
        known, rest = {**other.names, **self.names}, self.rest + other.rest
        enough = max(NAME_ROWS, NAME_SHARE * (sum(total.values()) + rest))
        named = [key for key in kept if key in known and total[key] >= enough and _may_be_kept(known[key])]
        return Names(
            {key: total[key] for key in kept},
            {key: known[key] for key in named[:MOST_NAMES]},
            rest=rest + sum(total.values()) - sum(total[key] for key in kept),
            missing=self.missing + other.missing,
            other=self.other + other.other,
            spaced=self.spaced + other.spaced,
            declared=self.declared or other.declared,
        )

    @property
    def reason(self) -> str:
        """Why drift of it is not measured; empty where it is."""
        present = sum(self.counts.values()) + self.rest
        single = sum(rows == 1 for rows in self.counts.values()) + self.rest
        return "" if self.declared else why_not(single, present, self.spaced)

    def reference(self) -> NameReference:
        """What other rows are compared with."""
        counts, reason = self.counts, self.reason
        return NameReference(counts, key_of, self.rest, self.rows, self.missing, self.other, reason)

    @property
    def shares(self) -> list[float]:
        """Shares of the rows that have a name: of each category, and of all that are not counted one by one."""
        rows = [*self.counts.values(), *([self.rest] if self.rest else [])]
        return [each / sum(rows) for each in rows]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; of text and identifiers no name is in it."""
        return {
            "counts": dict(self.counts),
            "names": {} if self.reason else dict(self.names),
            "rest": self.rest,
            "missing": self.missing,
            "other": self.other,
            "spaced": self.spaced,
            "declared": self.declared,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Names:
        """What `to_dict` gave.

        Raises:
            InvalidInputError: it is something else.
        """
        try:
            counts = {str(key): count_of(rows) for key, rows in content["counts"].items()}
            names = {str(key): str(name) for key, name in content["names"].items()}
            rest, missing, other, spaced = (count_of(content[key]) for key in ("rest", "missing", "other", "spaced"))
            declared = bool(content["declared"])
        except (KeyError, TypeError, AttributeError):
            raise InvalidInputError("this is no summary of categories") from None
        if len(counts) > MOST_KEYS or not names.keys() <= counts.keys():
            raise InvalidInputError("this is no summary of categories")
        return cls(counts, names, rest, missing, other, spaced, declared)


def why_not(single: int, present: int, spaced: int) -> str:
    """Why drift of names is not measured, of which `single` rows hold one of their own; empty where it is.

    >>> why_not(900, 1000, 800), why_not(900, 1000, 0), why_not(2, 1000, 0)
    ('text', 'identifier', '')
    """
    if present < FEW_TO_TELL or 2 * single <= present:
        return ""
    return "text" if 2 * spaced > present else "identifier"


def has_space(name: str) -> bool:
    """Whether it is of several words."""
    return any(c.isspace() for c in name.strip())


def key_of(name: str) -> str:
    """What stands for a name in a file: it cannot be read back, but a name that is guessed can be checked."""
    return blake2b(name.encode(errors="surrogatepass"), digest_size=KEY_BYTES, person=b"robmon").hexdigest()


def _may_be_kept(name: str) -> bool:
    return len(name) <= LONGEST_NAME and name.isprintable()
