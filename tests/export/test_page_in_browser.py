"""The status page as a browser shows it."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from robmon.export.status import status_page
from tests.export.published import NOW, everything

CHROMIUM = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHROMIUM += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


def chromium(profile: Path, *words: str) -> str:
    command = [*CHROMIUM, f"--user-data-dir={profile}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_browser_shows_the_verdict_and_the_table(tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(status_page(everything(), NOW + 5), encoding="utf-8")
    dom = chromium(tmp_path / "profile", "--dump-dom", f"file://{page}")
    assert "Robustness regressed: version 2 against 1" in dom
    assert dom.count("<tr>") == 3, "a header and two levels, as the browser understood them"
    chromium(tmp_path / "profile", "--window-size=900,600", f"--screenshot={picture}", f"file://{page}")
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (900, 600)
