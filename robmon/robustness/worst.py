"""The rows that carry most of the error: an average hides that a few inputs may be all that is fragile."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

WORST_SHARE = 0.05


def worst_rows(row_errors: Float64, share: float = WORST_SHARE) -> NDArray[np.int64]:
    """Indices of the rows with the largest errors, largest first; of equal ones the earlier first.

    They are `ceil(share * n)` rows, at least 1; fewer where fewer have any error.

    Args:
        row_errors: shape `(n,)`, each at least 0; infinite ones are the largest.
        share: of the rows, above 0 and at most 1.

    Raises:
        InvalidInputError: the share is no such number.

    >>> worst_rows(np.array([0.0, 3.0, 1.0, 3.0]), share=0.5).tolist()
    [1, 3]
    """
    rows = np.argsort(-row_errors, kind="stable")[: _count(row_errors, share)]
    return np.asarray(rows[row_errors[rows] > 0], dtype=np.int64)


def _count(row_errors: Float64, share: float) -> int:
    if not 0.0 < share <= 1.0:
        raise InvalidInputError(f"a share of rows lies above 0 and is at most 1, not {share!r}")
    # 100 * 0.07 is a little above 7: that must not make it 8 rows.
    return max(math.ceil(len(row_errors) * share - 1e-9), 1)


def worst_share(row_errors: Float64, share: float = WORST_SHARE) -> float | None:
    """The share of the whole error that the worst `share` of rows carries, between `share` and 1.

    1 where no other row has an error; `share`, rounded up to whole rows, where all have the same. Infinite errors
    outweigh all others and count alike among themselves.

    Returns:
        None where no row has an error.

    >>> worst_share(np.array([3.0, 1.0, 0.0, 0.0]), share=0.25), worst_share(np.ones(40))
    (0.75, 0.05)
    """
    infinite = np.isinf(row_errors)
    errors = infinite.astype(np.float64) if infinite.any() else row_errors
    largest = float(errors.max(initial=0.0))
    if largest == 0.0:
        return None
    scaled = errors / largest  # so that no sum overflows
    count = min(_count(scaled, share), len(scaled))
    return float(np.partition(scaled, -count)[-count:].sum() / scaled.sum())
