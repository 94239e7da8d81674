"""What a fault does to a daemon while it lasts: how long its answers take, and what it holds more of afterwards."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import psutil

from tests.e2e.daemon import Daemon, again_and_again

PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 10.0
SETTLE_SECONDS = 5.0


@dataclass
class Held:
    """What a daemon and its processes hold at one moment."""

    memory_bytes: int
    descriptors: int
    processes: int
    files: int

    @classmethod
    def by(cls, daemon: Daemon) -> Held:
        """Measured now; the memory and descriptors are those of the daemon itself."""
        process = psutil.Process(daemon.process.pid)
        files = [path for folder in (daemon.data_dir, daemon.temporary) for path in folder.rglob("*") if path.is_file()]
        return cls(process.memory_info().rss, process.num_fds(), len(daemon.processes()), len(files))


@dataclass
class Finding:
    """One line of the campaign's table."""

    fault: str
    times: int = 1
    outcome: str = "not finished"
    slowest: dict[str, float] = field(default_factory=lambda: {"/healthz": 0.0, "/metrics": 0.0})
    refused: int = 0
    growth: Held | None = None


FINDINGS: list[Finding] = []


def not_run(fault: str, why: str) -> None:
    """Name a fault that cannot be made here."""
    FINDINGS.append(Finding(fault, 0, f"not run: {why}"))


@contextlib.contextmanager
def watched(daemon: Daemon, fault: str, times: int = 1, token: str = "") -> Iterator[Finding]:
    """Ask for /healthz and /metrics all the while, and put down what was found."""
    finding = Finding(fault, times)
    FINDINGS.append(finding)
    before = Held.by(daemon)
    base = f"{daemon.scheme}://127.0.0.1:{daemon.port('http_port')}"

    def ask() -> None:
        for path in finding.slowest:
            began = time.monotonic()
            try:
                httpx.get(base + path, timeout=ANSWER_SECONDS, trust_env=False)
            except httpx.HTTPError:
                finding.refused += 1
            finding.slowest[path] = max(finding.slowest[path], time.monotonic() - began)

    with again_and_again(ask, PAUSE_SECONDS):
        yield finding
    if daemon.process.poll() is None:
        after = Held.by(daemon)
        settled = time.monotonic() + SETTLE_SECONDS
        while after.descriptors > before.descriptors and time.monotonic() < settled:
            time.sleep(PAUSE_SECONDS)
            after = Held.by(daemon)
        finding.growth = Held(
            after.memory_bytes - before.memory_bytes,
            after.descriptors - before.descriptors,
            after.processes - before.processes,
            after.files - before.files,
        )
    finding.outcome = "survived"


def table() -> list[str]:
    """All findings as lines of text."""
    head = f"{'fault':56} {'times':>5}  {'outcome':30} {'healthz':>8} {'metrics':>8} "
    lines = [head + "grown by: MiB, descriptors, processes, files"]
    for each in FINDINGS:
        healthz, metrics = (f"{each.slowest[path]:7.3f}s" for path in ("/healthz", "/metrics"))
        outcome = each.outcome + (f" ({each.refused} unanswered)" if each.refused else "")
        line, held = f"{each.fault[:56]:56} {each.times:5}  {outcome:30} {healthz} {metrics}", each.growth
        if held is not None:
            line += f" {held.memory_bytes / 2**20:6.1f} {held.descriptors:4} {held.processes:4} {held.files:4}"
        lines.append(line)
    return lines
