"""A state file that was damaged, replaced or removed: read right, or set aside and told."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from robmon.history.events import Event
from robmon.history.folder import DamagedStateError
from robmon.history.reading import HistoryError, HistoryReader
from robmon.history.state import salvage
from robmon.history.state.kept import NewerStateError
from robmon.history.store import History
from tests.history.example import example
from tests.history.state.filled import NOW, entry, filled, told, versions


def truncated(file: Path, chance: random.Random) -> None:
    os.truncate(file, chance.randrange(file.stat().st_size))


def flipped(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(chance.choice([1, 1, 1, 20])):
        content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    file.write_bytes(content)


def overwritten(file: Path, chance: random.Random) -> None:
    at = chance.randrange(0, file.stat().st_size, 512)
    with file.open("r+b") as stream:
        stream.seek(at)
        stream.write(chance.choice([bytes(512), chance.randbytes(512), chance.randbytes(4096)]))


@pytest.mark.parametrize("damage", [truncated, flipped, overwritten])
def test_a_damaged_file_is_read_right_or_set_aside_and_told(
    memory_disk: Path, damage: Callable[[Path, random.Random], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the structure stays whole, and only what it says differs. Of the rows none is made up."""
    monkeypatch.setattr(salvage, "MISSES", 300)
    file = filled(memory_disk).state_file
    whole = file.read_bytes()
    right, rows = told(memory_disk), History(memory_disk, "m").past.assessments()
    set_aside, left = 0, []
    for seed in range(15):
        for path in file.parent.iterdir():
            path.unlink()
        file.write_bytes(whole)
        damage(file, random.Random(seed))
        found = told(memory_disk)
        history = History(memory_disk, "m")
        mine = history.past.assessments()
        assert all(row in rows for row in mine) and mine == sorted(mine, key=lambda row: row["number"])
        left.append(len(mine))
        aside = [path for path in file.parent.iterdir() if "damaged-" in path.name]
        assert mine == rows or aside
        set_aside += bool(aside)
        if found != right:
            assert found.startswith("m.sqlite.damaged-"), found
            assert file.with_name(found).stat().st_size > 0 or damage is truncated
    assert set_aside > 4
    assert damage is truncated or sum(left) > 0.25 * len(rows) * len(left), "a page lost costs what lies on it alone"


def test_a_page_of_old_rows_that_is_lost_costs_neither_verdicts_nor_other_rows(memory_disk: Path) -> None:
    history = History(memory_disk, "m", tell_damage=(asides := []).append)
    history.write_scope("s", [entry("1"), entry("2", accepted=False, at=2)])
    history.past.add({"at": NOW, "number": 1, "text": "x"}, {"noise": "gaussian"})
    specification = history.past.assessments()[0]["specification_name"]
    for number in range(2, 1200):
        text = "old and lost" if number == 300 else "x" * 300
        history.past.add({"at": NOW + number, "number": number, "text": text}, {"noise": "gaussian"})
    history.past.add_events([Event(7.0, "started", {"robmon": "1"})], {"version": "2"})
    content = history.state_file.read_bytes()
    page = content.index(b"old and lost") // 4096 * 4096
    history.state_file.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
    numbers = [row["number"] for row in history.past.assessments()]
    lost = set(range(1, 1200)) - set(numbers)
    assert 300 in lost and len(lost) < 20 and numbers == sorted(numbers)
    assert versions(history) == ["1", "2"] and history.past.read_daemon_facts() == {"version": "2"}
    assert history.past.events() == [{"at": 7.0, "kind": "started", "robmon": "1"}]
    assert {row["specification_name"] for row in history.past.assessments()} == {specification}
    assert history.set_aside() is None and len(asides) == 1 and asides[0].startswith("m.sqlite.records-damaged-")
    assert sorted(path.name for path in (memory_disk / "history").glob("*damaged*")) == asides


def test_a_page_in_the_place_of_another_costs_what_lay_there_and_doubles_nothing(tmp_path: Path) -> None:
    """Every row on it is whole, and two would be told twice."""
    history = example(tmp_path)
    content = bytearray(history.state_file.read_bytes())
    lost, doubled = (content.index(b"%d" % (7_000_000_000_000_000_000 + n)) // 4096 * 4096 for n in (100, 200))
    content[lost : lost + 4096] = content[doubled : doubled + 4096]
    history.state_file.write_bytes(content)
    with pytest.raises(HistoryError, match="is damaged"):
        list(HistoryReader(tmp_path, "digits").assessments())
    numbers = [row["number"] for row in history.past.assessments()]
    assert 100 not in numbers and 200 in numbers and len(numbers) > 350 and numbers == sorted(set(numbers))
    assert any((tmp_path / "history").glob("*.records-damaged-*"))


def test_what_was_set_aside_is_told_until_something_is_decided(tmp_path: Path) -> None:
    file = filled(tmp_path).state_file
    os.truncate(file, 5000)
    found = told(tmp_path)
    assert found.startswith("m.sqlite.damaged-")
    for _ in range(2):
        History(tmp_path, "m").write_scope("s", [], served=("3", None))
        assert told(tmp_path) == found
    History(tmp_path, "m").write_scope("s", [entry("3")])
    assert versions(History(tmp_path, "m")) == ["3"]
    assert History(tmp_path, "m").reserve_numbers(1)[0] > 2**40, "none of those that were in it"
    with pytest.raises(DamagedStateError):
        History(tmp_path, "m").read_scope("another")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_foreign_log(file: Path) -> None:
    """The log of another model's file, which a copy has left without its own."""
    other = History(file.parent.parent / "other", "m")
    other.write_scope("s", [entry("7")])
    connection = sqlite3.connect(other.state_file)
    connection.execute("UPDATE kept SET content = '{}'")
    connection.commit()
    log = other.state_file.with_name("m.sqlite-wal").read_bytes()
    connection.close()
    file.with_name("m.sqlite-wal").write_bytes(log)


REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "garbage": lambda file: file.write_bytes(random.Random(1).randbytes(20_000)),
    "JSON": lambda file: file.write_text('{"scopes": {}}'),
    "a folder": a_folder,
    "another database": lambda file: (file.unlink(), sqlite3.connect(file).executescript("CREATE TABLE a (b)").close()),
    "a log that does not fit": a_foreign_log,
    "a row is gone": lambda file: sqlite3.connect(file, isolation_level=None).execute("DELETE FROM kept").close(),
    "a row is changed": lambda file: (
        sqlite3.connect(file, isolation_level=None)
        .execute("UPDATE kept SET content = '{\"entries\": []}' WHERE kind = 'scope'")
        .close()
    ),
}


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_what_stands_in_its_place_is_set_aside_with_its_journals(name: str, tmp_path: Path) -> None:
    history = filled(tmp_path)
    REPLACEMENTS[name](history.state_file)
    with pytest.raises(DamagedStateError, match=r"m\.sqlite\.damaged-\d+$") as raised:
        History(tmp_path, "m").read_scope("s")
    assert (tmp_path / "history" / str(raised.value)).exists()
    assert not list((tmp_path / "history").glob("m.sqlite-*"))
    assert history.write_scope("s", [entry("3")]).entries == (entry("3"),), "also by who had it open before"


def test_a_journal_that_was_left_alone_is_played_back_into_no_new_file(tmp_path: Path) -> None:
    history = filled(tmp_path)
    a_foreign_log(history.state_file)
    history.state_file.unlink()
    History(tmp_path, "m").write_scope("s", [entry("3")])
    assert versions(History(tmp_path, "m")) == ["3"]
    assert len(list((tmp_path / "history").glob("m.sqlite.damaged-*-wal"))) == 1


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    history = filled(tmp_path)
    connection = sqlite3.connect(history.state_file, isolation_level=None)
    connection.executescript("PRAGMA user_version = 2; UPDATE seal SET format = 2; DROP TABLE assessments")
    connection.close()
    content = history.state_file.read_bytes()
    for use in (lambda: History(tmp_path, "m").read_scope("s"), lambda: History(tmp_path, "m").reserve_numbers(1)):
        with pytest.raises(NewerStateError, match=r"m\.sqlite was written by a newer robmon \(format 2, and this one"):
            use()
    assert history.state_file.read_bytes() == content and history.set_aside() is None
