"""Assessment numbers: none twice, with disk and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from robmon.history import numbers as module
from robmon.history.numbers import NUMBERS_RESERVED, Numbers
from robmon.history.store import History


def on_a_disk(history: History) -> Numbers:
    numbers = Numbers(lambda: numbers.add(history.reserve_numbers(NUMBERS_RESERVED)))
    return numbers


def test_lives_that_end_at_once_use_none_twice(tmp_path: Path) -> None:
    used: list[int] = []
    for _ in range(5):
        numbers = on_a_disk(History(tmp_path, "m"))
        used += [numbers.next() for _ in range(NUMBERS_RESERVED + 5)]
    assert len(set(used)) == len(used) and used == sorted(used)


def test_more_are_reserved_before_the_last_is_used_and_asked_for_once() -> None:
    asked: list[bool] = []
    numbers = Numbers(lambda: asked.append(True))
    numbers.prepare()
    numbers.add(range(1, NUMBERS_RESERVED + 1))
    used = [numbers.next() for _ in range(NUMBERS_RESERVED)]
    assert used == list(range(1, NUMBERS_RESERVED + 1)) and len(asked) == 2
    numbers.add(range(501, 601))
    assert numbers.next() == 501


@pytest.mark.parametrize("seconds", [0, -1000, 1000])
def test_lives_on_a_full_disk_use_none_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Also where the clock stands, or is set back between two lives."""
    now = [1.7e9]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    used: list[int] = []
    for _ in range(20):
        full, numbers = Numbers(lambda: None), on_a_disk(History(tmp_path, "m"))
        used += [full.next() for _ in range(3 * NUMBERS_RESERVED)]
        full.add(History(tmp_path, "m").reserve_numbers(10))
        used += [full.next() for _ in range(30)]
        used += [numbers.next() for _ in range(10)]
        now[0] += seconds
    assert len(set(used)) == len(used)
    assert max(used) < 2**53, "as JSON's readers count"
