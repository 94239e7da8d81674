"""What is minimised: the error of the task on clean rows, and how far noisy outputs are from clean ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch.nn import functional

from robmon.errors import InvalidInputError
from robmon.hardening.embedding import moved, triplet_error
from robmon.vocabulary import OutputKind

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LEAST: Final = 1e-7
"""Least probability whose logarithm is taken."""


def error_of(kind: OutputKind) -> Loss:
    """The loss of the task, `error(outputs, truth)`: mean over rows; both of shape `(n, outputs)`.

    Of values the squared error, mean over outputs; of classes the cross-entropy, the truth being one column a class;
    of one column, or of several labels at once, the binary one; of embeddings the triplet loss, the truth being the
    number of each row's label.

    Raises:
        InvalidInputError: the outputs are classes, which have no gradient.

    >>> outputs, truth = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> round(error_of("value")(outputs, truth).item(), 4), round(error_of("logit")(outputs, truth).item(), 4)
    (0.5, 0.1269)
    """
    if kind == "label":
        raise InvalidInputError("the outputs are classes, which have no gradient: give the module that returns scores")
    if kind == "value":
        return functional.mse_loss
    if kind == "embedding":
        return triplet_error
    return lambda outputs, truth: -(truth * log_shares(outputs, kind)).sum(1).mean() - _of_absence(outputs, truth, kind)


def distance_of(kind: OutputKind) -> Loss:
    """How far noisy outputs are from clean ones, `distance(clean, noisy)`: mean over rows; both of `(n, outputs)`.

    Of values the squared distance, mean over outputs; of classes the Kullback-Leibler divergence from the clean to the
    noisy probabilities (Zheng et al., CVPR 2016, equation 7, less the entropy of the clean ones, so that it is 0 where
    nothing moved); of embeddings the distance itself. Both have gradients.

    >>> clean, noisy = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> round(distance_of("value")(clean, noisy).item(), 4), round(distance_of("logit")(clean, noisy).item(), 4)
    (0.5, 0.0671)
    >>> distance_of("logit")(clean, clean + 3.0).item()
    0.0
    """
    if kind == "value":
        return functional.mse_loss
    if kind == "embedding":
        return moved

    def divergence(clean: torch.Tensor, noisy: torch.Tensor) -> torch.Tensor:
        here, there = log_shares(clean, kind), log_shares(noisy, kind)
        moved = (here.exp() * (here - there)).sum(1).mean()
        if not has_complements(clean, kind):
            return moved
        here, there = log_complements(clean, kind), log_complements(noisy, kind)
        return moved + (here.exp() * (here - there)).sum(1).mean()

    return divergence


def has_complements(outputs: torch.Tensor, kind: OutputKind) -> bool:
    """Whether each column is a binary question of its own."""
    return kind == "multilabel" or outputs.shape[1] == 1


def log_shares(outputs: torch.Tensor, kind: OutputKind) -> torch.Tensor:
    """Logarithms of the probabilities that the outputs say, shape `(n, outputs)`."""
    if kind != "logit":
        return outputs.clamp_min(LEAST).log()
    return functional.logsigmoid(outputs) if outputs.shape[1] == 1 else outputs.log_softmax(1)


def log_complements(outputs: torch.Tensor, kind: OutputKind) -> torch.Tensor:
    """Logarithms of the probabilities of the opposite, of binary columns."""
    return functional.logsigmoid(-outputs) if kind == "logit" else (1.0 - outputs).clamp_min(LEAST).log()


def _of_absence(outputs: torch.Tensor, truth: torch.Tensor, kind: OutputKind) -> torch.Tensor | float:
    if not has_complements(outputs, kind):
        return 0.0
    return ((1.0 - truth) * log_complements(outputs, kind)).sum(1).mean()
