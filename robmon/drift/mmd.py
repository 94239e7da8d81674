"""Maximum mean discrepancy: whether two samples have one joint law, dependence between features included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robmon.drift.matrices import standardised
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

MOST_ROWS = 1024
"""On either side: beyond, rows are drawn. All pairs of rows are held at once, 32 MiB."""


@dataclass(frozen=True)
class Discrepancy:
    """How far two samples are apart.

    Attributes:
        mmd2: unbiased estimate of the squared discrepancy, which may be below 0 by chance.
        pvalue: by permutation, `(1 + k) / (B + 1)`, so never 0.
        bandwidth: of the kernel, in standard deviations of the baseline.
        baseline_rows, current_rows: rows compared, those with a value for every feature.
    """

    mmd2: float
    pvalue: float
    bandwidth: float
    baseline_rows: int
    current_rows: int


def maximum_mean_discrepancy(
    baseline: Any, current: Any, *, permutations: int = 199, seed: int = 0, max_rows: int = MOST_ROWS
) -> Discrepancy:
    """Maximum mean discrepancy of two samples under a Gaussian kernel, with a permutation p-value.

    Features are divided by their standard deviation in the baseline; the bandwidth is the median distance between two
    of its rows (Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012, equation 3). Rows of both samples are permuted
    together: a null distribution from the baseline alone would call any difference in sample size drift. P-value as in
    Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010).

    Args:
        baseline: numbers of shape `(n, features)`; rows with a missing or infinite value are left out.
        current: likewise, shape `(m, features)`.
        permutations: B.
        seed: of the permutations, and of the rows that are drawn where there are more than `max_rows`.
        max_rows: most rows of either sample.

    Raises:
        InvalidInputError: fewer than 2 rows on either side, different features, or `permutations` is not a whole number
            above 0.

    >>> import numpy as np
    >>> r = np.random.default_rng(0)
    >>> both = [r.multivariate_normal([0, 0], [[1, c], [c, 1]], 200) for c in (0.6, -0.6)]
    >>> maximum_mean_discrepancy(*both).pvalue
    0.005
    """
    if isinstance(permutations, bool) or not isinstance(permutations, int) or permutations < 1:
        raise InvalidInputError(f"permutations must be a whole number above 0, not {permutations!r}")
    generator = np.random.default_rng(seed)
    first, second = (_drawn(rows, max_rows, generator) for rows in standardised(baseline, current))
    squares = _squared_distances(np.concatenate([first, second]))
    n, m = len(first), len(second)
    within = squares[:n, :n][np.triu_indices(n, 1)]
    median = float(np.median(within))
    kernel = np.exp(squares / (-2 * median)) if median > 0 else (squares == 0).astype(np.float64)
    np.fill_diagonal(kernel, 0.0)
    is_first = np.zeros((permutations + 1, n + m), dtype=np.float64)
    is_first[0, :n] = 1.0
    for row in is_first[1:]:
        row[generator.permutation(n + m)[:n]] = 1.0
    values = _unbiased(kernel, is_first, n, m)
    larger = int(np.sum(values[1:] >= values[0] - 1e-12))
    return Discrepancy(float(values[0]), (1 + larger) / (permutations + 1), float(np.sqrt(median)), n, m)


def _unbiased(kernel: Float64, is_first: Float64, n: int, m: int) -> Float64:
    """The estimate for each choice of which rows are the first sample: from sums of the kernel, whose diagonal is 0."""
    of_first = is_first @ kernel
    both = kernel.sum()
    first = np.einsum("ij,ij->i", of_first, is_first)
    cross = of_first.sum(axis=1) - first
    second = both - first - 2 * cross
    return np.asarray(first / (n * (n - 1)) + second / (m * (m - 1)) - 2 * cross / (n * m))


def _squared_distances(rows: Float64) -> Float64:
    squares = np.einsum("ij,ij->i", rows, rows)
    return np.asarray(np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0.0))


def _drawn(rows: Float64, most: int, generator: np.random.Generator) -> Float64:
    return rows if len(rows) <= most else rows[generator.choice(len(rows), most, replace=False)]
