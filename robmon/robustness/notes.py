"""What an assessment says of the features that it perturbed: how they were read, and what was set apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robmon.robustness.arrays import Array, Float64
from robmon.robustness.embeddings import GALLERY_ROWS, EmbeddingRows
from robmon.robustness.features import codes
from robmon.robustness.features import whole_numbers as whole
from robmon.robustness.features.channels import named
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Noise
from robmon.robustness.noise.draws import Draws
from robmon.robustness.noise.images.picture import ImageNoise
from robmon.robustness.noise.masking import code_shares, count_by_column, unknown_codes
from robmon.robustness.noise.rows import AnyNoiseRows

TOLD = 10
"""Features of which one kind of sentence is told."""
MAX_NAME_CHARACTERS = 64
"""Of a feature."""


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
    """Sentences on the axis of the features, their codes, and whole numbers that hardly move.

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
        return noise.told(inputs, levels)
    names = [_shown(name) for name in features.names or named(features.axis, shape, None)]
    notes = list(features.axis.notes)
    notes += _some(codes.told(code_shares(inputs, features, names), tells_values), "more columns hold codes")
    if not is_own:
        notes += _some(codes.told_unknown(unknown_codes(inputs, features, names), tells_values), "more columns do")
    if features.limits is not None and noise.unit is None:
        above = [level for level in levels if level > 0]
        moved, which = _moved_shares(inputs, features, noise, above, seed)
        notes += _some(whole.told([names[index] for index in which], above, moved), "more do")
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


def _shown(name: str) -> str:
    """A name that is fit for a sentence: without a signature columns are called whatever strangers call them."""
    short = name[:MAX_NAME_CHARACTERS]
    return short if short.isprintable() else "".join(c if c.isprintable() else "?" for c in short)


def _some(sentences: list[str], more: str) -> list[str]:
    return sentences[:TOLD] + ([f"{len(sentences) - TOLD} {more}"] if len(sentences) > TOLD else [])


def _moved_shares(
    inputs: Array, features: Features, noise: Noise, levels: Sequence[float], seed: int
) -> tuple[Float64, list[int]]:
    """The share of cells that one trial moves, shape `(levels, columns)`, of columns of whole numbers; and these."""
    perturbed = count_by_column(inputs, features)
    limits = np.broadcast_to(np.asarray(features.limits)[0].ravel(), perturbed.shape)
    which = np.flatnonzero(~np.isnan(limits) & (perturbed > 0))
    draws = Draws(noise, inputs, features, seed)
    noisy = AnyNoiseRows(noise, inputs, lambda: draws.of([0], slice(0, int(inputs.shape[0]))), features.like(inputs))
    moved = np.array([noisy.moved(noisy.at(level)) for level in levels])
    return moved[:, which] / perturbed[which], which.tolist()
