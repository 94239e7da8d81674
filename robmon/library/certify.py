"""Certify a torch module's classes in the caller's process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from robmon.library.prepared_rows import open_predictor
from robmon.robustness.features.features import measure
from robmon.robustness.probes.attack.ball import Norm
from robmon.robustness.probes.certificate.certify import Method, certify_rows
from robmon.robustness.probes.certificate.result import Certificate
from robmon.robustness.specification import Specification


def certify(
    module: Any,
    inputs: Any,
    *,
    norm: Norm = "2",
    radii: Sequence[float],
    scale: Any = None,
    method: Method = "lipschitz",
    output: str | None = None,
    output_column: str | int | Sequence[str | int] | None = None,
    scale_axis: int | None = None,
) -> Certificate:
    """Prove which rows keep the module's own class wherever they move within a radius: at least this share does.

    This is the other side of `robmon.attack`: on the same rows, norm and radius, certified share <= true share <= share
    left by the attacks. The certificate is about the module itself, not a vote under noise, and says nothing about
    other rows. A module with an operation that is not known gets no certificate; the reason names the operation.

    Args:
        module: a torch module, eager, exported or TorchScript; or the URI of an MLflow model that is one.
        inputs: array `(n, *input_shape)`.
        norm: `2`: the root of the sum of the squared moves of a row is at most the radius; `inf`: each of them is.
        radii: in units of the scale, as noise levels are.
        scale: None: the standard deviation of each feature; 1.0: radii are in input units.
        method: `lipschitz`: the norms of the layers, composed; `interval`: between which two numbers each value lies,
            layer by layer; `crown`: linear bounds pulled back to the input (Zhang et al., NeurIPS 2018), which certify
            all that `interval` does and mostly far more, but take seconds.
        output: as in `robmon.assess`.
        output_column: as in `robmon.assess`; with it there is no certificate.
        scale_axis: as in `robmon.assess`.

    Returns:
        `.share` over `.radii`, `.certified` (n x radii) and `.lipschitz`; or None with `.reason`. See `Certificate`.

    Raises:
        InvalidInputError: as `robmon.assess`; or the outputs are not classes.
        PredictionError, RegistryError, ModelError: as `robmon.assess`.

    >>> import numpy as np, torch
    >>> linear = torch.nn.Linear(2, 1, bias=False).double()
    >>> _ = linear.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> result = certify(linear, np.array([[1.0, 0.0], [0.0, 0.1]]), radii=(0.05, 0.5), scale=1.0, output="logit")
    >>> round(result.lipschitz, 6), result.certified.tolist()
    (5.0, [[True, True], [True, False]])
    """
    specification = Specification(
        task="classification", output=output, output_column=output_column, scale_axis=scale_axis
    )
    with open_predictor(module, inputs, specification) as rows:
        axis = rows.axis(specification.feature_axis, refuses=scale is None)
        result = certify_rows(
            rows.predictor,
            rows.array,
            specification,
            features=measure(rows.array, scale, names=rows.column_names, axis=axis, whole=rows.whole),
            radii=radii,
            norm=norm,
            method=method,
            output_names=lambda: rows.outputs.names,
            notes=rows.notes,
        )
        return replace(result, notes=(*rows.outputs.notes, *result.notes))
