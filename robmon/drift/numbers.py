"""What a column of numbers is like, without any of them: counts in cells, frequent values in narrow ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.drift.columns import FEW_TO_TELL, Column, is_identifier
from robmon.drift.dyadic import FLOAT32_BITS, LEVELS, PRECISE_BITS, Cells, bits_of, cells_of, narrowest, rounded
from robmon.drift.reference import NumberReference
from robmon.drift.whole import count_of
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

Int64 = NDArray[np.int64]
MOST_CELLS = 128
MOST_ATOMS = 32
FINE_BITS = 5
"""A cell is at least this many bits below the spread of the column, or the distance from its middle: a lone outlier
is as little told as any other row."""
ATOM_ROWS = 5
ATOM_SHARE = 0.01
"""So many rows, and so large a share of those seen at a time, make a value frequent. 0 is whenever it occurs."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """Counts of the cells of one column.

    Attributes:
        cells: of its numbers, without those of atoms.
        atoms: narrow cells of frequent values.
        low, high: cells in which the least and the largest number lay; none before the first.
        missing, infinite, other: cells of the column that hold nothing, an infinity, or no number at all.
        identifier: whether all rows so far looked like those of an identifier; None: too few to tell.
        bits: significant ones of its numbers: those of float32, or more where they differ by less.

    >>> column = lambda values: Column("number", np.asarray(values))
    >>> seen = Numbers.none().added("x", column([0.0] * 90 + [1.5, 2.5, 3.5]))
    >>> seen.rows, seen.atoms.counts.tolist()
    (93, [90])
    """

    cells: Cells
    atoms: Cells
    low: Cells
    high: Cells
    missing: int = 0
    infinite: int = 0
    other: int = 0
    identifier: bool | None = None
    bits: int = FLOAT32_BITS

    @classmethod
    def none(cls) -> Numbers:
        """A summary of no rows."""
        return cls(Cells.none(), Cells.none(), Cells.none(), Cells.none())

    @property
    def finite(self) -> int:
        """How many numbers are finite."""
        return self.cells.rows + self.atoms.rows

    @property
    def rows(self) -> int:
        """How many cells of the column are counted."""
        return self.finite + self.missing + self.infinite + self.other

    def added(self, name: str, column: Column, most_cells: int = MOST_CELLS) -> Numbers:
        """With further rows of the column of that name."""
        values, infinite = column.numbers, int(np.isinf(column.numbers).sum())
        finite = values[np.isfinite(values)]
        bits = max(self.bits, bits_of(finite))
        distinct, counts = np.unique(rounded(finite, bits), return_counts=True)
        identifier = is_identifier(name, column)
        if self.identifier is not None:
            identifier = self.identifier if identifier is None else identifier and self.identifier
        told = replace(
            self,
            missing=self.missing + column.missing,
            infinite=self.infinite + infinite,
            other=self.other + column.rows - column.missing - infinite - int(counts.sum()),
            identifier=identifier,
            bits=bits,
        )
        return told._with(distinct, counts.astype(np.int64), most_cells) if len(distinct) else told

    def _with(self, distinct: Float64, counts: Int64, most_cells: int) -> Numbers:
        known = self.atoms.find(distinct)
        is_frequent = (counts >= max(ATOM_ROWS, ATOM_SHARE * int(counts.sum()))) | (distinct == 0)
        apart = is_frequent | (known >= 0)
        levels = np.maximum(self._fine_levels(distinct, counts, apart), narrowest(distinct, self.bits))
        cells, atoms, is_atom = self.cells, self.atoms, known >= 0
        if np.any(is_frequent & ~is_atom):
            cells, atoms = self._with_new_atoms(distinct, counts, is_frequent & ~is_atom)
            known = atoms.find(distinct)
            is_atom = known >= 0
        seen = np.bincount(known[is_atom], weights=counts[is_atom], minlength=len(atoms.counts))
        atoms, rest = _frequent(atoms.counted(atoms.counts + seen.astype(np.int64)))
        levels = np.where(is_atom, narrowest(distinct, self.bits), levels)
        low, high = (cells_of(distinct[at], counts[at], levels[at]) for at in (slice(None, 1), slice(-1, None)))
        fresh = cells_of(distinct[~is_atom], counts[~is_atom], levels[~is_atom])
        return replace(
            self,
            cells=cells.joined(fresh).joined(rest).bounded(most_cells),
            atoms=atoms,
            low=_outermost(self.low, low, lowest=True),
            high=_outermost(self.high, high, lowest=False),
        )

    def _with_new_atoms(self, distinct: Float64, counts: Int64, is_new: NDArray[np.bool_]) -> tuple[Cells, Cells]:
        """Cells and atoms where some values are atoms from now on: they get the share of the rows of their cell that
        they have now."""
        found = cells_of(distinct[is_new], np.zeros_like(counts[is_new]), narrowest(distinct[is_new], self.bits))
        atoms = self.atoms.joined(found)
        at = self.cells.find(distinct)
        is_new &= at >= 0
        if not is_new.any():
            return self.cells, atoms
        now = np.bincount(at[at >= 0], weights=counts[at >= 0], minlength=len(self.cells.counts))
        moved = np.floor(counts[is_new] / now[at[is_new]] * self.cells.counts[at[is_new]]).astype(np.int64)
        left, right = self.cells.counts.copy(), atoms.counts.copy()
        np.subtract.at(left, at[is_new], moved)
        np.add.at(right, atoms.find(distinct[is_new]), moved)
        return self.cells.counted(left), atoms.counted(right)

    def _fine_levels(self, values: Float64, counts: Int64, is_atom: NDArray[np.bool_]) -> Int64:
        """Levels as fine as the spread of all rows, those known and these, allows; of the lowest where it does all.

        Where enough rows are no atoms, their spread: many zeros beside numbers that are alike make these no coarser.
        """
        places = np.concatenate([self.cells.middle, values[~is_atom]])
        weights = np.concatenate([self.cells.counts, counts[~is_atom]])
        if weights.sum() < FEW_TO_TELL:
            places = np.concatenate([self.atoms.middle, self.cells.middle, values])
            weights = np.concatenate([self.atoms.counts, self.cells.counts, counts])
        low, middle, high = _quantiles(places, weights, (0.25, 0.5, 0.75))
        halves = np.maximum(high / 2 - low / 2, np.abs(values / 2 - middle / 2))
        return np.where(halves > 0, np.frexp(halves)[1].astype(np.int64) - FINE_BITS, LEVELS[0])

    def merged(self, other: Numbers, most_cells: int = MOST_CELLS) -> Numbers:
        """Both together."""
        atoms, rest = _frequent(self.atoms.joined(other.atoms))
        known = [each for each in (self.identifier, other.identifier) if each is not None]
        return Numbers(
            cells=self.cells.joined(other.cells).joined(rest).bounded(most_cells),
            atoms=atoms,
            low=_outermost(self.low, other.low, lowest=True),
            high=_outermost(self.high, other.high, lowest=False),
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
            other=self.other + other.other,
            identifier=all(known) if known else None,
            bits=max(self.bits, other.bits),
        )

    def reference(self) -> NumberReference:
        """What other rows are compared with."""
        places = np.concatenate([self.atoms.middle, self.cells.middle])
        weights = np.concatenate([self.atoms.counts, self.cells.counts])
        order = np.argsort(places, kind="stable")
        order = order[weights[order] > 0]
        return NumberReference(
            places=places[order],
            weights=weights[order],
            low=float(self.low.left[0]) if len(self.low.counts) else np.nan,
            high=float(self.high.right[0]) if len(self.high.counts) else np.nan,
            rows=self.rows,
            missing=self.missing,
            infinite=self.infinite,
            other=self.other,
            identifier=bool(self.identifier),
            snapped=self._snapped,
        )

    def _snapped(self, values: Float64) -> Float64:
        """Each finite number where its cell's rows are taken to be; itself where it is in none."""
        values = rounded(values, self.bits)
        at_atom, at_cell = self.atoms.find(values), self.cells.find(values)
        atoms, cells = (np.append(each.middle, 0.0) for each in (self.atoms, self.cells))
        return np.where(at_atom >= 0, atoms[at_atom], np.where(at_cell >= 0, cells[at_cell], values))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; no number that was counted is in it."""
        return {
            "cells": self.cells.to_list(),
            "atoms": self.atoms.to_list(),
            "low": self.low.to_list(),
            "high": self.high.to_list(),
            "missing": self.missing,
            "infinite": self.infinite,
            "other": self.other,
            "identifier": self.identifier,
            "bits": self.bits,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Numbers:
        """What `to_dict` gave.

        Raises:
            InvalidInputError: it is something else.
        """
        try:
            cells, atoms, low, high = (Cells.from_list(content[key]) for key in ("cells", "atoms", "low", "high"))
            missing, infinite, rest = (count_of(content[key]) for key in ("missing", "infinite", "other"))
            identifier, bits = content["identifier"], content.get("bits", FLOAT32_BITS)
        except (KeyError, TypeError):
            raise InvalidInputError("this is no summary of numbers") from None
        if not isinstance(identifier, (bool, type(None))) or max(len(low.counts), len(high.counts)) > 1:
            raise InvalidInputError("this is no summary of numbers")
        if bits not in (FLOAT32_BITS, PRECISE_BITS):
            raise InvalidInputError("this is no summary of numbers")
        return cls(cells, atoms, low, high, missing, infinite, rest, identifier, bits)


def _quantiles(places: Float64, weights: Int64, shares: tuple[float, ...]) -> list[float]:
    order = np.argsort(places, kind="stable")
    total = np.cumsum(weights[order])
    at = np.searchsorted(total, np.array(shares) * total[-1])
    return [float(value) for value in places[order][np.minimum(at, len(order) - 1)]]


def _frequent(atoms: Cells) -> tuple[Cells, Cells]:
    """The most frequent atoms, and the others."""
    if len(atoms.counts) <= MOST_ATOMS:
        return atoms, Cells.none()
    kept = np.zeros(len(atoms.counts), dtype=np.bool_)
    kept[np.argsort(-atoms.counts, kind="stable")[:MOST_ATOMS]] = True
    return atoms.take(kept), atoms.take(~kept)


def _outermost(first: Cells, second: Cells, *, lowest: bool) -> Cells:
    """The cell that reaches farther down, or up; its count means nothing."""
    if not len(first.counts) or not len(second.counts):
        outer = first if len(first.counts) else second
    elif lowest:
        outer = min(first, second, key=lambda cell: float(cell.left[0]))
    else:
        outer = max(first, second, key=lambda cell: float(cell.right[0]))
    return outer.counted(np.zeros_like(outer.counts))
