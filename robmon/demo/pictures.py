"""Two versions of a small convolutional network on the same digits, as pictures: what `robmon demo --images` trains.

Run as a process, as `robmon.demo.models`, whose digits and whose registration it takes. Needs torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robmon.demo.models import SEED, Digits, load_digits, release

SIDE: Final = 8
WHITE: Final = 16.0
"""Of scikit-learn's digits; that of the pictures is 1."""
EPOCHS: Final = 25
BATCH_ROWS: Final = 50


def as_pictures(digits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Digits `(n, 64)` as pictures `(n, 1, 8, 8)` from 0 to 1."""
    return (digits / WHITE).reshape(-1, 1, SIDE, SIDE).astype(np.float32)


def train(digits: Digits, noise: float) -> nn.Module:
    """A small network that gives probabilities; fresh Gaussian noise, in grey levels of the digits, is added to the
    pictures of every epoch."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16 * 16, 10),
    )  # fmt: skip
    pictures, labels = torch.tensor(as_pictures(digits.train_x)), torch.tensor(digits.train_y)
    optimizer, loss = torch.optim.Adam(network.parameters(), lr=3e-3), nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        noisy = pictures + noise / WHITE * torch.randn_like(pictures)
        for rows in torch.split(torch.randperm(len(labels)), BATCH_ROWS):
            optimizer.zero_grad()
            loss(network(noisy[rows]), labels[rows]).backward()
            optimizer.step()
    return nn.Sequential(network, nn.Softmax(dim=1)).eval()


def accuracy(model: nn.Module, digits: Digits) -> float:
    """Share of held-out digits that the model gets right."""
    with torch.no_grad():
        classes = model(torch.tensor(as_pictures(digits.test_x))).argmax(dim=1).numpy()
    return float((classes == digits.test_y).mean())


def log(model: nn.Module, digits: Digits, **options: Any) -> Any:
    """Log the model to the run under way."""
    import mlflow
    import mlflow.pytorch
    from mlflow.models import infer_signature

    example = as_pictures(digits.test_x[:5])
    with torch.no_grad():
        outputs = model(torch.tensor(example)).numpy()
    return mlflow.pytorch.log_model(
        model,
        signature=infer_signature(example, outputs),
        serialization_format="pickle",
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", f"mlflow=={mlflow.__version__}"],
        **options,
    )


if __name__ == "__main__":
    found, folder = load_digits(), Path(sys.argv[2])
    for name, pictures, labels in (
        ("training", found.train_x, found.train_y),
        ("held-out", found.test_x, found.test_y),
    ):
        np.save(folder / f"{name}.npy", as_pictures(pictures))
        np.save(folder / f"{name}-labels.npy", labels)
    release(sys.argv[1], folder, found, train, accuracy, log)
