"""Rows that a model takes in several forms: with other columns, or tensors of other shapes.

One assessment has one array of perturbed values. Where a row lacks a column, or is shorter than others, the array holds
NaN, which noise leaves alone and no statistic counts. What the model gets is cut down to what a request of that form
holds: one model input a form, whose outputs are put together in the order of the rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robmon.errors import PredictionError
from robmon.models.inputs.layout import Rebuild

Cut: TypeAlias = Callable[[Any, NDArray[np.intp]], Any]
"""From a batch of rows in the widest form, and positions in it, to those rows in a form of their own."""


@dataclass(frozen=True)
class Parts:
    """Rows in several model inputs.

    Attributes:
        inputs: each as a request would hold it; a model input may have more rows than count, behind those that do.
        positions: of the rows of each that count, among all.
    """

    inputs: list[Any]
    positions: list[NDArray[np.intp]]

    def __len__(self) -> int:
        return sum(map(len, self.positions))

    def joined(self, outputs: Sequence[Any]) -> Any:
        """The outputs of the model inputs in the order of the rows.

        Args:
            outputs: of each model input, one array with an entry a row.

        Raises:
            PredictionError: they differ in shape but for the rows (`invalid_output`).
        """
        if len({tuple(each.shape[1:]) for each in outputs}) > 1:
            raise PredictionError(
                "the model's outputs differ in shape with the columns or the shape of its inputs", "invalid_output"
            )
        order = np.argsort(np.concatenate(self.positions), kind="stable")
        counted = [each[: len(at)] for each, at in zip(outputs, self.positions, strict=True)]
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(outputs[0], torch.Tensor):
            return torch.cat(counted)[torch.from_numpy(order).to(outputs[0].device)]
        return np.concatenate(counted)[order]


@dataclass(frozen=True)
class Forms:
    """Which form each row has.

    Attributes:
        cuts: one a form.
        of_row: index of each row's form, shape (n,).
    """

    cuts: tuple[Cut, ...]
    of_row: NDArray[np.intp]

    @classmethod
    def of(cls, keys: Sequence[Hashable], cut: Callable[[Any], Cut]) -> Forms:
        """The forms of rows, told by a key each; `cut` makes the cut of a key's form."""
        known = {key: index for index, key in enumerate(dict.fromkeys(keys))}
        return cls(tuple(map(cut, known)), np.array([known[key] for key in keys], dtype=np.intp))

    def __call__(self, batch: Any, rows: slice) -> Any:
        """The rows of a batch, in the widest form, as the model takes them: one model input, or several.

        The only row of a form is given twice, if it is not the only one of all: some models drop an axis of one row.
        """
        of_row = self.of_row[rows]
        found = np.unique(of_row)
        positions = [np.flatnonzero(of_row == form) for form in found]
        given = [np.repeat(at, 2) if len(at) == 1 < len(of_row) else at for at in positions]
        inputs = [self.cuts[form](batch, at) for form, at in zip(found, given, strict=True)]
        return inputs[0] if len(inputs) == 1 else Parts(inputs, positions)

    def take(self, indices: NDArray[np.intp]) -> Forms:
        """The rows with these indices, in this order."""
        return Forms(self.cuts, self.of_row[indices])


@dataclass(frozen=True)
class Chain:
    """Several steps from rows that were put together to what the model takes, one after the other."""

    steps: tuple[Rebuild, ...]

    def __call__(self, batch: Any, rows: slice) -> Any:
        """The rows as the model takes them."""
        for step in self.steps:
            batch = step(batch, rows)
        return batch

    def take(self, indices: NDArray[np.intp]) -> Chain:
        """The rows with these indices, in this order."""
        return Chain(tuple(step.take(indices) for step in self.steps))


def columns_only(names: Sequence[Any]) -> Cut:
    """Rows of a DataFrame that have these columns only."""
    wanted = list(names)

    def cut(batch: Any, at: NDArray[np.intp]) -> Any:
        return batch.iloc[at][wanted].reset_index(drop=True)

    return cut
