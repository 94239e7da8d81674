"""The campaign of faults: all of it with `--campaign` (`make campaign`), else a short selection."""

from __future__ import annotations

import os

import pytest

from tests.campaign.watch import FINDINGS, table
from tests.e2e import conftest as e2e

local, served = e2e.local, e2e.served


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is long, unless all is wanted."""
    for item in items:
        if item.get_closest_marker("campaign") and not os.environ.get("ROBMON_CAMPAIGN"):
            item.add_marker(pytest.mark.skip(reason="make campaign runs it"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table."""
    if FINDINGS:
        terminalreporter.section("campaign of faults")
        for line in table():
            terminalreporter.write_line(line)
