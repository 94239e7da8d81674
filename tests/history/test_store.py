"""What is remembered of a model: verdicts, numbers, positions, where detection stands."""

from __future__ import annotations

import math
import multiprocessing
import time
from pathlib import Path

import pytest

from robmon.history.detection import DetectionRecord
from robmon.history.memory import Entry
from robmon.history.scope import Judged, Scope
from robmon.history.state import kept_hours
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
    history.past.add({"at": NOW, "number": 1})
    history.past.add({"at": NOW + 1, "number": 2, "bound": "+Inf"})
    history.write_positions("/a", {"x": FilePosition(offset=7)})
    again = History(tmp_path, "team/digits model")
    assert again.read_scope("champion") == written
    assert [each.version for each in written.entries] == ["1", "2"] and written.judged == told
    assert again.read_scope("challenger") == Scope(), "another scope is another memory"
    assert again.past.assessments() == [{"at": NOW, "number": 1}, {"at": NOW + 1, "number": 2, "bound": "+Inf"}]
    assert again.read_positions("/a") == {"x": FilePosition(offset=7)} and again.read_positions("/b") == {}
    assert tmp_path in again.state_file.parents
    assert History(tmp_path, "other").read_scope("champion") == Scope(), "another model is another file"


def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    history = History(tmp_path / "data", "m")
    assert history.read_scope("s") == Scope() and history.read_positions("/a") == {}
    assert history.past.assessments() == []
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
