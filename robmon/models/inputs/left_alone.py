"""What passes through as it is, and inputs of which everything does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robmon.errors import InvalidInputError
from robmon.models.inputs.measurements import as_option, measurements_advice, shortened


@dataclass(frozen=True)
class LeftAlone:
    """A column, or named tensor, that passes through as it is.

    Attributes:
        name: its name.
        kind: what it holds: `text`, or a dtype.
        is_whole: whether it holds whole numbers, which may be measurements.
    """

    name: str
    kind: str
    is_whole: bool

    def sentence(self, option: str) -> str:
        """The column's name, what it holds, and the option that perturbs it."""
        return (
            f"{self.name} ({self.kind}{f': a measurement? {option} {as_option([self.name])}' if self.is_whole else ''})"
        )


class NothingPerturbedError(InvalidInputError):
    """Inputs of which nothing is a floating-point number, nor a whole one that is said to be a measurement."""

    def __init__(self, sentence: str, rows: int) -> None:
        self.input_rows = rows
        super().__init__(sentence)


def nothing_perturbed(what: str, left: Sequence[LeftAlone], rows: int) -> NothingPerturbedError:
    """The error where all columns of a DataFrame, or all named tensors (`what` says which), pass through."""
    whole = [each.name for each in left if each.is_whole]
    told = shortened(f"{each.name}: {each.kind}" for each in left)
    advice = f"; {measurements_advice(whole)}" if whole else ""
    return NothingPerturbedError(
        f"nothing can be perturbed: no {what} has floating-point numbers ({told}){advice}", rows
    )
