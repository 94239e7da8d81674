"""Requests per second of a real daemon under load, beside a bare server of the same library that only answers.

    python tests/benchmarks/receiver.py [--seconds 300]

The daemon samples 1 % of the requests, and its worker assesses all the while, also while the bare server is loaded. wrk
posts the same body to both, one after the other: 4 KiB of JSON, then 64 KiB of binary tensors. Each server has the
first core for itself; wrk, and the worker at its nice 10, have the second. The ratio is the cost of sampling. Prints
what is required of the daemon; exit status 1 if a requirement is not met.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event, Thread

import httpx
import psutil

from tests.patience import PATIENCE_SECONDS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.benchmarks._figures import MIB, Requirement, judge
from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.registry import COLUMNS, Registry
from tests.servers import local_registry, template_database

BARE_SERVER = Path(__file__).with_name("_bare_server.py")
CONNECTIONS = 64  # so many that the server has work while wrk waits for the worker's turn to end
SAMPLE_ROWS = 256
SETTINGS = {
    "inputs__share": 0.01,
    "inputs__sample_rows": SAMPLE_ROWS,
    "assess__interval_seconds": 0.1,
    "assess__trials": 99,
    "log__level": "info",
}
KEEP_FREED_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**26)}
"""For the bare server. Its heap is so small that glibc gives 64 KiB bodies back to the kernel one by one, which doubles
its CPU; a daemon's heap is never that small."""
COUNTED = ("robmon_inputs_received_total", "robmon_inputs_rejected_total", "robmon_assessments_total")
FILL_SECONDS = 2
MAX_BARE_SECONDS = 20
SERVER_CORE, OTHER_CORE = 0, 1
MIN_REQUESTS_PER_SECOND = 15_000
MAX_P99_MS = 20.0
MAX_GROWTH_MIB = 20.0
LOOK_EVERY_SECONDS = 0.1


# --- what is posted --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Post:
    """One request that wrk repeats."""

    name: str
    path: str
    headers: dict[str, str]
    body: bytes
    min_requests_per_second: float | None

    def script(self, folder: Path) -> Path:
        """For wrk, which is to tell the figures in one line."""
        body, script = folder / f"{self.name}.body", folder / f"{self.name}.lua"
        body.write_bytes(self.body)
        lines = [f"wrk.method = 'POST'\nwrk.body = io.open('{body}', 'rb'):read('*a')"]
        lines += [f"wrk.headers['{name}'] = '{value}'" for name, value in self.headers.items()]
        script.write_text("\n".join([*lines, DONE]))
        return script


DONE = """
done = function(summary, latency)
  io.write(string.format('RESULT %d %d %f %d\\n', summary.requests, summary.duration, latency:percentile(99),
    summary.errors.connect + summary.errors.status + summary.errors.read + summary.errors.write
    + summary.errors.timeout))
end
"""


def json_post(size: int) -> Post:
    """Rows of the model as MLflow's clients send them."""
    random = Random(0)

    def body(rows: int) -> bytes:
        data = [[round(random.uniform(1, 9), 6), round(random.uniform(1, 9), 6), 1000 + row] for row in range(rows)]
        return json.dumps({"dataframe_split": {"columns": list(COLUMNS), "data": data}}).encode()

    rows = int(size / len(body(1000)) * 1000)
    headers = {"Content-Type": "application/json"}
    return Post("4 KiB JSON", "/invocations", headers, body(rows), MIN_REQUESTS_PER_SECOND)


def binary_post(size: int) -> Post:
    """The same as tensors of the Open Inference Protocol, as Triton's client sends them."""
    rows = size // 24
    tensors = [
        {
            "name": name,
            "shape": [rows],
            "datatype": {"double": "FP64", "long": "INT64"}[kind],
            "parameters": {"binary_data_size": 8 * rows},
        }
        for name, kind in COLUMNS.items()
    ]
    head = json.dumps({"inputs": tensors}).encode()
    body = head + struct.pack(f"<{2 * rows}d{rows}q", *(Random(0).uniform(1, 9) for _ in range(2 * rows)), *range(rows))
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return Post("64 KiB V2", "/v2/models/odd/infer", headers, body, None)


# --- measuring -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def bare_server() -> Iterator[tuple[int, psutil.Process]]:
    """Port and process of a bare server."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        descriptor = listener.fileno()
        command = [sys.executable, BARE_SERVER, str(descriptor)]
        process = subprocess.Popen(command, pass_fds=[descriptor], env=os.environ | KEEP_FREED_MEMORY)
        try:
            port = listener.getsockname()[1]
            httpx.post(f"http://127.0.0.1:{port}/", timeout=PATIENCE_SECONDS, trust_env=False)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=20)


@dataclass(frozen=True)
class Load:
    """What one server did under load."""

    requests: int
    requests_per_second: float
    cpu_microseconds: float
    """Of the server's process, a request."""
    p99_ms: float
    errors: int
    """As wrk counts them: failed connections and answers that are no 2xx."""
    growth_mib: float
    """Of resident memory, at most."""


def pin(process: psutil.Process, core: int) -> None:
    """Keep a process with all its threads on one core."""
    for thread in process.threads():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread.id, {core})


@contextlib.contextmanager
def peak_memory(process: psutil.Process) -> Iterator[list[int]]:
    """A list whose one element is the largest resident memory since the beginning of the block."""
    peak, over = [process.memory_info().rss], Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_SECONDS):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def wrk(port: int, post: Post, script: Path, seconds: float) -> tuple[float, float, float, int]:
    """Requests, seconds, the 99 % quantile of the latency in milliseconds, and errors."""
    command = ["taskset", "-c", str(OTHER_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(script)]
    url = f"http://127.0.0.1:{port}{post.path}"
    output = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) (\d+)", output)
    if found is None:
        raise SystemExit(f"wrk printed no result:\n{output}")
    requests, microseconds, p99_microseconds, errors = map(float, found.groups())
    return requests, microseconds / 1e6, p99_microseconds / 1e3, int(errors)


def measure(port: int, process: psutil.Process, post: Post, script: Path, seconds: float) -> Load:
    """Load one server."""
    pin(process, SERVER_CORE)
    before, cpu = process.memory_info().rss, sum(process.cpu_times()[:2])
    with peak_memory(process) as peak:
        requests, took, p99_ms, errors = wrk(port, post, script, seconds)
    cpu = sum(process.cpu_times()[:2]) - cpu
    return Load(int(requests), requests / took, cpu / requests * 1e6, p99_ms, errors, (peak[0] - before) / MIB)


def fill_sample(daemon: Daemon, post: Post, script: Path) -> None:
    """Load it until the sample holds nothing but these requests and has been assessed."""
    full = daemon.count("robmon_inputs_sampled_total") + SAMPLE_ROWS  # what came before gives way first
    while daemon.count("robmon_inputs_sampled_total") < full:
        wrk(daemon.port("inputs_port"), post, script, FILL_SECONDS)
    daemon.wait_for_assessments(2)


@dataclass(frozen=True)
class Comparison:
    """Both servers under the same load, and what the daemon says of it."""

    post: Post
    bare: Load
    daemon: Load
    received: int
    rejected: int
    assessments: int

    def requirements(self) -> Iterator[Requirement]:
        """Whether each is met, what it is, and what was found."""
        daemon, name = self.daemon, self.post.name
        if self.post.min_requests_per_second is not None:
            what = f"{name}: at least {self.post.min_requests_per_second:,.0f} requests/s on one core"
            yield (
                daemon.requests_per_second >= self.post.min_requests_per_second,
                what,
                f"{daemon.requests_per_second:,.0f}",
            )
        unanswered = self.received - daemon.requests  # when wrk's time was over
        yield (
            daemon.errors == self.rejected == 0 and 0 <= unanswered <= CONNECTIONS,
            f"{name}: none is refused",
            f"{daemon.requests:,} answered of {self.received:,}, {self.rejected} rejected, {daemon.errors} failed",
        )
        yield (
            daemon.p99_ms < MAX_P99_MS,
            f"{name}: 99 % are answered within {MAX_P99_MS:g} ms",
            f"{daemon.p99_ms:.1f} ms",
        )
        what = f"{name}: memory grows by less than {MAX_GROWTH_MIB:g} MiB once the sample is full"
        yield daemon.growth_mib < MAX_GROWTH_MIB, what, f"{daemon.growth_mib:.1f} MiB"
        yield self.assessments > 0, f"{name}: the worker assesses meanwhile", f"{self.assessments} assessments"


def compare(daemon: Daemon, post: Post, folder: Path, seconds: float) -> Comparison:
    """Load a bare server, then the daemon, whose worker assesses during both."""
    script = post.script(folder)
    fill_sample(daemon, post, script)
    with bare_server() as (port, process):
        wrk(port, post, script, 1)
        bare = measure(port, process, post, script, min(seconds, MAX_BARE_SECONDS))
    before = {name: daemon.count(name) for name in COUNTED}
    load = measure(daemon.port("inputs_port"), psutil.Process(daemon.process.pid), post, script, seconds)
    received, rejected, assessments = (int(daemon.count(name) - before[name]) for name in COUNTED)
    return Comparison(post, bare, load, received, rejected, assessments)


def report(comparisons: Sequence[Comparison]) -> bool:
    """Print the figures and what is required of them; whether all of it is met."""
    print(f"{'':22}{'requests/s':>12}{'CPU us/request':>16}{'p99 ms':>9}{'errors':>8}{'memory growth MiB':>19}")
    for compared in comparisons:
        for server, load in (("bare", compared.bare), ("daemon", compared.daemon)):
            print(
                f"{compared.post.name + ', ' + server:22}{load.requests_per_second:12,.0f}{load.cpu_microseconds:16.1f}"
                f"{load.p99_ms:9.1f}{load.errors:8}{load.growth_mib:19.1f}"
            )
        ratio = compared.daemon.requests_per_second / compared.bare.requests_per_second
        cost = compared.daemon.cpu_microseconds / compared.bare.cpu_microseconds
        print(f"daemon / bare: {ratio:.2f} of the requests/s, {cost:.2f} times the CPU a request")
    return judge(requirement for compared in comparisons for requirement in compared.requirements())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="seconds of load on the daemon, twice (default 20)")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed (Debian package wrk)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = Registry(local_registry(folder / "registry", template_database(folder / "template")), folder)
        model = registry.model()
        uri = f"models:/{model.name}/{model.add()}"
        with running_daemon(folder, uri, registry.tracking_uri, **SETTINGS) as daemon:
            pin(daemon.worker(), OTHER_CORE)
            print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before the first measurement")
            posts = (json_post(4096), binary_post(65_536))
            comparisons = [compare(daemon, post, folder, arguments.seconds) for post in posts]
            assert daemon.worker().is_running()
    sys.exit(not report(comparisons))


if __name__ == "__main__":
    main()
