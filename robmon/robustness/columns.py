"""What is learnt of columns of inputs: moments, and which columns or cells are no measurements that noise may move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.moments import CoMoments, Moments

INDICATOR_CELLS = 10
"""How often both 0 and 1 must occur in a column before it is taken for an indicator."""
SENTINEL_CELLS = 5
"""How often a value must occur before it is taken for a sentinel."""
SENTINEL_DEVIATIONS = 10.0
"""How many standard deviations of a column's other values a sentinel lies from their mean."""
SENTINEL_OTHERS = 10
"""How many different values a column must have besides its sentinel: else it may hold codes or steps."""
MAX_CORRELATED = 512
"""Most columns whose correlation is kept, a matrix of 2 MiB."""


@dataclass
class ColumnStatistics:
    """Running statistics of columns; holds no row of them.

    Attributes:
        moments: of the values that are finite and no sentinel.
        zero_one: whether all finite values so far were 0 or 1.
        sentinels: each column's sentinel, NaN where it has none; None before the first rows, from which it is learnt.
        products: sums of products of deviations, where correlation was asked for.
    """

    moments: Moments
    zero_one: NDArray[np.bool_]
    sentinels: Float64 | None = None
    products: CoMoments | None = None

    @classmethod
    def of_columns(cls, columns: int, *, set_apart: bool = True, correlation: bool = False) -> ColumnStatistics:
        """Statistics of nothing yet.

        Args:
            columns: how many.
            set_apart: whether to look for indicators and sentinels.
            correlation: whether to keep the correlation.

        Raises:
            InvalidInputError: too many columns to keep their correlation.
        """
        if correlation and columns > MAX_CORRELATED:
            raise InvalidInputError(
                f"the correlation of {columns} features is not kept, of {MAX_CORRELATED} at most: "
                "choose another noise, such as common_mode"
            )
        return cls(
            moments=Moments.of_columns(columns),
            zero_one=np.full(columns, set_apart),
            sentinels=None if set_apart else np.full(columns, np.nan),
            products=CoMoments.of_columns(columns) if correlation else None,
        )

    def update(self, columns: Float64) -> None:
        """Take more rows, shape `(n, columns)`."""
        if self.sentinels is None:
            self.sentinels = np.array([sentinel(column) for column in columns.T])
        self.zero_one &= ((columns == 0) | (columns == 1) | ~np.isfinite(columns)).all(axis=0)
        measured = np.where(columns == self.sentinels, np.nan, columns)
        self.moments.update(measured)
        if self.products is not None:
            self.products.update(measured)

    @property
    def deviation(self) -> Float64:
        """Standard deviation (divisor n) of each column, 0 where it is only rounding."""
        return np.sqrt(self.moments.variance)

    @property
    def indicators(self) -> NDArray[np.bool_]:
        """Which columns are indicators, as one-hot columns are: they vary, and hold 0 and 1 only.

        None is where every column that varies holds 0 and 1 only (there would be nothing to perturb), or where none of
        them holds both at least `INDICATOR_CELLS` times (a count that is seldom above 0 looks alike).
        """
        varies = self.deviation > 0
        candidates = varies & self.zero_one
        ones = self.moments.mean * self.moments.count
        rarer = np.minimum(ones, self.moments.count - ones)[candidates]
        is_sure = bool(np.any(varies & ~self.zero_one)) and bool(np.any(rarer >= INDICATOR_CELLS - 0.5))
        return candidates if is_sure else np.zeros_like(candidates)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        sentinels = None if self.sentinels is None else nan_as_none(self.sentinels)
        return self.moments.to_dict() | {
            "zero_one": self.zero_one.tolist(),
            "sentinels": sentinels,
            "products": None if self.products is None else self.products.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ColumnStatistics:
        """Inverse of `to_dict`; moments alone are read as columns of which nothing is set apart."""
        moments = Moments.from_dict(data)
        nothing = cls.of_columns(len(moments.count), set_apart=False)
        if "zero_one" not in data:
            return cls(moments, nothing.zero_one, nothing.sentinels)
        sentinels, products = data["sentinels"], data["products"]
        return cls(
            moments=moments,
            zero_one=np.asarray(data["zero_one"], dtype=bool),
            sentinels=None if sentinels is None else np.array(sentinels, dtype=np.float64),
            products=None if products is None else CoMoments.from_dict(products),
        )


@np.errstate(over="ignore", invalid="ignore")
def sentinel(column: Float64) -> float:
    """The value that stands for "not measured" in a column of numbers, such as -999 in a temperature; NaN without one.

    It is the column's smallest or largest, occurs at least `SENTINEL_CELLS` times, and lies far from all the others:
    more than `SENTINEL_DEVIATIONS` of their standard deviations from their mean, and farther from the nearest of them
    than they lie from one another. The others take at least `SENTINEL_OTHERS` different values.

    >>> celsius = np.random.default_rng(0).normal(20, 5, size=200)
    >>> sentinel(np.where(np.arange(200) % 20 == 0, -999.0, celsius)), sentinel(celsius)
    (-999.0, nan)
    """
    values = column[np.isfinite(column)]
    if len(values) < SENTINEL_CELLS + SENTINEL_OTHERS:
        return float("nan")
    for end in (values.min(), values.max()):
        others = values[values != end]
        if len(values) - len(others) < SENTINEL_CELLS or len(others) < SENTINEL_OTHERS:
            continue
        low, high = others.min(), others.max()
        is_apart = min(abs(end - low), abs(end - high)) > high - low
        if (
            is_apart
            and abs(end - others.mean()) > SENTINEL_DEVIATIONS * others.std()
            and len(np.unique(others)) >= SENTINEL_OTHERS
        ):
            return float(end)
    return float("nan")


def nan_as_none(values: Float64) -> Any:
    """Nested lists with None for NaN, which JSON does not have; NumPy reads it back as NaN.

    >>> nan_as_none(np.array([1.0, np.nan]))
    [1.0, None]
    """
    result = values.astype(object)
    result[np.isnan(values)] = None
    return result.tolist()
