"""Means and first rows of clusters, whatever their numbers and order."""

import numpy as np
import pytest

from robmon.robustness.statistics.clusters import cluster_means, first_rows

CLUSTERS = {
    "each row its own": [0, 1, 2, 3, 4, 5],
    "each its own, with gaps": [1, 4, 5, 8, 20, 21],
    "each its own, out of order": [3, 1, 2, 0, 9, 4],
    "several rows each": [4, 4, 7, 7, 7, 9],
    "apart": [2, 5, 2, 5, 1, 2],
    "one": [3, 3, 3, 3, 3, 3],
    "none": [],
}


@pytest.mark.parametrize("clusters", CLUSTERS.values(), ids=CLUSTERS.keys())
def test_clusters_are_in_the_order_of_their_numbers(clusters: list[int]) -> None:
    values = np.random.default_rng(0).normal(size=(len(clusters), 3))
    rows = [[row for row, each in enumerate(clusters) if each == number] for number in sorted(set(clusters))]

    np.testing.assert_allclose(cluster_means(values, clusters), [values[each].mean(axis=0) for each in rows] or values)
    assert first_rows(clusters).tolist() == [each[0] for each in rows]
