"""Images are built and run for real: `make image`, which needs root and Debian; a machine that cannot is told why."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.image.host import keep_mounts_to_this_process, what_is_missing
from tests.image.store import FOLDER, Image, Store
from tests.watching.prometheus import REPOSITORY

FIGURES: list[str] = []
"""What was measured, in words, for the summary."""
TIMEOUT_SECONDS = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that is here is run by `make image` alone."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.image)
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sizes, times and memory."""
    if FIGURES:
        terminalreporter.section("image")
        for line in FIGURES:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures() -> list[str]:
    """Lines for the summary."""
    return FIGURES


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    """Where images are built."""
    if why := what_is_missing():
        pytest.skip(why)
    keep_mounts_to_this_process()
    # Being asked to end is no reason to leave anything behind.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with Store(FOLDER).held() as store:
        yield store
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def revision() -> str:
    """The commit."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="session")
def build(store: Store, revision: str) -> Callable[[str], Image]:
    """Build a variant, once."""
    return functools.cache(lambda variant: store.build(variant, revision))
