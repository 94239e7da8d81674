"""Linear bounds of a module's values, pulled back from them to its input, where the ball is known.

CROWN (Zhang et al., NeurIPS 2018, arXiv 1811.00866), on graphs as of Xu et al. (NeurIPS 2020, arXiv 2002.12920): what
bends is replaced by a line below it and one above it, which hold in the box around what it is of; each of these boxes
is the intersection of linear bounds with intervals.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64
from robmon.robustness.probes.certificate.graph import Graph, Node, called, is_affine
from robmon.robustness.probes.certificate.interval import Box, box_of
from robmon.robustness.probes.certificate.lipschitz import maximum_gain
from robmon.robustness.probes.certificate.margins import ROWS, Reading, by_interval
from robmon.robustness.probes.certificate.norms import Norm, rows_norm
from robmon.robustness.probes.certificate.operators import MAXIMA
from robmon.robustness.probes.certificate.relaxation import Line, bends_in, lines

ROUNDING: Final = 1e-10
"""Of the sum of the sizes of what a bound adds up, by which it is made lower."""
AT_ONCE: Final = 1 << 20
"""Numbers of functions of one value that are pulled back at once."""
MOST_WORK: Final = 1 << 30
"""Numbers of functions that the bounds of one value may take, for `ROWS` rows: of others the interval is kept."""


class LinearBounds:
    """What bends in a graph, between lines, for rows that move within a ball.

    Args:
        graph: whose values are bounded.
        rows: float64, `(rows, *input_shape)`.
        moves: how far each cell moves at most, by itself, of that shape but for the rows.
        norm: of the ball.

    Raises:
        UnreadableError: of one of the operations nothing is known.
    """

    def __init__(self, graph: Graph, rows: torch.Tensor, moves: torch.Tensor, norm: Norm) -> None:
        self.graph, self.rows, self.moves, self.norm = graph, rows, moves, norm
        self._at_once = max(1, AT_ONCE // max(node.cells for node in graph.nodes))
        self.around = {graph.input: Box(rows, moves.expand_as(rows), is_apart=True)}
        self._lines: dict[Node, tuple[Line, Line]] = {}
        self._is_one: dict[Node, torch.Tensor] = {}
        work = 0
        for node in graph.nodes[1:]:
            work += node.cells
            self.around[node] = box_of(node, self.around, norm)
            if is_affine(node):
                self._tighten(node, work)
            else:
                self._replace(node)

    def _replace(self, node: Node) -> None:
        """Find lines of what bends, or in which windows one cell is the largest wherever the row moves."""
        (source,) = node.sources
        box = self.around[source]
        if node.name in MAXIMA:
            self._is_one[node] = _largest_is_known(node, box)
        else:
            self._lines[node] = lines(node, box, self.around[node])

    def _tighten(self, node: Node, work: int) -> None:
        """Bound again, by lines, the cells of a value where it matters: where what is next bends."""
        box = self.around[node]
        nexts = [each for each in self.graph.nodes if not is_affine(each) and node in each.sources]
        if box.is_apart or not nexts:
            return
        asked = torch.stack([bends_in(each, box) for each in nexts]).any(dim=0).reshape(len(box.centre), -1)
        which, cells = asked.nonzero(as_tuple=True)
        if not len(which) or 2 * len(which) * work > MOST_WORK:
            return
        low, high = (each.reshape(len(each), -1) for each in (box.low, box.high))
        for pairs in zip(*(torch.split(each, self._at_once) for each in (which, cells)), strict=True):
            functions = torch.zeros(len(pairs[0]), node.cells, dtype=torch.float64)
            functions[torch.arange(len(functions)), pairs[1]] = 1.0
            functions = functions.reshape(-1, *node.shape[1:])
            low[pairs] = torch.maximum(low[pairs], self._pulled(node, pairs[0], functions))
            high[pairs] = torch.minimum(high[pairs], -self._pulled(node, pairs[0], -functions))
        high = torch.maximum(low, high)
        centre, radius = ((high + low) / 2).reshape(box.centre.shape), ((high - low) / 2).reshape(box.centre.shape)
        self.around[node] = Box(centre, radius).widened()

    def lower(self, target: Node, functions: torch.Tensor) -> torch.Tensor:
        """Below which linear functions of a value never are, shape `(rows, m)`.

        Args:
            target: the value.
            functions: of each row its own, `(rows, m, *shape of the value)`.
        """
        rows, count = functions.shape[:2]
        which = torch.arange(rows).repeat_interleave(count)
        each = (which, functions.reshape(-1, *target.shape[1:]))
        parts = zip(*(torch.split(values, self._at_once) for values in each), strict=True)
        return torch.cat([self._pulled(target, *part) for part in parts]).reshape(rows, count)

    def _pulled(self, target: Node, which: torch.Tensor, functions: torch.Tensor) -> torch.Tensor:
        """The same of functions `(m, *shape of the value)`, each of the row that `which` has for it."""
        waiting = {target: functions}
        constant, size = torch.zeros(2, len(which), dtype=torch.float64)
        for node in reversed(self.graph.nodes[1:]):
            if node not in waiting:
                continue
            above, terms = self._behind(node, waiting.pop(node), which)
            for source, coefficients in above.items():
                waiting[source] = waiting[source] + coefficients if source in waiting else coefficients
            constant += terms.reshape(len(terms), -1).sum(dim=1)
            size += terms.reshape(len(terms), -1).abs().sum(dim=1)
        of_input, rows = waiting[self.graph.input].flatten(1), self.rows.flatten(1)[which]
        moved = rows_norm(of_input * self.moves.flatten(), self.norm)
        size += (of_input * rows).abs().sum(dim=1) + moved
        bound: torch.Tensor = constant + (of_input * rows).sum(dim=1) - moved - ROUNDING * size
        return bound

    def _behind(
        self, node: Node, given: torch.Tensor, which: torch.Tensor
    ) -> tuple[dict[Node, torch.Tensor], torch.Tensor]:
        """What functions of a node are above, in its sources; and the constants that are added, cell by cell."""
        if node in self._lines:
            (source,), (below, above) = node.sources, self._lines[node]
            positive, negative = given.clamp(min=0), given.clamp(max=0)
            coefficients = positive * below.slope[which] + negative * above.slope[which]
            return {source: coefficients}, positive * below.at[which] + negative * above.at[which]
        if node in self._is_one:
            return self._behind_maximum(node, given, which)
        with torch.enable_grad():
            zeros = {
                source: torch.zeros(len(which), *source.shape[1:], dtype=torch.float64, requires_grad=True)
                for source in node.sources
            }
            outputs = self.graph.evaluate(node, zeros)
            found = torch.autograd.grad(outputs, list(zeros.values()), given)
        return dict(zip(zeros, found, strict=True)), given * outputs.detach()

    def _behind_maximum(
        self, node: Node, given: torch.Tensor, which: torch.Tensor
    ) -> tuple[dict[Node, torch.Tensor], torch.Tensor]:
        """A largest value is at least what is largest in the middle, and at most the largest upper end."""
        (source,) = node.sources
        followed = torch.where((given > 0) | self._is_one[node][which], given, 0.0)
        with torch.enable_grad():
            middle = self.around[source].centre[which].requires_grad_()
            (coefficients,) = torch.autograd.grad(called(node, middle), middle, followed)
        return {source: coefficients}, (given - followed) * self.around[node].high[which]


def _largest_is_known(node: Node, box: Box) -> torch.Tensor:
    """In which windows the cell that is largest in the middle is so all over a box, where no cell is in two windows."""
    if maximum_gain(node, "2") > 1.0:
        return torch.zeros(len(box.centre), *node.shape[1:], dtype=torch.bool)
    with torch.enable_grad():
        middle = box.centre.detach().requires_grad_()
        (share,) = torch.autograd.grad(called(node, middle).sum(), middle)
    is_largest = share == 1.0  # equal ones share
    others = called(node, torch.where(is_largest, -torch.inf, box.high))
    return called(node, torch.where(is_largest, box.low, -torch.inf)) >= others


def by_crown(reading: Reading, classes: NDArray[Any], scale: Float64, radii: Float64, norm: Norm) -> NDArray[np.bool_]:
    """Which rows are certified at which radii, shape `(n, radii)`: those that intervals certify among them."""
    certified = by_interval(reading, classes, scale, radii, norm)
    graph = reading.graph
    for rows, functions, signs in reading.questions(classes):
        for index in reversed(range(len(radii))):
            certified[:, index] |= certified[:, index:].any(axis=1)
            left = rows[~torch.as_tensor(certified[rows.numpy(), index])]
            for part in torch.split(left, ROWS) if len(left) else ():
                bounds = LinearBounds(graph, reading.rows[part], torch.as_tensor(radii[index] * scale), norm)
                asked = functions.expand(len(part), *functions.shape)
                least = torch.zeros(1, dtype=torch.float64)
                if signs.sides is not None:
                    asked, least = asked * signs.sides[part][:, :, None], signs.sides[part] * signs.threshold
                found = bounds.lower(graph.output, asked.reshape(*asked.shape[:2], *graph.output.shape[1:]))
                certified[part, index] = (found > least).all(dim=1).numpy()
    return certified
