"""Sentinel codes: values that stand for "not measured", "refused", "not known", such as 7777 and 9999 among ages."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product, takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, as_float64, namespace, parts, to_numpy

CODE_CELLS = 5
"""How often a value must occur before it is taken for a code."""
MANY_VALUES = 10
"""With fewer different values besides its codes, a column may be a scale of steps, and codes must lie farther away."""
FAR_FROM_FEW = 10.0
"""So many times as far from the rest as the rest is wide, in such a column."""
FAR_FROM_FEW_WRITTEN = 5.0
"""The same, of values that are written as codes are: 9 beside 1 and 2."""
LARGEST_GAP = 0.5
"""Of the width of such a column's rest: steps that grow, as 1, 10, 100 do, make their last one no code."""
OFTEN = 2.0
"""How many times as often as the other values of its column a code occurs, unless it is written as codes are."""
MAX_CODES = 8
"""Codes of a column at either end."""
CONTINUOUS = 1.5
"""Up to so many cells a value, a column's numbers hardly ever repeat, so those that do are no measurements."""
DOUBTFUL_SHARE = 0.3
"""Of a column: what occurs more often may as well be measured, and is told as a doubt."""
_WRITTEN = re.compile(r"(7+|8+|9+|9+[678])")
"""As codes are written: 7, 88, 999, 97, 9998, of either sign."""


@dataclass(frozen=True)
class _Values:
    """The different values of a column, rising, and how often each occurs."""

    values: Float64
    counts: NDArray[np.intp]

    def possible_ends(self) -> tuple[int, int]:
        """How many values at the low and at the high end may be codes: frequent, or written as codes are; none is 0."""
        both = [zip(self.values[::step][:MAX_CODES], self.counts[::step], strict=False) for step in (1, -1)]
        low, high = (len(list(takewhile(_may_be_code, side))) for side in both)
        return low, high

    def without(self, low: int, high: int) -> _Values:
        inner = slice(low, len(self.values) - high)
        return _Values(self.values[inner], self.counts[inner])

    @property
    def width(self) -> float:
        return float(self.values[-1] - self.values[0])


@np.errstate(over="ignore", invalid="ignore")
def codes_of(column: Float64) -> tuple[float, ...]:
    """The sentinel codes in a column of numbers, rising; none in most.

    Codes lie at the ends of the column, each at least `CODE_CELLS` times (together, where all at one end are written as
    codes are: 77, 98, 999), and farther from all that is no code than
    that is wide. What is no code is the bulk, and nothing in it is one, however frequent; 0 is never a code. A code
    occurs `OFTEN` times as often as the values of the bulk do, and lies as far from other codes as from the bulk; but
    not where it is written as they are, nor, for the latter, where numbers of the bulk hardly ever
    repeat. Where the bulk has few different values, see `FAR_FROM_FEW` and `LARGEST_GAP`.

    >>> years = np.random.default_rng(0).normal(50, 12, size=200)
    >>> codes_of(np.where(np.arange(200) % 20 == 0, 9999.0, np.where(np.arange(200) % 20 == 1, 7777.0, years)))
    (7777.0, 9999.0)
    >>> codes_of(years)
    ()
    """
    finite = column[np.isfinite(column)]
    if len(finite) < CODE_CELLS + MANY_VALUES:
        return ()
    ends = (finite.min(), finite.max())
    if not any(_may_be_code((float(end), int(np.count_nonzero(finite == end)))) for end in ends):
        return ()
    rest = _Values(*np.unique(finite, return_counts=True))
    found: list[float] = []
    while (at_ends := _codes_at_ends(rest)) is not None:
        low, high = at_ends
        found += rest.values[:low].tolist() + rest.values[len(rest.values) - high :].tolist()
        rest = rest.without(low, high)
    return tuple(sorted(found))


def codes_of_each(columns: Array, wanted: bool | NDArray[np.bool_] = True) -> list[tuple[float, ...]]:
    """The sentinel codes of each column, see `codes_of`; of one that is not wanted none.

    Args:
        columns: floating, shape `(n, columns)`, NumPy array or torch tensor on any device.
        wanted: which columns are, one truth value or one a column.
    """
    if not columns.shape[0]:
        return [()] * columns.shape[1]
    may_have = _may_have_codes(columns) & wanted
    return [codes_of(to_numpy(as_float64(columns[:, at]))) if may else () for at, may in enumerate(may_have.tolist())]


def _may_have_codes(columns: Array) -> NDArray[np.bool_]:
    """Which columns are to be looked at: in most neither end occurs often or is a whole number."""
    xp, cut = namespace(columns), list(parts(columns))
    lows, highs = zip(*(_ends(columns[rows]) for rows in cut), strict=True)

    def may_be_codes(end: Array) -> Array:
        cells = (columns[rows] == end for rows in cut)
        often = sum(xp.sum(these, axis=0, dtype=xp.int32) for these in cells if xp.any(these)) >= CODE_CELLS
        return often | (end == xp.floor(end))

    may = may_be_codes(reduce(xp.minimum, lows)) | may_be_codes(reduce(xp.maximum, highs))
    return np.asarray(to_numpy(may))


def _ends(columns: Array) -> tuple[Array, Array]:
    """The lowest and the highest finite number of each column, the wrong infinity where there is none."""
    xp = namespace(columns)
    finite = xp.isfinite(columns)
    if isinstance(columns, np.ndarray) and finite.all():
        return columns.min(axis=0), columns.max(axis=0)
    low, high = (xp.where(finite, columns, end) for end in (math.inf, -math.inf))
    return xp.min(low, axis=0), xp.max(high, axis=0)


def _may_be_code(value_and_count: tuple[float, int]) -> bool:
    value, count = value_and_count
    return value != 0 and (count >= CODE_CELLS or is_written_as_code(float(value)))


def _codes_at_ends(column: _Values) -> tuple[int, int] | None:
    """The fewest values at the low and the high end that are codes beside all the others."""
    most_low, most_high = column.possible_ends()
    for low, high in sorted(product(range(most_low + 1), range(most_high + 1)), key=sum):
        if 0 < low + high < len(column.values) and _are_codes(column, low, high):
            return low, high
    return None


def _are_codes(column: _Values, low: int, high: int) -> bool:
    bulk, last = column.without(low, high), len(column.values) - high
    below = _Values(column.values[:low], column.counts[:low])
    above = _Values(column.values[last:], column.counts[last:])
    return _lie_apart(below, bulk.values[0], bulk) and _lie_apart(above, bulk.values[-1], bulk)


def _lie_apart(codes: _Values, edge: float, bulk: _Values) -> bool:
    """Whether all values at one side of the bulk are codes, or there are none."""
    if not len(codes.values):
        return True
    written = np.array([is_written_as_code(float(value)) for value in codes.values])
    needed = _needed_distance(bulk, bool(written.all()))
    if codes.counts.sum() < CODE_CELLS or not np.abs(codes.values - edge).min() > needed:
        return False
    usual = float(bulk.counts.mean())
    gaps = np.diff(codes.values, prepend=-np.inf, append=np.inf)
    is_alone = (np.minimum(gaps[:-1], gaps[1:]) > needed) | (usual <= CONTINUOUS)
    is_often = (codes.counts >= OFTEN * usual) | (len(bulk.values) < MANY_VALUES)
    return bool(np.all(written | (is_alone & is_often)))


def _needed_distance(bulk: _Values, written: bool) -> float:
    """How far from the bulk a code lies, at least; infinite where the bulk is too poor to tell."""
    if len(bulk.values) >= MANY_VALUES:
        return bulk.width
    if len(bulk.values) == 2:
        is_steps = written or bulk.values.tolist() == [0.0, 1.0]
    else:
        is_steps = len(bulk.values) > 2 and float(np.diff(bulk.values).max()) <= LARGEST_GAP * bulk.width
    factor = FAR_FROM_FEW_WRITTEN if written else FAR_FROM_FEW
    return factor * bulk.width if is_steps else math.inf


def is_written_as_code(value: float) -> bool:
    """Whether a value is a whole number that consists of 7s, of 8s or of 9s, the last of which may be lower.

    >>> [value for value in (-9.0, 77.0, 98.0, 9997.0, 90.0, 99.5, 79.0) if is_written_as_code(value)]
    [-9.0, 77.0, 98.0, 9997.0]
    """
    return value.is_integer() and _WRITTEN.fullmatch(f"{abs(value):.0f}") is not None


def as_matrix(codes: Sequence[Sequence[float]]) -> Float64:
    """The codes of columns, shape `(at least 1, columns)`, NaN where a column has fewer than others, or none."""
    result = np.full((max(map(len, codes), default=1) or 1, len(codes)), np.nan)
    for column, each in enumerate(codes):
        if each:
            result[: len(each), column] = each
    return result


def is_code(values: Array, codes: Array) -> Array:
    """Which cells hold a code of their feature.

    Args:
        values: shape `(n, *input_shape)`.
        codes: of the same kind, shape `(codes, *scale_shape)`.

    Returns:
        booleans in the shape of `values`.
    """
    xp = namespace(values)
    found = xp.zeros_like(values, dtype=xp.bool)
    for each in codes:
        found |= values == each
    return found


@dataclass(frozen=True)
class CodeShare:
    """A code of a feature, and how often it occurs.

    Attributes:
        feature: its name, or position.
        code: the value.
        share: of the feature's cells.
    """

    feature: str
    code: float
    share: float


def code_notes(shares: Sequence[CodeShare], tells_values: bool) -> list[str]:
    """What is set apart, a sentence a feature, with a doubt where that is much.

    Args:
        shares: of the codes.
        tells_values: whether the codes themselves, which are inputs, may be told.

    >>> code_notes([CodeShare("age", 7777.0, 0.04), CodeShare("age", 9999.0, 0.04)], tells_values=True)[0]
    'column age: 9999 (4 %) and 7777 (4 %) are set apart as codes'
    >>> code_notes([CodeShare("age", 7777.0, 0.5)], tells_values=False)[0].split(";")[0]
    'column age: a value (50 %) is set apart as a code'
    """
    return [
        f"column {feature}: {_listed(each, tells_values)} {'is' if len(each) == 1 else 'are'} set apart as "
        f"{'a code' if len(each) == 1 else 'codes'}{_doubt(each)}"
        for feature, each in _by_feature(shares)
    ]


def unknown_code_notes(shares: Sequence[CodeShare], tells_values: bool) -> list[str]:
    """What looks like a code and counts as measured, a sentence a feature.

    >>> unknown_code_notes([CodeShare("age", 9999.0, 0.04)], tells_values=True)
    ['column age: 9999 (4 %) looks like a code that the baseline lacks, and is perturbed: record a new baseline']
    """
    return [
        f"column {feature}: {_listed(each, tells_values)} "
        + ("looks like a code that the baseline lacks, and is " if len(each) == 1 else
           "look like codes that the baseline lacks, and are ")
        + "perturbed: record a new baseline"
        for feature, each in _by_feature(shares)
    ]  # fmt: skip


def _by_feature(shares: Sequence[CodeShare]) -> list[tuple[str, list[CodeShare]]]:
    """The most frequent first."""
    ordered = sorted(shares, key=lambda share: (-share.share, -share.code))
    names = dict.fromkeys(share.feature for share in shares)
    return [(name, [share for share in ordered if share.feature == name]) for name in names]


def _listed(shares: Sequence[CodeShare], tells_values: bool) -> str:
    each = [f"{f'{share.code:.12g}' if tells_values else 'a value'} ({100 * share.share:.2g} %)" for share in shares]
    return " and ".join(filter(None, (", ".join(each[:-1]), each[-1])))


def _doubt(shares: Sequence[CodeShare]) -> str:
    if shares[0].share <= DOUBTFUL_SHARE:
        return ""
    return (
        f"; more than {100 * DOUBTFUL_SHARE:g} % is doubtful: if that is measured, give an explicit scale, which sets "
        "nothing apart"
    )


def codes_from(told: Any, shape: tuple[int, ...]) -> Float64:
    """Codes as JSON has them, for a scale of this shape."""
    return np.array(told, dtype=np.float64).reshape(-1, *shape)
