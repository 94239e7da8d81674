"""A model as the numerics ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from robmon.robustness.arrays import Array, check_rows, default_batch_rows, namespace

MODULE_ROWS: Final = 1024
"""Most rows of a batch of a torch module: what its layers hand on should stay near the processor."""
CALL_ROWS: Final = 4096
"""Of anything else: each call has a price, as a DataFrame has."""
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
        """Most rows that it takes at a time; None: not known."""

    @property
    def rows_per_second(self) -> float | None:
        """Most rows that it takes in a second; None: not known."""

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


def through(predictor: Predictor, predict: Predict) -> Predictor:
    """The same model, asked by another function."""
    return FunctionPredictor(
        predict,
        predictor.device,
        predictor.max_batch_rows,
        predictor.rows_per_second,
        predictor.is_deterministic,
        predictor.module,
    )


def batch_rows_of(predictor: Predictor, asked: int | None, shape: tuple[int, ...]) -> int:
    """Rows that a predictor is given at a time: as asked, else as it takes, else by memory for inputs of `shape`.

    They do not depend on how long anything takes, so that an assessment gives the same numbers again.
    """
    most = CALL_ROWS if predictor.module is None else MODULE_ROWS
    return asked or predictor.max_batch_rows or default_batch_rows(shape, most)


def accompanied(predictor: Predictor, inputs: Array, batch_rows: int) -> Predictor:
    """The predictor, which is never given one row on its own: beside it stands the row before, as it is.

    Models that squeeze, or that compute over the batch, are not made for one row. A batch of 1 row, which is how
    production calls the model then, stays one, as does the only row.
    """
    if batch_rows == 1 or inputs.shape[0] == 1:
        return predictor

    predict = predictor.predict

    def with_neighbour(x: Array, rows: slice) -> Array:
        if x.shape[0] != 1:
            return predict(x, rows)
        at = min(rows.start, 1)
        other = inputs[rows.start - 1 : rows.start] if at else inputs[1:2]
        pair = namespace(x).concat([other, x] if at else [x, other])
        return check_rows(predict(pair, slice(rows.start - at, rows.start - at + 2)), 2)[at : at + 1]

    return through(predictor, with_neighbour)
