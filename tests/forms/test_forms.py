"""The manual's tables of forms are true: each line has its case, and robmon says what stands there in quotation marks.

A module `cases_*.py` beside this one holds `CASES`: by the first cell of a line, a function that returns what robmon
says of that form, or raises what robmon refuses it with.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from robmon.errors import RobmonError

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "reference" / "forms.md"


def table_lines() -> list[tuple[str, str]]:
    """First and second cell of every line of every table, heads aside."""
    text = DOCUMENT.read_text(encoding="utf-8")
    tables = re.findall(r"^\|.*\n\|[-| :]+\n((?:\|.*\n?)+)", text, flags=re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()]
    cells = [re.split(r"(?<!\\)\|", line.strip().strip("|"), maxsplit=1) for line in lines]
    return [(first.strip(), second.strip()) for first, second in cells]


def all_cases() -> list[tuple[str, Callable[[], str]]]:
    """Every case of every module."""
    names = sorted(file.stem for file in Path(__file__).parent.glob("cases_*.py"))
    modules = [importlib.import_module(f"{__package__}.{name}") for name in names]
    return [case for module in modules for case in module.CASES.items()]


LINES = dict(table_lines())
CASES = dict(all_cases())


def test_every_line_has_one_case_and_every_case_one_line() -> None:
    assert Counter(first for first, _ in table_lines()) == Counter(first for first, _ in all_cases())


@pytest.mark.parametrize("form", LINES)
def test_robmon_says_what_the_manual_says(form: str) -> None:
    second = LINES[form]
    quoted = re.findall('"([^"]+)"', second)
    assert quoted, "the second cell quotes robmon"
    is_refused = second.startswith("refused")
    try:
        told = CASES[form]()
    except RobmonError as error:
        assert is_refused, f"refused: {error}"
        told = str(error)
    else:
        assert not is_refused, f"taken: {told}"
    for text in quoted:
        assert text in told, told
