"""What a fault does to a daemon while it lasts: how long its answers take, and what it holds more of afterwards."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
import psutil

from tests.e2e.daemon import Daemon, again_and_again

PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 10.0
SETTLE_SECONDS = 15.0
HEALTHZ_SECONDS = 2.0
"""Slowest answer of /healthz that is let pass: a kubelet's default is 1 s, three times in a row, on a quiet machine."""
MEMORY_BYTES = 40 * 2**20
"""Most that the daemon may grow while a fault lasts, unless the scenario says otherwise."""


@dataclass
class Held:
    """What a daemon and its processes hold at one moment, or how much more of it."""

    memory_bytes: int
    descriptors: int
    processes: int
    files: int

    @classmethod
    def by(cls, *daemons: Daemon) -> Held:
        """Measured now, all of them together; one that has ended holds its files alone.

        Memory and descriptors are those of the daemon itself; short fetches are no processes of it.
        """
        living = [psutil.Process(daemon.process.pid) for daemon in daemons if daemon.process.poll() is None]
        folders = [folder for daemon in daemons for folder in (daemon.data_dir, daemon.temporary)]
        return cls(
            sum(process.memory_info().rss for process in living),
            sum(process.num_fds() for process in living),
            sum(lasting_processes(daemon) for daemon in daemons),
            sum(path.is_file() for folder in folders for path in folder.rglob("*")),
        )

    def less(self, before: Held) -> Held:
        """The growth since then."""
        return Held(
            self.memory_bytes - before.memory_bytes,
            self.descriptors - before.descriptors,
            self.processes - before.processes,
            self.files - before.files,
        )


@dataclass
class Finding:
    """One line of the campaign's table."""

    fault: str
    times: int = 1
    outcome: str = "not finished"
    slowest: dict[str, float] = field(default_factory=lambda: {"/healthz": 0.0, "/metrics": 0.0})
    refused: int = 0
    """Probes without an answer, twice in a row: a kubelet's default is to act after three."""
    reasons: set[str] = field(default_factory=set)
    """Why a probe, whether once or twice in a row, had no answer."""
    growth: Held | None = None
    test: str = field(default_factory=lambda: os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0])
    _silent: set[tuple[int, str]] = field(default_factory=set, repr=False)

    def count(self, daemon: Daemon, path: str, why: str) -> None:
        """Note why a probe of that path had no answer; nothing if it had one."""
        probe = (daemon.process.pid, path)
        if not why:
            self._silent.discard(probe)
            return
        self.refused += probe in self._silent
        self._silent.add(probe)
        self.reasons.add(why)


FINDINGS: list[Finding] = []


def begun(fault: str, times: int = 1) -> Finding:
    """A new line of the table."""
    finding = Finding(fault, times)
    FINDINGS.append(finding)
    return finding


def not_run(fault: str, why: str) -> None:
    """Name a fault that cannot be made here."""
    FINDINGS.append(Finding(fault, 0, f"not run: {why}"))


def lasting_processes(daemon: Daemon) -> int:
    """The daemon, worker and reader, and whatever else lives, without those that ask the registry and end."""
    found = 0
    for process in daemon.processes():
        with contextlib.suppress(psutil.Error):
            found += "robmon.fetch" not in process.cmdline()
    return found


@contextlib.contextmanager
def asked(finding: Finding, *daemons: Daemon) -> Iterator[None]:
    """Ask them for /healthz and /metrics all the while, and put down the slowest answers and those that did not come.

    A daemon that has ended need not answer.
    """

    def ask(daemon: Daemon) -> None:
        base, headers = f"{daemon.scheme}://127.0.0.1:{daemon.port('http_port')}", dict(daemon.client.headers)
        for path in finding.slowest:
            began, why = time.monotonic(), ""
            try:
                answer = httpx.get(base + path, headers=headers, timeout=ANSWER_SECONDS, trust_env=False, verify=False)
                why = f"status {answer.status_code}" if path == "/healthz" and answer.status_code != 200 else ""
            except httpx.HTTPError as error:
                why = repr(error)
            seconds = time.monotonic() - began
            if why:
                time.sleep(PAUSE_SECONDS)  # one that is killed is silent a moment before it is seen to have ended
            if daemon.process.poll() is None:
                finding.slowest[path] = max(finding.slowest[path], seconds)
                finding.count(daemon, path, why)

    with contextlib.ExitStack() as stack:
        for daemon in daemons:
            stack.enter_context(again_and_again(functools.partial(ask, daemon), PAUSE_SECONDS))
        yield
        for daemon in daemons:  # also where it was over before the first look
            ask(daemon)


@contextlib.contextmanager
def watched(
    daemon: Daemon,
    fault: str,
    times: int = 1,
    *,
    beside: Sequence[Daemon] = (),
    healthz_seconds: float | None = HEALTHZ_SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[Finding]:
    """Ask for /healthz and /metrics all the while, and put down what was found: nothing is blocked or leaked.

    Args:
        daemon: to which it happens.
        fault: how the table calls it.
        times: how often it happens.
        beside: further daemons that are watched with it; what they hold is added up.
        healthz_seconds: slowest answer of /healthz that is let pass; None: the daemon itself is stopped meanwhile.
        memory_bytes: most that each daemon may grow.
    """
    daemons = [daemon, *beside]
    finding, before = begun(fault, times), Held.by(*daemons)
    with asked(finding, *daemons):
        try:
            yield finding
        except (AssertionError, TimeoutError, httpx.HTTPError) as error:
            if why := _blocked(finding, healthz_seconds):
                raise AssertionError(f"{why}; then {error}") from error
            raise
    if daemon.process.poll() is not None:
        finding.outcome, finding.growth = f"ended with status {daemon.process.returncode}", Held.by(daemon).less(before)
        return
    hold_to_limits(finding, before, *daemons, healthz_seconds=healthz_seconds, memory_bytes=memory_bytes)
    finding.outcome = "survived"


def hold_to_limits(
    finding: Finding,
    before: Held,
    *daemons: Daemon,
    healthz_seconds: float | None = HEALTHZ_SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> None:
    """Put down what they hold more of than before, and fail where probes were held up or something is leaked."""
    finding.growth = growth = _settled(before, *daemons)
    why = _blocked(finding, healthz_seconds)
    assert not why, why
    assert growth.memory_bytes < memory_bytes * len(daemons), f"the daemon grew by {growth.memory_bytes >> 20} MiB"
    assert growth.processes <= 0, f"{growth.processes} processes more than before"
    assert growth.descriptors <= 4 * len(daemons), f"{growth.descriptors} descriptors more than before"


def _blocked(finding: Finding, healthz_seconds: float | None) -> str:
    """How probes were held up, in words; nothing where they were not."""
    if healthz_seconds is None:
        return ""
    if finding.refused:
        return f"{finding.refused} probes had no answer: {', '.join(finding.reasons)}"
    slowest = finding.slowest["/healthz"]
    return f"a probe took {slowest:.2f} s" if slowest > healthz_seconds else ""


def _settled(before: Held, *daemons: Daemon) -> Held:
    """The growth once connections are closed and a worker that was replaced has come, or after some seconds."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        growth = Held.by(*daemons).less(before)
        if (growth.descriptors <= 0 and growth.processes <= 0) or time.monotonic() > until:
            return growth
        time.sleep(PAUSE_SECONDS)


HEAD = ("fault", "times", "outcome", "/healthz, s", "/metrics, s", "MiB", "descriptors", "processes", "files")


def table() -> list[tuple[str, ...]]:
    """A row for each finding, in the order of `HEAD`."""
    rows = []
    for each in FINDINGS:
        outcome = each.outcome + (f", a probe unanswered: {', '.join(each.reasons)}" if each.reasons else "")
        asked, held = each.slowest["/healthz"] > 0, each.growth
        slowest = [f"{each.slowest[path]:.2f}" if asked else "" for path in ("/healthz", "/metrics")]
        growth = ["", "", "", ""]
        if held is not None:
            counts = (held.descriptors, held.processes, held.files)
            growth = [f"{held.memory_bytes / 2**20:+.1f}", *(f"{count:+d}" if count else "0" for count in counts)]
        rows.append((each.fault, str(each.times), outcome, *slowest, *growth))
    return rows


def as_text() -> list[str]:
    """The table as lines for a terminal."""
    rows = [HEAD, *table()]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def as_markdown() -> list[str]:
    """The table as lines for a page."""
    rule = ("---",) * len(HEAD)
    return ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in (HEAD, rule, *table())]
