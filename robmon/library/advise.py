"""Advice on a torch module, in the caller's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from robmon.library.prepared_rows import open_predictor
from robmon.robustness.arrays import to_numpy
from robmon.robustness.features.features import measure
from robmon.robustness.specification import Specification

if TYPE_CHECKING:
    from robmon.robustness.probes.advice import Advice

LEVEL = 0.1
"""Of the noise whose way is measured: standard deviations of each feature."""


def advise(module: Any, example: Any, inputs: Any = None) -> Advice:
    """What a module's own layers say of how it takes noise, by rules of arXiv 2509.20939: advice, not a verdict.

    The rules are tendencies, and the measured curve decides: see `robmon.assess`.

    Args:
        module: a torch module, eager, exported or TorchScript; or the URI of an MLflow model that is one.
        example: rows that it takes, `(n, *input_shape)`.
        inputs: rows with which the noise over the signal is measured before and after each layer of which a rule
            speaks, under Gaussian noise of 0.1 standard deviations; None: nothing is measured.

    Returns:
        `.items`, each with `.rule`, `.where`, `.read`, `.gain`, `.source`, `.measured` and `.text`; none, with
        `.reason`, where it is not readable. See `Advice`.

    Raises:
        InvalidInputError, RegistryError, ModelError: as `robmon.assess`.

    >>> import torch
    >>> box = torch.nn.Conv2d(1, 1, 3, bias=False)
    >>> _ = box.weight.data.fill_(1 / 9)
    >>> [(item.rule, round(item.gain, 4)) for item in advise(box, torch.zeros(1, 1, 8, 8)).items]
    [('stem_noise', 0.1111)]
    """
    import torch

    from robmon.robustness.probes.advice import Advice, advise_module

    specification = Specification()
    with open_predictor(module, example, specification) as rows:
        read = rows.predictor.module
        if read is None:
            return Advice(reason="the model is no torch module")
        shown = torch.as_tensor(rows.array)
        if inputs is None:
            return advise_module(read, shown)
    with open_predictor(module, inputs, specification) as given:
        clean = torch.as_tensor(given.array)
        scale = np.broadcast_to(measure(given.array, axis=given.axis(None)).scale, tuple(clean.shape[1:]))
        drawn = np.random.default_rng(0).standard_normal(tuple(clean.shape)) * scale * LEVEL
        noisy = torch.as_tensor(to_numpy(clean) + drawn, dtype=clean.dtype, device=clean.device)
        return advise_module(given.predictor.module, shown, (clean, noisy))  # type: ignore[arg-type]
