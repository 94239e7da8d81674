"""The noise models that robmon brings, by name."""

from __future__ import annotations

from robmon.robustness.checks import check_noise_name
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

MODELS = (
    Gaussian(), Uniform(), Laplace(), StudentT(), SaltAndPepper(), Missing(), Quantize(), Multiplicative(),
    CommonMode(), Correlated(),
)  # fmt: skip
NOISE_MODELS: dict[str, Noise] = {model.name: model for model in MODELS}


def noise_model(noise: str | Noise) -> Noise:
    """The noise model of this name; a `Noise` is returned as it is.

    Raises:
        InvalidInputError: no noise model has this name.
    """
    check_noise_name(noise)
    return NOISE_MODELS[noise] if isinstance(noise, str) else noise
