"""The files of a model: verdicts, baselines, the log of assessments, and their numbers."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from robmon.history import store
from robmon.history.memory import Entry
from robmon.history.store import DamagedStateError, History, Judged, Numbers, Scope
from tests.export.published import everything


def entry(version: str, *, accepted: bool = True, at: float = 1.0) -> Entry:
    return Entry(version=version, accepted=accepted, by="verdict", at=at)


def test_state_baseline_and_log_survive_a_restart(tmp_path: Path) -> None:
    history = History(tmp_path, "team/digits model")
    verdict = everything().state.verdict
    assert verdict is not None
    judged = Judged(version="2", verdict=verdict)
    written = history.write_scope("champion", [entry("1"), entry("2", accepted=False, at=2)], judged=judged)
    history.write_baseline("2", {"format": 1})
    history.append({"number": 1})
    history.append({"number": 2})
    again = History(tmp_path, "team/digits model")
    assert again.read_scope("champion") == written
    assert [each.version for each in written.entries] == ["1", "2"] and written.judged == judged
    assert again.read_scope("challenger") == Scope(), "another scope is another memory"
    assert again.read_baseline("2") == {"format": 1}
    assert again.read_baseline("3") is None
    assert again.last_number() == 2
    assert all(tmp_path in file.parents for file in (again.state_file, again.log_file, again.baseline_file("../../x")))


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


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, number)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [each.version for each in History(tmp_path, "m").read_scope("s").entries] == [str(n) for n in range(8)]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"accepted_version": 3}', b"[]", b"\xff", b"null", b'{"scopes": {"s": {"entries": [1]}}}']
)
def test_a_damaged_state_is_set_aside_and_not_taken_for_none(content: bytes, tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    history.state_file.parent.mkdir(parents=True)
    history.state_file.write_bytes(content)
    for _ in range(2):  # also in the next life
        with pytest.raises(DamagedStateError, match=r"m\.json\.damaged-\d+"):
            History(tmp_path, "m").read_scope("s")
    aside = history.set_aside()
    assert aside is not None and aside.read_bytes() == content
    history.write_scope("s", [], served=("1", None))
    with pytest.raises(DamagedStateError):
        history.read_scope("s")
    history.write_scope("s", [entry("1")])
    assert [each.version for each in history.read_scope("s").entries] == ["1"], "until a verdict is written"
    assert aside.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_baseline_counts_as_none(content: bytes, tmp_path: Path) -> None:
    file = History(tmp_path, "m").baseline_file("1")
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert History(tmp_path, "m").read_baseline("1") is None


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    history.write_scope("s", [entry("1")])
    blocker = history.state_file.with_name(f".{history.state_file.name}.tmp")
    blocker.mkdir()  # stands in the way of the new file, as a full disk would
    with pytest.raises(OSError):
        history.write_scope("s", [entry("2", at=2)])
    assert [each.version for each in history.read_scope("s").entries] == ["1"]


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_LOG_BYTES", 1000)
    history = History(tmp_path, "m")
    for number in range(200):
        history.append({"number": number})
    files = list((tmp_path / "history").iterdir())
    assert sum(file.stat().st_size for file in files) < 2200
    assert history.last_number() == 199
    assert json.loads(history.log_file.read_text().splitlines()[0])["number"] > 0


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    history.append({"number": 1})
    with history.log_file.open("ab") as file:
        file.write(b'{"number": 2, "se')
    history.append({"number": 3})
    assert [json.loads(line)["number"] for line in history.log_file.read_text().splitlines()[::2]] == [1, 3]


ENDS = {
    "a torn line": b'{"at": 1, "number": 7}\n{"at": 2, "nu',
    "a torn number": b'{"at": 1, "number": 7}\n{"at": 2, "number": 1',
    "a line longer than any": b'{"number": 7, "text": "' + b"x" * 100_000 + b'"}\n',
    "garbage behind": b'{"number": 7}\n' + b"\x00" * 5000,
    "lines out of order": b'{"number": 7}\n{"number": 3}\n',
}


@pytest.mark.parametrize("name", ENDS)
def test_the_last_number_is_found_behind_whatever_ends_the_log(name: str, tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    history.log_file.parent.mkdir(parents=True)
    history.log_file.write_bytes(ENDS[name])
    assert history.last_number() == 7
    assert Numbers(history).next() == 8


def test_numbers_go_on_after_a_rotation_that_a_kill_cut_short(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    history.append({"number": 41})
    history.log_file.rename(history.log_file.with_suffix(".jsonl.1"))
    assert History(tmp_path, "m").last_number() == 41


def test_numbers_that_reached_no_log_are_not_used_again(tmp_path: Path) -> None:
    """Killed at once after each assessment, on a disk that took no line of the log."""
    used: list[int] = []
    for _ in range(5):
        numbers = Numbers(History(tmp_path, "m"))
        used += [numbers.next() for _ in range(store.NUMBERS_RESERVED + 5)]
    assert len(set(used)) == len(used) and used == sorted(used)


def test_numbers_that_cannot_be_reserved_are_not_used_again(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    blocker = history.number_file.with_name(f".{history.number_file.name}.tmp")
    before = [Numbers(history).next()]
    blocker.mkdir()
    numbers = Numbers(History(tmp_path, "m"))
    full = [numbers.next() for _ in range(3 * store.NUMBERS_RESERVED)]
    blocker.rmdir()
    after = [Numbers(History(tmp_path, "m")).next()]
    used = before + full + after
    assert len(set(used)) == len(used)


@pytest.mark.parametrize("content", [b"", b"x", b"-5\n", b"9" * 5000])
def test_a_damaged_counter_is_made_up_for_by_the_log(content: bytes, tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    history.append({"number": 12})
    history.number_file.write_bytes(content)
    assert history.last_number() >= 12
