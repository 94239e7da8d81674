"""What all perturbations of images share: from inputs to pictures and back, the range, and what they leave alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, as_float64, concatenation, like, namespace, parts, to_numpy
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Clip, Generator, Noise
from robmon.robustness.noise.images.layout import ImageLayout

MOST_OUTSIDE: Final = 0.1
"""Share of the pixels beyond the range with which it cannot be the right one."""
FEW: Final = 0.5
"""Share of the pixels that stay as they are from which on a level is said to move few."""
DARK: Final = 0.02
"""Of the range: where no pixel is brighter, that is told."""
UNSTATED = ImageLayout(channels=None, range=None)
"""What is taken where nobody says a layout: channels by the shape, the range by a type of whole numbers."""


@dataclass(frozen=True, kw_only=True)
class ImageNoise(Noise):
    """A perturbation of images: it acts on the picture, as a camera or an encoder does.

    All pixels are perturbed, also those that are constant; whole numbers are pixels, rounded half to even and kept in
    their range; no scale concerns it. What it makes is clipped to the range, and a pixel outside by itself is moved no
    further out. A picture with a number that is not finite stays as it is. To first order nothing is known of its
    law, so slopes and areas are against the level.

    Attributes:
        layout: how the inputs are pictures; None: the assessment's, see `robmon.assess(layout=...)`.
        clip: as of all noise, in units of the inputs.
    """

    layout: ImageLayout | None = None
    clip: Clip = None
    acts_on_images = True
    axis = "level"
    draws_anywhere = True

    def laid_out(self, layout: ImageLayout | None, whole: tuple[float, float] | None) -> ImageNoise:
        """The same on pictures of this layout, unless it has its own.

        Args:
            layout: the assessment's.
            whole: the range of the inputs' type, where that is one of whole numbers that pixels have.
        """
        own = self.layout or layout or UNSTATED
        return replace(self, layout=replace(own, range=whole) if own.range is None else own)

    @property
    def stated(self) -> ImageLayout:
        """The layout, as far as anybody said it."""
        return self.layout or UNSTATED

    def notes(self, inputs: Array, levels: Sequence[float] = ()) -> list[str]:
        """As what the inputs were perturbed, and at which of the levels they cannot be, in sentences.

        Raises:
            InvalidInputError: so many pixels lie outside the range that it cannot be theirs.
        """
        layout, shape = self.stated, tuple(int(length) for length in inputs.shape)
        axis, (low, high) = layout.channel_axis(shape), layout.ends
        outside, highest = _outside(inputs, layout, axis, low, high)
        if outside > MOST_OUTSIDE:
            raise InvalidInputError(
                f"{100 * outside:.3g} % of the pixels lie outside the range from {low:g} to {high:g}: say what black "
                "and white are before any normalisation (images.range), and what clients normalise by (images.mean, "
                "images.std; layout=ImageLayout(...) in Python)"
            )
        sizes = ", ".join(map(str, ("rows", *shape[1:])))
        normal = "" if layout.mean is None and layout.std is None else ", normalised by the client"
        sentences = [
            f"the inputs, of shape ({sizes}), are images with channels on axis {axis} from {low:g} to {high:g}"
            f"{normal}: all pixels are perturbed"
        ]
        if outside > 0:
            sentences.append(f"{100 * outside:.2g} % of the pixels lie outside that range by themselves")
        if highest < low + DARK * (high - low):
            sentences.append(
                f"no pixel is brighter than {100 * DARK:g} % of that range: is it that of the inputs (images.range)?"
            )
        sides = shape[2:] if axis == 1 else shape[1:3]
        idle = ", ".join(f"{level:g}" for level in levels if level > 0 and self.keeps_size(level, sides))
        if idle:
            sentences.append(f"at {idle} no pixel is lost of pictures of {sides[0]} x {sides[1]}")
        moved = {level: self.unmoved(level, sides) for level in levels if level > 0}
        sentences += [
            f"at {level:g} {100 * same:.3g} % of the pixels of pictures of {sides[0]} x {sides[1]} stay as they are: "
            "choose a higher level"
            for level, same in moved.items()
            if FEW <= same < 1
        ]
        return sentences

    def keeps_size(self, level: float, sides: Sequence[int]) -> bool:
        """Whether the level is too small for pictures of these sides, so that none of their pixels is lost."""
        return False

    def unmoved(self, level: float, sides: Sequence[int]) -> float:
        """Share of the pixels that stay as they are, whatever the picture, where that is known."""
        return 0.0

    def draw(self, generator: Generator, shape: tuple[int, ...], features: Features) -> Array:
        """One number a row, uniform on [0, 1): what needs none does not look at it."""
        return generator.random((shape[0], *[1] * (len(shape) - 1)))

    def fitted(self, features: Features, shape: tuple[int, ...]) -> Features:
        """The features with one scale everywhere, the inputs' own unit, and without codes: a pixel is a pixel.

        Raises:
            InvalidInputError: the inputs are no pictures, or it is not known what black and white are.
        """
        layout = self.stated
        layout.channel_axis(shape)
        within = np.reshape(layout.ends, (2, *[1] * features.scale.ndim))
        limits = None if features.limits is None else np.broadcast_to(within, (2, *features.scale.shape))
        return replace(
            features,
            scale=np.ones_like(features.scale),
            sentinels=np.full((1, *features.scale.shape), np.nan),
            correlation=None,
            constant=0,
            indicator=0,
            relative=False,
            limits=limits,
            sets_apart=False,
        )

    def apply(self, inputs: Array, draw: Array, level: float, features: Features) -> Array:
        xp, layout = namespace(inputs), self.stated
        is_last = layout.channel_axis(tuple(inputs.shape)) == 3
        low, high = layout.ends
        given, draw = (_contiguous(xp.permute_dims(each, (0, 3, 1, 2))) if is_last else each for each in (inputs, draw))
        mean, std = _normalisation(layout, given, axis=1)
        pictures = _undone(given, mean, std)
        whole = xp.all(xp.reshape(xp.isfinite(pictures), (pictures.shape[0], -1)), axis=1)
        whole = xp.reshape(whole, (-1, 1, 1, 1))
        changed = self.change(xp.where(whole, pictures, low), draw, level, low, high)
        changed = xp.maximum(changed, xp.clip(pictures, max=low))
        changed = xp.minimum(changed, xp.clip(pictures, min=high))
        changed = changed if mean is None else changed - mean
        changed = changed if std is None else changed / std
        changed = xp.where(whole, changed, given)
        return xp.permute_dims(changed, (0, 2, 3, 1)) if is_last else changed

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        """The pictures at one level, before they are clipped to the range.

        Args:
            pictures: float64, finite, shape `(rows, channels, height, width)`, before any normalisation.
            draw: of these rows, of shape `(rows or 1, ...)`.
            level: above 0.
            low, high: black and white.
        """
        raise NotImplementedError


def _outside(inputs: Array, layout: ImageLayout, axis: int, low: float, high: float) -> tuple[float, float]:
    """The share of finite pixels beyond the range, by more than rounding, and the brightest of all."""
    slack, count, beyond, highest = 0.01 * (high - low), 0, 0, -math.inf
    for rows in parts(inputs):
        pixels = to_numpy(as_float64(inputs[rows]))
        pixels = _undone(pixels, *_normalisation(layout, pixels, axis))
        pixels = pixels[np.isfinite(pixels)]
        count, beyond = count + pixels.size, beyond + int(np.sum((pixels < low - slack) | (pixels > high + slack)))
        highest = max(highest, float(pixels.max(initial=-math.inf)))
    return beyond / max(count, 1), highest


def _normalisation(layout: ImageLayout, inputs: Array, axis: int) -> tuple[Any, Any]:
    """What clients subtract and divide by, fit for inputs with channels on this axis; None: nothing."""
    sizes = [-1 if index == axis else 1 for index in range(4)]
    mean, std = (None if each is None else like(np.reshape(each, sizes), inputs) for each in (layout.mean, layout.std))
    return mean, std


def _undone(inputs: Array, mean: Any, std: Any) -> Array:
    """The pictures before clients have normalised them."""
    pictures = inputs if std is None else inputs * std
    return pictures if mean is None else pictures + mean


def _contiguous(array: Array) -> Array:
    """The same numbers in the order of the axes: what is computed of them does not depend on how they came."""
    xp = namespace(array)
    return xp.reshape(xp.reshape(array, (-1,)), array.shape)


def of_colours(pictures: Array, change: Callable[[Array], Array]) -> Array:
    """The pictures with their colours changed, and their opacity, a fourth channel, as it was."""
    if pictures.shape[1] < 4:
        return change(pictures)
    return concatenation([change(pictures[:, :3]), pictures[:, 3:]], axis=1)
