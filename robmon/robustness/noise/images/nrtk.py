"""Any perturber of Kitware's Natural Robustness Toolkit as a noise, by its protocol; nothing of it is imported here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, like, to_numpy
from robmon.robustness.noise.images.jpeg import WHITE
from robmon.robustness.noise.images.picture import ImageNoise, of_colours

SEEDS: Final = 2**32
"""So many of them: what all generators take."""


Perturber = Callable[..., Any]
"""`perturber(image=...)`, as `nrtk.interfaces.PerturbImage` has it, gives the image perturbed, a new array, with its
boxes, at which nobody looks here. Images are uint8, `(height, width, 3)`, or `(height, width)` where they are grey."""


@dataclass(frozen=True)
class Nrtk(ImageNoise):
    """A perturber of NRTK (https://nrtk.readthedocs.io, 1.1), or any object with its protocol, as a noise.

    Pictures are passed to it one by one as uint8 from 0 to 255, as it expects them, and converted back; opacity is
    unchanged. A deterministic perturber runs one trial. A random one is made anew for each picture of each trial, with
    a seed derived from that of the assessment: a seed gives the same numbers, rows are independent of one another, and
    all levels of a trial have the same seed.

    Args:
        name: what results call it.
        make: `make(level)` returns a perturber for a level above 0; a random one is made by `make(level, seed)`, with a
            whole number from 0 to 2^32 - 1. Levels rise from untouched to worst. Other arguments of a perturber are
            bound with `functools.partial(perturber, img_gsd=0.15)`.
        is_random: whether it draws random numbers.
        unit: what a level counts.
        usual_levels: the default levels.

    Raises:
        InvalidInputError: a perturber returns a picture of another shape or type.

    >>> class Darker:
    ...     def __init__(self, share):
    ...         self.share = share
    ...
    ...     def __call__(self, *, image):
    ...         return (image * (1.0 - self.share)).astype(image.dtype), None
    >>> import robmon
    >>> pictures = np.full((32, 1, 5, 5), 200, dtype=np.uint8)
    >>> noise = Nrtk("darker", Darker, unit="share of the light")
    >>> result = robmon.assess(lambda x: x[:, 0, 0, 0].astype(float), pictures, noise=noise, levels=(0.25,))
    >>> result.curve[1].mean_mse, result.no_bound
    (2500.0, 'deterministic')
    """

    name: str
    make: Callable[..., Perturber]
    is_random: bool = False
    unit: str = "its own parameter"
    usual_levels: tuple[float, ...] | None = None

    def change(self, pictures: Array, draw: Array, level: float, low: float, high: float) -> Array:
        step = (high - low) / WHITE
        seeds = (np.reshape(to_numpy(draw), -1) * SEEDS).astype(np.int64).tolist()

        def through_perturber(colours: Array) -> Array:
            exact = np.clip(np.rint((to_numpy(colours) - low) / step), 0, WHITE).astype(np.uint8)
            one = None if self.is_random else self.make(level)
            made = [
                self._perturbed(self.make(level, seed) if one is None else one, picture)
                for picture, seed in zip(exact, seeds * (len(exact) if len(seeds) == 1 else 1), strict=True)
            ]
            return like(low + step * np.stack(made).astype(np.float64), colours)

        return of_colours(pictures, through_perturber)

    def _perturbed(self, perturber: Perturber, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One picture `(channels, height, width)`, of 1 or 3 channels."""
        image = picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, -1)
        answer = perturber(image=np.ascontiguousarray(image))
        made = np.asarray(answer[0] if isinstance(answer, tuple) else answer)
        if made.shape != image.shape or made.dtype != np.uint8:
            raise InvalidInputError(
                f"{self.name} made a picture of shape {made.shape} and type {made.dtype} of one of shape {image.shape} "
                "and type uint8: a perturber keeps both"
            )
        return np.reshape(made, (1, *made.shape)) if len(picture) == 1 else np.moveaxis(made, -1, 0)
