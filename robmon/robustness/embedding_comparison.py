"""Two versions of an embedding compared: by the triplets that change their order, never coordinate by coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.comparison import Comparison, compare_rows
from robmon.robustness.result import Assessment
from robmon.robustness.statistics.clusters import cluster_means


@dataclass(frozen=True, eq=False)
class TripletRows:
    """What a comparison needs of one version of an embedding. A request is a row where requests have one row each.

    Attributes:
        flips: shape `(requests, levels)`, share of triplets whose order changed, at levels above 0; +Inf where there is
            no embedding without noise.
        ties: shape `(requests,)`, share of triplets that have no order without noise.
    """

    flips: Float64
    ties: Float64

    @property
    def has_order(self) -> bool:
        """Whether any triplet has one."""
        return bool(np.any(self.ties < 1.0))

    def against(self, reference: TripletRows) -> Float64:
        """Its flips, where triplets to which it alone has no order without noise count as changed."""
        unanswered = np.maximum(self.ties - reference.ties, 0.0)[:, None]
        is_known = np.isfinite(self.flips)
        known = np.where(is_known, self.flips, 0.0)
        return np.where(is_known, known + unanswered * (1.0 - known), self.flips)


def triplet_rows(result: Assessment, on: NDArray[np.bool_]) -> TripletRows:
    """What a comparison needs of an assessment.

    Args:
        result: the assessment.
        on: shape `(n,)`, the rows that are compared: those with a finite clean output in the reference.

    Raises:
        InvalidInputError: it is of no embeddings, or of too few for triplets.
    """
    rows = result.embedding
    if rows is None:
        raise InvalidInputError("the outputs are no embeddings")
    if rows.triplet_flips is None or int(on.sum()) < 3:
        raise InvalidInputError("embeddings are compared by triplets, which need 3 rows or more")
    flips = np.where(result.finite[:, None], rows.triplet_flips[:, 1:], np.inf)[on]
    clusters = result.clusters[on]
    return TripletRows(cluster_means(flips, clusters), cluster_means(rows.tie_share[on, None], clusters)[:, 0])


def compare_embeddings(
    a: TripletRows, b: TripletRows, levels: Sequence[float], *, alpha: float = 0.01, tolerance: float = 0.0
) -> Comparison:
    """Compare two versions of an embedding on the same rows, noise and triplets: b against a.

    The embeddings of one may be those of the other rotated, scaled, or in another dimension: no distance of one says
    anything of the other's, but which of two rows is nearer to a third is the same question to both. Each version's
    triplets are held against its own clean ones. Triplets to which b alone has no answer without noise count as
    changed: an embedding that says nothing is moved by no noise either.

    Raises:
        InvalidInputError: see `compare_rows`.

    >>> ties, flips = np.zeros(100), np.random.default_rng(0).uniform(size=(100, 2))
    >>> compare_embeddings(TripletRows(flips, ties), TripletRows(1.5 * flips, ties), [0.1, 0.2]).worse
    True
    """
    return replace(
        compare_rows(a.flips, b.against(a), levels=levels, alpha=alpha, tolerance=tolerance), score="triplets"
    )


def with_shares(compared: Comparison, a: Assessment, b: Assessment) -> Comparison:
    """The comparison with what each version says of itself: of shares of rows the noise moves beyond its threshold, and
    of those that stay the nearest to themselves."""
    shares = {
        f"{name}_{version}": _by_level(result, field)
        for name, field in (("beyond", "beyond_threshold"), ("self_nearest", "self_nearest"))
        for version, result in (("a", a), ("b", b))
    }
    return replace(compared, **shares)  # type: ignore[arg-type]


def _by_level(result: Assessment, field: str) -> Float64 | None:
    values = [getattr(point, field) for point in result.curve if point.level > 0]
    return None if any(value is None for value in values) else np.array(values, dtype=np.float64)
