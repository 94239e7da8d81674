"""The campaign of faults: all of it where `ROBMON_CAMPAIGN` is set (`make campaign`), else a short selection."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.watch import FINDINGS, as_markdown, as_text
from tests.e2e import conftest as e2e

collect_ignore = ["hostile_model.py"]  # it is for the worker
local, served = e2e.local, e2e.served
REPOSITORY = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is long, unless all is wanted; the rest takes as long as the machine lets it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(e2e.TIMEOUT_SECONDS))
        if item.get_closest_marker("campaign") and not os.environ.get("ROBMON_CAMPAIGN"):
            item.add_marker(pytest.mark.skip(reason="make campaign runs it"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """The table says which scenarios failed, and at what."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        told = str(report.longrepr).splitlines()
        why = next((line[1:].strip() for line in told if line.startswith("E ")), report.when)
        for finding in FINDINGS:
            if finding.test == item.nodeid:
                finding.outcome = f"FAILED: {why[:100]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table, on the terminal and, where `ROBMON_CAMPAIGN` names one, in a file."""
    if not FINDINGS:
        return
    terminalreporter.section("campaign of faults")
    for line in as_text():
        terminalreporter.write_line(line)
    if (page := os.environ.get("ROBMON_CAMPAIGN", "")).endswith(".md"):
        counts = {word: len(terminalreporter.stats.get(word, [])) for word in ("passed", "failed", "error", "skipped")}
        Path(page).parent.mkdir(parents=True, exist_ok=True)
        Path(page).write_text("\n".join([*_heading(counts), "", *as_markdown(), ""]), encoding="utf-8")


def _heading(counts: dict[str, int]) -> list[str]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.strip()
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return [
        "# A campaign of faults",
        "",
        f"`make campaign` at commit {commit}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, "
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}: {told}.",
        "",
        "Each line is a fault that was done to a real daemon, how often, and how it ended; the slowest answers of its",
        "probe and its metrics while the fault lasted; and what the daemon held more of once it was over.",
    ]
