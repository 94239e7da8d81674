"""The requirements recorded with a model, held against what is installed."""

from __future__ import annotations

import contextlib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from robmon.wording import printable

REQUIREMENTS_FILE = "requirements.txt"
MAX_BYTES, MAX_LINES = 2**20, 5000
"""Of the file, as far as it is read: to look for a package takes a tenth of a millisecond."""
MOST_TOLD = 50
"""Sentences: each is a line of the log whenever the model is loaded."""


def mismatches(folder: Path) -> list[str]:
    """A sentence for every requirement in the model's `requirements.txt` that this environment does not meet.

    Lines that are no plain requirement (options, URLs, paths) are passed over, as is a file that is not there.
    """
    try:
        with (folder / REQUIREMENTS_FILE).open("rb") as file:
            lines = file.read(MAX_BYTES).decode().splitlines()[:MAX_LINES]
    except (OSError, UnicodeDecodeError):
        return []
    sentences: list[str] = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            requirement = Requirement(line.partition(" #")[0].strip())
            if sentence := _mismatch(requirement):
                sentences.append(printable(sentence))
    left_out = len(sentences) - MOST_TOLD
    return sentences if left_out <= 0 else [*sentences[:MOST_TOLD], f"{left_out} more requirements are not met"]


def _mismatch(requirement: Requirement) -> str | None:
    if requirement.url is not None or (requirement.marker is not None and not requirement.marker.evaluate()):
        return None
    wanted = f"the model wants {requirement.specifier or 'it'}"
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed, {wanted}"
    if requirement.specifier.contains(installed, prereleases=True):
        return None
    return f"{requirement.name} {installed} is installed, {wanted}"
