"""Tries and measures robmon on a GPU, on a machine that has PyTorch and no network.

    python -m tests.gpu [--only tests benchmark neighbour memory linear compile] [--output FILE]

Every step runs in a process of its own and has its time; one that fails hides no other. A complete run on a GPU takes
under 6 minutes, and writes docs/evidence/gpu-<device>.json. Without a GPU all sizes are small, speed is not judged, and
nothing is written unless --output says where. The exit status is 1 where something failed, 2 where nothing can be run.

What robmon imports beside NumPy and PyTorch comes from .gpu-wheels, see `make gpu-wheels`, or is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.gpu.record import shown
from tests.gpu.wheels import ROOT, unpack

STEP_SECONDS = {
    "machine": 40,
    "tests": 90,
    "benchmark": 160,
    "neighbour": 60,
    "memory": 80,
    "linear": 30,
    "compile": 60,
}
"""On a GPU, at most; the benchmark leaves out what it has no time for. Elsewhere `SLOWER` times as long."""
SLOWER = 4
ALL_SECONDS = 360
LAST = "compile"
"""It is left out where the others have taken so long on a GPU that there is no time for it."""
STEPS = tuple(name for name in STEP_SECONDS if name != "machine")
FIND_DEVICE = "import torch; print('cuda:0' if torch.cuda.is_available() else 'cpu')"


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS, help="the steps to run (default: all)")
    parser.add_argument("--device", help="such as cuda:1 or cpu (default: cuda:0 where there is one)")
    parser.add_argument("--quick", action="store_true", help="small sizes, as without a GPU")
    parser.add_argument("--output", type=Path, help="the JSON file that is written")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"wheels: {' '.join(unpack(folder / 'wheels')) or 'none'}", flush=True)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder / "wheels"), str(ROOT)])}
        device = "cuda:0" if asked.device == "cuda" else asked.device or found_device(environment)
        is_quick = asked.quick or not device.startswith("cuda")
        program = Program(device, is_quick, folder, environment)
        machine = program.run("machine")
        if machine["failed"]:
            print("nothing can be run here: give this machine PyTorch, and .gpu-wheels as `make gpu-wheels` makes it")
            return 2
        steps = {step: program.run(step) for step in asked.only if step != LAST or program.has_time(LAST)}
    facts = machine["figures"]["machine"]
    report = {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), **facts, "quick": is_quick}
    report["steps"] = steps
    print_table(facts, steps)
    write(
        report,
        asked.output or default_output(device, facts, is_complete=set(steps) >= set(STEPS) - {LAST} and not is_quick),
    )
    return 1 if any(step["failed"] for step in steps.values()) else 0


def found_device(environment: Mapping[str, str]) -> str:
    """`cuda:0` where there is one, asked in a process that does not stay on it."""
    found = subprocess.run([sys.executable, "-c", FIND_DEVICE], env=environment, capture_output=True, text=True)
    return found.stdout.strip() or "cpu"


class Program:
    """Runs steps, each in a process of its own.

    Args:
        device: on which.
        is_quick: whether sizes are small.
        folder: for what they report.
        environment: theirs.
    """

    def __init__(self, device: str, is_quick: bool, folder: Path, environment: Mapping[str, str]) -> None:
        self._device, self._is_quick, self._folder = device, is_quick, folder
        self._environment = {**environment, "ROBMON_GPU_TESTS_DEVICE": device}
        self._began = time.monotonic()

    def has_time(self, name: str) -> bool:
        """Whether there is time for a step, which is told where there is none."""
        left = ALL_SECONDS * self._slower - (time.monotonic() - self._began)
        if left < self._seconds(name):
            print(f"\n== {name}: left out, {left:.0f} s are left; run it by itself: --only {name}", flush=True)
        return left >= self._seconds(name)

    def run(self, name: str) -> dict[str, Any]:
        """What a step found, why it failed if it did, and how long it took."""
        seconds = self._seconds(name)
        report = self._folder / f"{name}.json"
        print(f"\n== {name} on {self._device}, at most {seconds} s", flush=True)
        began = time.monotonic()
        status = self._wait_for(self._tests(report) if name == "tests" else self._step(name, seconds, report), seconds)
        found: dict[str, Any] = {"figures": {}, "requirements": [], "skipped": {}}
        if report.exists():
            read = tests_of if name == "tests" else json.loads
            with contextlib.suppress(ValueError, ElementTree.ParseError):
                found |= read(report.read_text(encoding="utf-8"))
        unmet = [each["what"] for each in found["requirements"] if not each["met"]]
        found["failed"] = "; ".join([*([status] if status else []), *unmet])
        found["took_seconds"] = round(time.monotonic() - began, 1)
        return found

    @property
    def _slower(self) -> int:
        return 1 if self._device.startswith("cuda") else SLOWER

    def _seconds(self, name: str) -> float:
        """Most that a step may take."""
        return STEP_SECONDS[name] * self._slower

    def _step(self, name: str, seconds: float, report: Path) -> list[str]:
        command = ["-m", "tests.gpu.step", name, "--device", self._device, "--seconds", str(seconds - 5)]
        return [*command, "--report", str(report), *(["--quick"] if self._is_quick else [])]

    def _tests(self, report: Path) -> list[str]:
        """Without the project's own options, which name plugins."""
        options = ["-c", os.devnull, "--rootdir", str(ROOT), "-p", "no:cacheprovider", "-q", f"--junitxml={report}"]
        return ["-m", "pytest", "tests/gpu/test_device.py", "tests/gpu/test_too_large.py", *options]

    def _wait_for(self, command: Sequence[str], seconds: float) -> str:
        """What went wrong, in words; the process and all that it started are gone afterwards."""
        environment = {**self._environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, start_new_session=True)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"not done after {seconds:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return f"exit status {status}" if status else ""


def tests_of(text: str) -> dict[str, Any]:
    """What pytest's report says."""
    suite = next(ElementTree.fromstring(text).iter("testsuite"))
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failing = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    return {"figures": {"tests": {**counts, "seconds": float(suite.get("time", 0)), "failing": failing}}}


def print_table(facts: dict[str, Any], steps: dict[str, dict[str, Any]]) -> None:
    """What was found, in one place."""
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items()))
    for name, step in steps.items():
        print(f"\n{name}: {'FAIL, ' + step['failed'] if step['failed'] else 'PASS'}, in {step['took_seconds']:g} s")
        for part, figures in step["figures"].items():
            print(f"  {part:28s} " + "  ".join(f"{key} {shown(value)}" for key, value in figures.items()))
        for each in step["requirements"]:
            print(f"  {'PASS' if each['met'] else 'FAIL'} {each['what']} ({each['found']})")
        for what, why in step["skipped"].items():
            print(f"  skipped {what}: {why}")


def default_output(device: str, facts: dict[str, Any], is_complete: bool) -> Path | None:
    """Where the figures of a complete run on a GPU belong."""
    if not device.startswith("cuda") or not is_complete:
        return None
    return ROOT / "docs" / "evidence" / f"gpu-{re.sub('[^a-z0-9]+', '-', facts['device'].lower()).strip('-')}.json"


def write(report: dict[str, Any], output: Path | None) -> None:
    """Write the figures, if they are to be written."""
    if output is not None:
        output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"\nwritten: {output}")


if __name__ == "__main__":
    sys.exit(main())
