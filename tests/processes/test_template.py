"""Copies of a process: the driver's own children, each in a session and an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from robmon.processes.template import NoTemplateError, can_be_used
from tests.patience import PATIENCE_SECONDS
from tests.processes.template_driver import started

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def found() -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.processes.template_driver"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_copy_is_a_child_of_the_driver_as_if_it_had_been_started(found: Any) -> None:
    told = found["told"]
    assert told["parent"] == found["driver"]
    assert told["session"] == told["pid"]
    assert told["seen"] == ["BEHAVIOUR"]
    assert found["status"] == 7


def test_a_copy_is_killed_and_its_death_is_told_as_that_of_any_process(found: Any) -> None:
    assert found["gone"]
    assert found["died"] == "the process was ended by SIGKILL"


def test_copies_outlive_their_template_and_a_template_that_is_gone_is_told(found: Any) -> None:
    assert found["lives_on"]
    assert found["ended"] == "no template: it takes no question"


def test_a_process_with_threads_or_none_at_all_is_not_copied(found: Any) -> None:
    for kind in ("threads", "dies"):
        first, second = found[kind].split("; ")
        assert first.startswith("no template: it ") and second == "the template has been ended"


async def test_a_driver_that_adopts_nobody_uses_none() -> None:
    """This process does not: the copy would be somebody else's child."""
    assert not can_be_used()
    template = started("plain")
    await template.ready()
    pid = template._process.pid
    template.end()
    template.end()
    assert not psutil.pid_exists(pid)
    with pytest.raises(NoTemplateError):
        await template.ready()
