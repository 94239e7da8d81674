"""The noise models for `robmon.assess(noise=...)`, with their parameters: `robmon.noise.SaltAndPepper(low=0, high=16)`.

Each also has a name, `noise="salt_and_pepper"`, which stands for the model with its default parameters.
"""

from robmon.robustness.features.features import Features
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
from robmon.robustness.noise.by_name import NOISE_MODELS
from robmon.robustness.noise.cells import Missing, SaltAndPepper
from robmon.robustness.noise.grid import Quantize
from robmon.robustness.noise.images.corruption import Corruption
from robmon.robustness.noise.images.geometry import Crop, Pixelate, Rotate, Thumbnail
from robmon.robustness.noise.images.jpeg import Jpeg
from robmon.robustness.noise.images.light import Brightness, Contrast, GaussianBlur
from robmon.robustness.noise.images.nrtk import Nrtk
from robmon.robustness.noise.per_column import PerColumn

__all__ = [
    "NOISE_MODELS",
    "Brightness",
    "CommonMode",
    "Contrast",
    "Correlated",
    "Corruption",
    "Crop",
    "Features",
    "Gaussian",
    "GaussianBlur",
    "Jpeg",
    "Laplace",
    "Missing",
    "Multiplicative",
    "Noise",
    "Nrtk",
    "PerColumn",
    "Pixelate",
    "Quantize",
    "Rotate",
    "SaltAndPepper",
    "StudentT",
    "Thumbnail",
    "Uniform",
]
