"""Advice of what a model showed while it ran: computed of its operators and, with noisy rows, measured behind each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import to_numpy
from robmon.robustness.probes.advice.operations import Seen
from robmon.robustness.probes.advice.result import Advice, AdviceItem
from robmon.robustness.probes.advice.rules import items_of, without_shared

Look = Callable[[Any, bool], list[Seen]]
"""`look(rows, keeps)` runs the model on rows and tells the operators in their order, with what went in and out of each
where that is to be kept."""
PATH_VARIES: Final = "nothing is measured: the model takes another path through its operators with other rows"


def advise_by(look: Look, example: Any, pairs: Iterable[tuple[Any, Any]] = ()) -> Advice:
    """Advice on a model.

    Args:
        look: runs it.
        example: rows that it takes.
        pairs: rows, and the same with noise, in batches, with which what happens to noise is measured.

    Raises:
        InvalidInputError: there is no noise for the rows.
    """
    try:
        operations = [seen.operation for seen in look(example, False)]
        moves = _measured(look, operations, pairs)
    except InvalidInputError:
        raise
    except Exception as error:  # of the model, whose text may hold inputs
        return Advice(reason=f"the model cannot be run on the example ({type(error).__name__})")
    stands = without_shared(operations)
    items = [
        item if moves is None or not moves[place].count else _with(item, moves[place])
        for place, operation in enumerate(operations)
        if stands[place]
        for item in items_of(operation)
    ]
    notes = (PATH_VARIES,) if moves is None else ()
    return Advice(tuple(sorted(items, key=lambda item: item.growth, reverse=True)), notes=notes)


@dataclass
class _Moves:
    """Sums over the cells before or behind an operator, in all batches."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    moved: float = 0.0

    def add(self, clean: Any, noisy: Any) -> None:
        one, other = (to_numpy(each).astype("float64") for each in (clean, noisy))
        self.count += one.size
        self.total += float(one.sum())
        self.squares += float((one**2).sum())
        self.moved += float(((other - one) ** 2).sum())

    @property
    def noise_to_signal(self) -> float:
        signal = self.squares - self.total**2 / self.count
        return self.moved / signal if signal > 0 else math.inf


@dataclass
class _Around:
    """What moves before and behind an operator."""

    before: _Moves
    after: _Moves

    @property
    def count(self) -> int:
        return self.before.count


def _measured(look: Look, operations: Sequence[Any], pairs: Iterable[tuple[Any, Any]]) -> list[_Around] | None:
    """What moves around each operator; None where other rows take another path."""
    around = [_Around(_Moves(), _Moves()) for _ in operations]
    path = [(type(each), each.where) for each in operations]
    for rows in pairs:
        clean, noisy = (look(each, True) for each in rows)
        if any([(type(each.operation), each.operation.where) for each in seen] != path for seen in (clean, noisy)):
            return None
        for each, one, other in zip(around, clean, noisy, strict=True):
            each.before.add(one.before, other.before)
            each.after.add(one.after, other.after)
    return around


def _with(item: AdviceItem, around: _Around) -> AdviceItem:
    measured = {"before": around.before.noise_to_signal, "after": around.after.noise_to_signal}
    told = f"{item.text}; measured: noise over signal {measured['before']:.3g} before, {measured['after']:.3g} after"
    return replace(item, measured=measured, text=told)
