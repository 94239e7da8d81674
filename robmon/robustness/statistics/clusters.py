"""Rows that came together, such as those of one request: they are not independent, so clusters are what is counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64


def cluster_means(row_values: Float64, clusters: Sequence[int] | NDArray[np.int64]) -> Float64:
    """Mean over the rows of each cluster.

    Args:
        row_values: shape `(n, columns)`.
        clusters: for each row the number of its cluster.

    Returns:
        shape `(clusters, columns)`, in the order of the clusters' numbers.

    >>> cluster_means(np.array([[1.0], [3.0], [5.0]]), [0, 0, 2]).tolist()
    [[2.0], [5.0]]
    """
    numbers = np.asarray(clusters)
    if _is_each_its_own(numbers):
        return row_values
    _, which, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), row_values.shape[1]))
    np.add.at(sums, which, row_values)
    return np.asarray(sums / sizes[:, None])


def first_rows(clusters: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """The first row of each cluster: one row a cluster, drawn before anything was measured.

    >>> first_rows([4, 4, 7, 7, 7]).tolist()
    [0, 2]
    """
    numbers = np.asarray(clusters)
    if _is_each_its_own(numbers):
        return np.arange(len(numbers))
    return np.asarray(np.unique(numbers, return_index=True)[1])


def _is_each_its_own(clusters: NDArray[np.int64]) -> bool:
    """Whether every row is a cluster, and they are in order, as most are: nothing is sorted then."""
    return bool(np.all(clusters[1:] > clusters[:-1]))
