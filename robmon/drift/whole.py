"""Whole numbers as a file of strangers may hold them."""

from __future__ import annotations

from typing import Any

from robmon.errors import InvalidInputError


def count_of(value: Any) -> int:
    """A number of rows.

    Raises:
        InvalidInputError: it is none.

    >>> count_of(3)
    3
    """
    if type(value) is not int or not 0 <= value < 2**62:
        raise InvalidInputError("a number of rows is a whole one of at least 0")
    return value
