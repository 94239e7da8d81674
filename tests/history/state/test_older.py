"""What robmon kept in files of their own before there was one state file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robmon.history.folder import DamagedStateError
from robmon.history.memory import Entry
from robmon.history.store import History
from robmon.inputs.readers.position import FilePosition

STATE = {
    "scopes": {
        "champion": {
            "entries": [
                {"version": "1", "run_id": "r", "accepted": True, "by": "person", "at": 1.0},
                {"version": "2", "run_id": "s", "accepted": False, "by": "verdict", "at": 2.0, "against": "1"},
            ],
            "judged": None,
            "served": ["2", "s"],
        }
    }
}


def older(folder: Path) -> Path:
    """A data folder as it was written before."""
    history = folder / "history"
    history.mkdir(parents=True)
    (history / "m.json").write_text(json.dumps(STATE))
    (history / "m.number").write_text("300\n")
    (history / "m.jsonl.1").write_text('{"at": 1.5, "number": 205, "mse": "+Inf"}\n')
    (history / "m.jsonl").write_text('{"at": 2.5, "number": 207}\n{"at": 3, "nu\n[]\n{"number": 1}\n')
    positions = {"files": "/in/*.jsonl", "positions": {"a": {"offset": 7}}}
    (folder / "file-positions.json").write_text(json.dumps(positions))
    return history


def test_all_of_it_is_taken_over_once(tmp_path: Path) -> None:
    folder = older(tmp_path)
    history = History(tmp_path, "m")
    assert history.exists
    for each in (history, History(tmp_path, "m")):
        scope = each.read_scope("champion")
        assert [(entry.version, entry.accepted, entry.by) for entry in scope.entries] == [
            ("1", True, "person"),
            ("2", False, "verdict"),
        ]
        assert scope.served == ("2", "s")
        assert each.read_positions("/in/*.jsonl") == {"a": FilePosition(offset=7)}
        assert [line["number"] for line in each.past.assessments()] == [205, 207]
    assert history.reserve_numbers(1) == range(301, 302)
    left = {path.name for path in (*folder.iterdir(), *tmp_path.iterdir()) if path.is_file() and path.name[0] != "."}
    names = {"m.json", "m.number", "m.jsonl", "m.jsonl.1", "file-positions.json"}
    assert left == {"m.sqlite", *(f"{name}.taken-over" for name in names)}


def test_a_kill_before_they_were_renamed_doubles_nothing(tmp_path: Path) -> None:
    older(tmp_path)
    History(tmp_path, "m").write_scope("champion", [Entry(version="3", accepted=True, by="person", at=3)])
    History(tmp_path, "m").write_positions("/in/*.jsonl", {"a": FilePosition(offset=9)})
    for file in tmp_path.rglob("*.taken-over"):
        file.rename(file.with_suffix(""))
    again = History(tmp_path, "m")
    assert [entry.version for entry in again.read_scope("champion").entries] == ["1", "2", "3"]
    assert again.read_positions("/in/*.jsonl") == {"a": FilePosition(offset=9)}
    assert len(again.past.assessments()) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"accepted_version": 3}', b"[]", b"\xff", b"null", b'{"scopes": {"s": {"entries": [1]}}}']
)
def test_damaged_verdicts_are_set_aside_and_not_taken_for_none(content: bytes, tmp_path: Path) -> None:
    folder = older(tmp_path)
    (folder / "m.json").write_bytes(content)
    for _ in range(2):  # also in the next life
        with pytest.raises(DamagedStateError, match=r"m\.json\.damaged-\d+"):
            History(tmp_path, "m").read_scope("champion")
    aside = History(tmp_path, "m").set_aside()
    assert aside is not None and aside.read_bytes() == content
    assert History(tmp_path, "m").reserve_numbers(1) == range(301, 302)


ENDS = {
    "a torn line": b'{"at": 1, "number": 7}\n{"at": 2, "nu',
    "a torn number": b'{"at": 1, "number": 7}\n{"at": 2, "number": 1',
    "a line longer than any": b'{"number": 7, "text": "' + b"x" * 100_000 + b'"}\n',
    "garbage behind": b'{"number": 7}\n' + b"\x00" * 5000,
    "lines out of order": b'{"number": 7}\n{"number": 3}\n',
    "deep": b'{"number": 7}\n' + b"[" * 100_000,
}


@pytest.mark.parametrize("name", ENDS)
def test_numbers_go_on_behind_whatever_ends_the_log(name: str, tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "m.jsonl").write_bytes(ENDS[name])
    assert History(tmp_path, "m").reserve_numbers(1) == range(8, 9)


@pytest.mark.parametrize("content", [b"", b"x", b"-5\n"])
def test_numbers_go_on_beyond_a_counter_that_is_damaged(content: bytes, tmp_path: Path) -> None:
    folder = older(tmp_path)
    (folder / "m.number").write_bytes(content)
    assert History(tmp_path, "m").reserve_numbers(1)[0] > 2**40


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"files": 1}', '{"files": "x", "positions": {"a": {"offset": "b"}}}']
)
def test_positions_that_cannot_be_understood_count_as_none(content: str, tmp_path: Path) -> None:
    older(tmp_path)
    (tmp_path / "file-positions.json").write_text(content)
    assert History(tmp_path, "m").read_positions("x") == {}
