"""Garbage on the input port of a real daemon: it lives, stays small, answers /metrics and counts every request.

    python tests/benchmarks/garbage.py [--requests 1000000] [--labels 1000000]

Client processes send garbage as fast as the daemon takes it (see tests/e2e/garbage.py), mostly on kept-open
connections. Meanwhile the worker assesses what of the sample can be used, and /metrics is asked all the time. Then one
client sends labels of requests that nobody has sent, as many in a body as there may be, and /healthz is asked on new
connections, as a kubelet does. Prints what is required of the daemon; exit status 1 if a requirement is not met.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from robmon.inputs.feedback import MAX_LABELS
from tests.benchmarks._figures import MIB, Requirement, judge, quantile
from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.garbage import ALL_REASONS, ANSWER_SECONDS, MAX_BODY_BYTES, Key, Tally, handled, send, settled, silence
from tests.e2e.registry import Registry
from tests.servers import local_registry, template_database

ANSWERED = re.compile(r"^robmon_inputs_(?:received|skipped)_total{.*} (\S+)$", re.MULTILINE)
SCRAPE_EVERY_SECONDS = 0.02
FULL_SHARE = 0.2
"""Of the requests, after which the sample has long been full and every kind of garbage has been there."""
SILENT_CONNECTIONS = 40
MAX_GROWTH_MIB = 20.0
MAX_SCRAPE_SECONDS = 0.1
QUIET_PROBES = 100
MAX_PROBE_SECONDS = 0.1


@dataclass
class Watch:
    """What is seen of the daemon while garbage arrives."""

    daemon: Daemon
    worker: psutil.Process
    requests: int
    scrape_seconds: list[float] = field(default_factory=list)
    """How long each answer of /metrics took."""
    peaks_mib: dict[str, list[float]] = field(default_factory=lambda: {"daemon": [0, 0], "worker": [0, 0]})
    """Largest resident memory until the sample was full, and since."""

    def look(self) -> None:
        """Ask for the metrics, and how much memory is held."""
        began = time.perf_counter()
        page = self.daemon.get("/metrics").text
        self.scrape_seconds.append(time.perf_counter() - began)
        answered = sum(map(float, ANSWERED.findall(page)))
        is_full = answered > self.requests * FULL_SHARE
        for name, process in (("daemon", psutil.Process(self.daemon.process.pid)), ("worker", self.worker)):
            peaks = self.peaks_mib[name]
            peaks[is_full] = max(peaks[is_full], process.memory_info().rss / MIB)


def bombard(watch: Watch, clients: int) -> Tally:
    """Send the requests, and look at the daemon all the while."""
    address = ("127.0.0.1", watch.daemon.port("inputs_port"))
    with ProcessPoolExecutor(clients + 1, get_context("fork"), os.nice, (5,)) as pool:
        sending = [pool.submit(send, address, seed, watch.requests // clients) for seed in range(clients)]
        sending.append(pool.submit(silence, address, SILENT_CONNECTIONS))
        while not all(future.done() for future in sending):
            watch.look()
            time.sleep(SCRAPE_EVERY_SECONDS)
        return sum((future.result() for future in sending), Tally())


def requirements(watch: Watch, sent: Tally, found: Counter[Key]) -> Iterator[Requirement]:
    """Whether each is met, what it is, and what was found."""
    worker = watch.daemon.worker()
    yield worker == watch.worker, "the worker needed no restart", f"process {worker.pid}"
    for name, (before, since) in watch.peaks_mib.items():
        what = f"memory of the {name} grows by less than {MAX_GROWTH_MIB:g} MiB once the sample is full"
        yield since - before < MAX_GROWTH_MIB, what, f"at most {before:.1f} MiB before, {since:.1f} MiB since"
    scrapes = watch.scrape_seconds
    p99, slowest = quantile(scrapes, 0.99), max(scrapes)
    what = f"/metrics answers within {MAX_SCRAPE_SECONDS * 1e3:g} ms"
    took = f"99 % of {len(scrapes)} within {p99 * 1e3:.1f} ms, the slowest in {slowest * 1e3:.1f} ms"
    yield slowest < MAX_SCRAPE_SECONDS, what, took
    wrong = sent.differences(found)
    resets, unseen = handled(sent.possible), sent.sent - handled(found)
    told = (
        f"{sent.sent:,} sent, {handled(found):,} counted; the client threw {resets:,} away at once, {unseen:,} unseen"
    )
    yield not wrong, "every request is counted once, for what it is", "; ".join([told, *wrong])
    reasons = {key[2] for key in found if key[0] == "rejected"}
    yield reasons <= ALL_REASONS, f"of {len(ALL_REASONS)} reasons that there are", f"{len(reasons)} came up"


def send_labels(port: int, count: int) -> int:
    """Labels of requests that nobody has sent, as fast as they are taken; how many were."""
    taken = 0
    with contextlib.closing(HTTPConnection("127.0.0.1", port, ANSWER_SECONDS)) as connection:
        for start in range(0, count, MAX_LABELS):
            ids = range(start, min(start + MAX_LABELS, count))
            body = json.dumps([{"id": f"nobody's-{number}", "target": number / 7} for number in ids])
            connection.request("POST", "/feedback", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            taken += json.loads(answer.read()).get("accepted", 0)
    return taken


def probe(port: int) -> float:
    """Seconds that /healthz took on a new connection."""
    began = time.perf_counter()
    with contextlib.closing(HTTPConnection("127.0.0.1", port, ANSWER_SECONDS)) as connection:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
    return time.perf_counter() - began


def flood(daemon: Daemon, count: int) -> Iterator[Requirement]:
    """Send labels, and ask for /healthz before and meanwhile."""
    port, process = daemon.port("http_port"), psutil.Process(daemon.process.pid)
    quiet, before = [probe(port) for _ in range(QUIET_PROBES)], process.memory_info().rss
    took, began = [], time.monotonic()
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        sending = pool.submit(send_labels, daemon.port("inputs_port"), count)
        while not sending.done():
            took.append(probe(port))
            time.sleep(SCRAPE_EVERY_SECONDS)
        taken, seconds = sending.result(), time.monotonic() - began
    grown = (process.memory_info().rss - before) / MIB
    yield taken == count, "all labels are taken", f"{taken:,} in {seconds:.1f} s, {taken / seconds:,.0f} a second"
    yield grown < MAX_GROWTH_MIB, f"memory grows by less than {MAX_GROWTH_MIB:g} MiB", f"{grown:.1f} MiB"
    middle, most, slowest = (quantile(took, share) * 1e3 for share in (0.5, 0.99, 1))
    told = f"p50 {middle:.1f} ms, p99 {most:.1f} ms, slowest {slowest:.1f} ms of {len(took):,}"
    told += f"; before p50 {quantile(quiet, 0.5) * 1e3:.1f} ms, slowest {max(quiet) * 1e3:.1f} ms"
    yield max(took) < MAX_PROBE_SECONDS, f"/healthz answers within {MAX_PROBE_SECONDS * 1e3:g} ms", told


def main() -> None:
    """Send, look, and print what is required."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000, help="requests to send (default 100000)")
    parser.add_argument("--labels", type=int, default=100_000, help="labels to send (default 100000)")
    parser.add_argument("--clients", type=int, default=3, help="processes that send them (default 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = Registry(local_registry(folder / "registry", template_database(folder / "template")), folder)
        model = registry.model()
        uri = f"models:/{model.name}/{model.add()}"
        settings = {"inputs__max_body_bytes": MAX_BODY_BYTES, "inputs__sample_rows": 256, "log__level": "info"}
        with running_daemon(folder, uri, registry.tracking_uri, **settings) as daemon:
            watch = Watch(daemon, daemon.worker(), arguments.requests)
            daemon.wait_for(lambda: daemon.get("/readyz").status_code == 200, "the model")
            began = time.monotonic()
            sent = bombard(watch, arguments.clients)
            seconds = time.monotonic() - began
            found = settled(daemon, sent)
            judged = list(requirements(watch, sent, found))
            judged += flood(daemon, arguments.labels) if arguments.labels else ()
            ended = {outcome: daemon.count("robmon_assessments_total", outcome=outcome) for outcome in ("ok", "failed")}
    print(f"{sent.sent / seconds:,.0f} requests/s, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores;")
    print(f"meanwhile {ended['ok']:.0f} assessments ended well, {ended['failed']:.0f} found little but garbage")
    sys.exit(not judge(judged))


if __name__ == "__main__":
    main()
