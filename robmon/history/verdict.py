"""What a comparison of two versions found, as it is published and remembered."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from robmon.vocabulary import ComparisonScore, NoExponent


class Verdict(BaseModel):
    """The new version against its reference, as `robustness.comparison.Comparison` describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    reference_version: str
    worse: bool
    pvalue: float
    levels: list[float]
    ratio: list[float]
    detectable_ratio: float | None
    """The smallest pooled ratio that this sample finds with 90 % power: infinite where it finds none."""
    pooled_ratio: float
    """What is tested: all errors of the new version over all of its reference."""
    pooled_low: float
    pooled_high: float
    confidence: float
    """Of the interval."""
    score: ComparisonScore
    why: str
    """What was compared, and why that, in words."""
    exponents: tuple[float, float] | None = None
    reason: NoExponent | None = None
    """Why flips decide."""
    disagreement: float | None = None
    flip_ratio: list[float] | None = None
    agreement_a: list[float] | None = None
    """Of the reference, by level."""
    agreement_b: list[float] | None = None
    flip_note: str = ""
    """Where flips say another thing than the verdict: a sentence."""
