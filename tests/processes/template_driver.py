"""A driver in a process of its own, which adopts orphans: what it finds of copies of a template, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

import psutil

from robmon.processes import heavy, template
from robmon.processes.command import Command
from robmon.processes.guest import be_expendable
from robmon.processes.messages.every_process import Stop
from robmon.processes.strays import strays
from robmon.processes.supervisor import Child, ChildDiedError
from robmon.processes.template import NoTemplateError, Template

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def serve(kind: str, fd: int) -> None:
    """The template."""
    be_expendable()
    if kind == "threads":
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    if kind == "dies":
        raise SystemExit(1)
    template.serve(fd, answer)


def answer(fd: int) -> None:
    """What a copy does: as its environment says."""
    if os.environ["BEHAVIOUR"] == "tells":
        told = {"session": os.getsid(0), "pid": os.getpid(), "parent": os.getppid(), "seen": sorted(os.environ)}
        with socket.socket(fileno=fd) as channel:
            channel.sendall(json.dumps(told).encode())
        os._exit(7)
    heavy.serve(fd, be_expendable, lambda channel: time.sleep(3600))


def started(kind: str) -> Template:
    return Template(lambda fd: [sys.executable, "-m", "tests.processes.template_driver", kind, str(fd)], ENVIRONMENT)


async def why_none(kind: str) -> str:
    """Why there is no such template, twice."""
    made, told = started(kind), []
    for _ in range(2):
        try:
            await made.ready()
        except NoTemplateError as error:
            told.append(str(error))
    return "; ".join(told)


async def drive() -> dict[str, object]:
    """All that is asked of a template."""
    strays.adopt()
    made = started("plain")
    await made.ready()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        copy = await made.copy({"BEHAVIOUR": "tells"}, theirs)
        theirs.close()
        told = json.loads(await asyncio.to_thread(lambda: ours.makefile("rb").read()))
    status = await copy.wait()
    children = [await Child.start(Command("", "", {"BEHAVIOUR": "sleeps"}), made) for _ in range(2)]
    await children[0].kill("crash")
    gone = not psutil.pid_exists(children[0].pid)
    made.end()
    lives_on = psutil.pid_exists(children[1].pid)
    try:
        await Child.start(Command("", "", {"BEHAVIOUR": "sleeps"}), made)
    except NoTemplateError as error:
        ended = str(error)
    try:
        os.kill(children[1].pid, 9)
        await children[1].ask(Stop(), timeout_seconds=60)
    except ChildDiedError as error:
        died = str(error)
    return {
        "told": told,
        "driver": os.getpid(),
        "status": status,
        "gone": gone,
        "lives_on": lives_on,
        "ended": ended,
        "died": died,
        "threads": await why_none("threads"),
        "dies": await why_none("dies"),
    }


def main() -> None:
    """Print what is found; or be the template."""
    if len(sys.argv) > 1:
        serve(sys.argv[1], int(sys.argv[2]))
    else:
        print(json.dumps(asyncio.run(drive())))


if __name__ == "__main__":
    main()
