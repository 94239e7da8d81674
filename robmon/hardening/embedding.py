"""Embeddings as they are trained and scored: rows of one label are the same thing, and should be nearer than others."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64

MARGIN: Final = 0.2
"""By how much nearer the same thing should be than another, in mean distances of two rows before training."""
GROUP: Final = 4
"""Rows of one label that stand together in the order in which rows are trained on, so that batches hold pairs."""
GALLERY_ROWS: Final = 2048
"""Most rows among which the nearest is looked for."""
UNIT_ROWS: Final = 512
QUERIES_AT_A_TIME: Final = 512
LEAST_SQUARE: Final = 1e-12
"""Of a distance whose gradient is asked for: at 0 it has none."""


def codes_of(*labels: Any) -> list[Float64]:
    """Labels of any kind, shape `(n,)` each, as numbers, the same in all, shape `(n, 1)`.

    Raises:
        InvalidInputError: they are not one a row.

    >>> [codes.ravel().tolist() for codes in codes_of(["b", "a", "b"], ["a"])]
    [[1.0, 0.0, 1.0], [0.0]]
    """
    columns = [np.asarray(each) for each in labels]
    columns = [each[:, 0] if each.ndim == 2 and each.shape[1] == 1 else each for each in columns]
    if any(each.ndim != 1 for each in columns):
        raise InvalidInputError("targets of embeddings are one label a row: rows of one label are the same thing")
    _, codes = np.unique(np.concatenate(columns), return_inverse=True)
    ends = np.cumsum([len(each) for each in columns])[:-1]
    return [part.astype(np.float64)[:, None] for part in np.split(codes.ravel(), ends)]


def has_partner(codes: Float64) -> NDArray[np.bool_]:
    """Which rows have another one of their label, shape `(n,)`.

    >>> has_partner(np.array([[0.0], [1.0], [0.0]])).tolist()
    [True, False, True]
    """
    _, place, counts = np.unique(codes.ravel(), return_inverse=True, return_counts=True)
    return np.asarray(counts[place] > 1)


def unit_of(embeddings: torch.Tensor) -> float:
    """The mean distance of two different rows, of the first 512.

    Raises:
        InvalidInputError: all rows have the same embedding.
    """
    rows = embeddings[:UNIT_ROWS].double()
    distances = torch.cdist(rows, rows)
    unit = float(distances.sum()) / (len(rows) * (len(rows) - 1))
    if not 0.0 < unit < float("inf"):
        raise InvalidInputError("all rows have the same embedding, so no label is nearer than another")
    return unit


def triplet_error(embeddings: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """How much farther the farthest row of the same label is than the nearest of another, beyond a margin, mean over
    rows that have both: the triplet loss, with the hardest of each (Hermans, Beyer & Leibe 2017, arXiv 1703.07737).

    >>> near = torch.tensor([[0.0], [0.1], [5.0], [5.2]])
    >>> labels = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    >>> triplet_error(near, labels).item(), round(triplet_error(near, labels[[0, 2, 1, 3]]).item(), 2)
    (0.0, 5.1)
    """
    distances = (embeddings[:, None] - embeddings[None]).square().sum(2).clamp_min(LEAST_SQUARE).sqrt()
    same = truth[:, 0][:, None] == truth[:, 0][None]
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    is_positive, is_negative = same & ~itself, ~same
    farthest = distances.masked_fill(~is_positive, 0.0).amax(1)
    nearest = distances.masked_fill(~is_negative, float("inf")).amin(1)
    counts = is_positive.any(1) & is_negative.any(1)
    if not counts.any():
        return (embeddings * 0.0).sum()
    return functional.relu(MARGIN + farthest[counts] - nearest[counts]).mean()


def moved(clean: torch.Tensor, noisy: torch.Tensor) -> torch.Tensor:
    """The distance of each row's noisy embedding from its clean one, mean over rows (Zheng et al., CVPR 2016).

    >>> moved(torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [0.0, 1.0]])).item()
    3.0
    """
    return (clean - noisy).square().sum(1).clamp_min(LEAST_SQUARE).sqrt().mean()


def precision_at_1(queries: torch.Tensor, gallery: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """For each query, whether the nearest of all other rows has its label, shape `(n,)` in float64: 1 or 0.

    Args:
        queries: embeddings, noisy or not.
        gallery: clean embeddings of the same rows.
        truth: their labels, shape `(n, 1)`.

    >>> rows, labels = torch.tensor([[0.0], [0.1], [5.0], [0.2]]), torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    >>> precision_at_1(rows, rows, labels).tolist()
    [1.0, 1.0, 1.0, 0.0]
    """
    labels, scores = truth[:, 0], []
    for at in range(0, len(queries), QUERIES_AT_A_TIME):
        rows = torch.arange(at, min(at + QUERIES_AT_A_TIME, len(queries)), device=queries.device)
        distances = torch.cdist(queries[rows].double(), gallery.double())
        distances[torch.arange(len(rows)), rows] = float("inf")
        nearest, place = distances.nan_to_num(float("inf"), posinf=float("inf")).min(1)
        scores.append((labels[place] == labels[rows]) & nearest.isfinite())
    return torch.cat(scores).double()


def grouped_order(codes: NDArray[Any], draw: np.random.Generator) -> NDArray[np.intp]:
    """Rows in an order in which a few of one label stand together, both drawn.

    >>> codes = np.array([0, 1] * 6)
    >>> order = grouped_order(codes, np.random.default_rng(0))
    >>> sorted(order.tolist()) == list(range(12)), [len(set(codes[order[at : at + 2]])) for at in range(0, 12, 2)]
    (True, [1, 1, 1, 1, 1, 1])
    """
    order = draw.permutation(len(codes))
    by_label = order[np.argsort(codes[order], kind="stable")]
    starts = np.flatnonzero(np.r_[True, np.diff(codes[by_label]) != 0])
    groups = [rows[at : at + GROUP] for rows in np.split(by_label, starts[1:]) for at in range(0, len(rows), GROUP)]
    return np.concatenate([groups[place] for place in draw.permutation(len(groups))])
