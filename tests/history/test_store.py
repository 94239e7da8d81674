"""What is remembered of a model: verdicts, numbers, positions, baselines, past assessments."""

from __future__ import annotations

import math
import multiprocessing
from pathlib import Path

import pytest

from robmon.history import store
from robmon.history.memory import Entry
from robmon.history.scope import Judged, Scope
from robmon.history.state_file import DamagedStateError
from robmon.history.store import History
from robmon.inputs.readers.position import FilePosition
from tests.export.published import everything


def entry(version: str, *, accepted: bool = True, at: float = 1.0) -> Entry:
    return Entry(version=version, accepted=accepted, by="verdict", at=at)


def test_all_of_it_survives_a_restart(tmp_path: Path) -> None:
    history = History(tmp_path, "team/digits model")
    verdict = everything().view.state.verdict
    assert verdict is not None
    told = Judged(version="2", verdict=verdict.model_copy(update={"ratio": [math.inf], "detectable_ratio": math.inf}))
    written = history.write_scope("champion", [entry("1"), entry("2", accepted=False, at=2)], judged=told)
    history.write_baseline("2", {"format": 1})
    history.append({"at": 1.0, "number": 1})
    history.append({"at": 2.0, "number": 2, "bound": "+Inf"})
    history.write_positions("/a", {"x": FilePosition(offset=7)})
    again = History(tmp_path, "team/digits model")
    assert again.read_scope("champion") == written
    assert [each.version for each in written.entries] == ["1", "2"] and written.judged == told
    assert again.read_scope("challenger") == Scope(), "another scope is another memory"
    assert again.read_baseline("2") == {"format": 1}
    assert again.read_baseline("3") is None
    assert again.assessments() == [{"at": 1.0, "number": 1}, {"at": 2.0, "number": 2, "bound": "+Inf"}]
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


def test_past_assessments_are_bounded_and_none_is_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_ASSESSMENTS", 20)
    history = History(tmp_path, "m")
    for number in range(30):
        for _ in range(2):  # a write that was done and said not to be is tried again
            history.append({"at": float(number), "number": number})
    assert [each["number"] for each in history.assessments()] == list(range(10, 30))
    history.append({"at": 99.0, "number": 29})
    assert [each["number"] for each in history.assessments()][-2:] == [29, 29], "a number twice would be seen"


def test_numbers_go_to_one_process_each(tmp_path: Path) -> None:
    one, two = History(tmp_path, "m"), History(tmp_path, "m")
    assert [one.reserve_numbers(100), two.reserve_numbers(100), one.reserve_numbers(1)] == [
        range(1, 101),
        range(101, 201),
        range(201, 202),
    ]
