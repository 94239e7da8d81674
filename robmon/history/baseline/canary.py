"""The synthetic canary: rows that no production ever saw, and what a version gave for them.

Run again under the same version they tell whether model, libraries or their types have changed: nothing else can change
what a deterministic model gives for the same rows, but for rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64
from robmon.robustness.jsonable import jsonable

ROWS: Final = 64
FEWEST_ROWS: Final = 8
MOST_CELLS: Final = 2**20
"""Of all rows: fewer of large ones are drawn, down to `FEWEST_ROWS`."""
MOST_OUTPUTS: Final = 32
"""Outputs of a row that are kept, evenly spaced among all."""
ROUNDING: Final[Mapping[str, float]] = {"float64": 1e-9, "float32": 2e-5, "float16": 1e-2, "bfloat16": 8e-2}
"""By how much of an output's size it may differ by rounding, by the coarsest type that the model is known to use: some
hundred times that type's own, since other batches, threads and processors add up in another order."""
OF_SPREAD: Final = 50.0
"""Or so many times what it differed by when it was first run in other batches."""
SMALLEST_SIZE: Final = 1e-6
"""Of the largest output's size: what is left of smaller ones may be rounding of that."""
LARGEST_SPREAD: Final = 1e-3
"""Of an output's size: what differs by more in other batches depends on them, and is no rounding."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model gave for the rows, as far as it is kept.

    Attributes:
        dtype: of the outputs as the model returned them: `float32`, `int64`, `text` ...
        count: how many outputs a row has.
        values: shape `(rows, kept outputs)`, float64, or text.
    """

    dtype: str
    count: int
    values: NDArray[Any]

    @classmethod
    def of(cls, outputs: NDArray[Any]) -> Outputs:
        """What is kept of outputs as a model returned them, shape `(rows, *output_shape)`, in main memory."""
        flat = outputs.reshape(len(outputs), -1)
        is_text = flat.dtype.kind not in "fiub"
        kept = np.unique(np.linspace(0, flat.shape[1] - 1, min(MOST_OUTPUTS, flat.shape[1])).astype(int))
        values = flat[:, kept].astype(str) if is_text else flat[:, kept].astype(np.float64)
        return cls("text" if is_text else flat.dtype.name, flat.shape[1], values)

    @property
    def is_text(self) -> bool:
        """Whether they are no numbers."""
        return self.values.dtype.kind not in "fiub"

    def differences(self, other: Outputs) -> Float64:
        """How far each output differs from another pass's, as a share of that output's size, `(rows, kept)`; +Inf where
        they cannot be compared. What is alike, NaN included, differs by 0."""
        if (self.dtype, self.count, self.values.shape) != (other.dtype, other.count, other.values.shape):
            return np.full(self.values.shape, np.inf)
        if self.is_text:
            return np.where(self.values == other.values, 0.0, np.inf)
        finite = np.isfinite(self.values) & np.isfinite(other.values)
        is_alike = (self.values == other.values) | (np.isnan(self.values) & np.isnan(other.values))
        mine, theirs = (np.where(finite, each.values, 0.0) for each in (self, other))
        sizes = np.abs(mine).max(axis=0, initial=0.0)
        size = np.maximum(sizes, max(SMALLEST_SIZE * sizes.max(initial=0.0), np.finfo(np.float64).tiny))
        with np.errstate(over="ignore"):
            return np.where(is_alike, 0.0, np.where(finite, np.abs(theirs - mine) / size, np.inf))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"dtype": self.dtype, "count": self.count, "values": jsonable(self.values)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Outputs:
        """Inverse of `to_dict`."""
        values = data["values"]
        if data["dtype"] == "text":
            return cls("text", int(data["count"]), np.array(values, dtype=str))
        numbers = [[np.nan if cell is None else float(cell) for cell in row] for row in values]
        return cls(str(data["dtype"]), int(data["count"]), np.array(numbers, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Canary:
    """Drawn rows, by what draws them again, and the outputs for them; or why there are none.

    Attributes:
        rows: how many.
        seed: of their draw.
        inputs: a digest of the rows drawn.
        takes: the type in which the model got them.
        where: what outputs may rightly depend on: device, precision, the part of the outputs that is assessed ...
        outputs: what the model gave.
        tolerance: by how much of an output's size it may differ.
        reason: why there is no canary, in words; empty where there is one.
    """

    rows: int = 0
    seed: int = 0
    inputs: str = ""
    takes: str = ""
    where: dict[str, Any] = field(default_factory=dict)
    outputs: Outputs | None = None
    tolerance: float = 0.0
    reason: str = ""

    @classmethod
    def without(cls, reason: str, where: Mapping[str, Any]) -> Canary:
        """No canary."""
        return cls(reason=reason, where=dict(where))

    def change(self, outputs: Outputs, takes: str) -> Change:
        """What of the outputs has changed beyond rounding, under the same version."""
        if self.outputs is None:
            raise ValueError("there is no canary")
        differences = self.outputs.differences(outputs)
        known, notes = self.outputs, []
        if known.dtype != outputs.dtype:
            notes.append(f"outputs are {outputs.dtype}, they were {known.dtype}")
        if known.count != outputs.count:
            notes.append(f"a row has {outputs.count} outputs, it had {known.count}")
        if takes != self.takes:
            notes.append(f"the model gets {takes}, it got {self.takes}")
        is_changed = differences > self.tolerance
        return Change(float(is_changed.mean()), bool(notes) or bool(is_changed.any()), tuple(notes))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; holds no production input."""
        return vars(self) | {"outputs": None if self.outputs is None else self.outputs.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Canary:
        """Inverse of `to_dict`."""
        outputs = data["outputs"]
        return cls(
            rows=int(data["rows"]),
            seed=int(data["seed"]),
            inputs=str(data["inputs"]),
            takes=str(data["takes"]),
            where=dict(data["where"]),
            outputs=None if outputs is None else Outputs.from_dict(outputs),
            tolerance=float(data["tolerance"]),
            reason=str(data["reason"]),
        )


@dataclass(frozen=True)
class Change:
    """How a canary's outputs differ from those kept.

    Attributes:
        ratio: share of the outputs, over rows and outputs, that differ beyond rounding; 1 where their type or number is
            another.
        is_changed: whether anything is other than it was.
        notes: what, where it is no number.
    """

    ratio: float
    is_changed: bool
    notes: tuple[str, ...]


def tolerance(spread: Float64, dtype: str, precision: str | None) -> float | None:
    """By how much of its size an output may differ under rounding; None where it is not rounding that it differs by.

    Args:
        spread: how far each output differed between two passes over the same rows in other batches.
        dtype: of the outputs.
        precision: what the model computes in by autocast, if it does.
    """
    largest = float(spread.max(initial=0.0))
    coarsest = max(ROUNDING.get(dtype, 0.0), ROUNDING.get(precision or "", 0.0))
    if largest > max(LARGEST_SPREAD, coarsest):
        return None
    return max(coarsest, OF_SPREAD * largest)


def rows_of_size(cells: int) -> int:
    """How many rows are drawn, of so many cells each.

    >>> rows_of_size(10), rows_of_size(3 * 224 * 224)
    (64, 8)
    """
    return max(FEWEST_ROWS, min(ROWS, MOST_CELLS // max(cells, 1)))
