"""A torch module and its inputs, and the ways to find out what noise does to its outputs. Needs nothing but torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import robmon

TRIALS = 39
LEVELS = (0.0, 0.05, 0.1, 0.2, 0.4)
BATCHES = (64, 128, 256, 512, 1024, 2048, 4096)


@dataclass
class TorchTask:
    """A module and its inputs, and the ways to find out what noise does to its outputs."""

    model: Any
    inputs: Any
    options: dict[str, Any]
    trials: int = TRIALS
    levels: tuple[float, ...] = LEVELS
    sizes: Sequence[int] = BATCHES
    """Of the batches among which the floor's is looked for."""

    def __post_init__(self) -> None:
        self.scale = self.inputs.std(dim=0, unbiased=False)
        self.predict = torch.inference_mode()(self.model.eval())
        sizes = [size for size in self.sizes if size <= largest(self.inputs)]
        self.ready = {size: torch.randn(size, *self.inputs.shape[1:], device=self.inputs.device) for size in sizes}

    @property
    def noisy_rows(self) -> int:
        """How many rows with noise an assessment gives the model."""
        return self.trials * (len(self.levels) - 1) * len(self.inputs)

    def forward(self, size: int) -> None:
        """The forward passes alone, in batches of this size."""
        left = self.noisy_rows
        while left > 0:
            self.predict(self.ready[size][:left])
            left -= size

    def naive_rows(self) -> Iterator[torch.Tensor]:
        """The rows with one draw a level and trial."""
        for _ in range(self.trials):
            for level in self.levels[1:]:
                yield self.inputs + level * self.scale * torch.randn_like(self.inputs)

    def naive(self) -> float:
        """One draw a level and trial, in the sample's own batch."""
        clean, total = self.predict(self.inputs), 0.0
        for noisy in self.naive_rows():
            total += float(((self.predict(noisy) - clean) ** 2).mean())
        return total

    def grouped(self) -> float:
        """One draw a trial, trials grouped to batches of 1,024 rows or so."""
        together = max(1, min(self.trials, 1024 // len(self.inputs), largest(self.inputs) // len(self.inputs)))
        clean, total = self.predict(self.inputs), 0.0
        for _ in range(-(-self.trials // together)):
            moves = self.scale * torch.randn(together, *self.inputs.shape, device=self.inputs.device)
            for level in self.levels[1:]:
                outputs = self.predict((self.inputs + level * moves).flatten(0, 1))
                total += float(((outputs.view(together, *clean.shape) - clean) ** 2).mean())
        return total

    def in_numpy(self) -> float:
        """NumPy's noise, and a trip to the model and back a level and trial."""
        generator, given, scale = np.random.default_rng(0), self.inputs.cpu().numpy(), self.scale.cpu().numpy()

        def predict(x: Any) -> Any:
            return self.predict(torch.from_numpy(x.astype(np.float32)).to(self.inputs.device)).cpu().numpy()

        clean, total = predict(given), 0.0
        for _ in range(self.trials):
            for level in self.levels[1:]:
                noisy = given + level * scale * generator.normal(size=given.shape)
                total += float(((predict(noisy) - clean) ** 2).mean())
        return total

    def assess(self) -> object:
        """All that robmon returns."""
        given = {"levels": self.levels, "trials": self.trials, "task": "classification"}
        given["device"] = str(self.inputs.device)
        return robmon.assess(self.model, self.inputs, **given, **self.options)


def largest(inputs: Any) -> int:
    """Rows of the largest batch that is tried: some 64 MiB of inputs, on a device 512 MiB."""
    return max(64, 2 ** (24 if inputs.device.type == "cpu" else 27) // int(np.prod(inputs.shape[1:])))
