"""A model as the numerics ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from robmon.robustness.arrays import Array

Predict = Callable[[Array, slice], Array]
"""`predict(x, rows)`: the outputs, row by row, for `x`: perturbed copies of rows `rows` of the inputs, one after the
other. Of several copies the rows are always all."""


class Predictor(Protocol):
    """A model that is asked for the outputs of rows, and what is known of it."""

    @property
    def device(self) -> str:
        """Where it computes, such as `cpu`, `cuda:0`, or of an endpoint its host and port."""

    @property
    def max_batch_rows(self) -> int | None:
        """Most rows that it is given at a time; None: not known."""

    @property
    def rows_per_second(self) -> float | None:
        """Most rows that it takes in a second; None: not known."""

    @property
    def duty_cycle(self) -> float | None:
        """The share of time for which it may keep its device busy; None: all of it."""

    @property
    def is_deterministic(self) -> bool | None:
        """Whether the same rows give the same outputs again; None: not known."""

    @property
    def module(self) -> Any | None:
        """The torch module behind it, where there is one."""

    def predict(self, x: Array, rows: slice) -> Array:
        """The outputs, shape `(len(x), *output_shape)`, for `x`: see `Predict`."""


@dataclass(frozen=True, eq=False)
class FunctionPredictor:
    """A function with what is known of the model behind it: see `Predictor`."""

    predict: Predict
    device: str = "cpu"
    max_batch_rows: int | None = None
    rows_per_second: float | None = None
    is_deterministic: bool | None = None
    module: Any | None = None
    duty_cycle: float | None = None


def through(predictor: Predictor, predict: Predict) -> Predictor:
    """The same model, asked by another function."""
    return FunctionPredictor(
        predict,
        predictor.device,
        predictor.max_batch_rows,
        predictor.rows_per_second,
        predictor.is_deterministic,
        predictor.module,
        predictor.duty_cycle,
    )
