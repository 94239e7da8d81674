"""What a version is compared by: what is kept of another's assessment, and why it could not be."""

from __future__ import annotations

from robmon.processes.messages.base import Message
from robmon.vocabulary import ComparisonScore, NoExponent, NoVerdict


class KeptClasses(Message):
    """What is kept of a classifier's assessment, beside its blob: see `robmon.worker.judging.Kept`."""

    levels: int
    """Number of levels above 0."""
    class_means: list[list[float]] | None
    exponent: float | None
    is_own: bool
    sensitivity: list[float]
    reason: NoExponent | None


class KeptCurve(Message):
    """A curve in the units of a verdict, level 0 included."""

    mean: list[float]
    bound: list[float] | None
    """None where the noise has no draw."""


class ComparisonTerms(Message):
    """The reference version's result on the very same rows and noise; what was kept of it is the last blob."""

    version: str
    alpha: float
    tolerance: float
    output: str
    clean_variance: list[float]
    output_names: list[str] = []
    """Of the parts of its outputs that stand side by side, in their order; none where one part is taken."""
    origins: list[int]
    nonfinite_rows: list[int] = []
    """The reference's rows without a finite clean output, which are left out, by their place in `origins`."""
    classes: KeptClasses | None = None
    """What is kept of a classifier."""
    curves: dict[ComparisonScore, KeptCurve] = {}
    """The reference's curve in the units of the verdict there may be, by its score."""
    draws: str | None = None
    """What drew the noise, which draws it again where it can."""
    traffic_ratio: float | None = None
    """The reference's mean MSE at the highest level over its baseline's; None where that has not settled."""
    traffic_stderr: float | None = None
    """Standard error of the baseline's mean, as a share of that mean."""


class NotCompared(Message):
    """Why a version could not be compared with its reference; without any input."""

    reason: NoVerdict
    why: str
