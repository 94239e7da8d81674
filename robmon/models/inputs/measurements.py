"""Whole numbers that are measurements: how they are named, and become an array that is perturbed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from robmon.errors import InvalidInputError
from robmon.models.inputs.layout import AnyArray, FloatArray
from robmon.robustness.features.whole_numbers import LARGEST_WHOLE
from robmon.robustness.sentences import some_of
from robmon.vocabulary import ALL_INTEGERS

LEFT_ALONE_TOLD: Final = 10
"""Columns that are named in a note."""


def as_option(names: Sequence[str]) -> str:
    r"""Names as a command line takes them in one word.

    >>> as_option(["age", "rooms"]), as_option(["hours per week"])
    ('age,rooms', '\'["hours per week"]\'')
    """
    if any(re.search(r"[\s,'\"]", name) for name in names):
        return f"'{json.dumps(list(names))}'"
    return ",".join(names)


def measurements_advice(names: Sequence[str]) -> str:
    """How whole numbers are perturbed."""
    listed = as_option(names[:LEFT_ALONE_TOLD]) if names else ALL_INTEGERS
    return (
        f"whole numbers that are measurements are perturbed, and rounded, with --integers {listed} (assess.integers, "
        "integers= in Python)"
    )


def check_names(integers: Sequence[str], numbers: Mapping[str, bool]) -> None:
    """Refuse names that are none of the inputs' columns of numbers."""
    wrong = [name for name in integers if name != ALL_INTEGERS and not numbers.get(name, False)]
    if wrong:
        known = shortened([name for name, is_number in numbers.items() if is_number]) or "none"
        raise InvalidInputError(
            f"integers names {shortened(wrong)}, no column of numbers among the inputs: those are {known}"
        )


def as_numbers(array: AnyArray, what: str) -> FloatArray:
    """Whole numbers in float64, exactly.

    Raises:
        InvalidInputError: they are too large for that.
    """
    if array.size and max(int(array.max()), -int(array.min())) > LARGEST_WHOLE:
        raise InvalidInputError(
            f"whole numbers beyond 2**53 in {what} would be rounded even without noise: they are no measurements, or "
            "need another unit"
        )
    return array.astype(np.float64)


def shortened(words: Iterable[str], limit: int = 10) -> str:
    """The first of some words, and how many there are more."""
    return some_of((word if len(word) <= 100 else f"{word[:100]}..." for word in words), limit)
