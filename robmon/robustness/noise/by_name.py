"""The noise models that robmon brings, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robmon.robustness.checks import check_noise_name
from robmon.robustness.features.whole_numbers import Whole
from robmon.robustness.noise.additive import (
    CommonMode,
    Correlated,
    Gaussian,
    Laplace,
    Multiplicative,
    StudentT,
    Uniform,
)
from robmon.robustness.noise.base import Noise
from robmon.robustness.noise.cells import Missing, SaltAndPepper
from robmon.robustness.noise.grid import Quantize
from robmon.robustness.noise.images.geometry import Crop, Pixelate, Rotate, Thumbnail
from robmon.robustness.noise.images.jpeg import Jpeg
from robmon.robustness.noise.images.light import Brightness, Contrast, GaussianBlur
from robmon.robustness.noise.images.picture import ImageNoise

if TYPE_CHECKING:
    from robmon.robustness.specification import Specification

MODELS = (
    Gaussian(), Uniform(), Laplace(), StudentT(), SaltAndPepper(), Missing(), Quantize(), Multiplicative(),
    CommonMode(), Correlated(),
    Crop(), Jpeg(), Thumbnail(), Rotate(), Brightness(), Contrast(), GaussianBlur(), Pixelate(),
)  # fmt: skip
NOISE_MODELS: dict[str, Noise] = {model.name: model for model in MODELS}


def noise_of(specification: Specification, whole: Whole | None) -> Noise:
    """The noise model of a specification, for pictures of its layout where it acts on those.

    Args:
        specification: what is done.
        whole: which columns of the inputs are whole numbers; those of pictures have the range of their type.
    """
    chosen = noise_model(specification.noise)
    if not isinstance(chosen, ImageNoise):
        return chosen
    return chosen.laid_out(specification.layout, None if whole is None else whole.pixels)


def noise_model(noise: str | Noise) -> Noise:
    """The noise model of this name; a `Noise` is returned as it is.

    Raises:
        InvalidInputError: no noise model has this name.
    """
    check_noise_name(noise)
    return NOISE_MODELS[noise] if isinstance(noise, str) else noise
