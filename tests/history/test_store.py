"""What is remembered of a model: verdicts, numbers, positions, baselines, past assessments."""

from __future__ import annotations

import math
import multiprocessing
import sqlite3
import time
from pathlib import Path

import pytest

from robmon.history import kept_hours, store
from robmon.history.checksum import with_checksum
from robmon.history.detection import DetectionRecord
from robmon.history.events import Event
from robmon.history.memory import Entry
from robmon.history.records import DAY_SECONDS, Bounds
from robmon.history.scope import Judged, Scope
from robmon.history.state_file import DamagedStateError
from robmon.history.store import History
from robmon.inputs.readers.position import FilePosition
from tests.export.published import everything

NOW = time.time()


def entry(version: str, *, accepted: bool = True, at: float = 1.0) -> Entry:
    return Entry(version=version, accepted=accepted, by="verdict", at=at)


def test_all_of_it_survives_a_restart(tmp_path: Path) -> None:
    history = History(tmp_path, "team/digits model")
    verdict = everything().view.state.verdict
    assert verdict is not None
    told = Judged(version="2", verdict=verdict.model_copy(update={"ratio": [math.inf], "detectable_ratio": math.inf}))
    written = history.write_scope("champion", [entry("1"), entry("2", accepted=False, at=2)], judged=told)
    history.write_baseline("2", {"format": 1})
    history.append({"at": NOW, "number": 1})
    history.append({"at": NOW + 1, "number": 2, "bound": "+Inf"})
    history.write_positions("/a", {"x": FilePosition(offset=7)})
    again = History(tmp_path, "team/digits model")
    assert again.read_scope("champion") == written
    assert [each.version for each in written.entries] == ["1", "2"] and written.judged == told
    assert again.read_scope("challenger") == Scope(), "another scope is another memory"
    assert again.read_baseline("2") == {"format": 1}
    assert again.read_baseline("3") is None
    assert again.assessments() == [{"at": NOW, "number": 1}, {"at": NOW + 1, "number": 2, "bound": "+Inf"}]
    assert again.read_positions("/a") == {"x": FilePosition(offset=7)} and again.read_positions("/b") == {}
    assert all(tmp_path in file.parents for file in (again.state_file, again.baseline_file("../../x")))
    assert History(tmp_path, "other").read_scope("champion") == Scope(), "another model is another file"


def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    history = History(tmp_path / "data", "m")
    assert history.read_scope("s") == Scope() and history.read_positions("/a") == {} and history.assessments() == []
    assert not history.exists and not (tmp_path / "data").exists()


def test_ratios_that_are_infinite_are_kept(tmp_path: Path) -> None:
    infinite = Entry(version="2", accepted=False, by="verdict", at=1, against="1", pooled_ratio=math.inf)
    History(tmp_path, "m").write_scope("s", [infinite])
    assert History(tmp_path, "m").read_scope("s").entries == (infinite,)


def test_writers_of_one_file_are_merged(tmp_path: Path) -> None:
    one, two = History(tmp_path, "m"), History(tmp_path, "m")
    one.write_scope("champion", [entry("1")], served=("1", None))
    two.write_scope("challenger", [entry("7")])
    two.write_scope("champion", [entry("2", accepted=False, at=2)])
    champion = one.read_scope("champion")
    assert [each.version for each in champion.entries] == ["1", "2"]
    assert champion.served == ("1", None)
    assert [each.version for each in one.read_scope("challenger").entries] == ["7"]


def _write(folder: Path, number: int) -> None:
    History(folder, "m").write_scope("s", [entry(str(number), at=number)])
    History(folder, "m").reserve_numbers(10)


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """The file is not there yet: they make it, too, at the same time."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, number)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    history = History(tmp_path, "m")
    assert [each.version for each in history.read_scope("s").entries] == [str(n) for n in range(8)]
    assert history.reserve_numbers(1) == range(81, 82)


def _write_baselines(folder: Path, writer: int) -> None:
    for number in range(15):
        History(folder, "m").write_baseline(
            "1", with_checksum({"of": writer, "numbers": [number] * (20_000 // writer)})
        )


def test_processes_that_write_a_baseline_at_the_same_time_spoil_none(tmp_path: Path) -> None:
    """As daemons do that share a data folder: none fails, and what can be read is always one's, whole."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_baselines, args=(tmp_path, 1 + number)) for number in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        History(tmp_path, "m").read_baseline("1")
    assert [writer.exitcode for writer in writers] == [0] * 3
    assert History(tmp_path, "m").read_baseline("1") is not None
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["1.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"format":2,"rows":1}', b'{"rows":1}'])
def test_a_damaged_baseline_is_set_aside_and_told(content: bytes, tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    file = history.baseline_file("1")
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(DamagedStateError, match=r"1\.json\.damaged-"):
        history.read_baseline("1")
    assert history.read_baseline("1") is None
    (aside,) = file.parent.glob("1.json.damaged-*")
    assert aside.read_bytes() == content


def test_a_baseline_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    History(tmp_path, "m").baseline_file("1").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        History(tmp_path, "m").read_baseline("1")


def test_no_assessment_is_written_twice(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    for number in range(3):
        for _ in range(2):  # a write that was done and said not to be is tried again
            history.append({"at": NOW + number, "number": number})
            history.add_events([Event(NOW + number, "started", {"robmon": "1"})])
    assert [each["number"] for each in history.assessments()] == [0, 1, 2] and len(history.events()) == 3
    history.append({"at": NOW + 99, "number": 2})
    assert [each["number"] for each in history.assessments()][-2:] == [2, 2], "a number twice would be seen"


def test_what_is_older_than_it_may_be_goes(tmp_path: Path) -> None:
    history = History(tmp_path, "m", Bounds(max_days=2))
    for days in (3, 2.5, 1.9, 0):
        history.add_events([Event(NOW - days * DAY_SECONDS, "started")])
        history.append({"at": NOW - days * DAY_SECONDS, "number": int(10 * days)})
    assert [each["number"] for each in history.assessments()] == [19, 0]
    assert [each["at"] for each in history.events()] == [round(NOW - 1.9 * DAY_SECONDS, 3), round(NOW, 3)]


def test_the_file_stays_as_small_as_it_may_be(memory_disk: Path) -> None:
    """The oldest go, verdicts never; a bound that is lowered gives room back to the disk."""
    wide = History(memory_disk, "m")
    wide.write_scope("s", [entry("1")])
    for number in range(900):
        wide.append({"at": NOW + number, "number": number, "text": "x" * 1000})
        wide.add_events([Event(NOW + number, "traffic", {"requests": number})])
    assert wide.state_file.stat().st_size > 1_000_000
    narrow = History(memory_disk, "m", Bounds(max_bytes=300_000))
    for number in range(900, 930):
        narrow.append({"at": NOW + number, "number": number, "text": "x" * 1000})
    assert narrow.state_file.stat().st_size < 400_000
    numbers = [each["number"] for each in narrow.assessments()]
    assert 100 < len(numbers) < 300 and numbers == list(range(numbers[0], 930))
    assert narrow.events()[0]["at"] >= NOW + numbers[0] - 70
    assert [each.version for each in narrow.read_scope("s").entries] == ["1"]


def test_what_is_not_logged_elsewhere_yet(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    assert history.unlogged(9) == []
    for number in range(5):
        history.append({"at": NOW + number, "number": number})
    assert [each["number"] for each in history.unlogged(2)] == [0, 1]
    history.tell_logged(NOW + 1)
    assert [each["number"] for each in History(tmp_path, "m").unlogged(9)] == [2, 3, 4]
    history.tell_logged(NOW + 4)
    assert history.unlogged(9) == []


def test_a_clock_that_stepped_forward_and_back_keeps_nothing_from_being_logged(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    for number, at in enumerate((NOW, NOW + 10 * DAY_SECONDS, NOW + 2, NOW + 3)):
        history.append({"at": at, "number": number})
    history.tell_logged(NOW + 10 * DAY_SECONDS)
    assert [each["number"] for each in history.unlogged(9)] == [2, 3]
    history.tell_logged(NOW + 2.5)  # of a row that is gone
    assert [each["number"] for each in history.unlogged(9)] == [1, 2, 3]


def test_a_specification_is_kept_once(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    for number, noise in enumerate(["gaussian", "gaussian", "uniform"]):
        history.append({"at": NOW + number, "number": number}, {"noise": noise})
    names = [each["specification_name"] for each in history.assessments()]
    assert names[0] == names[1] != names[2]
    assert history.specifications() == {names[0]: {"noise": "gaussian"}, names[2]: {"noise": "uniform"}}


def test_a_file_of_before_is_gone_on_with(tmp_path: Path) -> None:
    """It has no tables of events and specifications, and its rows know fewer things."""
    history = History(tmp_path, "m")
    history.append({"at": NOW, "number": 1})
    connection = sqlite3.connect(history.state_file)
    connection.executescript("DROP TABLE events; DROP TABLE specifications")
    connection.close()
    again = History(tmp_path, "m")
    assert again.events() == [] and again.read_told() == {} and again.specifications() == {}
    again.append({"at": NOW + 1, "number": 2}, {"noise": "gaussian"})
    again.add_events([Event(NOW, "started")], {"version": "1"})
    assert [each["number"] for each in again.assessments()] == [1, 2] and again.set_aside() is None
    assert again.read_told() == {"version": "1"} and len(again.events()) == len(again.specifications()) == 1


def test_rows_are_looked_through_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROWS_CHECKED", 4)
    history = History(tmp_path, "m")
    for number in range(10):
        history.append({"at": NOW + number, "number": number})
    seen, after = [], 0
    while (last := history.check_rows("assessments", after)) is not None:
        seen.append(last)
        after = last
    assert seen == [4, 8, 10]


def test_numbers_go_to_one_process_each(tmp_path: Path) -> None:
    one, two = History(tmp_path, "m"), History(tmp_path, "m")
    assert [one.reserve_numbers(100), two.reserve_numbers(100), one.reserve_numbers(1)] == [
        range(1, 101),
        range(101, 201),
        range(201, 202),
    ]


def test_numbers_do_not_begin_again_where_the_file_is_removed(tmp_path: Path) -> None:
    """Which is told, once."""
    history = History(tmp_path, "m", tell_damage=(told := []).append)
    numbers = [*history.reserve_numbers(100)]
    for _ in range(2):
        history.state_file.unlink()
        numbers += history.reserve_numbers(100)
        numbers += History(tmp_path, "m").reserve_numbers(100)
    assert len(set(numbers)) == 500
    assert told == ["", ""]


def test_what_is_written_together_is_all_there_or_nothing_of_it(tmp_path: Path) -> None:
    """The position in a file and the evidence of its rows: one without the other would count rows twice, or never."""
    history = History(tmp_path, "m")
    record = DetectionRecord(identity={"version": ["1", None], "threshold": [2.0, 60.0]}, number=7)

    def step(number: int, *, fails: bool = False) -> None:
        history.write_step("s", record.model_copy(update={"number": number}), "1/x", {480_000 + number: {"rows": 1}})
        if fails:
            raise OSError(28, "No space left on device")
        history.write_positions("/a", {"x": FilePosition(offset=number)})

    history.together(lambda: step(1))
    with pytest.raises(OSError):
        history.together(lambda: step(2, fails=True))
    again = History(tmp_path, "m")
    kept = again.read_detection("s")
    assert kept is not None and kept.number == 1 and again.read_detection("other") is None
    assert again.read_positions("/a") == {"x": FilePosition(offset=1)}
    assert again.read_hours("1/x") == ({480_001: {"rows": 1}}, set())
    again.leave_out("1", 480_001)
    assert again.known_hours("1") == {480_001} and again.known_hours("2") == set()
    assert again.write_step("s", record, "1/x", {}) == {480_001}
    assert again.read_hours("1/y") == ({}, {480_001}), "an hour is left out of its version, whatever the terms"
    assert again.read_hours("2/x") == ({}, set())


def test_hours_are_those_of_a_week_and_of_a_few_versions(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    record = DetectionRecord(identity={"version": ["1", None], "threshold": [2.0, 60.0]})
    for version in range(kept_hours.MOST_NAMES + 1):
        history.write_step("s", record, f"{version}/x", {hour: {} for hour in range(200 + version)})
    assert history.read_hours("0/x") == ({}, set())
    for version in range(1, kept_hours.MOST_NAMES + 1):
        hours, _ = history.read_hours(f"{version}/x")
        assert (len(hours), max(hours)) == (kept_hours.MOST_HOURS, 199 + version)
