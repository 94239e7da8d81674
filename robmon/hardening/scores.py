"""How good outputs are, row by row: a score whose mean is the accuracy, the coefficient of determination, or
the precision at 1."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from robmon.hardening.embedding import precision_at_1
from robmon.robustness.arrays import Float64
from robmon.robustness.outputs import classes_of, same_classes
from robmon.vocabulary import OutputKind


def row_scores(
    outputs: torch.Tensor, truth: torch.Tensor, kind: OutputKind, clean: torch.Tensor | None = None
) -> torch.Tensor:
    """Scores of rows, shape `(n,)` in float64: of classes 1 where they are the true ones, else 0; of values
    `1 - squared error / variance of the truth`, both summed over outputs; of embeddings 1 where the nearest of the
    other rows' clean ones has the same label, else 0.

    >>> truth = torch.tensor([[0.0], [2.0]])
    >>> row_scores(truth + 0.5, truth, "value").tolist()
    [0.75, 0.75]
    """
    outputs, truth = outputs.double(), truth.double()
    if kind == "embedding":
        return precision_at_1(outputs, outputs if clean is None else clean, truth)
    if kind != "value":
        said, true = classes_of(outputs, kind), classes_of(truth, kind)
        return torch.as_tensor(same_classes(said, true, kind)).double()
    spread = truth.var(0, correction=0).sum()
    return 1.0 - (outputs - truth).square().sum(1) / (spread if spread > 0 else 1.0)


def of_errors(row_errors: Float64, targets: NDArray[np.float64]) -> Float64:
    """Scores of values, of their squared errors, mean over outputs, as an assessment has them; any shape of errors.

    Args:
        row_errors: squared errors.
        targets: shape `(n, outputs)`.
    """
    spread = float(targets.var(axis=0).mean())
    return np.asarray(1.0 - row_errors / (spread if spread > 0 else 1.0))
