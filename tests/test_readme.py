"""The README's generated tables, its files and its links are as they are now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.inputs.reasons import REASONS

REPOSITORY = Path(__file__).parent.parent


def test_tables_are_up_to_date() -> None:
    command = [sys.executable, REPOSITORY / "tools/readme_tables.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_documents_link_to_is_there() -> None:
    for document in REPOSITORY.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            assert "://" in target or (REPOSITORY / target).exists(), f"{document.name} links to {target}"


def test_every_reason_for_a_rejection_is_told() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert {reason for reason in REASONS if f"`{reason}`" not in readme} == set()


def test_nothing_is_left_to_fill_in() -> None:
    words = re.findall(r"\b(?:TODO|FIXME|TBD|XXX|FOOTPRINT)\b", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert words == []
