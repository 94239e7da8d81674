"""Minutes of traffic, labels and new versions on a real daemon: nothing lost, nothing that grows, nothing that waits.

    python tests/benchmarks/soak.py [--seconds 1200]

A real MLflow server has three versions of a model, and each minute its alias moves to the next. One process sends 500
requests a second with ids, in every format, and labels for 9 in 10 of them, up to 20 seconds late. Another asks once a
second for /metrics on a connection that it keeps, as Prometheus does, and for /healthz on a new one, as a kubelet does.
Labels are what the model answers, so that an error against labels is a label that was joined to another request.
Prints what the daemon holds at each quarter of the time and what is required; exit status 1 if a requirement is not
met.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import heapq
import json
import os
import re
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from multiprocessing import get_context
from pathlib import Path
from random import Random

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.benchmarks._figures import MIB, Requirement, judge, quantile
from tests.campaign.watch import Held
from tests.e2e.daemon import ROWS, Daemon, running_daemon
from tests.e2e.garbage import Headers, forms
from tests.e2e.registry import RegisteredModel, Registry
from tests.servers import mlflow_server

REQUESTS_PER_SECOND = 500
LABEL_SHARE = 0.9
MAX_LABEL_SECONDS = 20.0
CONNECTIONS = 16
TICK_SECONDS = 0.01
ANSWER_SECONDS = 30.0
VERSIONS = 3
ALIAS_SECONDS = 60.0
QUARTERS = 4
SETTLE_SECONDS = 60.0
SETTINGS = {
    "inputs__sample_rows": 256,
    "assess__interval_seconds": 5,
    "assess__min_rows": 64,
    "assess__levels": "0 0.05 0.1 0.2 0.4",
    "assess__trials": 39,
    "model__poll_seconds": 5,
    "log__level": "info",
    "http__histograms": True,
}
MAX_GROWTH_MIB = 10.0
MAX_P99_MS = 20.0
MAX_SLOWEST_MS = 100.0
MIN_RATE_SHARE = 0.99
OUTCOMES = ("joined", "late", "unknown", "dropped")
"""Of labels: each has one of them in the end."""
CLEAN_MSE = re.compile(rb"^robmon_clean_mse{.*} (\S+)$", re.MULTILINE)


# --- the load --------------------------------------------------------------------------------------------------------


class Poster:
    """Connections that stay open; the answer to each request is read before the next one on its connection."""

    def __init__(self, port: int) -> None:
        self.errors = 0
        """Answers that are no 202, and connections that broke."""
        self._connections = deque(HTTPConnection("127.0.0.1", port, ANSWER_SECONDS) for _ in range(CONNECTIONS))
        self._unanswered: set[HTTPConnection] = set()

    def post(self, path: str, body: bytes, headers: Headers) -> None:
        """Send a request, and do not wait for its answer."""
        connection = self._connections[0]
        self._connections.rotate(-1)
        self._read(connection)
        with self._counted(connection):
            connection.request("POST", path, body, headers)
            self._unanswered.add(connection)

    def close(self) -> None:
        """Read the last answers."""
        for connection in self._connections:
            self._read(connection)
            connection.close()

    def _read(self, connection: HTTPConnection) -> None:
        if connection in self._unanswered:
            self._unanswered.discard(connection)
            with self._counted(connection):
                answer = connection.getresponse()
                answer.read()
                self.errors += answer.status != 202

    @contextlib.contextmanager
    def _counted(self, connection: HTTPConnection) -> Iterator[None]:
        try:
            yield
        except (OSError, HTTPException):
            self.errors += 1
            connection.close()


@dataclass
class Sent:
    """What the load has sent, and within how many seconds the requests."""

    requests: int = 0
    labels: int = 0
    errors: int = 0
    seconds: float = 0.0


def load(port: int, seconds: float) -> Sent:
    """Requests at their rate, then the labels that are still due."""
    random, poster, sent = Random(0), Poster(port), Sent()
    learnt: list[tuple[float, str, float]] = []  # when each label is told, of which request
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds or learnt:
        while sent.requests < min(now, seconds) * REQUESTS_PER_SECOND:
            key = f"request-{sent.requests}"
            row = random.choice(ROWS)
            poster.post(*request(random, row, key))
            sent.requests += 1
            if random.random() < LABEL_SHARE:
                due = time.monotonic() - began + random.uniform(0, MAX_LABEL_SECONDS)
                heapq.heappush(learnt, (due, key, row[0] + row[1]))
            sent.seconds = time.monotonic() - began
        told = []
        while learnt and learnt[0][0] <= now:
            _, key, target = heapq.heappop(learnt)
            told.append({"id": key, "target": target})
        if told:
            poster.post("/feedback", labels(random, told), {})
            sent.labels += len(told)
        time.sleep(TICK_SECONDS)
    poster.close()
    sent.errors = poster.errors
    return sent


def request(random: Random, row: Sequence[float], key: str) -> tuple[str, bytes, Headers]:
    """One row in some format, now and then compressed: path, body and headers."""
    path, body, headers = random.choice(forms(list(row), key))
    if path != "/":  # an event has an id of its own
        headers = headers | {"X-Request-Id": key}
    if random.random() < 0.1 and "Inference-Header-Content-Length" not in headers:
        body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}
    return path, body, headers


def labels(random: Random, told: list[dict[str, object]]) -> bytes:
    """A body of labels: a list, or one a line."""
    if random.random() < 0.5:
        return json.dumps(told).encode()
    return "\n".join(map(json.dumps, told)).encode()


# --- what is seen ----------------------------------------------------------------------------------------------------


@dataclass
class Scrapes:
    """What asking the daemon once a second found."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"/metrics": [], "/healthz": []})
    failures: int = 0
    clean_mse: list[float] = field(default_factory=list)


def scrape(port: int, seconds: float) -> Scrapes:
    """Ask for /metrics and /healthz once a second, so long: at any moment of it, since the daemon has its own beat."""
    random, found, kept = Random(1), Scrapes(), HTTPConnection("127.0.0.1", port, ANSWER_SECONDS)
    began = time.monotonic()
    for second in range(int(seconds)):
        time.sleep(max(began + second + random.random() - time.monotonic(), 0))
        new = HTTPConnection("127.0.0.1", port, ANSWER_SECONDS)
        for path, connection in (("/metrics", kept), ("/healthz", new)):
            asked = time.perf_counter()
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                content = answer.read()
                found.failures += answer.status != 200
            except (OSError, HTTPException):
                found.failures += 1
                connection.close()
                continue
            found.seconds[path].append(time.perf_counter() - asked)
            found.clean_mse += map(float, CLEAN_MSE.findall(content))
        new.close()
    return found


@dataclass(frozen=True)
class Mark:
    """What is held at one moment; memory in MiB."""

    minute: float
    daemon_mib: float
    worker_mib: float
    held: Held

    @classmethod
    def of(cls, daemon: Daemon, seconds: float) -> Mark:
        """Measured now, so long after the start of the load."""
        held, worker = Held.by(daemon), 0.0
        for process in daemon.children("robmon.worker"):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker += process.memory_info().rss / MIB
        return cls(seconds / 60, held.memory_bytes / MIB, worker, held)


@dataclass
class Soak:
    """All that was found."""

    daemon: Daemon
    sent: Sent
    scrapes: Scrapes
    marks: list[Mark]
    """At the start and at each quarter."""
    peak_mib: float
    """The most that the daemon held after the first quarter."""
    moves: int
    """Of the alias."""
    ended: dict[tuple[str, str], int]
    """Assessments by outcome and reason."""
    told: dict[str, int]
    """Labels by outcome."""
    counts: dict[str, int]
    """Counters whose sum over all labels is required."""
    lag: dict[float, int]
    """Of the event loop: how often it was at most so many seconds late."""
    restarts: int
    """Of the worker, for another reason than a new version."""

    def requirements(self) -> Iterator[Requirement]:
        """Whether each is met, what it is, and what was found."""
        sent, scrapes = self.sent, self.scrapes
        rate = sent.requests / sent.seconds
        what = f"at least {MIN_RATE_SHARE * REQUESTS_PER_SECOND:g} requests/s were sent"
        yield rate >= MIN_RATE_SHARE * REQUESTS_PER_SECOND, what, f"{rate:.0f}"
        growth, first = self.peak_mib - self.marks[1].daemon_mib, self.marks[1].minute
        what = f"memory of the daemon grows by less than {MAX_GROWTH_MIB:g} MiB after the first {first:g} minutes"
        yield (
            growth < MAX_GROWTH_MIB,
            what,
            f"{self.marks[1].daemon_mib:.1f} MiB then, at most {self.peak_mib:.1f} since",
        )
        took = scrapes.seconds["/metrics"]
        p99, slowest = quantile(took, 0.99) * 1e3, max(took) * 1e3
        yield p99 < MAX_P99_MS, f"99 % of /metrics within {MAX_P99_MS:g} ms", f"{p99:.1f} ms of {len(took):,}"
        yield slowest < MAX_SLOWEST_MS, f"/metrics always within {MAX_SLOWEST_MS:g} ms", f"{slowest:.1f} ms"
        yield scrapes.failures == 0, "all of them are answered", f"{scrapes.failures} failed"
        yield from self._losses()

    def _losses(self) -> Iterator[Requirement]:
        sent, received, rejected = self.sent, self.counts["received"], self.counts["rejected"]
        found = f"{sent.requests:,} sent, {received:,} received, {rejected} rejected, {sent.errors} errors"
        yield received == sent.requests and rejected == sent.errors == 0, "no request is lost", found
        told = sum(self.told[outcome] for outcome in OUTCOMES)
        unfit = self.told["does_not_fit"]
        yield told == sent.labels and unfit == 0, "no label is lost", f"{sent.labels:,} sent, {told:,} counted"
        wrong = sum(mse != 0 for mse in self.scrapes.clean_mse)
        found = f"an error against labels in {wrong} of {len(self.scrapes.clean_mse):,} scrapes that have one"
        yield self.scrapes.clean_mse != [] and wrong == 0, "no label is joined to another request", found
        good = self.ended["ok", "none"]
        failed = sum(count for (outcome, _), count in self.ended.items() if outcome == "failed")
        unwritten = self.counts["unwritten"]
        found = f"{good} good, {failed} failed, {self.restarts} workers lost, {unwritten} writes failed"
        yield good > 0 and failed == self.restarts == unwritten == 0, "no assessment is lost", found
        last = self.marks[-1].held
        first = self.marks[1].held
        found = f"{first.descriptors} descriptors, {first.processes} processes; {last.descriptors} and {last.processes}"
        yield (
            last.descriptors <= first.descriptors + 2 and last.processes <= first.processes,
            "none is left open",
            found,
        )

    def report(self) -> bool:
        """Print all of it; whether what is required is met."""
        print(f"{'minute':>6}{'daemon MiB':>12}{'worker MiB':>12}{'descriptors':>13}{'processes':>11}{'files':>7}")
        for mark in self.marks:
            held = mark.held
            print(
                f"{mark.minute:6.1f}{mark.daemon_mib:12.1f}{mark.worker_mib:12.1f}{held.descriptors:13}"
                f"{held.processes:11}{held.files:7}"
            )
        print(f"\n{'ms':10}{'asked':>7}{'p50':>8}{'p99':>8}{'slowest':>9}")
        for path, seconds in self.scrapes.seconds.items():
            p50, p99, slowest = (quantile(seconds, share) * 1e3 for share in (0.5, 0.99, 1))
            print(f"{path:10}{len(seconds):7}{p50:8.1f}{p99:8.1f}{slowest:9.1f}")
        total = self.lag[float("inf")]
        p99, slowest = (
            next(limit for limit, count in self.lag.items() if count >= share * total) for share in (0.99, 1)
        )
        print(f"\nevent loop late by at most {p99:g} s in 99 %, {slowest:g} s in all of {total:,} looks")
        print(f"requests sent {self.sent.requests:,}, received {self.counts['received']:,}, errors {self.sent.errors}")
        print(
            f"labels sent {self.sent.labels:,}: " + ", ".join(f"{name} {count:,}" for name, count in self.told.items())
        )
        ended = ", ".join(f"{outcome} ({reason}) {count}" for (outcome, reason), count in self.ended.items() if count)
        print(f"assessments: {ended}; the alias moved {self.moves} times\n")
        return judge(self.requirements())


# --- the run ---------------------------------------------------------------------------------------------------------


def soak(daemon: Daemon, model: RegisteredModel, seconds: float) -> Soak:
    """Load the daemon so long, and look at it all the while."""
    with ProcessPoolExecutor(2, get_context("fork")) as pool:
        sending: Future[Sent] = pool.submit(load, daemon.port("inputs_port"), seconds)
        scraping: Future[Scrapes] = pool.submit(scrape, daemon.port("http_port"), seconds)
        began, marks, moves, peak = time.monotonic(), [Mark.of(daemon, 0)], 0, 0.0
        process = psutil.Process(daemon.process.pid)
        while not (sending.done() and scraping.done()):
            now = time.monotonic() - began
            if now < seconds and now > (moves + 1) * ALIAS_SECONDS:
                moves += 1
                model.serve(str(1 + moves % VERSIONS))
            if len(marks) <= QUARTERS and now >= len(marks) * seconds / QUARTERS:
                marks.append(Mark.of(daemon, now))
                print(f"minute {marks[-1].minute:.1f}: {marks[-1].daemon_mib:.1f} MiB", file=sys.stderr, flush=True)
            if len(marks) > 1:
                peak = max(peak, process.memory_info().rss / MIB)
            time.sleep(0.2)
        return found(daemon, sending.result(), scraping.result(), marks, peak, moves)


def found(daemon: Daemon, sent: Sent, scrapes: Scrapes, marks: list[Mark], peak: float, moves: int) -> Soak:
    """Wait until the last labels are counted and the last version is assessed, and take down the counters."""

    def told() -> dict[str, int]:
        return by_outcome(daemon, "robmon_labels_total")

    with contextlib.suppress(TimeoutError):
        outcomes = f"an outcome of all {sent.labels} labels"
        daemon.wait_for(lambda: sum(told()[each] for each in OUTCOMES) == sent.labels, outcomes, SETTLE_SECONDS)
    last = str(1 + moves % VERSIONS)
    daemon.wait_for(lambda: daemon.assessed_version == last, f"version {last}", SETTLE_SECONDS)
    samples = daemon.metrics()
    return Soak(
        daemon,
        sent,
        scrapes,
        marks,
        peak,
        moves,
        {
            (sample.labels["outcome"], sample.labels["reason"]): int(sample.value)
            for sample in samples
            if sample.name == "robmon_assessments_total"
        },
        told(),
        {
            "received": int(daemon.count("robmon_inputs_received_total")),
            "rejected": int(daemon.count("robmon_inputs_rejected_total")),
            "unwritten": int(daemon.count("robmon_history_write_failures_total")),
        },
        {
            float(sample.labels["le"]): int(sample.value)
            for sample in samples
            if sample.name == "robmon_event_loop_lag_seconds_bucket"
        },
        int(
            daemon.count("robmon_worker_restarts_total")
            - daemon.count("robmon_worker_restarts_total", reason="new_version")
        ),
    )


def by_outcome(daemon: Daemon, name: str) -> dict[str, int]:
    """A counter by its label `outcome`."""
    return {sample.labels["outcome"]: int(sample.value) for sample in daemon.metrics() if sample.name == name}


def main() -> None:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1200, help="seconds of load (default 1200)")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with mlflow_server(folder / "registry") as url:
            model = Registry(url, folder).model()
            for _ in range(VERSIONS):
                model.add()
            model.serve("1")
            print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before the start")
            with running_daemon(folder, model.uri, url, **SETTINGS) as daemon:
                daemon.wait_for(lambda: daemon.get("/readyz").status_code == 200, "the model", SETTLE_SECONDS)
                met = soak(daemon, model, seconds).report()
    sys.exit(not met)


if __name__ == "__main__":
    main()
