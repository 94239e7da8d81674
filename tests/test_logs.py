"""What a log line holds of an exception: its type and place, and never its text, which may hold a production input."""

from __future__ import annotations

import json
import subprocess
import sys

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
