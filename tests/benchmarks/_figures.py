"""What the programs that measure a running daemon have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MIB = 2**20

Requirement = tuple[bool, str, str]
"""Whether it is met, what it is, and what was found."""


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def judge(requirements: Iterable[Requirement]) -> bool:
    """Print what is required and what was found; whether all of it is met."""
    judged = list(requirements)
    for met, what, found in judged:
        print("PASS" if met else "FAIL", what, f"({found})")
    return all(met for met, _, _ in judged)
