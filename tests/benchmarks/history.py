"""What keeping the history costs: an assessment, the daemon's event loop, and the disk.

    python tests/benchmarks/history.py [--assessments 2000] [--full-mib 256] [--folder FOLDER]

Assessments with 5 levels and 32 features are told to the daemon's own chronicle, one after another on a running event
loop, by the time of the processor that it takes there; how late the loop comes is told too, which others on the machine
decide as well. Then again on a file that is as large as it may be, so that each drops old ones. Last,
`robmon history --since 24h` reads that file. Exit status 1 if a requirement is not met.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import sqlite3
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from robmon import settings
from robmon.daemon.journal.chronicle import Chronicle
from robmon.daemon.memory.writer import Writer
from robmon.daemon.results.publication import Finding
from robmon.export.recent import Recent
from robmon.history.reading import HistoryReader, Period
from robmon.history.state.records import Bounds, digest
from robmon.history.store import History
from robmon.inputs.counts import InputCounts
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.curve import LevelResult
from robmon.processes.messages.findings import DriftValue
from robmon.processes.messages.model import ModelVersion
from tests.benchmarks._figures import MIB, Requirement, judge, quantile
from tests.export.published import assessed

MODEL = ModelVersion(name="m", version="3", run_id="0123456789abcdef0123456789abcdef", path="/models/3")
TICK_SECONDS, IDLE_SECONDS = 0.002, 10.0
MOST_MEDIAN_SECONDS, MOST_LATE_SECONDS = 0.005, 0.05


def result(number: int) -> Assessed:
    """As large as they come by default: 5 levels, 32 features with 4 statistics each."""
    levels = [
        LevelResult(level=level, mean_mse=level / 3, bound=level / 2.9, request_bound=level / 0.7, agreement=None,
                    baseline_ratio=1 / 0.9, baseline_ratio_lower=1 / 1.1)
        for level in (0.0, 0.05, 0.1, 0.2, 0.4)
    ]  # fmt: skip
    drift = [
        DriftValue(feature=f"feature_{index}", statistic=statistic, value=index / 7)
        for index in range(32) for statistic in ("psi", "js", "ks", "wasserstein")
    ]  # fmt: skip
    return assessed().model_copy(update={"number": number, "levels": levels, "input_drift": drift})


@contextlib.asynccontextmanager
async def lateness() -> AsyncIterator[list[float]]:
    """Seconds by which the loop comes late, again and again, while the block runs."""
    late: list[float] = []

    async def watch() -> None:
        while True:
            due = asyncio.get_running_loop().time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            late.append(asyncio.get_running_loop().time() - due)

    watching = asyncio.create_task(watch())
    yield late
    watching.cancel()


async def told(chronicle: Chronicle, writer: Writer, count: int, first: int) -> tuple[list[float], list[float]]:
    """Seconds of the processor that telling takes on the loop, and from telling to written."""
    on_loop: list[float] = []
    written: list[float] = []
    for number in range(first, first + count):
        finding = Finding(result(number), [], None)
        await asyncio.sleep(0)
        begun, begun_cpu = time.perf_counter(), time.thread_time()
        chronicle.tell_assessment(MODEL, finding)
        on_loop.append(time.thread_time() - begun_cpu)
        while not await asyncio.to_thread(writer.wait, 1.0):
            pass
        written.append(time.perf_counter() - begun)
    return on_loop, written


def fill(history: History, mib: int) -> None:
    """Copies of the last row until the file is so large, in one transaction."""
    with contextlib.closing(sqlite3.connect(history.state_file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        (last,) = connection.execute("SELECT content FROM assessments ORDER BY id DESC").fetchone()
        row = json.loads(last)
        rows = int(mib * MIB / (1.25 * len(last))) + 1
        connection.execute("BEGIN")
        connection.execute("DELETE FROM assessments")
        for index in range(rows):
            at = row["at"] - 60.0 * (rows - index)
            content = json.dumps(row | {"at": at}, separators=(",", ":"))
            sealed = digest("assessment", "", content.encode())
            connection.execute(
                "INSERT INTO assessments (at, number, content, digest) VALUES (?, ?, ?, ?)",
                (at, index, content, sealed),
            )
        connection.execute("COMMIT")
        connection.execute("VACUUM")


async def measured(folder: Path, count: int, mib: int) -> list[Requirement]:
    """All of it."""
    given = settings.load({"model.uri": "models:/m/1", "data_dir": str(folder)}).settings
    history = History(folder, "m", Bounds(max_bytes=mib * MIB))
    writer = Writer()
    chronicle = Chronicle(given, history.past, writer, InputCounts(), deque(), Recent())
    requirements: list[Requirement] = []
    gc.collect()
    gc.freeze()  # as the daemon does
    async with lateness() as idle:
        await asyncio.sleep(IDLE_SECONDS)
    print(f"the loop, with nothing to do, comes late by up to {1e3 * max(idle):.1f} ms here")
    for what in ("a new file", f"a file of {mib} MiB"):
        async with lateness() as late:
            on_loop, written = await told(chronicle, writer, count, 1 if what == "a new file" else 10**6)
        median, worst = quantile(on_loop, 0.5), max(on_loop)
        print(f"{what}: {history.state_file.stat().st_size / MIB:.1f} MiB after {count} assessments")
        print(f"  on the event loop {1e3 * median:.2f} ms (99 %: {1e3 * quantile(on_loop, 0.99):.2f})")
        print(f"  until on disk {1e3 * quantile(written, 0.5):.1f} ms (99 %: {1e3 * quantile(written, 0.99):.1f})")
        print(f"  the loop came late by {1e3 * quantile(late, 0.5):.2f} ms (99.9 %: {1e3 * quantile(late, 0.999):.1f})")
        requirements += [
            (median < MOST_MEDIAN_SECONDS, f"{what}: an assessment takes under 5 ms longer", f"{1e3 * median:.2f} ms"),
            (worst < MOST_LATE_SECONDS, f"{what}: none holds the event loop for 50 ms", f"{1e3 * worst:.1f} ms"),
        ]
        if what == "a new file":
            print(f"  {history.state_file.stat().st_size / count / 1024:.1f} KiB an assessment")
            fill(history, mib)
    size = history.state_file.stat().st_size
    requirements.append((size < 1.1 * mib * MIB, f"the file stays within {mib} MiB", f"{size / MIB:.1f} MiB"))
    begun = time.perf_counter()
    reader = HistoryReader(folder, "m")
    found = list(reader.assessments(reader.begin(Period(seconds=86_400))))
    print(f"24 hours of it, {len(found)} assessments, are read in {time.perf_counter() - begun:.2f} s")
    begun = time.perf_counter()
    History(folder, "m").read_scope("champion")
    print(f"a start looks through what must be whole in {1e3 * (time.perf_counter() - begun):.0f} ms")
    return requirements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assessments", type=int, default=2000)
    parser.add_argument("--full-mib", type=int, default=256)
    parser.add_argument("--folder", help="where the file is made; default: where temporary files are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ok = judge(asyncio.run(measured(Path(folder), options.assessments, options.full_mib)))
    raise SystemExit(0 if ok else 1)


if __name__ == "__main__":
    main()
