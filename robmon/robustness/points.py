"""The points of the curve out of what the trials add up to, and what is known of errors beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, to_numpy
from robmon.robustness.curve_point import CurvePoint
from robmon.robustness.embeddings import EmbeddingRows, move_quantiles
from robmon.robustness.engine.trials import Tally
from robmon.robustness.specification import Specification
from robmon.robustness.statistics.bounds import curve_band, request_bound, upper_bound
from robmon.robustness.statistics.certificate import certified_radii
from robmon.robustness.statistics.clusters import cluster_means, first_rows
from robmon.robustness.statistics.mean_bound import mean_upper_bound
from robmon.robustness.worst import worst_share
from robmon.vocabulary import OutputKind


def curve_points(
    tally: Tally,
    specification: Specification,
    maximum: float | None,
    clusters: NDArray[np.int64],
    counted: NDArray[np.bool_],
    *,
    perturbed_cells: int,
    has_classes: bool,
    certifies: bool,
    brier_factor: float | None,
) -> tuple[CurvePoint, ...]:
    trials, confidence, bound = specification.trials, specification.confidence, specification.bound
    points = []
    first, alone = tally.first[0], first_rows(clusters)
    first = first if len(alone) == len(clusters) else first[:, alone]
    row_means = tally.sums[0][0] / trials
    medians = _medians(row_means)
    means_of_clusters = np.ascontiguousarray(cluster_means(row_means.T, clusters).T)
    for index, level in enumerate(specification.levels):
        trial_mse = tally.trial_mse[0][:, index]
        row_errors = row_means[index]
        shares = [float(same[index].sum()) / (trials * len(clusters)) for same in tally.same] + [None, None]
        request = request_bound(first[index], confidence)
        if request is not None and not np.all(np.isfinite(trial_mse)):
            request = math.inf
        points.append(
            CurvePoint(
                level=level,
                mean_mse=float(trial_mse.mean()),
                median_row_error=medians[index],
                worst_share=worst_share(row_errors),
                bound=upper_bound(trial_mse, confidence, bound) if specification.is_random else None,
                request_bound=request,
                mean_bound=_mean_bound(means_of_clusters[index], confidence, maximum),
                trial_mse=trial_mse,
                agreement=shares[0] if has_classes else None,
                accuracy=shares[1],
                brier=None if brier_factor is None else brier_factor * float(trial_mse.mean()),
                certified_radius=(
                    of_all_rows(certified_radii(tally.same[0][index], trials, level, confidence), counted)
                    if certifies and has_classes
                    else None
                ),
                nonfinite_outputs=tally.nonfinite[index],
                realised_level=math.sqrt(float(tally.moves[index].sum()) / max(trials * perturbed_cells, 1)),
            )
        )
    return tuple(points)


def _medians(values: Float64) -> list[float]:
    """The median of each row of values, none of which is NaN: NumPy's own takes several times as long for few."""
    middle = [(values.shape[1] - 1) // 2, values.shape[1] // 2]
    medians: list[float] = np.partition(values, middle, axis=1)[:, middle].mean(axis=1).tolist()
    return medians


def with_embeddings(
    points: Sequence[CurvePoint], tally: Tally, rows: EmbeddingRows, counted: NDArray[np.bool_], distance: str
) -> tuple[CurvePoint, ...]:
    """The points with what noise does to embeddings."""
    every = np.empty((len(points), 0)) if tally.every is None else tally.every
    usable = rows.has_triplets[counted]
    return tuple(
        replace(
            point,
            beyond_threshold=_mean(rows.beyond, counted, index),
            triplet_flips=_mean(rows.triplet_flips, rows.has_triplets, index) if usable.any() else None,
            self_nearest=_mean(rows.self_nearest, counted, index),
            move_quantiles=move_quantiles(every[index], distance),
        )
        for index, point in enumerate(points)
    )


def _mean(shares: Float64 | None, of: NDArray[np.bool_], index: int) -> float | None:
    return None if shares is None else float(shares[of, index].mean())


def _mean_bound(row_means: Float64, confidence: float, maximum: float | None) -> float | None:
    """None where no maximum is known, or outputs that were to be probabilities exceed it by more than rounding."""
    if maximum is None or not bool(np.all(row_means <= maximum * (1 + 1e-6))):
        return None
    return mean_upper_bound(np.minimum(row_means, maximum), confidence, maximum)


def against_targets(tally: Tally, specification: Specification) -> tuple[float, tuple[float, ...] | None]:
    """Clean MSE, and the ceiling of the MSE against the targets by the triangle inequality, where there is a bound."""
    clean = float(tally.trial_mse[0][:, 0].mean())
    if not specification.is_random:
        return clean, None
    confidence, bound = specification.confidence, specification.bound
    moved = [upper_bound(trial_mse, confidence, bound) for trial_mse in tally.trial_mse[1].T]
    return clean, tuple((math.sqrt(clean) + math.sqrt(each)) ** 2 for each in moved)


def brier_factor_of(clean: Array, kind: OutputKind) -> float | None:
    """What the mean over outputs is multiplied with to give the sum over classes; one column p stands for 1 - p too.

    Of several labels at once, each of which is or is not there, it is the mean over them.
    """
    if kind == "multilabel":
        return 2.0
    return None if kind != "probability" else max(2.0, float(clean.shape[1]))


def band_of(trial_mse: Float64, points: Sequence[CurvePoint], confidence: float) -> tuple[float, ...] | None:
    """The band, which says more than the bounds of the single levels, so it is nowhere below them."""
    band = curve_band(trial_mse, confidence)
    bounds = [point.bound for point in points if point.bound is not None]
    return None if band is None or len(bounds) < len(points) else tuple(np.maximum(band, bounds).tolist())


def largest_row_error(clean: Array, kind: OutputKind, with_targets: bool, distance: str = "l2") -> float | None:
    """What a row error cannot exceed, where that is known: two points of a simplex lie at most sqrt(2) apart, and no
    cosine is below -1."""
    if kind == "embedding":
        return 2.0 if distance == "cosine" else None
    if kind in ("label", "multilabel"):
        return 1.0
    if kind != "probability":
        return None
    sums = to_numpy(clean).sum(axis=1)
    on_simplex = clean.shape[1] > 1 and bool(np.all(np.abs(sums - 1.0) < 2e-3))
    return 2.0 / clean.shape[1] if on_simplex and not with_targets else 1.0


def of_all_rows(values: Float64, counted: NDArray[np.bool_], lost: float = math.nan) -> Float64:
    """Values of the rows that count as those of all rows, `lost` for the others."""
    if counted.all():
        return values
    every = np.full((len(counted), *values.shape[1:]), lost)
    every[counted] = values
    return every
