"""Within what pictures, and whole numbers, stay, as the model gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.features.features import Features
from robmon.robustness.features.whole_numbers import Whole
from robmon.robustness.noise.images.layout import ImageLayout


def valid_range(
    layout: ImageLayout, shape: Sequence[int], pixels: tuple[float, float] | None
) -> tuple[Float64, Float64]:
    """Black and white, normalised where the client does that: each of a shape that broadcasts to one input.

    Args:
        layout: of the inputs.
        shape: of them, `(n, ...)`.
        pixels: black and white of their type, where that is one of whole numbers.

    Raises:
        InvalidInputError: they are no pictures, or it is not known what black and white are.

    >>> layout = ImageLayout(mean=(0.5,), std=(0.25,))
    >>> [end.ravel().tolist() for end in valid_range(layout, (8, 1, 32, 32), None)]
    [[-2.0], [2.0]]
    """
    sizes = [1, 1, 1]
    sizes[layout.channel_axis(shape) - 1] = -1
    is_normalised = layout.mean is not None or layout.std is not None
    if pixels is not None and is_normalised:
        raise InvalidInputError("pictures of whole numbers are not normalised: give no mean and no std of images")
    black, white = pixels if layout.range is None and pixels is not None else layout.ends
    mean, std = np.reshape(layout.mean or (0.0,), sizes), np.reshape(layout.std or (1.0,), sizes)
    return (black - mean) / std, (white - mean) / std


def of_any_whole(features: Features, whole: Whole | None, shape: Sequence[int]) -> Features:
    """Features whose whole numbers keep to the range of their type, not to that they were seen in: one is stated.

    Args:
        features: of the inputs.
        whole: which of them are whole numbers.
        shape: of the inputs, `(n, ...)`.
    """
    if features.limits is None or whole is None:
        return features
    columns = features.axis.columns(tuple(shape))
    ends = [np.broadcast_to(np.ravel(end), columns) for end in (whole.low, whole.high)]
    return replace(features, limits=np.reshape(ends, (2, *features.axis.scale_shape(tuple(shape)))))
