"""What a log line holds of an exception: its type and place, and never its text, which may hold a production input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WAYS = {
    "robmon's own logger": "structlog.get_logger('robmon.x').exception('it failed')",
    "a library's logger": "logging.getLogger('library').exception('it failed')",
    "a task that nobody awaits": "asyncio.ensure_future(fail()); await asyncio.sleep(0.01); gc.collect()",
    "a callback": "asyncio.get_running_loop().call_soon(raises); await asyncio.sleep(0.01)",
}
CODE = """
import asyncio, gc, logging, structlog, uvloop
from robmon import logs

def raises():
    raise ValueError("a secret")

async def fail():
    raises()

async def main():
    asyncio.get_running_loop().set_exception_handler(logs.tell_unexpected)
    try:
        raises()
    except ValueError:
        {way}

logs.configure("debug", {form!r})
uvloop.run(main())
"""


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_an_exception_is_told_without_its_text(way: str, form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(way=way, form=form)], capture_output=True, text=True, check=True
    )
    assert "secret" not in done.stdout + done.stderr
    if form == "json":
        [line] = [json.loads(line) for line in done.stderr.splitlines()]
        assert line["exception"].startswith("ValueError at model code")
        assert line["level"] == "error"


UNREAD = """
import os, sys, time
import structlog
from robmon import logs

logs.configure("info", "json")
log = structlog.get_logger("robmon.x")
began = time.monotonic()
for number in range(12_000):
    log.info("a line", number=number)
print(time.monotonic() - began < 60, logs.lines_left_out() > 0, flush=True)
sys.stdin.read()
log.info("the last line")
"""


def test_a_pipe_that_nobody_reads_holds_up_nobody() -> None:
    """What has no room is left out, and told when the pipe is read again; what comes then is written to the end."""
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "True True\n"
        lines = []
        while not lines or lines[-1]["event"] != "log lines left out":
            lines.append(json.loads(process.stderr.readline()))
        process.stdin.close()
        lines += map(json.loads, process.stderr)
    assert process.returncode == 0
    told = [line["number"] for line in lines if line["event"] == "a line"]
    assert told == list(range(len(told)))
    assert lines[-1]["event"] == "the last line"
    assert sum(line.get("lines", 0) for line in lines) == 12_000 - len(told)


def test_what_cannot_be_written_holds_up_nobody() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", UNREAD], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=full, check=True
        )
    assert done.stdout == b"True True\n"
