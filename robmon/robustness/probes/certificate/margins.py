"""From what is known of a module's values to what is known of its classes: no other class may come level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64, batches
from robmon.robustness.probes.certificate.agreement import check_around, check_outputs
from robmon.robustness.probes.certificate.graph import Graph, refuse_inner
from robmon.robustness.probes.certificate.interval import boxes, radius_of
from robmon.robustness.probes.certificate.lipschitz import Constants
from robmon.robustness.probes.certificate.norms import Norm
from robmon.robustness.probes.certificate.reading import read
from robmon.robustness.probes.certificate.tail import MOST_NUMBERS, Tail, tail_of
from robmon.vocabulary import OutputKind

ROWS: Final = 64
"""That are bounded at once."""


@dataclass(frozen=True)
class Reading:
    """A module as it was read, and rows.

    Attributes:
        graph: up to the scores whose order, or side of the threshold, is the class.
        tail: of the scores.
        rows: float64, `(n, *input_shape)`.
        kind: of the outputs.
        threshold: of scores of which each is a class by itself; None: the largest is the class.
    """

    graph: Graph
    tail: Tail
    rows: torch.Tensor
    kind: OutputKind
    threshold: float | None

    @classmethod
    def of(
        cls,
        module: Any,
        inputs: Any,
        outputs: Float64,
        kind: OutputKind,
        counted: NDArray[np.bool_],
        *,
        reach: Float64,
        norm: Norm,
    ) -> Reading:
        """Read a module, and see that it computes the outputs, and what was read of it around the rows too.

        Args:
            module: in eval mode.
            inputs: as it takes them.
            outputs: flattened, that it gave.
            kind: of them.
            counted: which rows count.
            reach: how far each cell moves at most, by itself, shape `(*input_shape)`.
            norm: of the ball.

        Raises:
            UnreadableError: it cannot be read, or computes something else.
        """
        inputs = torch.as_tensor(inputs).contiguous()
        graph = read(module, inputs)
        rows = inputs.detach().cpu().double()
        which = torch.as_tensor(counted)
        _check(graph, rows[which], outputs[counted])
        check_around(module, graph, inputs[which.to(inputs.device)], reach, norm)
        graph, threshold = _scores(graph, kind, outputs.shape[1])
        refuse_inner(graph)
        return cls(graph, tail_of(graph, graph.output, MOST_NUMBERS), rows, kind, threshold)

    def scores(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores of rows, `(rows, scores)`."""
        return self.graph.evaluate(self.graph.output, {self.graph.input: rows}).reshape(len(rows), -1)

    def questions(self, classes: NDArray[Any]) -> Iterator[tuple[torch.Tensor, torch.Tensor, Signs]]:
        """The rows of each class, with the functions of the scores that must stay above 0 for it to stay the class."""
        if self.threshold is not None:
            every = torch.arange(len(classes))
            sides = torch.as_tensor(np.where(classes.reshape(len(classes), -1) == 1, 1.0, -1.0))
            yield every, torch.eye(self.graph.output.cells, dtype=torch.float64), Signs(sides, self.threshold)
            return
        identity = torch.eye(self.graph.output.cells, dtype=torch.float64)
        for own in np.unique(classes[classes >= 0]):
            others = torch.arange(len(identity)) != int(own)
            yield torch.as_tensor(np.flatnonzero(classes == own)), (identity[own] - identity)[others], Signs()


@dataclass(frozen=True)
class Signs:
    """On which side of a threshold each score of each row must stay; none: on that above 0."""

    sides: torch.Tensor | None = None
    threshold: float = 0.0

    def __call__(self, values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """How far values, `(rows, m)`, are on their side."""
        return values if self.sides is None else self.sides[rows] * (values - self.threshold)


def _check(graph: Graph, rows: torch.Tensor, outputs: Float64) -> None:
    """Raise where what was read gives other outputs than the module: then it was read wrongly, or rounds coarsely."""
    for part in batches(len(rows), ROWS):
        found = graph.evaluate(graph.output, {graph.input: rows[part]}).reshape(part.stop - part.start, -1).numpy()
        check_outputs(found, outputs[part])


def _scores(graph: Graph, kind: OutputKind, columns: int) -> tuple[Graph, float | None]:
    """The graph without a last function that leaves the classes as they are, and the threshold of what remains."""
    output, is_one_by_one = graph.output, kind == "multilabel" or columns == 1
    threshold = None if not is_one_by_one else 0.0 if kind == "logit" else 0.5
    if output.name == "sigmoid" and threshold != 0.0:
        return graph.to(output.sources[0]), None if threshold is None else 0.0
    is_soft = output.name in ("softmax", "log_softmax", "_softmax", "_log_softmax")
    if is_soft and not is_one_by_one and len(output.shape) == 2:
        return graph.to(output.sources[0]), None
    return graph, threshold


def by_lipschitz(
    reading: Reading, classes: NDArray[Any], scale: Float64, radii: Float64, norm: Norm
) -> tuple[NDArray[np.bool_], float]:
    """Which rows are certified at which radii, and the Lipschitz constant of the scores.

    A class stays where its score is ahead of each other's by more than their difference moves (Tsuzuku, Sato &
    Sugiyama, NeurIPS 2018); the last linear layer's part of that is of the two classes alone.
    """
    constants = Constants(reading.graph, torch.as_tensor(scale).reshape(-1), norm)
    certified = np.zeros((len(classes), len(radii)), dtype=bool)
    for rows, functions, signs in reading.questions(classes):
        change = constants.change(reading.tail.rows(functions))
        for part in torch.split(rows, ROWS):
            ahead = signs(reading.scores(reading.rows[part]) @ functions.T, part)
            for index, radius in enumerate(radii):
                certified[part, index] = (ahead > radius * change).all(dim=1).numpy()
    return certified, constants.of[reading.graph.output]


def by_interval(
    reading: Reading, classes: NDArray[Any], scale: Float64, radii: Float64, norm: Norm
) -> NDArray[np.bool_]:
    """Which rows are certified at which radii, shape `(n, radii)`."""
    graph, tail = reading.graph, reading.tail
    certified = np.zeros((len(classes), len(radii)), dtype=bool)
    for rows, functions, signs in reading.questions(classes):
        linear = tail.rows(functions)
        for part in torch.split(rows, ROWS):
            for index, radius in enumerate(radii):
                moves = torch.as_tensor(radius * scale)
                around = boxes(graph, reading.rows[part], moves, norm, [graph.input, *tail.maps])
                centres = {node: around[node].centre for node in tail.maps}
                scores = graph.evaluate(graph.output, centres).reshape(len(part), -1)
                ahead = signs(scores @ functions.T, part)
                certified[part, index] = (ahead > radius_of(graph, linear, around, moves, norm)).all(dim=1).numpy()
    return certified
