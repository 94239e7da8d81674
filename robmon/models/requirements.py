"""The requirements recorded with a model, held against what is installed."""

from __future__ import annotations

import contextlib
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

REQUIREMENTS_FILE = "requirements.txt"


def mismatches(folder: Path) -> list[str]:
    """A sentence for every requirement in the model's `requirements.txt` that this environment does not meet.

    Lines that are no plain requirement (options, URLs, paths) are passed over, as is a file that is not there.
    """
    try:
        lines = (folder / REQUIREMENTS_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    sentences: list[str] = []
    for line in lines:
        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(line.partition(" #")[0].strip())
            if sentence := _mismatch(requirement):
                sentences.append(sentence)
    return sentences


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
