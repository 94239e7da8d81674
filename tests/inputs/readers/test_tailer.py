"""Files that grow, come, go, are renamed, emptied, replaced or damaged: what is read of them, and that once only."""

from __future__ import annotations

import functools
import gzip
import http.server
import itertools
import json
import os
import subprocess
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

from robmon.inputs.readers.answers import FileOpened, FileRows, NoMoreRows, ReadFailure
from robmon.inputs.readers.compressed import MAX_RATIO
from robmon.inputs.readers.listing import FoundFile
from robmon.inputs.readers.position import FilePosition
from robmon.processes.messages.reader import Tail
from robmon.reader.tailer import WHOLE_SECONDS, Tailer
from tests.servers import free_port

NOW = 1_000_000.0


@dataclass
class Reader:
    """A tailer with the clock in its hand, and the daemon's part: positions are known from the answers alone."""

    url: str
    max_body_bytes: int = 1000
    now: float = NOW
    steady: float = 0.0
    positions: dict[str, FilePosition] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    opened: int = 0
    times: set[float] = field(default_factory=set)
    tailer: Tailer | None = None

    def restart(self) -> None:
        """The process is another one."""
        self.tailer = None

    def look(self) -> list[bytes]:
        """One round: all bodies that are new."""
        if self.tailer is None:
            question = Tail(
                url=self.url, max_age_seconds=3600, max_body_bytes=self.max_body_bytes, positions=dict(self.positions)
            )
            self.tailer = Tailer(question, clock=lambda: self.now, steady=lambda: self.steady)
        found: list[bytes] = []
        while True:
            answer, rows = self.tailer.next()
            if isinstance(answer, FileRows):
                found += self._take(answer, rows)
            elif isinstance(answer, FileOpened):
                self.opened += 1
            elif isinstance(answer, ReadFailure) and answer.reason != "unavailable":
                self.failures.append(answer.reason)
            else:
                if isinstance(answer, ReadFailure):
                    self.failures.append(answer.reason)
                for file in answer.gone if isinstance(answer, NoMoreRows) else ():
                    del self.positions[file]
                return found

    def _take(self, answer: FileRows, rows: bytes) -> list[bytes]:
        assert answer.head_bytes + sum(answer.sizes) == len(rows)
        self.positions[answer.file] = answer.position
        self.rejected.update(answer.rejected)
        if answer.sizes:
            self.times.add(answer.modified_at)
        head, starts = rows[: answer.head_bytes], itertools.accumulate(answer.sizes, initial=answer.head_bytes)
        return [head + rows[start : start + size] for size, start in zip(answer.sizes, starts, strict=False)]


def write(file: Path, content: str | bytes, *, age: float = 0.0, mode: str = "w") -> None:
    data = content if isinstance(content, bytes) else content.encode()
    with file.open(mode + "b") as stream:
        stream.write(data)
    os.utime(file, (NOW - age, NOW - age))


def append(file: Path, content: str | bytes, *, age: float = 0.0) -> None:
    write(file, content, age=age, mode="a")


def line(number: int) -> str:
    return f'{{"a": {number}}}\n'


def numbers(bodies: list[bytes]) -> list[int]:
    return [json.loads(body)["a"] for body in bodies]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "inputs.jsonl"
    write(file, line(1) + line(2))
    return file


# --- growth ----------------------------------------------------------------------------------------------------------


def test_what_is_appended_is_read_once(log: Path) -> None:
    reader = Reader(str(log))
    assert numbers(reader.look()) == [1, 2]
    assert reader.look() == []
    assert reader.opened == 1, "a file that has not changed is not even opened"
    append(log, line(3))
    assert numbers(reader.look()) == [3]
    assert reader.times == {NOW}


@pytest.mark.parametrize("restarts", [False, True])
def test_half_a_line_is_left_for_the_next_round(log: Path, restarts: bool) -> None:
    reader = Reader(str(log))
    append(log, '{"a"')
    assert numbers(reader.look()) == [1, 2]
    if restarts:
        reader.restart()
    assert reader.look() == []
    append(log, ": 3}\n")
    assert numbers(reader.look()) == [3]


def test_half_a_line_behind_a_file_that_was_read_to_its_end(log: Path) -> None:
    reader = Reader(str(log))
    reader.look()
    append(log, '{"a": 3}')
    assert reader.look() == []
    reader.now += WHOLE_SECONDS
    assert numbers(reader.look()) == [3]


def test_the_last_line_of_a_file_that_nobody_writes_to_any_more(log: Path) -> None:
    reader = Reader(str(log))
    append(log, '{"a": 3}')
    assert numbers(reader.look()) == [1, 2]
    reader.now += WHOLE_SECONDS
    assert numbers(reader.look()) == [3]
    assert reader.look() == []
    assert reader.opened == 2


def test_a_restart_goes_on_where_the_last_batch_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robmon.inputs.readers.lines.BATCH_BYTES", 30)
    write(tmp_path / "inputs.jsonl", "".join(map(line, range(100))))
    reader = Reader(str(tmp_path))
    reader.look()
    question = Tail(url=reader.url, max_age_seconds=3600, max_body_bytes=1000, positions={})
    seen: list[bytes] = []
    positions: dict[str, FilePosition] = {}
    while len(seen) < 100:  # killed after every batch
        tailer = Tailer(question.model_copy(update={"positions": positions}), clock=lambda: NOW)
        answer, _ = tailer.next()
        assert isinstance(answer, FileOpened)
        answer, rows = tailer.next()
        assert isinstance(answer, FileRows)
        positions[answer.file] = answer.position
        seen += [rows[sum(answer.sizes[:i]) :][:size] for i, size in enumerate(answer.sizes)]
    assert numbers(seen) == list(range(100))


# --- files that come, go and change ----------------------------------------------------------------------------------


def test_new_files_are_found_oldest_first(log: Path, tmp_path: Path) -> None:
    reader = Reader(str(tmp_path))
    (tmp_path / "deeper").mkdir()
    write(tmp_path / "deeper" / "b.ndjson", line(5), age=10)
    write(tmp_path / "a.jsonl", line(4), age=5)
    write(tmp_path / "notes.txt", "nothing to read")
    assert numbers(reader.look()) == [5, 4, 1, 2]
    write(tmp_path / "c.jsonl", line(6))
    assert numbers(reader.look()) == [6]


@pytest.mark.parametrize("pattern", ["*.log", "**/*.log", "day-[12]*"])
def test_globs_name_files_of_any_name(tmp_path: Path, pattern: str) -> None:
    write(tmp_path / "day-1.log", line(1), age=2)
    write(tmp_path / "day-2.log", line(2), age=1)
    write(tmp_path / "other.txt", line(3))
    assert numbers(Reader(f"{tmp_path}/{pattern}").look()) == [1, 2]


def test_old_files_are_not_read_until_they_grow(log: Path) -> None:
    write(log, line(1), age=3601)
    reader = Reader(str(log))
    assert reader.look() == [] and reader.opened == 0
    append(log, line(2))
    assert numbers(reader.look()) == [1, 2]


def test_a_renamed_file_is_not_read_again_and_its_successor_is(log: Path, tmp_path: Path) -> None:
    reader = Reader(f"{tmp_path}/inputs.jsonl*")
    assert numbers(reader.look()) == [1, 2]
    append(log, line(3))
    log.rename(tmp_path / "inputs.jsonl.1")
    write(log, line(4) + line(5))
    assert sorted(numbers(reader.look())) == [3, 4, 5]
    reader.restart()
    assert reader.look() == []


@pytest.mark.parametrize("content", [line(7), line(7) * 2, line(7) * 30])
def test_a_file_that_is_emptied_and_written_again(log: Path, content: str) -> None:
    reader = Reader(str(log))
    reader.look()
    reader.restart()
    write(log, content, age=-1)
    reader.now += 1
    assert set(numbers(reader.look())) == {7}
    assert reader.look() == []


def test_positions_of_files_that_are_gone_are_forgotten_but_not_all_at_once(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    write(other, line(3), age=1)
    reader = Reader(str(tmp_path))
    reader.look()
    assert len(reader.positions) == 2
    other.unlink()
    reader.look()
    assert len(reader.positions) == 1
    log.rename(tmp_path / "elsewhere.txt")
    assert reader.look() == []
    assert len(reader.positions) == 1, "an empty folder is one that is not mounted"
    (tmp_path / "elsewhere.txt").rename(log)
    assert reader.look() == []


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    reader = Reader(str(tmp_path / "later"))
    assert reader.look() == []
    (tmp_path / "later").mkdir()
    write(tmp_path / "later" / "a.jsonl", line(1))
    assert numbers(reader.look()) == [1]


# --- damage ----------------------------------------------------------------------------------------------------------


def test_garbage_costs_one_rejection_and_no_other_file(log: Path, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.csv", "c.parquet"):
        write(tmp_path / name, bytes(range(256)) * 40, age=100)
    reader = Reader(str(tmp_path))
    assert numbers(reader.look()) == [1, 2]
    assert reader.rejected == {"bad_file": 3}
    opened = reader.opened
    reader.look()
    reader.restart()
    reader.look()
    assert reader.rejected == {"bad_file": 3} and reader.opened == opened


def test_a_file_that_cannot_be_opened_is_tried_again(log: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.jsonl"
    write(later, line(3), age=1)
    reader = Reader(str(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FoundFile, "open", lambda file: (tmp_path / "nowhere" / Path(file.path).name).open("rb"))
        assert reader.look() == [] and reader.failures == ["unreadable"] * 2
    assert numbers(reader.look()) == [3, 1, 2]


def test_lines_that_are_too_long(log: Path) -> None:
    append(log, f'{{"a": 3, "b": "{"x" * 2000}"}}\n{line(4)}')
    reader = Reader(str(log))
    assert numbers(reader.look()) == [1, 2, 4]
    assert reader.rejected == {"too_large": 1}


# --- compressed files ------------------------------------------------------------------------------------------------


def compressed(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


def test_compressed_files_are_read_once_they_are_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl.gz", compressed(line(1) + line(2).rstrip()), age=80)
    write(tmp_path / "b.ndjson.GZ", compressed(line(3)), age=70)
    write(tmp_path / "c.csv.gz", compressed("a,b\n1,x\n2,y\n"), age=65)
    write(tmp_path / "d.jsonl.gz", compressed(line(4)))
    reader = Reader(str(tmp_path))
    found = reader.look()
    assert numbers(found[:3]) == [1, 2, 3] and found[3:] == [b"a,b\n1,x", b"a,b\n2,y"]
    assert reader.look() == [] and reader.opened == 3, "it may still be written"
    reader.now += WHOLE_SECONDS
    assert numbers(reader.look()) == [4]
    reader.restart()
    assert reader.look() == [] and not reader.rejected


def test_what_follows_in_another_member_is_read_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    write(file, compressed(line(1) + line(2)), age=100)
    reader = Reader(str(tmp_path))
    assert numbers(reader.look()) == [1, 2]
    append(file, compressed(line(3)), age=70)
    assert numbers(reader.look()) == [3]


@pytest.mark.parametrize("kept_bytes", [5, 30, -1, -9])
def test_a_compressed_file_in_the_making(tmp_path: Path, kept_bytes: int) -> None:
    whole = compressed("".join(map(line, range(100))))
    file = tmp_path / "a.jsonl.gz"
    write(file, whole[:kept_bytes])
    reader = Reader(str(tmp_path))
    assert reader.look() == [] and not reader.rejected
    reader.now += WHOLE_SECONDS
    assert reader.look() == [] and reader.rejected == {"bad_file": 1}, "cut short for good, as it seems"
    write(file, whole)
    assert numbers(reader.look()) == list(range(100))
    assert reader.look() == [] and reader.rejected == {"bad_file": 1}


@pytest.mark.parametrize("content", [b"no gzip", compressed(line(1) * 50)[:-12] + b"damaged12345", b""])
def test_damaged_compressed_files_cost_one_rejection(log: Path, tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "a.jsonl.gz", content, age=100)
    reader = Reader(str(tmp_path))
    assert numbers(reader.look()) == [1, 2]
    assert reader.look() == []
    assert reader.rejected == ({"bad_file": 1} if content else {})


def test_what_a_compressed_file_unpacks_to_is_bounded(tmp_path: Path) -> None:
    bomb = tmp_path / "a.jsonl.gz"
    write(bomb, compressed(line(1) + " " * 2**26), age=100)
    assert bomb.stat().st_size * MAX_RATIO < 2**26
    reader = Reader(str(tmp_path))
    tracemalloc.start()
    try:
        reader.look()
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
    assert reader.rejected["too_large_decompressed"] == 1
    assert reader.look() == []


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("appended", ["", line(3)])
def test_what_was_read_before_gzip_compressed_it_is_not_read_again(
    log: Path, tmp_path: Path, appended: str, restarts: bool
) -> None:
    reader = Reader(f"{tmp_path}/*.jsonl*")
    assert numbers(reader.look()) == [1, 2]
    append(log, appended)
    log.rename(tmp_path / "inputs.jsonl.1")
    subprocess.run(["gzip", tmp_path / "inputs.jsonl.1"], check=True)
    write(log, line(4))
    if restarts:
        reader.restart()
    assert numbers(reader.look()) == [4]
    reader.now += WHOLE_SECONDS
    assert numbers(reader.look()) == ([3] if appended else [])
    assert reader.look() == []


def test_compressed_files_that_begin_alike_are_different_ones(tmp_path: Path) -> None:
    header = ",".join(f"column{number}" for number in range(200))
    for day in (1, 2):
        write(tmp_path / f"{day}.csv.gz", compressed(f"{header}\n{day}\n"), age=100)
    assert [body[-1:] for body in Reader(str(tmp_path), 10_000).look()] == [b"1", b"2"]


# --- tables ----------------------------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"a": [1, 2, 3, 4, 5], "b": [0.1, None, 2.5, 1e-9, 7.0], "c": ["x", "ü", None, '"', ","]})


def test_csv(tmp_path: Path) -> None:
    file = tmp_path / "inputs.csv"
    FRAME.to_csv(file, index=False)
    os.utime(file, (NOW, NOW))
    reader = Reader(str(tmp_path))
    bodies = reader.look()
    assert [body.partition(b"\n")[0] for body in bodies] == [b"a,b,c"] * 5
    assert bodies[0] == b"a,b,c\n1,0.1,x"
    append(file, "6,1.5,z\n")
    assert reader.look() == [b"a,b,c\n6,1.5,z"]
    reader.restart()
    append(file, "7,2.5,z\n")
    assert reader.look() == [b"a,b,c\n7,2.5,z"]


@pytest.mark.parametrize("group_rows", [1, 2, 5])
def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int) -> None:
    monkeypatch.setattr("robmon.inputs.readers.parquet.BATCH_BYTES", 40)
    FRAME.to_parquet(tmp_path / "inputs.parquet", row_group_size=group_rows, index=False)
    os.utime(tmp_path / "inputs.parquet", (NOW, NOW))
    reader = Reader(str(tmp_path))
    records = [json.loads(body) for body in reader.look()]
    assert records == [
        {"a": 1, "b": 0.1, "c": "x"},
        {"a": 2, "b": None, "c": "ü"},
        {"a": 3, "b": 2.5, "c": None},
        {"a": 4, "b": 1e-9, "c": '"'},
        {"a": 5, "b": 7.0, "c": ","},
    ]
    assert reader.look() == [] and reader.opened == 1
    for name, position in list(reader.positions.items()):
        for row in range(5):
            again = Reader(str(tmp_path), positions={name: position.model_copy(update={"offset": row, "state": ""})})
            assert [json.loads(body) for body in again.look()] == records[row:]


def test_parquet_of_everything(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "single": pd.Series([0.1], dtype="float32"),
            "list": [[1.5, 2.5]],
            "bytes": [b"\xff\x00"],
            "time": [pd.Timestamp("2026-01-02T03:04:05Z")],
            "nan": [float("inf")],
        }
    )
    frame.to_parquet(tmp_path / "inputs.parquet", index=False)
    os.utime(tmp_path / "inputs.parquet", (NOW, NOW))
    (body,) = Reader(str(tmp_path)).look()
    record = json.loads(body)
    assert record["single"] == float(frame["single"][0]) and record["list"] == [1.5, 2.5]
    assert (record["bytes"], record["time"], record["nan"]) == ("/wA=", "2026-01-02T03:04:05+00:00", float("inf"))


def test_a_parquet_file_in_the_making(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "whole", index=False)
    content = (tmp_path / "whole").read_bytes()
    file = tmp_path / "inputs.parquet"
    write(file, content[:100])
    reader = Reader(str(tmp_path))
    assert reader.look() == [] and not reader.rejected
    write(file, content)
    assert len(reader.look()) == 5 and not reader.rejected


@pytest.mark.parametrize("damaged", [b"PAR1\x15\x04\x15", b"name-of-a-column"])
def test_a_parquet_file_with_a_damaged_page_or_name_costs_one_rejection(tmp_path: Path, damaged: bytes) -> None:
    pd.DataFrame({"name-of-a-column": ["text"]}).to_parquet(tmp_path / "whole", index=False)
    content = (tmp_path / "whole").read_bytes()
    assert damaged in content
    write(tmp_path / "inputs.parquet", content.replace(damaged, damaged[:4] + b"\xe3" * (len(damaged) - 4)), age=100)
    reader = Reader(str(tmp_path))
    for _ in range(2):
        assert reader.look() == [] and reader.rejected == {"bad_file": 1} and not reader.failures


def test_times_of_parquet_that_python_does_not_know(tmp_path: Path) -> None:
    table = pyarrow.table({"a": pyarrow.array([0, 2**60, 1], type=pyarrow.timestamp("us"))})
    parquet.write_table(table, tmp_path / "inputs.parquet")
    os.utime(tmp_path / "inputs.parquet", (NOW, NOW))
    reader = Reader(str(tmp_path))
    assert numbers_of(reader.look()) == ["1970-01-01T00:00:00", "1970-01-01T00:00:00.000001"]
    assert reader.rejected == {"unsupported_value": 1} and not reader.failures


def test_long_rows_of_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"a": ["x", "y" * 2000, "z"]}).to_parquet(tmp_path / "inputs.parquet", index=False)
    os.utime(tmp_path / "inputs.parquet", (NOW, NOW))
    reader = Reader(str(tmp_path))
    assert numbers_of(reader.look()) == ["x", "z"]
    assert reader.rejected == {"too_large": 1}


def numbers_of(bodies: list[bytes]) -> list[Any]:
    return [json.loads(body)["a"] for body in bodies]


# --- other file systems ----------------------------------------------------------------------------------------------


def test_a_store_of_objects() -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/captured/2026/a.jsonl", (line(1) + '{"a": 2}').encode())
    reader = Reader("memory://captured/**/*.jsonl", now=store.modified("/captured/2026/a.jsonl").timestamp())
    try:
        assert numbers(reader.look()) == [1]
        reader.now += WHOLE_SECONDS
        assert numbers(reader.look()) == [2], "objects are written whole, if one waits a while"
        store.pipe("/captured/2026/b.jsonl", line(3).encode())
        assert numbers(reader.look()) == [3]
        reader.restart()
        assert reader.look() == []
    finally:
        store.rm("/captured", recursive=True)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server that tells no times."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_web_server(log: Path, web: str) -> None:
    reader = Reader(f"{web}/inputs.jsonl")
    assert numbers(reader.look()) == [1, 2]
    append(log, line(3) + '{"a": 4}')
    assert numbers(reader.look()) == [3]
    assert numbers(reader.look()) == [4]
    assert reader.look() == []


def test_a_store_that_nobody_knows() -> None:
    reader = Reader("nosuch://bucket/key")
    assert reader.look() == reader.look() == []
    assert reader.failures == ["unavailable"] * 2


def test_a_server_that_does_not_answer() -> None:
    assert Reader(f"http://127.0.0.1:{free_port()}/inputs.jsonl").look() == []


def test_a_clock_that_was_set_back_delays_no_file(tmp_path: Path) -> None:
    """Files of before have a time to come; they are whole once they have not changed for as long as others."""
    write(tmp_path / "a.jsonl.gz", gzip.compress(line(1).encode()))
    write(tmp_path / "b.jsonl", line(2) + line(3)[:-1])
    reader = Reader(str(tmp_path), now=NOW - 3600)
    assert numbers(reader.look()) == [2]
    reader.steady += WHOLE_SECONDS / 2
    assert reader.look() == []
    reader.steady += WHOLE_SECONDS / 2
    assert numbers(reader.look()) == [1, 3]
