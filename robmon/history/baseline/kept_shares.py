"""Shares of the noise error as they were when a baseline had settled: what shares of a rise are measured from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robmon.robustness.probes.shares import Attribution, GroupMoments
from robmon.vocabulary import OTHERS

Groups = Mapping[str, list[str]]


@dataclass(frozen=True, eq=False)
class KeptShares:
    """What is kept of an attribution.

    Attributes:
        members: the features of each group, by name.
        moments: of the groups' gains over rows.
        level: of the noise.
        noise: its name.
        output: what the outputs were.
        asked: the groups that were asked for, by the settings; empty: they were chosen by a screen.
    """

    members: dict[str, list[str]]
    moments: GroupMoments
    level: float
    noise: str
    output: str
    asked: dict[str, list[str]]

    @classmethod
    def of(cls, found: Attribution, asked: Groups) -> KeptShares:
        """What is kept of a result."""
        members = {name: list(names) for name, names in found.members.items()}
        return cls(members, found.moments, found.level, found.noise, found.output, dict(asked))

    def is_of(self, asked: Groups, level: float, noise: str, output: str) -> bool:
        """Whether shares of that can be compared with these."""
        return (self.asked, self.level, self.noise, self.output) == (dict(asked), level, noise, output)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The groups as `attribute_rows` takes them: the features in no group make one of their own."""
        return {name: names for name, names in self.members.items() if name != OTHERS}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; holds no production input."""
        return vars(self) | {"moments": self.moments.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KeptShares:
        """Inverse of `to_dict`."""
        groups = (
            {str(name): list(map(str, names)) for name, names in data[key].items()} for key in ("members", "asked")
        )
        members, asked = groups
        return cls(
            members=members,
            moments=GroupMoments.from_dict(data["moments"]),
            level=float(data["level"]),
            noise=str(data["noise"]),
            output=str(data["output"]),
            asked=asked,
        )
