"""What a comparison of two versions found, as it is published and remembered."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from robmon.vocabulary import ComparisonScore, CurveSpace, NoExponent


class Part(BaseModel):
    """What one cause does to the noise error at the highest level."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    ratio: float
    """By how much it multiplies the error."""
    log_stderr: float
    """Standard error of the ratio's logarithm, over rows."""
    share: float | None = None
    """Share of the whole change; None unless the error has risen beyond three standard errors."""
    share_stderr: float | None = None


class Causes(BaseModel):
    """Why the noise error of a version is another than its reference's on the rows of the baseline.

    Traffic first, which the reference itself meets, then the model, on the same rows: the product of the two ratios is
    the whole one (`robmon.drift.blame.blame_in_order`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    model: Part | None = None
    """None where an output is not finite, so that there is no ratio."""
    traffic: Part | None = None
    """None where the reference has no settled baseline."""
    cause: Literal["model", "traffic"] | None = None
    """The larger of those that have raised the error by more than three standard errors."""


class JudgedCurves(BaseModel):
    """Both noise robustness curves on the rows of the verdict, in units in which their ratio is the verdict's."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    space: CurveSpace
    """`output`: squared output units, as everywhere else. `verdict`: what the verdict compares, where that is another
    thing: of classifiers, of several outputs that are divided by their variances."""
    noise: str
    confidence: float
    """Confidence of the bounds."""
    levels: list[float]
    reference_mean: list[float]
    """Mean error of the reference version at each level."""
    reference_bound: list[float] | None
    """The reference's trial bounds; None where it was assessed on more rows, or the noise has no draw."""
    mean: list[float]
    bound: list[float] | None
    """Trial bounds of the version that is judged."""


class Verdict(BaseModel):
    """The new version against its reference, as `robustness.comparison.Comparison` describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    reference_version: str
    worse: bool
    pvalue: float
    levels: list[float]
    ratio: list[float]
    ratio_low: list[float] | None = None
    ratio_high: list[float] | None = None
    """Confidence limits of the ratios, level by level, not corrected for how many levels there are."""
    detectable_ratio: float | None
    """The smallest pooled ratio that this sample finds with 90 % power: infinite where it finds none."""
    pooled_ratio: float
    """What is tested: all errors of the new version over all of its reference."""
    pooled_low: float
    pooled_high: float
    confidence: float
    """Confidence of the interval."""
    score: ComparisonScore
    why: str
    """What was compared, and why that, in words."""
    exponents: tuple[float, float] | None = None
    reason: NoExponent | None = None
    """Why flips decide."""
    disagreement: float | None = None
    flip_ratio: list[float] | None = None
    agreement_a: list[float] | None = None
    """Agreement of the reference, by level."""
    agreement_b: list[float] | None = None
    causes: Causes | None = None
    """None of a verdict that was remembered without."""
    curves: JudgedCurves | None = None
    """None of a verdict that was remembered without."""
    flip_note: str = ""
    """Where flips say another thing than the verdict: a sentence."""
