"""Whether a module computes what was read of it, also elsewhere than on the rows that it was read with."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch

from robmon.robustness.arrays import Float64
from robmon.robustness.probes.attack.ball import Norm
from robmon.robustness.probes.certificate.graph import Graph, UnreadableError

AGREES: Final = 1e-3
"""How far, as a share of the largest output, what was read may be from what the module returns."""
MOST_ROWS: Final = 64
"""That are moved."""
ALONE: Final = 8
"""Rows that are given one at a time as well."""
DIFFERS: Final = "what it computes is not what was read of it: it rounds, or depends on the batch"


def check_outputs(found: Float64, outputs: Float64) -> None:
    """Raise where outputs, both `(rows, outputs)`, are not the same but for rounding.

    Raises:
        UnreadableError: that is so.
    """
    size = max(1e-6, float(np.abs(outputs).max(initial=0.0)))
    if found.shape != outputs.shape:
        raise UnreadableError(DIFFERS)
    with np.errstate(invalid="ignore", over="ignore"):  # where an output is not finite, nothing is known
        is_same = np.all(np.abs(found - outputs) <= AGREES * size)
    if not is_same:
        raise UnreadableError(DIFFERS)


def check_around(module: Any, graph: Graph, inputs: torch.Tensor, reach: Float64, norm: Norm) -> None:
    """Ask the module around its rows: at random places, at corners and along single cells, in batches and alone.

    Args:
        module: in eval mode.
        graph: up to its output.
        inputs: rows as it takes them.
        reach: how far each cell moves at most, by itself, shape `(*input_shape)`.
        norm: of the ball.

    Raises:
        UnreadableError: it gives other outputs there than the graph.
    """
    if not len(inputs):
        return
    generator = np.random.default_rng(0)
    for move in range(4):
        chosen = torch.as_tensor(generator.permutation(len(inputs))[:MOST_ROWS])
        rows = inputs[chosen.to(inputs.device)]
        moves = reach * _directions(generator, move, tuple(rows.shape), norm)
        moved = rows + torch.as_tensor(moves).to(rows)
        _check(module, graph, moved)
        for each in range(min(ALONE, len(moved)) if move % 2 else 0):
            _check(module, graph, moved[each : each + 1])


def _directions(generator: np.random.Generator, move: int, shape: tuple[int, ...], norm: Norm) -> Float64:
    """Points of the unit ball, one a row: on its border three times of four, and corners or single cells each other."""
    if move == 3:
        steps = np.zeros((shape[0], int(np.prod(shape[1:]))))
        cells = generator.integers(steps.shape[1], size=len(steps))
        steps[np.arange(len(steps)), cells] = generator.choice([-1.0, 1.0], len(steps))
        return steps.reshape(shape)
    found = generator.normal(size=shape)
    if move == 1:
        found = np.sign(found)
    axes = tuple(range(1, len(shape)))
    length = np.abs(found).max(axis=axes, keepdims=True)
    if norm == "2":
        length = np.sqrt((found**2).sum(axis=axes, keepdims=True))
    found = found / np.maximum(length, 1e-300)
    inside = generator.uniform(size=(shape[0], *[1] * len(axes))) if move == 2 else 1.0
    return np.asarray(found * inside)


def _check(module: Any, graph: Graph, rows: torch.Tensor) -> None:
    with torch.no_grad():
        try:
            outputs = module(rows)
        except Exception as error:  # of the module, whose text may hold inputs
            raise UnreadableError(f"it does not take moved rows ({type(error).__name__})") from error
    while isinstance(outputs, (list, tuple, dict)) and len(outputs) == 1:
        (outputs,) = outputs.values() if isinstance(outputs, dict) else outputs
    exact = graph.evaluate(graph.output, {graph.input: rows.detach().cpu().double()})
    check_outputs(exact.reshape(len(rows), -1).numpy(), outputs.detach().cpu().double().reshape(len(rows), -1).numpy())
