"""Scikit-learn's digits, and a small CNN trained on some of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

TRAINED_ON = 1200


@dataclass(frozen=True, eq=False)
class Digits:
    """Images, shape `(n, 1, 8, 8)` between 0 and 1, and their classes: those to train on, and those to score with."""

    inputs: NDArray[np.float32]
    targets: NDArray[np.int64]
    test_inputs: NDArray[np.float32]
    test_targets: NDArray[np.int64]

    @property
    def test(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As `robmon.stabilise` takes it."""
        return self.test_inputs, self.test_targets


def digits(seed: int) -> Digits:
    """All 1,797, of which the seed draws those that are trained on."""
    data = load_digits()
    images, classes = (data.images / 16).astype(np.float32)[:, None], data.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = order[:TRAINED_ON], order[TRAINED_ON:]
    return Digits(images[train], classes[train], images[test], classes[test])


def trained_cnn(data: Digits, seed: int, epochs: int = 20) -> nn.Module:
    """Two convolutions, trained without noise."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    inputs, targets = torch.from_numpy(data.inputs), torch.from_numpy(data.targets)
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(module(inputs[batch]), targets[batch]).backward()
            optimizer.step()
    return module.eval()
