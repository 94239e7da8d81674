"""The gradient of a torch module, also of an exported program or TorchScript; parameters get none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Array, Float64, batches, concatenation, lone, to_numpy
from robmon.robustness.probes.attack.target import Slope
from robmon.vocabulary import OutputKind

Call = Callable[[Any, NDArray[np.int64]], Any]
"""`call(x, rows)`: the module's outputs for a tensor of points that come from these rows."""


def slope_of(
    module: Any,
    classes: NDArray[Any],
    kind: OutputKind,
    inputs: Array,
    batch_rows: int,
    *,
    call: Call | None = None,
) -> Slope:
    """How margin and cross-entropy of a module's own classes rise with each cell.

    Args:
        module: in eval mode.
        classes: of all rows, as `classes_of` gives them.
        kind: of its outputs.
        inputs: a tensor `(n, *input_shape)`, as the module takes it.
        batch_rows: rows of a call.
        call: how it is asked; None: it takes the tensor.
    """
    import torch

    shape = tuple(inputs.shape[1:])

    def slope(points: NDArray[np.floating], rows: NDArray[np.int64], is_margin: bool) -> tuple[Any, Float64]:
        answers, gradients = [], []
        for part in batches(len(rows), batch_rows):
            x = torch.as_tensor(points[part], dtype=inputs.dtype, device=inputs.device).reshape(-1, *shape)
            with torch.enable_grad():
                x = x.detach().requires_grad_(True)
                answer = lone(module(x) if call is None else call(x, rows[part]))
                own = torch.as_tensor(classes[rows[part]], device=inputs.device)
                flat = answer.reshape(len(x), -1).double()
                risen = (_margin if is_margin else _logarithm)(flat, own, kind)
                # What is rounded or compared inside has no way back to the inputs.
                found = torch.autograd.grad(risen.sum(), x, allow_unused=True) if risen.requires_grad else (None,)
                gradient = torch.zeros_like(x) if found[0] is None else found[0]
            answers.append(answer.detach())
            gradients.append(to_numpy(gradient).astype(np.float64).reshape(len(x), -1))
        return concatenation(answers), np.concatenate(gradients)

    return slope


def _margin(outputs: Any, own: Any, kind: OutputKind) -> Any:
    """As `target.margins_of_class`, of tensors."""
    import torch

    if kind == "multilabel" or outputs.shape[1] == 1:
        sides = 2.0 * own.reshape(outputs.shape).to(outputs.dtype) - 1.0
        return (sides * (outputs - (0.0 if kind == "logit" else 0.5))).amin(dim=1)
    mine = torch.nn.functional.one_hot(own.clamp(min=0), outputs.shape[1]).bool()
    return outputs[mine] - outputs.masked_fill(mine, -torch.inf).amax(dim=1)


def _logarithm(outputs: Any, own: Any, kind: OutputKind) -> Any:
    """The logarithm of the probability of each row's own class."""
    import torch

    if kind == "multilabel" or outputs.shape[1] == 1:
        sides = own.reshape(outputs.shape).to(outputs.dtype)
        if kind == "logit":
            return torch.nn.functional.logsigmoid((2.0 * sides - 1.0) * outputs).sum(dim=1)
        return (1.0 - (sides - outputs).abs()).clamp(min=1e-300).log().sum(dim=1)
    scores = outputs.log_softmax(dim=1) if kind == "logit" else outputs.clamp(min=1e-300).log()
    return scores.gather(1, own.clamp(min=0)[:, None])[:, 0]
