"""Rows with the truth of them, in parts, and their noise: that with which robmon measures, from its own streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, batches, default_batch_rows
from robmon.robustness.engine.batch import Engine
from robmon.robustness.engine.predictor import FunctionPredictor
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Noise

SHARES: Final = (0.70, 0.15, 0.15)
"""Of the rows that are trained on, chosen by, and judged by."""
FEWEST_ROWS: Final = 20
"""Of the smallest part: with fewer nothing is learnt from it."""


@dataclass(frozen=True)
class Split:
    """Which rows are for what: indices, shape `(rows of the part,)`."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


def split(rows: int, seed: int, *, has_test: bool) -> Split:
    """Rows in parts, drawn by the seed; with a test part of its own all of them are trained on and chosen by.

    Raises:
        InvalidInputError: there are too few rows.

    >>> [len(part) for part in vars(split(200, 0, has_test=False)).values()]
    [140, 30, 30]
    """
    order = np.random.default_rng(child_seed(seed, "split")).permutation(rows)
    validation = round(rows * SHARES[1])
    test = 0 if has_test else round(rows * SHARES[2])
    if validation < FEWEST_ROWS:
        raise InvalidInputError(
            f"{rows} rows are too few: of each part at least {FEWEST_ROWS} are needed, so "
            f"{round(FEWEST_ROWS / SHARES[1])} in all"
        )
    held = validation + test
    return Split(order[held:], order[:validation], order[validation:held])


STREAMS: Final = ("split", "order", "train", "validation", "test")


def child_seed(seed: int, stream: str) -> int:
    """A seed of its own for each use of one, so that no part is measured by the noise it was trained with.

    >>> child_seed(0, "order") == child_seed(0, "train")
    False
    """
    key = (STREAMS.index(stream),)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint32)[0])


@dataclass(frozen=True, eq=False)
class Part:
    """Rows that are trained on, or chosen by.

    Attributes:
        inputs: shape `(n, *input_shape)`, as they are perturbed.
        truth: shape `(n, outputs)`, in the dtype of the outputs.
        dtype: in which the module gets its inputs.
        engine: draws their noise.
        unit: what a distance of embeddings is counted in; 1 of other outputs.
        is_cosine: whether embeddings are compared by their angles.
    """

    inputs: torch.Tensor
    truth: torch.Tensor
    dtype: torch.dtype
    engine: Engine
    unit: float = 1.0
    is_cosine: bool = False

    @classmethod
    def of(
        cls,
        inputs: Array,
        truth: torch.Tensor,
        dtype: torch.dtype,
        noise: Noise,
        features: Features,
        seed: int,
        *,
        unit: float = 1.0,
        is_cosine: bool = False,
    ) -> Part:
        """The part, with its noise."""
        unasked: Any = FunctionPredictor(lambda rows, _: rows)  # the engine perturbs, and nobody predicts through it
        return cls(inputs, truth, dtype, Engine(unasked, inputs, noise, features, seed), unit, is_cosine)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def clean(self) -> torch.Tensor:
        """The rows as the module gets them."""
        return self.inputs.to(self.dtype)

    def comparable(self, outputs: torch.Tensor) -> torch.Tensor:
        """Outputs as losses and scores take them."""
        if self.is_cosine:
            outputs = torch.nn.functional.normalize(outputs, dim=1)
        return outputs if self.unit == 1.0 else outputs / self.unit

    def noisy(self, trial: int, level: float) -> torch.Tensor:
        """All rows at one level, by the draw of one trial, as the module gets them."""
        parts = [
            self.engine.noisy_rows([trial], rows, (level,)).at(level).to(self.dtype)
            for rows in batches(len(self), default_batch_rows(tuple(self.inputs.shape)))
        ]
        return torch.cat(parts)
