"""The past of a model: which of its assessments and events are kept, and which of them are logged elsewhere."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from robmon.history import past
from robmon.history.events import Event
from robmon.history.memory import Entry
from robmon.history.state.records import DAY_SECONDS, Bounds
from robmon.history.store import History

NOW = time.time()


def test_no_assessment_is_written_twice(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    for number in range(3):
        for _ in range(2):  # a write that was done and said not to be is tried again
            history.past.add({"at": NOW + number, "number": number})
            history.past.add_events([Event(NOW + number, "started", {"robmon": "1"})])
    assert [each["number"] for each in history.past.assessments()] == [0, 1, 2] and len(history.past.events()) == 3
    history.past.add({"at": NOW + 99, "number": 2})
    assert [each["number"] for each in history.past.assessments()][-2:] == [2, 2], "a number twice would be seen"


def test_what_is_older_than_it_may_be_goes(tmp_path: Path) -> None:
    history = History(tmp_path, "m", Bounds(max_days=2))
    for days in (3, 2.5, 1.9, 0):
        history.past.add_events([Event(NOW - days * DAY_SECONDS, "started")])
        history.past.add({"at": NOW - days * DAY_SECONDS, "number": int(10 * days)})
    assert [each["number"] for each in history.past.assessments()] == [19, 0]
    assert [each["at"] for each in history.past.events()] == [round(NOW - 1.9 * DAY_SECONDS, 3), round(NOW, 3)]


def test_the_file_stays_as_small_as_it_may_be(memory_disk: Path) -> None:
    """The oldest go, verdicts never; a bound that is lowered gives room back to the disk."""
    wide = History(memory_disk, "m")
    wide.write_scope("s", [Entry(version="1", accepted=True, by="verdict", at=1)])
    for number in range(900):
        wide.past.add({"at": NOW + number, "number": number, "text": "x" * 1000})
        wide.past.add_events([Event(NOW + number, "traffic", {"requests": number})])
    assert wide.state_file.stat().st_size > 1_000_000
    narrow = History(memory_disk, "m", Bounds(max_bytes=300_000))
    for number in range(900, 930):
        narrow.past.add({"at": NOW + number, "number": number, "text": "x" * 1000})
    assert narrow.state_file.stat().st_size < 400_000
    numbers = [each["number"] for each in narrow.past.assessments()]
    assert 100 < len(numbers) < 300 and numbers == list(range(numbers[0], 930))
    assert narrow.past.events()[0]["at"] >= NOW + numbers[0] - 70
    assert [each.version for each in narrow.read_scope("s").entries] == ["1"]


def test_what_is_not_logged_elsewhere_yet(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    assert history.past.unlogged(9) == []
    for number in range(5):
        history.past.add({"at": NOW + number, "number": number})
    assert [each["number"] for each in history.past.unlogged(2)] == [0, 1]
    history.past.tell_logged(NOW + 1)
    assert [each["number"] for each in History(tmp_path, "m").past.unlogged(9)] == [2, 3, 4]
    history.past.tell_logged(NOW + 4)
    assert history.past.unlogged(9) == []


def test_a_clock_that_stepped_forward_and_back_keeps_nothing_from_being_logged(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    for number, at in enumerate((NOW, NOW + 10 * DAY_SECONDS, NOW + 2, NOW + 3)):
        history.past.add({"at": at, "number": number})
    history.past.tell_logged(NOW + 10 * DAY_SECONDS)
    assert [each["number"] for each in history.past.unlogged(9)] == [2, 3]
    history.past.tell_logged(NOW + 2.5)  # of a row that is gone
    assert [each["number"] for each in history.past.unlogged(9)] == [1, 2, 3]


def test_a_specification_is_kept_once(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    for number, noise in enumerate(["gaussian", "gaussian", "uniform"]):
        history.past.add({"at": NOW + number, "number": number}, {"noise": noise})
    names = [each["specification_name"] for each in history.past.assessments()]
    assert names[0] == names[1] != names[2]
    assert history.past.specifications() == {names[0]: {"noise": "gaussian"}, names[2]: {"noise": "uniform"}}


def test_a_file_of_before_is_gone_on_with(tmp_path: Path) -> None:
    """It has no tables of events and specifications, and its rows know fewer things."""
    history = History(tmp_path, "m")
    history.past.add({"at": NOW, "number": 1})
    connection = sqlite3.connect(history.state_file)
    connection.executescript("DROP TABLE events; DROP TABLE specifications")
    connection.close()
    again = History(tmp_path, "m")
    assert again.past.events() == [] and again.past.read_daemon_facts() == {} and again.past.specifications() == {}
    again.past.add({"at": NOW + 1, "number": 2}, {"noise": "gaussian"})
    again.past.add_events([Event(NOW, "started")], {"version": "1"})
    assert [each["number"] for each in again.past.assessments()] == [1, 2] and again.set_aside() is None
    assert again.past.read_daemon_facts() == {"version": "1"}
    assert len(again.past.events()) == len(again.past.specifications()) == 1


def test_rows_are_looked_through_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "ROWS_CHECKED", 4)
    history = History(tmp_path, "m")
    for number in range(10):
        history.past.add({"at": NOW + number, "number": number})
    seen, after = [], 0
    while (last := history.past.check("assessments", after)) is not None:
        seen.append(last)
        after = last
    assert seen == [4, 8, 10]
