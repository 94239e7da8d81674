"""Advice on a model: what was read of its operators, and what is computed and measured of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from robmon.robustness.jsonable import jsonable

Rule = Literal["stem_noise", "normalisation", "pooling", "downsampling", "resolution"]
SOURCE: Final = "arXiv 2509.20939"


@dataclass(frozen=True)
class AdviceItem:
    """One finding about a model.

    Attributes:
        rule: `stem_noise`, `normalisation`, `pooling`, `downsampling` or `resolution`.
        where: the part of the model, and the operator.
        read: what was read there.
        gain: for stem noise, pooling and downsampling, the variance of the noise after the operator divided by that
            before it, for white noise on a flat picture (for a maximum, its mean square); for normalisation, 0.5 over
            the smallest standard deviation; for resolution, the pixels of the other version over those of this one.
        source: of the rule.
        measured: with inputs, noise over signal (mean squared change over variance) `before` and `after` the operator;
            None where nothing was measured, or the rule is not about an operator.
        text: all of that in a sentence.
    """

    rule: Rule
    where: str
    read: dict[str, Any]
    gain: float
    text: str
    source: str = SOURCE
    measured: dict[str, float] | None = None

    @property
    def growth(self) -> float:
        """Measured noise over signal after the operator divided by that before it; 0 where it was not measured."""
        if self.measured is None or not self.measured["before"]:
            return 0.0
        return self.measured["after"] / self.measured["before"]

    def to_dict(self) -> dict[str, Any]:
        """The item as JSON."""
        names = ("rule", "where", "read", "gain", "source", "measured", "text")
        return {name: jsonable(getattr(self, name)) for name in names}


@dataclass(frozen=True)
class Advice:
    """The findings about a model, largest measured growth of noise first. Advice, not a verdict.

    Attributes:
        items: one per operator that a rule is about.
        reason: why nothing was read; empty where something was.
        notes: sentences on what was deduced or left out.
    """

    items: tuple[AdviceItem, ...] = ()
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def input_noise_gain(self) -> float | None:
        """The variance of noise after the first convolution divided by that before it, normalisation included (the
        largest, where there are several); None where none was read.
        """
        return max((item.gain for item in self.items if item.rule == "stem_noise"), default=None)

    def to_dict(self) -> dict[str, Any]:
        """The advice as JSON."""
        return {"items": [item.to_dict() for item in self.items], "reason": self.reason, "notes": list(self.notes)}

    def __str__(self) -> str:
        from robmon.report.advice import text

        return text(self)
