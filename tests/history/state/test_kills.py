"""The state file and processes that write at the same time and are killed while they do."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from robmon.history.detection import Detection, DetectionRecord
from robmon.history.events import Event
from robmon.history.memory import Entry
from robmon.history.store import History
from robmon.inputs.readers.position import FilePosition
from tests.history.state.filled import NOW
from tests.servers import wait_until

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
    history.past.add({"at": time.time(), "number": number})
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
    written = [each["number"] for each in history.past.assessments()]
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
                    mine.past.add({"at": NOW + number, "number": number}, {"noise": "gaussian"})
                    os.write(writing, b"%d row\n" % number)
                    mine.past.add_events([Event(NOW + number, "started", {"number": number})], {"number": number})
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
    rows = [each["number"] for each in history.past.assessments()]
    events = [each["number"] for each in history.past.events()]
    for found, what in ((rows, "row"), (events, "event")):
        said_of_it = {int(number) for number, each in told if each == what}
        assert len(found) == len(set(found)) and said_of_it <= set(found) and len(said_of_it) > 20
    assert history.past.read_daemon_facts() == {"number": events[-1]}, "with the events, in one transaction"
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
