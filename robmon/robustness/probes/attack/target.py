"""What is attacked: the model's own class of each row, by its answers, and by its gradient where it has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64, to_numpy
from robmon.robustness.outputs import all_finite, classes_of, flatten, same_classes
from robmon.vocabulary import OutputKind

Ask = Callable[[NDArray[np.floating], NDArray[np.int64]], Any]
"""`ask(points, rows)`: the model's outputs for points, shape `(m, cells)`, that come from these rows."""
Slope = Callable[[NDArray[np.floating], NDArray[np.int64], bool], tuple[Any, Float64]]
"""`slope(points, rows, is_margin)`: outputs, and the gradient of the margin, or of the logarithm of the class's
probability, shape `(m, cells)`."""


class Target:
    """The classes of rows, which an attack is to change.

    Args:
        ask: the model.
        classes: of the rows, as `classes_of` gives them.
        kind: of the outputs.
        count: how many rows there are.

    Attributes:
        queries: how often the model was asked about each row, shape `(n,)`.
    """

    def __init__(self, ask: Ask, classes: NDArray[Any], kind: OutputKind, count: int) -> None:
        self._ask, self._classes, self._kind = ask, classes, kind
        self.queries = np.zeros(count, dtype=np.int64)

    @property
    def has_scores(self) -> bool:
        """Whether answers say how near a class is to another, and not the class alone."""
        return self._kind != "label"

    def is_of_another_class(self, rows: NDArray[np.int64], row: int) -> NDArray[np.bool_]:
        """Which rows have, as they are, another class than one of them; shape `(rows,)`."""
        own = np.repeat(self._classes[row : row + 1], len(rows), axis=0)
        return ~np.asarray(to_numpy(same_classes(self._classes[rows], own, self._kind)), dtype=bool)

    def margins(self, points: NDArray[np.floating], rows: NDArray[np.int64]) -> Float64:
        """How far the rows' own classes are ahead, shape `(m,)`: below 0 where the class is another one.

        Of labels 1 or -1. An output that is not finite has lost its class.
        """
        return self.margins_of(self._ask(points, rows), rows)

    def margins_of(self, answer: Any, rows: NDArray[np.int64]) -> Float64:
        """The margins in an answer that is there already."""
        np.add.at(self.queries, rows, 1)
        outputs = flatten(answer, self._kind, len(rows))
        finite = to_numpy(all_finite(outputs))
        said = to_numpy(classes_of(outputs, self._kind))
        own = self._classes[rows]
        keeps = np.asarray(to_numpy(same_classes(said, own, self._kind)), dtype=bool)
        if self._kind == "label":
            return np.where(keeps, 1.0, -1.0)
        margins = np.abs(margins_of_class(to_numpy(outputs).astype(np.float64), own, self._kind))
        tiny = np.finfo(np.float64).tiny  # a tie that the class has won, or lost
        return np.where(finite, np.where(keeps, np.maximum(margins, tiny), -np.maximum(margins, tiny)), -np.inf)


def margins_of_class(outputs: Float64, own: NDArray[Any], kind: OutputKind) -> Float64:
    """The score of each row's own class less the largest of the others, shape `(rows,)`.

    One column: how far it is on its class's side of the threshold. Several labels: that of the label nearest to it.

    >>> margins_of_class(np.array([[1.0, 3.0], [1.0, 3.0]]), np.array([1, 0]), "logit").tolist()
    [2.0, -2.0]
    """
    if kind == "multilabel" or outputs.shape[1] == 1:
        middle = 0.0 if kind == "logit" else 0.5
        sides = np.where(np.reshape(own, outputs.shape) == 1, 1.0, -1.0)
        return np.asarray(np.min(sides * (outputs - middle), axis=1))
    at = np.maximum(own, 0)[:, None]
    mine = np.take_along_axis(outputs, at, axis=1)[:, 0]
    others = outputs.copy()
    np.put_along_axis(others, at, -np.inf, axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(mine - others.max(axis=1))
