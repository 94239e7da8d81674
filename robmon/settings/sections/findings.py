"""What else is looked for: drift, unusual queries, shares of the noise error, the worst."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from robmon.settings.sections.section import Section
from robmon.settings.values import Groups, PositiveInt, PositiveSeconds, Radii, group_of


class DriftSettings(Section):
    q: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.01,
        description="Share of the features reported as drifted that have not, at most, on average; where none has "
        "drifted, the probability that any is reported (Benjamini-Hochberg)",
    )
    max_features: PositiveInt = Field(8, description="Number of features exported one by one (the most drifted)")


class DetectSettings(Section):
    enabled: bool = Field(
        True, description="Whether to look for unusual queries: novel rows, near-duplicates, repeated bodies"
    )
    alpha: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.01, description="Share of the baseline's own rows that would be called novel"
    )
    ring: Annotated[int, Field(ge=0, le=2**24)] = Field(
        65_536, description="Hashes of bodies kept to count repeats, 8 bytes each; 0: none"
    )

    @property
    def novelty_alpha(self) -> float | None:
        """What the worker is asked for; None: nothing."""
        return self.alpha if self.enabled else None


class AttributionSettings(Section):
    groups: Groups = Field(
        (),
        description="Groups of features between which the noise error is shared out, as name=column,column; columns in "
        "no group form `all others`; unset: each feature, or the seven largest and all others",
    )

    @property
    def by_name(self) -> dict[str, list[str]]:
        """The columns of each group."""
        return dict(group_of(word) for word in self.groups)


class AttackSettings(Section):
    enabled: bool = Field(
        False,
        description="Whether to attack a classifier after the first assessment of a version, and rarely after that: "
        "how few rows keep their class in the worst case",
    )
    interval_seconds: PositiveSeconds = Field(86_400, description="Seconds between two attacks on the same version")
    rows: Annotated[int, Field(ge=2)] = Field(64, description="Most rows of the last assessment to attack")
    radii: Radii = Field(
        (0.05, 0.1, 0.2),
        description="How far each cell may be moved, in standard deviations of a feature, as noise levels",
    )
    max_seconds: PositiveSeconds = Field(
        10, description="Time budget of one attack, in seconds; an assessment due meanwhile waits that long"
    )
    allow_remote: bool = Field(
        False,
        description="Whether to attack a model at an endpoint too, by queries alone and at model.rows_per_second: "
        "whoever runs that server should know",
    )
