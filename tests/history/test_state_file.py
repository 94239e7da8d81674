"""The state file: on real disks and processes, whatever damages, fills, locks or kills."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from robmon.history import salvage
from robmon.history import state_file as module
from robmon.history.detection import Detection, DetectionRecord
from robmon.history.events import Event
from robmon.history.folder import bears_wal
from robmon.history.kept import NewerStateError
from robmon.history.memory import Entry
from robmon.history.reading import HistoryError, HistoryReader
from robmon.history.state_file import DamagedStateError
from robmon.history.store import History
from robmon.inputs.readers.position import FilePosition
from tests.history.example import example
from tests.servers import wait_until

NOW = time.time()


def entry(version: str, *, accepted: bool = True, at: float = 1.0) -> Entry:
    return Entry(version=version, accepted=accepted, by="verdict", at=at)


def versions(history: History) -> list[str]:
    return [each.version for each in history.read_scope("s").entries]


def filled(folder: Path) -> History:
    """A state with something of everything in it."""
    history = History(folder, "m")
    history.write_scope("s", [entry("1"), entry("2", accepted=False, at=2)], served=("2", None))
    history.reserve_numbers(100)
    history.write_positions("/inputs", {})
    for number in range(30):
        history.append({"at": NOW + number, "number": number, "text": "x" * 300})
    return history


def told(folder: Path) -> str:
    """What a life after this one reads of what must be whole, or which file it says was set aside."""
    history = History(folder, "m")
    try:
        read = [
            *[each.model_dump_json() for each in history.read_scope("s").entries],
            str(history.read_scope("s").served),
            str(history.reserve_numbers(100)),
            str(history.read_positions("/inputs")),
        ]
    except DamagedStateError as error:
        return str(error)
    return "\n".join(read)


# --- damage ----------------------------------------------------------------------------------------------------------


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
    right, rows = told(memory_disk), History(memory_disk, "m").assessments()
    set_aside, left = 0, []
    for seed in range(15):
        for path in file.parent.iterdir():
            path.unlink()
        file.write_bytes(whole)
        damage(file, random.Random(seed))
        found = told(memory_disk)
        history = History(memory_disk, "m")
        mine = history.assessments()
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
    history.append({"at": NOW, "number": 1, "text": "x"}, {"noise": "gaussian"})
    specification = history.assessments()[0]["specification_name"]
    for number in range(2, 1200):
        text = "old and lost" if number == 300 else "x" * 300
        history.append({"at": NOW + number, "number": number, "text": text}, {"noise": "gaussian"})
    history.add_events([Event(7.0, "started", {"robmon": "1"})], {"version": "2"})
    content = history.state_file.read_bytes()
    page = content.index(b"old and lost") // 4096 * 4096
    history.state_file.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
    numbers = [row["number"] for row in history.assessments()]
    lost = set(range(1, 1200)) - set(numbers)
    assert 300 in lost and len(lost) < 20 and numbers == sorted(numbers)
    assert versions(history) == ["1", "2"] and history.read_told() == {"version": "2"}
    assert history.events() == [{"at": 7.0, "kind": "started", "robmon": "1"}]
    assert {row["specification_name"] for row in history.assessments()} == {specification}
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
    numbers = [row["number"] for row in history.assessments()]
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


# --- disks -----------------------------------------------------------------------------------------------------------


def limited(history: History, do: Callable[[History], object], size: int) -> int:
    """What `do` raises where no file may grow beyond so many bytes, as on a full disk."""
    child = os.fork()
    if child == 0:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            do(History(history.data_dir, history.key))
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_damaged_file_waits_for_room_and_is_not_given_up(tmp_path: Path) -> None:
    """To set it aside with nothing in its place would lose verdicts that can be read."""
    history = filled(tmp_path)
    for number in range(100, 160):
        history.append({"at": NOW + number, "number": number, "text": "lost" if number == 130 else "x" * 300})
    content = history.state_file.read_bytes()
    page = content.index(b'"text":"lost"') // 4096 * 4096
    history.state_file.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
    assert limited(history, lambda each: each.assessments(), 5000) in (errno.EIO, errno.ENOSPC)
    assert not list(tmp_path.rglob("*damaged*")) and versions(History(tmp_path, "m")) == ["1", "2"]
    assert len(history.assessments()) > 60 and versions(history) == ["1", "2"]
    names = [path.name for path in tmp_path.rglob("m.sqlite.records-damaged-*")]
    assert len({name.removesuffix("-wal").removesuffix("-shm").removesuffix("-journal") for name in names}) == 1


@pytest.mark.parametrize("size", [0, 1000, 5000])
def test_where_there_is_no_room_nothing_is_lost_and_all_can_be_read(tmp_path: Path, size: int) -> None:
    history = filled(tmp_path)
    assert limited(history, lambda each: each.write_scope("s", [entry("3", at=3)]), size) in (errno.EIO, errno.ENOSPC)
    assert limited(history, lambda each: each.append({"at": NOW, "number": 99}), size) in (errno.EIO, errno.ENOSPC)
    assert limited(history, lambda each: os._exit(len(each.assessments())), size) == 30
    assert limited(history, lambda each: os._exit(len(each.read_scope("s").entries)), size) == 2
    assert versions(history) == ["1", "2"] and history.set_aside() is None
    history.write_scope("s", [entry("3", at=3)])
    assert versions(History(tmp_path, "m")) == ["1", "2", "3"]


def test_a_folder_that_is_read_only() -> None:
    """It is read without writing anything beside it, and what cannot be written is told."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        history = filled(folder)
        folder.chmod(0o755)
        history.state_file.chmod(0o444)
        history.state_file.parent.chmod(0o555)
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                mine = History(folder, "m")
                if len(mine.read_scope("s").entries) == 2:
                    mine.write_scope("s", [entry("3", at=3)])
            except OSError as error:
                os._exit(error.errno or 255)
            finally:
                os._exit(254)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        history.state_file.parent.chmod(0o755)
        assert status in (errno.EACCES, errno.EROFS, errno.EIO)
        assert history.set_aside() is None


def journal_mode(history: History) -> str:
    connection = sqlite3.connect(history.state_file)
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    return str(mode)


def test_a_volume_that_bears_no_write_ahead_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file moves there, is written, and moves back."""
    if not bears_wal(tmp_path):
        pytest.skip("the tests run on such a volume")
    history = filled(tmp_path)
    assert journal_mode(history) == "wal"
    monkeypatch.setattr(module, "bears_wal", lambda folder: False)
    there = History(tmp_path, "m")
    there.write_scope("s", [entry("3", at=3)])
    assert journal_mode(there) == "delete" and versions(there) == ["1", "2", "3"]
    assert History(tmp_path, "new").write_scope("s", [entry("1")]).entries == (entry("1"),)
    monkeypatch.undo()
    back = History(tmp_path, "m")
    back.write_scope("s", [entry("4", at=4)])
    assert journal_mode(back) == "wal" and versions(back) == ["1", "2", "3", "4"]


def test_a_lock_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon reads several things before it answers probes: it would be restarted before it had waited for each."""
    monkeypatch.setattr(module, "BUSY_SECONDS", 2.0)
    monkeypatch.setattr(module, "BUSY_AGAIN_SECONDS", 0.01)
    history = filled(tmp_path)
    holder = sqlite3.connect(history.state_file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    took = []
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(OSError, match="another process holds the state file"):
            history.reserve_numbers(1)
        took.append(time.monotonic() - began)
    assert took[0] >= 2 and sum(took[1:]) < 2
    holder.execute("ROLLBACK")
    assert history.reserve_numbers(1) == range(101, 102)


def test_a_lock_that_is_not_given_up_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    history = filled(tmp_path)
    holder = sqlite3.connect(history.state_file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(OSError, match="another process holds the state file"):
        history.append({"at": NOW, "number": 1})
    assert versions(history) == ["1", "2"], "it can be read"
    holder.close()
    assert history.set_aside() is None


# --- processes -------------------------------------------------------------------------------------------------------

WRITER = """
import random, sys, time
from pathlib import Path
from robmon.history.memory import Entry
from robmon.history.reading import HistoryError, HistoryReader
from robmon.history.store import History
from robmon.inputs.readers.position import FilePosition
history, scope = History(Path(sys.argv[1]), "m"), sys.argv[2]
at = float(sys.argv[3])
while True:
    (number,) = history.reserve_numbers(1)
    print("number", number, flush=True)
    at += 1
    history.write_scope(scope, [Entry(version=str(number), accepted=True, by="person", at=at)])
    print("entry", number, flush=True)
    history.append({"at": time.time(), "number": number})
    print("row", number, flush=True)
"""


def test_nothing_told_is_lost_by_kills_of_two_processes(memory_disk: Path) -> None:
    """What a process said to be written is there, no number comes twice, and no kill damages the file."""
    chance, said = random.Random(3), []
    for life in range(3):
        with contextlib.ExitStack() as stack:
            for scope in ("one", "two"):
                out = memory_disk / f"{life}-{scope}"
                command = [sys.executable, "-c", WRITER, str(memory_disk), scope, str(1000.0 * life)]
                process = subprocess.Popen(command, stdout=stack.enter_context(out.open("wb")))
                stack.callback(process.wait)
                stack.callback(process.kill)
                wait_until(lambda out=out: out.stat().st_size > 100, what="what it wrote")
            time.sleep(chance.uniform(0.0, 0.1))
        for scope in ("one", "two"):
            whole, _, _ = (memory_disk / f"{life}-{scope}").read_text().rpartition("\n")
            said += [(scope, *line.split()) for line in whole.splitlines()]
    history = History(memory_disk, "m")
    numbers = [number for _, what, number in said if what == "number"]
    rows = {int(number) for _, what, number in said if what == "row"}
    written = [each["number"] for each in history.assessments()]
    assert len(numbers) == len(set(numbers)) > 20
    assert len(written) == len(set(written)) and set(written) >= rows
    for scope in ("one", "two"):
        last = next(number for where, what, number in reversed(said) if (where, what) == (scope, "entry"))
        assert last in [each.version for each in history.read_scope(scope).entries]
    assert history.set_aside() is None


def told_by(reading: int, lines: int) -> bytes:
    """What a process says until it has said so many lines, or ends."""
    told = b""
    while told.count(b"\n") < lines and (more := os.read(reading, 2**16)):
        told += more
    return told


def test_a_process_killed_hundreds_of_times_in_the_middle_of_writes(memory_disk: Path) -> None:
    """Each life is a fork, which costs no start of an interpreter, and ends at a random moment, by kill -9."""
    history, chance = History(memory_disk, "m"), random.Random(5)
    said = b""
    reading, writing = os.pipe()
    for _ in range(200):
        child = os.fork()
        if child == 0:
            try:
                mine = History(memory_disk, "m")
                while True:
                    (number,) = mine.reserve_numbers(1)
                    os.write(writing, b"%d number\n" % number)
                    mine.write_scope("s", [Entry(version=str(number), accepted=True, by="person", at=number)])
                    os.write(writing, b"%d entry\n" % number)
                    mine.append({"at": NOW + number, "number": number}, {"noise": "gaussian"})
                    os.write(writing, b"%d row\n" % number)
                    mine.add_events([Event(NOW + number, "started", {"number": number})], {"number": number})
                    os.write(writing, b"%d event\n" % number)
            finally:
                os._exit(9)
        said += told_by(reading, chance.randint(1, 8))
        time.sleep(chance.uniform(0.0, 0.003))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said += stream.read()
    told = [line.split() for line in said.decode().splitlines()]
    numbers = [number for number, what in told if what == "number"]
    entries = [number for number, what in told if what == "entry"]
    assert len(numbers) == len(set(numbers)) >= 100
    assert entries[-1] in [each.version for each in history.read_scope("s").entries]
    rows, events = [each["number"] for each in history.assessments()], [each["number"] for each in history.events()]
    for found, what in ((rows, "row"), (events, "event")):
        said_of_it = {int(number) for number, each in told if each == what}
        assert len(found) == len(set(found)) and said_of_it <= set(found) and len(said_of_it) > 20
    assert history.read_told() == {"number": events[-1]}, "with the events, in one transaction"
    assert not list(memory_disk.rglob("*damaged*"))


def test_evidence_is_neither_doubled_nor_lost_by_kills_in_the_middle_of_steps(memory_disk: Path) -> None:
    """Each life goes on where the last one stands, one row a step, and ends at a random moment, by kill -9."""
    chance, identity = random.Random(6), {"version": ["1", None], "threshold": [2.0, 60.0]}

    def steps(writing: int) -> None:
        mine = History(memory_disk, "m")
        before, done = mine.read_detection("s"), mine.read_positions("/inputs")
        evidence = 0.0 if before is None else before.found.evidence
        row = done["rows"].offset if done else 0
        while True:
            row, evidence = row + 1, evidence + 1.0  # a row of the file, and what it adds
            record = DetectionRecord(identity=identity, found=Detection(evidence=evidence), number=row)

            def step(record: DetectionRecord = record, row: int = row) -> None:
                mine.write_step("s", record, "1/x", {480_000 + row % 100: {"rows": row}})
                mine.write_positions("/inputs", {"rows": FilePosition(offset=row)})

            mine.together(step)
            os.write(writing, b"%d\n" % row)

    for _ in range(200):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                steps(writing)
            finally:
                os._exit(9)
        os.close(writing)
        first = told_by(reading, chance.randint(1, 5))
        time.sleep(chance.uniform(0.0, 0.003))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        with os.fdopen(reading, "rb") as stream:
            last_told = int((first + stream.read()).split()[-1])
        history = History(memory_disk, "m")
        kept, place = history.read_detection("s"), history.read_positions("/inputs")["rows"].offset
        assert kept is not None and kept.found.evidence == kept.number == place
        assert place in (last_told, last_told + 1), "all that was told, and at most the step that was being told"
    assert place > 400 and not list(memory_disk.rglob("*damaged*"))
