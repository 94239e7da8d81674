"""What is learnt of columns of inputs: moments, and which columns or cells are no measurements that noise may move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64, like, namespace, to_numpy
from robmon.robustness.features.codes import as_matrix, codes_of_each, is_code
from robmon.robustness.features.moments import CoMoments, Moments

INDICATOR_CELLS = 10
"""How often both 0 and 1 must occur in a column before it is taken for an indicator."""
RANGE_BITS = 7
"""The ends of a range are kept to so many bits of its width."""
MAX_CORRELATED = 512
"""Most columns whose correlation is kept, a matrix of 2 MiB."""


@dataclass
class ColumnStatistics:
    """Running statistics of columns; holds no row of them.

    Attributes:
        moments: of the values that are finite and no sentinel.
        zero_one: whether all finite values so far were 0 or 1.
        sentinels: the codes of each column, shape `(codes, columns)`, NaN where a column has fewer; None before the
            first rows, from which they are learnt.
        products: sums of products of deviations, where correlation was asked for.
        low, high: the least and the largest number of each column that is no sentinel, NaN before the first; None where
            they were not asked for.
    """

    moments: Moments
    zero_one: NDArray[np.bool_]
    sentinels: Float64 | None = None
    products: CoMoments | None = None
    low: Float64 | None = None
    high: Float64 | None = None

    @classmethod
    def of_columns(
        cls,
        columns: int,
        *,
        set_apart: bool | NDArray[np.bool_] = True,
        correlation: bool = False,
        ranges: bool = False,
    ) -> ColumnStatistics:
        """Statistics of nothing yet.

        Args:
            columns: how many.
            set_apart: whether to look for indicators and sentinels, for all columns or each.
            correlation: whether to keep the correlation.
            ranges: whether to keep the least and the largest numbers.

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
            sentinels=None if np.any(set_apart) else np.full((1, columns), np.nan),
            products=CoMoments.of_columns(columns) if correlation else None,
            low=np.full(columns, np.nan) if ranges else None,
            high=np.full(columns, np.nan) if ranges else None,
        )

    def update(self, columns: Array) -> None:
        """Take more rows, float64, shape `(n, columns)`, NumPy array or torch tensor on any device."""
        if self.sentinels is None:
            self.learn_sentinels(columns)
        xp = namespace(columns)
        measured = columns
        if not np.isnan(self.codes).all():
            measured = xp.where(is_code(columns, like(self.codes, columns)), np.nan, columns)
        if self.zero_one.any():
            fits = (measured == 0) | (measured == 1) | ~xp.isfinite(measured)
            self.zero_one &= to_numpy(xp.all(fits, axis=0))
        self.moments.update(measured)
        if self.low is None and self.high is None and self.products is None:
            return
        here = to_numpy(measured)
        if self.low is not None and self.high is not None:
            finite = np.where(np.isfinite(here), here, np.nan)
            self.low = np.fmin(self.low, np.fmin.reduce(finite, axis=0, initial=np.nan))
            self.high = np.fmax(self.high, np.fmax.reduce(finite, axis=0, initial=np.nan))
        if self.products is not None:
            self.products.update(here)

    def learn_sentinels(self, columns: Array) -> None:
        """Look for the codes of the columns, floating, shape `(n, columns)`, of which anything may be set apart."""
        self.sentinels = as_matrix(codes_of_each(columns, self.zero_one))

    @property
    def codes(self) -> Float64:
        """The sentinels, of no column before the first rows."""
        return np.full((1, len(self.zero_one)), np.nan) if self.sentinels is None else self.sentinels

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
        low, high = (None, None) if self.low is None or self.high is None else widened(self.low, self.high)
        return self.moments.to_dict() | {
            "zero_one": self.zero_one.tolist(),
            "sentinels": sentinels,
            "products": None if self.products is None else self.products.to_dict(),
            "low": None if low is None else nan_as_none(low),
            "high": None if high is None else nan_as_none(high),
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
            sentinels=None if sentinels is None else _codes_from(sentinels, len(moments.count)),
            products=None if products is None else CoMoments.from_dict(products),
            low=_floats(data.get("low")),
            high=_floats(data.get("high")),
        )


def widened(low: Float64, high: Float64) -> tuple[Float64, Float64]:
    """Ranges whose ends are no numbers that were measured, where these are not small whole ones.

    They are multiples of a power of two, at most 1/128 of the width, around what was measured; what was widened before
    stays as it is.

    >>> [ends.tolist() for ends in widened(np.array([1.0, 8675309.0]), np.array([90.0, 9000001.0]))]
    [[1.0, 8673280.0], [90.0, 9000960.0]]
    """
    while True:
        steps = np.ldexp(1.0, np.frexp(high / 2 - low / 2)[1] - RANGE_BITS)
        with np.errstate(invalid="ignore", over="ignore"):
            down, up = np.floor(low / steps) * steps, np.ceil(high / steps) * steps
        down, up = np.where(np.isfinite(down), down, low), np.where(np.isfinite(up), up, high)
        if np.array_equal(down, low, equal_nan=True) and np.array_equal(up, high, equal_nan=True):
            return low, high
        low, high = down, up


def _floats(told: Any) -> Float64 | None:
    return None if told is None else np.array(told, dtype=np.float64)


def _codes_from(told: Any, columns: int) -> Float64:
    """The codes as JSON has them; baselines once kept one a column, in a flat list."""
    values = np.array(told, dtype=np.float64)
    return values.reshape(values.size // max(columns, 1), columns)


def nan_as_none(values: Float64) -> Any:
    """Nested lists with None for NaN, which JSON does not have; NumPy reads it back as NaN.

    >>> nan_as_none(np.array([1.0, np.nan]))
    [1.0, None]
    """
    result = values.astype(object)
    result[np.isnan(values)] = None
    return result.tolist()
