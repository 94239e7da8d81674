"""What an audit of small versions takes, and, simulated, on 1 to 256 nodes: prints tables.

    python tests/benchmarks/audit.py [--versions 12] [--workers 1 2] [--anew 6] [--simulated 1000]
    python tests/benchmarks/audit.py --versions 1000 --workers 2

Versions are small models of scikit-learn in a registry of MLflow's on SQLite, audited by engine `local`. Its processes
are copies of one that has imported what they take; `--anew` is of how many versions the processes are started anew too,
for comparison. Memory is the peak resident memory of this process, and that of it and all below it, in which memory
that several hold is counted once. The simulation gives each free place of the nodes the next version, of which each
takes the seconds of one that was measured; what the command itself does for each result, one after the other, was
measured too.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from robmon.audit import local
from robmon.audit.audit import audit, plan
from robmon.audit.inputs_map import read_map
from robmon.audit.store import open_place
from robmon.audit.task import Limits, Task
from robmon.models.registry.listing import list_versions
from robmon.models.registry.registry import Registry
from robmon.processes.strays import strays
from robmon.report.html.audit import audit_page
from tests.audit.registries import ManyVersions, many_versions
from tests.benchmarks._figures import MIB, judge
from tests.servers import template_database

LOOK_SECONDS = 0.5
TOLD = 50
NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Measured:
    """One audit, of which `own_seconds` are what the command itself does for a result."""

    seconds: float
    of_versions: list[float]
    own_seconds: float
    peak: Peak
    written_bytes: int
    results: dict[str, bytes]


def measure(registry: ManyVersions, workers: int, out: Path, most: int | None = None) -> Measured:
    """Audit the registry, or its first versions, anew with so many workers, from the listing to the page."""
    of_versions: list[float] = []
    own = 0.0

    def run(tasks: Sequence[Task], inputs: Any, tell: local.Tell) -> None:
        def timed(task: Task, content: dict[str, Any], seconds: float) -> None:
            nonlocal own
            began = time.perf_counter()
            tell(task, content, seconds)
            own += time.perf_counter() - began
            of_versions.append(seconds)
            if len(of_versions) % TOLD == 0:
                print(f"{len(of_versions)} versions, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)

        local.run(tasks, inputs, Limits(), workers, registry.tracking_uri, timed)

    with tempfile.TemporaryDirectory() as scratch, Peak() as peak:
        start = time.perf_counter()
        place = open_place(str(out))
        versions = list_versions(Registry(registry.tracking_uri))[:most]
        made = plan(versions, read_map(registry.map), place, Path(scratch))
        found = audit(made, place, run)
        content = found.to_dict()
        place.write("audit.json", json.dumps(content, indent=1).encode())
        place.write("audit.html", audit_page(content, [each.ranking for each in found.groups], "", "").encode())
        seconds = time.perf_counter() - start
    assert not found.failures
    results = {file.name: file.read_bytes() for file in out.rglob("versions/*/*.json")}
    written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return Measured(seconds, of_versions, own / len(of_versions), peak, written, results)


class Peak:
    """The most memory of this process, and of it and all below it, looked at while the block runs."""

    def __init__(self) -> None:
        self.own_bytes, self.all_bytes, self._over = 0, 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        own = psutil.Process()
        while not self._over.wait(LOOK_SECONDS):
            held = sum(map(proportional_bytes, [own.pid, *(each.pid for each in own.children(recursive=True))]))
            self.own_bytes = max(self.own_bytes, own.memory_info().rss)
            self.all_bytes = max(self.all_bytes, held)


def proportional_bytes(pid: int) -> int:
    """Resident memory of a process, of which its share alone counts of what it holds together with others."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return 0


def simulated(of_versions: Sequence[float], own_seconds: float, places: int) -> float:
    """Seconds until the last result is kept: places take versions in their order, the command keeps one at a time."""
    free = [0.0] * places
    done = []
    for seconds in of_versions:
        done.append(heapq.heappop(free) + seconds)
        heapq.heappush(free, done[-1])
    kept = 0.0
    for at in sorted(done):
        kept = max(kept, at) + own_seconds
    return kept


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=12)
    parser.add_argument("--simulated", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--anew", type=int, default=6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        registry = many_versions(Path(folder) / "registry", template_database(Path(folder)))
        registry.add_linear("small", given.versions)
        print(f"{given.versions} versions registered in {time.perf_counter() - began:.0f} s", flush=True)
        most = given.workers[-1]
        anew = measure(registry, most, Path(folder) / "anew", given.anew) if given.anew else None
        strays.adopt()
        found = {workers: measure(registry, workers, Path(folder) / f"out-{workers}") for workers in given.workers}
    first = found[given.workers[0]]
    print(f"on {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print("workers  minutes  speed-up  s a version  peak MiB: command  all  written MiB")
    for workers, each in found.items():
        print(
            f"{workers:7}  {each.seconds / 60:7.2f}  {first.seconds / each.seconds:8.2f}  "
            f"{statistics.median(each.of_versions):11.2f}  {each.peak.own_bytes / MIB:17.0f}  "
            f"{each.peak.all_bytes / MIB:3.0f}  {each.written_bytes / MIB:11.1f}"
        )
    if anew is not None:
        alone, copied = (statistics.median(each.of_versions) for each in (anew, found[most]))
        print(
            f"started anew instead, {given.anew} versions, {most} workers: {alone:.2f} s a version, "
            f"{alone / copied:.1f} times that of copies"
        )
    drawn = random.Random(0).choices(first.of_versions, k=given.simulated)
    one = simulated(drawn, first.own_seconds, NODES[0])
    print(f"simulated: {given.simulated} versions, {first.own_seconds * 1000:.1f} ms a result in the command itself")
    print("nodes  seconds  efficiency")
    for nodes in NODES:
        seconds = simulated(drawn, first.own_seconds, nodes)
        print(f"{nodes:5}  {seconds:7.0f}  {one / seconds / nodes:10.2f}")
    same = all(each.results == first.results for each in found.values())
    if anew is not None:
        same = same and anew.results.items() <= first.results.items()
    if not judge([(same, "workers, copied or started anew, give the same bytes", f"{len(first.results)} results")]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
