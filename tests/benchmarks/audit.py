"""What an audit of small versions takes with 1 and 2 workers, and, simulated, on 1 to 256 nodes: prints tables.

    python tests/benchmarks/audit.py [--versions 12] [--simulated 1000] [--workers 1 2]

Seconds are of real audits by engine `local`, without its start. Memory is the peak of this process and all below it.
The simulation gives each free place of the nodes the next version, of which each takes the seconds of one that was
measured; what the command itself does for each result, one after the other, was measured too.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
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
from robmon.models.listing import list_versions
from robmon.models.registry import Registry
from tests.audit.registries import ManyVersions, many_versions
from tests.benchmarks._figures import MIB, judge
from tests.servers import template_database

NODES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Measured:
    """One audit."""

    seconds: float
    of_versions: list[float]
    own_seconds: float
    peak_bytes: int
    results: dict[str, bytes]


def measure(registry: ManyVersions, workers: int) -> Measured:
    """Audit the registry anew with so many workers."""
    out = registry.folder / f"out-{workers}"
    of_versions: list[float] = []
    own = 0.0

    def run(tasks: Sequence[Task], inputs: Any, tell: local.Tell) -> None:
        def timed(task: Task, content: dict[str, Any], seconds: float) -> None:
            nonlocal own
            began = time.perf_counter()
            tell(task, content, seconds)
            own += time.perf_counter() - began
            of_versions.append(seconds)

        local.run(tasks, inputs, Limits(), workers, registry.tracking_uri, timed)

    with tempfile.TemporaryDirectory() as scratch:
        place = open_place(str(out))
        made = plan(list_versions(Registry(registry.tracking_uri)), read_map(registry.map), place, Path(scratch))
        peak = Peak()
        began = time.perf_counter()
        found = audit(made, place, run)
        seconds = time.perf_counter() - began
    assert not found.failures
    results = {file.name: file.read_bytes() for file in out.rglob("versions/*/*.json")}
    return Measured(seconds, of_versions, own / len(of_versions), peak.end(), results)


class Peak:
    """The most memory of this process and all below it, looked at a few times a second."""

    def __init__(self) -> None:
        self._most, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        own = psutil.Process()
        while not self._over.wait(0.2):
            held = 0
            for process in [own, *own.children(recursive=True)]:
                try:
                    held += process.memory_info().rss
                except psutil.Error:
                    continue
            self._most = max(self._most, held)

    def end(self) -> int:
        """Bytes."""
        self._over.set()
        self._thread.join()
        return self._most


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
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        registry = many_versions(Path(folder) / "registry", template_database(Path(folder)))
        registry.add("small", [(1.0 + 0.01 * place, "behaves") for place in range(given.versions)])
        found = {workers: measure(registry, workers) for workers in given.workers}
    first = found[given.workers[0]]
    print(f"{given.versions} versions on {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    print("workers  seconds  speed-up  peak MiB")
    for workers, each in found.items():
        print(f"{workers:7}  {each.seconds:7.1f}  {first.seconds / each.seconds:8.2f}  {each.peak_bytes / MIB:8.0f}")
    drawn = random.Random(0).choices(first.of_versions, k=given.simulated)
    one = simulated(drawn, first.own_seconds, NODES[0])
    print(f"simulated: {given.simulated} versions, {first.own_seconds * 1000:.1f} ms a result in the command itself")
    print("nodes  seconds  efficiency")
    for nodes in NODES:
        seconds = simulated(drawn, first.own_seconds, nodes)
        print(f"{nodes:5}  {seconds:7.0f}  {one / seconds / nodes:10.2f}")
    same = all(each.results == first.results for each in found.values())
    if not judge([(same, "every number of workers gives the same bytes", f"{len(first.results)} results")]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
