"""What an assessment says of the features that it perturbed: how they were read, and what was set apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robmon.robustness.arrays import Array, as_float64, namespace, parts, to_numpy
from robmon.robustness.embeddings import GALLERY_ROWS, EmbeddingRows
from robmon.robustness.features import codes
from robmon.robustness.features import whole_numbers as whole
from robmon.robustness.features.channels import named
from robmon.robustness.features.far_rows import far_row_notes
from robmon.robustness.features.features import Features
from robmon.robustness.noise import spacing
from robmon.robustness.noise.base import Noise
from robmon.robustness.noise.draws import Draws
from robmon.robustness.noise.images.picture import ImageNoise
from robmon.robustness.noise.masking import code_shares, count_by_column, unknown_codes, untouched
from robmon.robustness.noise.rows import AnyNoiseRows
from robmon.robustness.sentences import short_name

TOLD = 10
"""Features of which one kind of sentence is told."""


def feature_notes(
    inputs: Array,
    features: Features,
    noise: Noise,
    levels: Sequence[float],
    *,
    seed: int,
    is_own: bool,
    tells_values: bool,
) -> list[str]:
    """Sentences on the axis of the features, their codes, and numbers that hardly move.

    Args:
        inputs: shape `(n, *input_shape)`.
        features: of them.
        noise: what perturbs them.
        levels: the assessed ones.
        seed: of the noise.
        is_own: whether the features were measured on these inputs; else these may hold codes that those do not know.
        tells_values: whether codes, which are inputs, may be told.
    """
    shape = tuple(inputs.shape)
    if isinstance(noise, ImageNoise):
        return noise.notes(inputs, levels)
    names = [short_name(name) for name in features.names or named(features.axis, shape, None)]
    notes = list(features.axis.notes)
    notes += _some(codes.code_notes(code_shares(inputs, features, names), tells_values), "more columns hold codes")
    if not is_own:
        notes += _some(
            codes.unknown_code_notes(unknown_codes(inputs, features, names), tells_values), "more columns do"
        )
    if features.relative and len(shape) == 2:
        notes += _some(_far_rows(inputs, features, names), "more columns have such a scale")
    if noise.unit is None:
        notes += _hardly_moved(inputs, features, noise, [level for level in levels if level > 0], names, seed)
    return notes


def embedding_notes(embedding: EmbeddingRows, rows: int, without_direction: int) -> list[str]:
    """Sentences on the threshold and on what of embeddings cannot be told, or only of some rows.

    Args:
        embedding: what noise does to them.
        rows: that count.
        without_direction: rows left out whose embedding is the zero vector.
    """
    notes = [embedding.threshold_note]
    if without_direction:
        notes.append(f"{without_direction} of the rows left out have the zero vector, which has no cosine")
    if embedding.self_nearest is None:
        notes.append(f"the {rows} rows have one embedding between them: nothing is told of the nearest")
    if embedding.triplet_flips is None:
        notes.append("there are no triplets, which need 3 rows")
    elif not embedding.has_triplets.any():
        notes.append("all triplets are ties, with two others just as near: nothing is told of them")
    elif embedding.ties:
        notes.append(f"{embedding.ties} triplets are ties, with two others just as near, and left out")
    if rows > GALLERY_ROWS:
        notes.append(f"the nearest, and the others of a triplet, are looked for among the first {GALLERY_ROWS} rows")
    return notes


def _some(sentences: list[str], more: str) -> list[str]:
    return sentences[:TOLD] + ([f"{len(sentences) - TOLD} {more}"] if len(sentences) > TOLD else [])


def _far_rows(inputs: Array, features: Features, names: Sequence[str]) -> list[str]:
    cells = as_float64(inputs)
    kept = to_numpy(
        features.axis.as_columns(namespace(cells).where(untouched(cells, features.like(inputs)), np.nan, cells))
    )
    return far_row_notes(kept, np.broadcast_to(to_numpy(features.scale).ravel(), kept.shape[1]), names)


def _hardly_moved(
    inputs: Array, features: Features, noise: Noise, levels: Sequence[float], names: Sequence[str], seed: int
) -> list[str]:
    """Sentences on columns that one trial hardly moves: whole numbers, and numbers farther apart than the noise."""
    limits = np.full(len(names), np.nan) if features.limits is None else np.asarray(features.limits)[0].ravel()
    is_whole = ~np.isnan(np.broadcast_to(limits, len(names)))
    fine = [index for index in spacing.finer_columns(inputs, features, levels) if not is_whole[index]]
    if not fine and not is_whole.any():
        return []
    if not is_whole.any():
        inputs = inputs[next(parts(inputs))]
    perturbed = count_by_column(inputs, features)
    draws = Draws(noise, inputs, features, seed)
    noisy = AnyNoiseRows(noise, inputs, lambda: draws.of([0], slice(0, int(inputs.shape[0]))), features.like(inputs))
    moved = np.array([noisy.moved(noisy.at(level)) for level in levels]) / np.maximum(perturbed, 1)
    which = [index for index in np.flatnonzero(is_whole).tolist() if perturbed[index]]
    fine = [index for index in fine if perturbed[index]]
    dtype = str(inputs.dtype).removeprefix("torch.")
    return [
        *_some(whole.hardly_moved_notes([names[index] for index in which], levels, moved[:, which]), "more do"),
        *_some(spacing.hardly_moved_notes([names[index] for index in fine], levels, moved[:, fine], dtype), "more do"),
    ]
