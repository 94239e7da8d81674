"""Labels as targets: in the form of the model's outputs, or none of this model's."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.processes.messages.question import SampledRequest
from robmon.robustness.features.extreme_rows import extreme_rows
from robmon.vocabulary import OutputKind
from robmon.worker.decoding import DecodedSample


class _UnfitTargetError(Exception):
    """A target that is none of this model's."""


def fitting_targets(
    requests: Sequence[SampledRequest], sample: DecodedSample, outputs: NDArray[Any], output: OutputKind
) -> tuple[list[int], NDArray[Any]]:
    """The rows whose target fits the model's outputs, and these targets.

    The target of a request with several rows is a list with one target a row. Where the model says a score for each of
    several classes, a target is as many numbers, or the class as 0, 1, ... An extreme value among the targets fits
    nothing: it would be all of their MSE.

    Args:
        requests: with their targets, as JSON.
        sample: their rows.
        outputs: some of the model's outputs: shape `(n, outputs)`, or `(n,)` labels.
        output: what they are.

    Returns:
        indices of rows, and the targets: shape `(rows, outputs)`, or `(rows,)`.
    """
    kept: list[int] = []
    targets: list[Any] = []
    for index, (origin, (row, count)) in enumerate(zip(sample.origins, sample.places, strict=True)):
        target = requests[origin].target
        if target is None:
            continue
        try:
            cells = _flat(_of_row(json.loads(target), row, count))
            targets.append(_label(cells, outputs) if output == "label" else _scores(cells, outputs.shape[1], output))
        except _UnfitTargetError:
            continue
        kept.append(index)
    array = np.array(targets)
    if output == "label":
        return kept, array
    usable = np.flatnonzero(~extreme_rows(array, np.full(outputs.shape[1], np.nan)))
    return [kept[index] for index in usable], array[usable]


def _of_row(target: Any, row: int, count: int) -> Any:
    if count == 1:
        return target
    if isinstance(target, list) and len(target) == count:
        return target[row]
    raise _UnfitTargetError


def _flat(target: Any) -> list[Any]:
    if isinstance(target, list):
        return [cell for part in target for cell in _flat(part)]
    return [target]


def _label(cells: list[Any], own: NDArray[Any]) -> Any:
    is_text = own.dtype.kind in "UST" or any(isinstance(label, str) for label in own[:1].tolist())
    if len(cells) != 1 or isinstance(cells[0], str) != is_text:
        raise _UnfitTargetError
    return cells[0]


def _scores(cells: list[Any], columns: int, output: OutputKind) -> list[float]:
    if any(isinstance(cell, str) for cell in cells):
        raise _UnfitTargetError
    if len(cells) == 1 < columns and output not in ("value", "multilabel") and cells[0] in range(columns):
        return [float(column == cells[0]) for column in range(columns)]
    try:
        numbers = [float(cell) for cell in cells]
    except OverflowError:
        raise _UnfitTargetError from None
    possible = (
        all(0 <= number <= 1 for number in numbers)
        if output in ("probability", "multilabel")
        else all(map(math.isfinite, numbers))
    )
    if len(numbers) != columns or not possible:
        raise _UnfitTargetError
    return numbers
