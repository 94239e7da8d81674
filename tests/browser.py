"""A headless Chromium, for tests of the status page."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.patience import PATIENCE_SECONDS

CHROMIUM = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHROMIUM += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


DARK = ["--blink-settings=preferredColorScheme=0"]


def run_chromium(profile: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What it prints, and what it logs."""
    command = [*CHROMIUM, f"--user-data-dir={profile}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)


def chromium(profile: Path, *words: str) -> str:
    """What it prints."""
    return run_chromium(profile, *words).stdout


def dom(profile: Path, url: str, *flags: str) -> str:
    """The document as the browser understood it, after its scripts have run."""
    return chromium(profile, *flags, "--dump-dom", url)
