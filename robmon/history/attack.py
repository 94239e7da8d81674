"""What an attack on a version found, as it is told and kept: numbers alone, and no row of inputs among them."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

WORST: Final = "worst"
"""In the place of an attack's name: each row's worst counts."""


class AttackFound(BaseModel):
    """What came of an attack: at most so many of the rows keep their class within each radius."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    norm: str
    radii: list[float]
    """Rising, in multiples of the baseline's standard deviations."""
    agreement: dict[str, list[float]]
    """By attack, `worst` among them: the share of the rows that kept the model's own class, a number a radius."""
    gradient: Literal["ok", "zero", "none"]
    """`none`: the model has none to ask for, or it cannot be believed."""
    masked: bool
    """Whether something says that the gradient hides how fragile the model is."""
    rows: int
    queries: float
    """How often the model was asked about each row, on average."""
    seconds: float
    seed: int
    cut: str = ""
    """What a time budget left, in words; empty: nothing."""
    notes: list[str] = []
    """Sentences on what was deduced, left alone or left out."""
    certified: dict[str, list[float]] = {}
    """By method, where the module can be read: the share of the same rows that provably keeps its class, a number a
    radius."""

    @property
    def at_least(self) -> list[float] | None:
        """What is certified by whichever method says most; None where nothing is."""
        return [max(shares) for shares in zip(*self.certified.values(), strict=True)] or None

    @property
    def worst(self) -> list[float]:
        """Agreement under the worst of all attacks."""
        return self.agreement[WORST]


class AttackRecord(BaseModel):
    """Which version was attacked last, when, and what came of it."""

    model_config = ConfigDict(frozen=True)

    version: str
    run_id: str | None
    terms: str
    """A short word for the settings by which it was made."""
    began_at: float
    """Unix time; kept before it begins, so that one that ends the whole daemon is not made again at once."""
    found: AttackFound | None = None
    """None as long as it goes on, and where nothing came of it."""
    found_at: float | None = None
    """Unix time of what was found."""
