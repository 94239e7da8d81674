"""The daemon's side of files: real reading processes, which may die, and a sample that may be lost."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from robmon.daemon.inputs.file_reader import ReaderProcess
from robmon.daemon.inputs.sources import kept_positions
from robmon.daemon.memory.writer import Writer
from robmon.history.store import History
from robmon.inputs.counts import InputCounts
from robmon.inputs.readers.answers import Answer, FileOpened
from robmon.inputs.readers.position import FilePosition
from robmon.inputs.sample import Sample
from robmon.inputs.sources.files import DEATHS_OF_A_BAD_FILE, FileSource, ReaderDiedError
from robmon.ports.rejections import RejectionLog
from tests.object_store import object_store
from tests.patience import PATIENCE_SECONDS


class Reader(ReaderProcess):
    """The real process, which is killed from outside where a test says so."""

    opened = ""
    """Path of the file that it reads."""
    is_time_to_kill: Callable[[], bool] | None = None
    is_cut = False
    """Whether the last byte of what it reads is lost on the way."""

    @property
    def process(self) -> psutil.Process:
        """The process itself."""
        assert self.pid is not None
        return psutil.Process(self.pid)

    async def next(self, positions: Mapping[str, FilePosition]) -> tuple[Answer, bytes]:
        if self.is_time_to_kill is not None and self.is_time_to_kill():
            self.is_time_to_kill = None
            self.process.kill()
        try:
            answer, content = await super().next(positions)
        except ReaderDiedError:
            self.opened = ""
            raise
        if isinstance(answer, FileOpened):
            self.opened = answer.path
        return answer, content[:-1] if self.is_cut else content


class Daemon:
    """What a daemon has of files: sample, counts and source."""

    def __init__(self, folder: Path, files: str, rejections: RejectionLog | None = None) -> None:
        self.sample = Sample(sample_rows=10_000, max_age_seconds=3600, sample_bytes=2**20)
        self.counts = InputCounts()
        self.writer = Writer()
        self.reader = Reader(files, max_age_seconds=3600, max_body_bytes=9999)
        (folder / "data").mkdir(exist_ok=True)
        positions = kept_positions(files, History(folder / "data", "m"), self.writer)
        self.source = FileSource(files, 30, self.reader, positions, self.sample, self.counts, rejections)
        self.sample.attach(self.source)

    @property
    def received(self) -> int:
        """Rows so far."""
        return self.counts.received["file"]

    def sampled(self) -> list[int]:
        """What the sample holds, which an assessment takes now."""
        return sorted(json.loads(item.body)["a"] for item in self.sample.snapshot(now=NOW))

    def assess(self) -> list[int]:
        """A good assessment; what was new in it."""
        fresh = [json.loads(item.body)["a"] for item in self.sample.snapshot(now=NOW) if not item.topped_up]
        self.sample.turn_over(now=NOW)
        return sorted(fresh)

    async def poll_and_kill(self, is_time_to_kill: Callable[[], bool]) -> None:
        """Look for news; the reading process is killed on the way."""
        self.reader.is_time_to_kill = is_time_to_kill
        await self.source.poll()
        assert self.reader.is_time_to_kill is None and self.reader.pid is None


NOW = 0.0  # nothing is too old
SECRET = "hands-off"


@contextlib.asynccontextmanager
async def running(
    folder: Path, files: str | None = None, rejections: RejectionLog | None = None
) -> AsyncIterator[Daemon]:
    """A daemon that is killed at the end: nothing is written then."""
    daemon = Daemon(folder, files or str(folder / "inputs"), rejections)
    try:
        yield daemon
    finally:
        await daemon.source.close()
        await daemon.writer.close()


def write(file: Path, numbers: Iterable[int], mode: str = "w") -> None:
    file.parent.mkdir(exist_ok=True)
    with file.open(mode) as stream:
        stream.writelines(f'{{"a": {number}}}\n' for number in numbers)


async def test_rows_are_drawn_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "inputs" / "a.jsonl", range(50))
    with (tmp_path / "inputs" / "a.jsonl").open("a") as stream:
        stream.write(f'{{"a": 50, "b": "{"x" * 10_000}"}}\n')
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        assert daemon.sampled() == list(range(50))
        assert (daemon.received, daemon.counts.sampled["file"]) == (51, 50)
        assert daemon.counts.rejected == {("file", "too_large"): 1}
        assert sum(daemon.counts.body_bytes["file"].counts) == 50


async def test_what_was_in_a_good_assessment_is_not_read_again_and_all_else_is(tmp_path: Path) -> None:
    file = tmp_path / "inputs" / "a.jsonl"
    write(file, range(10))
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        assert daemon.assess() == list(range(10))
        write(file, range(10, 20), "a")
        await daemon.source.poll()
        assert daemon.sampled() == list(range(20)), "an assessment that fails"
        write(file, range(20, 30), "a")
        await daemon.source.poll()
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        assert daemon.assess() == list(range(10, 30))
        write(file, range(30, 40), "a")
        await daemon.source.poll()
        assert daemon.assess() == list(range(30, 40))
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        assert daemon.sampled() == []


async def test_rows_that_come_while_an_assessment_runs_belong_to_the_next(tmp_path: Path) -> None:
    file = tmp_path / "inputs" / "a.jsonl"
    write(file, range(10))
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        daemon.sample.snapshot(now=NOW)
        write(file, range(10, 20), "a")
        await daemon.source.poll()
        daemon.sample.turn_over(now=NOW)
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        assert daemon.sampled() == list(range(10, 20))


async def test_a_slow_disk_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positions of a good assessment are written by and by, and the newest of them in the end."""
    released, waiting = threading.Event(), threading.Event()
    write_positions = History.write_positions

    def slow(history: History, files: str, positions: Mapping[str, FilePosition]) -> None:
        waiting.set()
        released.wait(PATIENCE_SECONDS)
        write_positions(history, files, positions)

    monkeypatch.setattr(History, "write_positions", slow)
    file = tmp_path / "inputs" / "a.jsonl"
    async with running(tmp_path) as daemon:
        for first in range(0, 50, 10):
            write(file, range(first, first + 10), "a")
            await daemon.source.poll()
            began = time.monotonic()
            daemon.assess()
            assert time.monotonic() - began < PATIENCE_SECONDS / 3
        assert waiting.wait(PATIENCE_SECONDS)
        released.set()
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        assert daemon.sampled() == []


async def test_other_files_are_begun_anew(tmp_path: Path) -> None:
    write(tmp_path / "inputs" / "a.jsonl", range(10))
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        daemon.assess()
    async with running(tmp_path, f"{tmp_path}/inputs/*.jsonl") as daemon:
        await daemon.source.poll()
        assert daemon.sampled() == list(range(10))


async def test_positions_in_a_damaged_file_are_begun_anew(tmp_path: Path) -> None:
    write(tmp_path / "inputs" / "a.jsonl", range(10))
    (tmp_path / "data" / "history").mkdir(parents=True)
    (tmp_path / "data" / "history" / "m.sqlite").write_bytes(b"{")
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        assert daemon.sampled() == list(range(10))


async def test_a_reader_that_is_killed_between_files_loses_nothing(tmp_path: Path) -> None:
    for name, first in (("a", 0), ("b", 10), ("c", 20)):
        write(tmp_path / "inputs" / f"{name}.jsonl", range(first, first + 10))
    async with running(tmp_path) as daemon:
        await daemon.poll_and_kill(lambda: daemon.received >= 20)
        await daemon.source.poll()
        assert daemon.sampled() == list(range(30))
        assert daemon.received == 30


async def kill_reader_in(daemon: Daemon, file: str, *, rows_from: int = 0) -> None:
    """Kill the reader from outside while it has that file open, and let the daemon find that."""
    await daemon.poll_and_kill(lambda: daemon.reader.opened.endswith(file) and daemon.received >= rows_from)


async def test_kills_from_outside_are_no_verdict_on_a_file(tmp_path: Path) -> None:
    """Neither two at the same place nor any number at places that differ: no line is lost, none read twice."""
    lines = 60_000
    write(tmp_path / "inputs" / "a.jsonl", range(lines))
    async with running(tmp_path) as daemon:
        for rows_from in (0, 0, 1, 20_000, 20_001, 40_000):
            await kill_reader_in(daemon, "a.jsonl", rows_from=rows_from)
        await daemon.source.poll()
        assert daemon.received == lines
        assert daemon.counts.rejected == {}
        daemon.assess()
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        assert daemon.sampled() == []


@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_file_that_takes_the_reader_down_again_and_again_is_not_tried_a_fourth_time(
    tmp_path: Path, name: str
) -> None:
    for each, first in (("a", 0), ("b", 10), ("c", 20)):
        write(tmp_path / "inputs" / f"{each}.jsonl", range(first, first + 10))
    async with running(tmp_path) as daemon:
        for _ in range(3):
            await kill_reader_in(daemon, f"{name}.jsonl")
        for _ in range(3):
            await daemon.source.poll()
        rest = [number for number in range(30) if number // 10 != "ab".index(name)]
        assert daemon.sampled() == rest
        assert daemon.counts.rejected == {("file", "bad_file"): 1}
        write(tmp_path / "inputs" / f"{name}.jsonl", range(30, 40))  # mended
        await daemon.source.poll()
        assert daemon.received == 30


async def test_a_file_within_which_the_reader_died_goes_on_when_it_grows(tmp_path: Path) -> None:
    file = tmp_path / "inputs" / "a.jsonl"
    write(file, range(10))
    async with running(tmp_path) as daemon:
        await daemon.poll_and_kill(lambda: daemon.received >= 10)
        write(file, range(10, 20), "a")
        await daemon.source.poll()
        assert daemon.sampled() == list(range(20))


async def test_files_that_cannot_be_had_cost_a_count(tmp_path: Path) -> None:
    async with running(tmp_path, "nosuch://bucket/*.jsonl") as daemon:
        await daemon.source.poll()
        await daemon.source.poll()
        assert daemon.counts.rejected == {("file", "unavailable"): 2}
        assert daemon.reader.process.is_running()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ("nosuch://bucket/*.jsonl", "they cannot be listed: ValueError"),
        ("gs://bucket/*.jsonl", "inputs.files needs gcsfs, which is not installed: pip install gcsfs"),
    ],
)
async def test_the_log_says_once_why_there_are_no_files(tmp_path: Path, files: str, told: str) -> None:
    async with running(tmp_path, files) as daemon:
        with capture_logs() as lines:
            await daemon.source.poll()
            await daemon.source.poll()
    (line,) = [line for line in lines if line["event"] == "files of inputs unavailable"]
    assert line["error"] == told


def named(lines: Iterable[Mapping[str, Any]]) -> list[Any]:
    """What the log said of refused files."""
    return [line.get("files") for line in lines if line["event"] == "requests rejected"]


async def test_the_log_names_the_files_that_are_no_use(tmp_path: Path) -> None:
    bad = [tmp_path / "inputs" / name for name in ("a.parquet", "b.csv", "c.jsonl.gz")]
    write(tmp_path / "inputs" / "good.jsonl", range(3))
    for file in bad:
        file.write_bytes(bytes(range(256)) * 40)
        os.utime(file, (time.time() - 100,) * 2)
    async with running(tmp_path) as daemon:
        with capture_logs() as lines:
            await daemon.source.poll()
            await daemon.source.poll()
    assert named(lines) == [{str(file): "bad_file" for file in bad}]
    assert daemon.counts.rejected == {("file", "bad_file"): 3}


async def test_the_log_names_a_file_that_took_the_reader_down(tmp_path: Path) -> None:
    write(tmp_path / "inputs" / "a.jsonl", range(10))
    async with running(tmp_path) as daemon:
        with capture_logs() as lines:
            for _ in range(3):
                await kill_reader_in(daemon, "a.jsonl")
    assert named(lines) == [{f"{tmp_path}/inputs/a.jsonl": "bad_file"}]


class WebServer:
    """It tells that there is a file, in what state, and gives it to nobody."""

    tag = "1"
    host = ""
    """With the port."""


@contextlib.contextmanager
def web_server() -> Iterator[WebServer]:
    told = WebServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", told.tag)
            self.end_headers()

        def do_GET(self) -> None:
            if "Range" in self.headers:
                self.send_error(500)
                return
            self.send_response(200)  # fsspec asks so whether the file is there
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        told.host = f"127.0.0.1:{server.server_port}"
        yield told
        server.shutdown()
        thread.join()


async def test_a_file_that_stays_unreadable_is_named_once_in_each_of_its_states(tmp_path: Path) -> None:
    """And without what opens its store."""
    always_due = RejectionLog("files", clock=itertools.count(step=60).__next__)
    with web_server() as server, capture_logs() as lines:
        url = f"http://me:{SECRET}@{server.host}/a.csv?signature={SECRET}"
        async with running(tmp_path, url, always_due) as daemon:
            for server.tag in ("1", "1", "2"):
                await daemon.source.poll()
    name = {f"http://***@{server.host}/a.csv": "unreadable"}
    assert named(lines) == [name, None, name]
    assert SECRET not in str(lines)


async def test_the_log_says_once_that_no_file_was_found(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        with capture_logs() as lines:
            await daemon.source.poll()
            await daemon.source.poll()
            write(tmp_path / "inputs" / "a.jsonl", range(3))
            await daemon.source.poll()
    assert [line["event"] for line in lines] == ["no file of inputs found so far"]
    assert daemon.received == 3


@pytest.mark.parametrize("variables", ["AWS", "FSSPEC"])
async def test_the_environment_tells_an_object_store_and_its_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: str
) -> None:
    with object_store() as store:
        own = {"ENDPOINT_URL": store.url, "KEY": store.key_id, "SECRET": store.secret}
        of_fsspec = {f"FSSPEC_S3_{name}": value for name, value in own.items()}
        for name, value in (store.environment if variables == "AWS" else of_fsspec).items():
            monkeypatch.setenv(name, value)
        store.put("digits/a.jsonl", '{"a": 1}\n')
        async with running(tmp_path, "s3://captures/digits/") as daemon:
            await daemon.source.poll()
            assert daemon.sampled() == [1]


async def test_the_reader_is_light(tmp_path: Path) -> None:
    write(tmp_path / "inputs" / "a.jsonl", range(10))
    async with running(tmp_path) as daemon:
        await daemon.source.poll()
        mapped = {Path(each.path).name for each in daemon.reader.process.memory_maps()}
        assert not [name for name in mapped if "torch" in name or "pandas" in name or "arrow" in name]
        assert daemon.reader.process.nice() > 0


async def test_an_answer_that_does_not_fit_ends_the_process_and_the_round(tmp_path: Path) -> None:
    """And costs no file: nothing says which end of the line is wrong."""
    write(tmp_path / "inputs" / "a.jsonl", range(10))
    async with running(tmp_path) as daemon:
        daemon.reader.is_cut = True
        for _ in range(DEATHS_OF_A_BAD_FILE):
            with capture_logs() as lines:
                await daemon.source.poll()
            assert [line["event"] for line in lines] == [
                "the process that reads files gave an answer that does not fit"
            ]
            assert daemon.reader.pid is None and daemon.sampled() == []
        daemon.reader.is_cut = False
        await daemon.source.poll()
        assert daemon.sampled() == list(range(10))
        assert daemon.counts.rejected == {}
