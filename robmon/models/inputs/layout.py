"""What `ModelInputs` asks of each kind of inputs, and of what makes of them what a model takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
AnyArray: TypeAlias = NDArray[Any]


class Layout(Protocol):
    """What there is of inputs beside the array that is perturbed, and how both are put together."""

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the array's columns, where the inputs are a DataFrame."""

    def batch_rows(self, array: FloatArray) -> int | None:
        """Rows of a batch that suit what the model gets; None: any."""

    def is_half(self, array: FloatArray) -> NDArray[np.bool_]:
        """Which columns of the array the model gets as float16; one value may stand for all."""

    def passed(self) -> dict[str, Any]:
        """What passes through, by name."""

    def assemble(self, array: Any, rows: slice) -> Any:
        """What the model takes of those rows, with `array` in the place of what is perturbed."""

    def take(self, indices: AnyArray) -> Layout:
        """The layout of the rows with these indices, in this order."""

    def resident(self, put: Callable[[AnyArray], Any]) -> Layout:
        """The same, of which the tensors that pass through lie where `put` puts them."""

    def drawn(self, rows: int, cells: Mapping[str, Sequence[Any]]) -> Layout:
        """The layout of so many rows, of which what passes through is from `cells`, else neutral."""


class Rebuild(Protocol):
    """Makes of rows that were put together again what the model takes: it knows what is not the same in every row."""

    def __call__(self, batch: Any, rows: slice) -> Any:
        """The rows as the model takes them."""

    def take(self, indices: NDArray[np.intp]) -> Rebuild:
        """What rebuilds the rows with these indices, in this order."""
