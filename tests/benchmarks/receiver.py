"""Requests per second of the receiver, beside a bare application that only answers.

Both run on uvicorn as robmon configures it, one after the other, each in a process of its own, and wrk posts the same
body to both. The ratio is the cost of sampling.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import psutil

from robmon.inputs.receiver import Receiver
from robmon.inputs.sample import Sample
from robmon.ports.server import PortServer


class Bare:
    """Reads the body and answers; nothing else."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    def refuse(self, reason: str) -> None:
        """The protocol counts here what never becomes a request."""


def application(name: str, sample_rows: int) -> Any:
    if name == "bare":
        return Bare()
    sample = Sample(sample_rows=sample_rows, max_age_seconds=3600, sample_bytes=32 * 2**20, random=Random(0))
    return Receiver(sample, max_body_bytes=8 * 2**20, max_inflight_bytes=16 * 2**20)


def serve(name: str, descriptor: int, sample_rows: int) -> None:
    listener = socket.socket(fileno=descriptor)
    served = application(name, sample_rows)
    PortServer(served, served.refuse, max_connections=512).run(sockets=[listener])


@contextmanager
def served(name: str, arguments: argparse.Namespace) -> Iterator[tuple[int, psutil.Process]]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        descriptor = listener.fileno()
        command = [sys.executable, __file__, "--serve", name, "--descriptor", str(descriptor)]
        command += ["--sample-rows", str(arguments.sample_rows)]
        process = subprocess.Popen(command, pass_fds=[descriptor])
        try:
            yield listener.getsockname()[1], psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=20)


def wrk_script(body_bytes: int) -> str:
    row = [round(Random(0).uniform(-1, 1), 6)] * 8
    rows: list[list[float]] = []
    while len(json.dumps({"inputs": [*rows, row]})) < body_bytes:
        rows.append(row)
    body = json.dumps({"inputs": rows})
    return (
        f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n"
        "done = function(summary, latency)\n"
        "  io.write(string.format('RESULT %d %d %f %d\\n', summary.requests, summary.duration,\n"
        "    latency:percentile(99), summary.errors.status + summary.errors.read + summary.errors.timeout))\n"
        "end\n"
    )


def measure(name: str, arguments: argparse.Namespace, script: Path) -> dict[str, float]:
    with served(name, arguments) as (port, process):
        url = f"http://127.0.0.1:{port}/invocations"
        command = ["wrk", "-t1", f"-c{arguments.connections}", "-s", str(script), url]
        subprocess.run([*command, "-d1s"], check=True, capture_output=True)  # fills the sample
        before = process.memory_info().rss
        cpu = sum(process.cpu_times()[:2])
        output = subprocess.run([*command, f"-d{arguments.seconds}s"], check=True, capture_output=True, text=True)
        cpu = sum(process.cpu_times()[:2]) - cpu
        growth = process.memory_info().rss - before
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) (\d+)", output.stdout)
    if found is None:
        raise SystemExit(f"wrk printed no result:\n{output.stdout}")
    requests, microseconds, p99_microseconds, errors = map(float, found.groups())
    return {
        "requests_per_second": requests / microseconds * 1e6,
        "cpu_microseconds": cpu / requests * 1e6,
        "p99_ms": p99_microseconds / 1e3,
        "errors": errors,
        "growth_mib": growth / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="seconds of load on each (default 5)")
    parser.add_argument("--connections", type=int, default=32, help="connections that wrk holds (default 32)")
    parser.add_argument("--body-bytes", type=int, default=4096, help="size of the JSON body (default 4096)")
    parser.add_argument("--sample-rows", type=int, default=256, help="requests that the sample holds (default 256)")
    parser.add_argument("--serve", choices=["bare", "receiver"], help=argparse.SUPPRESS)
    parser.add_argument("--descriptor", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.descriptor, arguments.sample_rows)
        return
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed (Debian package wrk)")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "post.lua"
        script.write_text(wrk_script(arguments.body_bytes))
        results = {name: measure(name, arguments, script) for name in ("bare", "receiver")}
    print(f"{arguments.body_bytes} byte JSON, {arguments.connections} connections, {os.cpu_count()} cores")
    print(f"{'':10}{'requests/s':>12}{'CPU us/request':>16}{'p99 ms':>9}{'errors':>8}{'memory growth MiB':>19}")
    for name, result in results.items():
        print(
            f"{name:10}{result['requests_per_second']:12.0f}{result['cpu_microseconds']:16.1f}{result['p99_ms']:9.1f}"
            f"{result['errors']:8.0f}{result['growth_mib']:19.1f}"
        )
    ratio = results["receiver"]["requests_per_second"] / results["bare"]["requests_per_second"]
    cost = results["receiver"]["cpu_microseconds"] - results["bare"]["cpu_microseconds"]
    print(f"receiver / bare: {ratio:.2f} of the requests/s, {cost:.1f} us of CPU a request more")


if __name__ == "__main__":
    main()
