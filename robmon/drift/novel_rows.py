"""Rows of inputs as distances between them are measured: numbers, categories, and what makes two rows the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.drift.columns import Column, is_identifier
from robmon.drift.names import has_space, why_not
from robmon.robustness.arrays import Float64

MOST_NUMBERS: Final = 1024
"""Of a row, beyond which cells are left out: of images and the like a fixed draw of them stands for all."""


@dataclass(frozen=True, eq=False)
class NovelRows:
    """Rows as distances between them are measured.

    Attributes:
        names: of the columns of numbers.
        numbers: shape `(n, columns)`, NaN where a cell is missing or no number.
        categories: shape `(n, columns)`, a code for each name, comparable within these rows alone.
        identifiers: those of `names` that count rows or name them, as far as these rows tell.
        beyond: n further contents of the rows, of which no distance is measured, but by which two rows are told apart.
        labels: the columns of names by their own, each of shape `(n,)`, None where a cell holds none.
        declared: those of them whose owner says that they hold categories.
    """

    names: tuple[str, ...]
    numbers: Float64
    categories: NDArray[np.int64]
    identifiers: frozenset[str] = frozenset()
    beyond: tuple[bytes, ...] = ()
    labels: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.numbers)

    def take(self, rows: NDArray[np.intp] | slice) -> NovelRows:
        """Some of them."""
        at = np.arange(self.rows)[rows]
        beyond = tuple(self.beyond[row] for row in at) if self.beyond else ()
        labels = {name: each[at] for name, each in self.labels.items()}
        return replace(self, numbers=self.numbers[at], categories=self.categories[at], beyond=beyond, labels=labels)

    def aligned(self, names: Sequence[str]) -> NovelRows:
        """The same rows with these columns of numbers; NaN where they have none of that name."""
        if tuple(names) == self.names:
            return self
        at = {name: index for index, name in enumerate(self.names)}
        missing = np.full(self.rows, np.nan)
        columns = [self.numbers[:, at[name]] if name in at else missing for name in names]
        numbers = np.stack(columns, axis=1) if columns else np.empty((self.rows, 0))
        return replace(self, names=tuple(names), numbers=numbers)

    def contents(self) -> list[bytes]:
        """The content of each row: two are the same where theirs are."""
        missing = np.isnan(self.numbers)
        numbers = np.where(missing, 0.0, self.numbers) + 0.0  # no negative zero
        parts = (np.ascontiguousarray(part).view(np.uint8) for part in (numbers, missing, self.categories))
        whole = np.concatenate([part.reshape(self.rows, -1) for part in parts], axis=1)
        beyond = self.beyond or (b"",) * self.rows
        return [row.tobytes() + rest for row, rest in zip(whole, beyond, strict=True)]

    def differing(self, one: NDArray[np.intp], other: NDArray[np.intp]) -> Float64:
        """For pairs of rows, in how many categories they differ, and in how many numbers that only one of them has."""
        missing = np.isnan(self.numbers)
        apart = np.zeros(len(one))
        for column in (*self.categories.T, *missing[:, missing.any(axis=0)].T):
            apart += column[one] != column[other]
        return apart


def novel_rows(columns: Mapping[str, Column], array: NDArray[Any], *, is_table: bool) -> NovelRows:
    """Rows as distances between them are measured.

    Args:
        columns: all columns of the inputs, by name, as drift watches them.
        array: what is perturbed of them, shape `(n, *input_shape)`.
        is_table: whether each column of `array` is a feature; else its cells are taken, for means over an image would
            hide what moves in it.
    """
    if not is_table:
        return _of_cells(array)
    numbers = {name: column for name, column in columns.items() if column.kind == "number"}
    categories = [codes for column in columns.values() if (codes := _codes(column)) is not None]
    rows = len(array)
    named = {name: column for name, column in columns.items() if column.kind == "name"}
    return NovelRows(
        tuple(numbers),
        np.stack([column.numbers for column in numbers.values()], axis=1) if numbers else np.empty((rows, 0)),
        np.stack(categories, axis=1) if categories else np.empty((rows, 0), dtype=np.int64),
        frozenset(name for name, column in numbers.items() if is_identifier(name, column)),
        _bytes(array[:, MOST_NUMBERS:]) if array.ndim == 2 and array.shape[1] > MOST_NUMBERS else (),
        {name: column.names for name, column in named.items() if column.names is not None},
        frozenset(name for name, column in named.items() if column.declared),
    )


def _of_cells(array: NDArray[Any]) -> NovelRows:
    flat = array.reshape(len(array), -1)
    at = np.arange(flat.shape[1])
    if len(at) > MOST_NUMBERS:
        at = np.sort(np.random.default_rng(len(at)).choice(len(at), MOST_NUMBERS, replace=False))
    names = tuple(f"cell[{index}]" for index in at)
    return NovelRows(
        names, flat[:, at].astype(np.float64), np.empty((len(flat), 0), dtype=np.int64), beyond=_bytes(flat)
    )


def _bytes(rows: NDArray[Any]) -> tuple[bytes, ...]:
    return tuple(blake2b(row.tobytes(), digest_size=16).digest() for row in rows)


def _codes(column: Column) -> NDArray[np.int64] | None:
    """A code for each name; None of a column without categories: free text and identifiers differ in every row."""
    if column.kind != "name" or column.names is None:
        return None
    texts = ["" if name is None else str(name) for name in column.names.tolist()]
    _, codes, counts = np.unique(texts, return_inverse=True, return_counts=True)
    names = column.present_names
    if not column.declared and why_not(int((counts == 1).sum()), len(names), sum(map(has_space, names))):
        return None
    return codes.astype(np.int64)
