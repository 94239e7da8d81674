"""What else an assessment finds: drift, unusual rows, served answers, shares of the error, the canary."""

from __future__ import annotations

from robmon.processes.messages.base import Message


class DriftValue(Message):
    """Drift of one feature; `feature` is `all` for the whole input."""

    feature: str
    statistic: str
    value: float


class QualityValue(Message):
    """Share of the sample's rows that have a problem with a feature."""

    feature: str
    problem: str
    ratio: float


class NoveltyFound(Message):
    """What is unusual about the fresh rows of the sample, one a request: see `robmon.drift.novelty`."""

    rows: int
    """Number of rows that were judged."""
    ratio: float | None
    """Share of them that is novel; None where the baseline has too few rows to say."""
    pvalue: float | None
    """Probability of so many novel rows, if all were like the baseline's."""
    near_duplicates: int | None
    """Rows nearer to another than the baseline's ever were; None where too few of its pairs are known."""
    equal_rows: int
    """Rows with the same content as another."""
    novel_requests: list[int] = []
    """Indices of their requests."""
    near_requests: list[int] = []


class ServedResult(Message):
    """How many requests have a served answer that can be compared with the model's own, that differs, that cannot."""

    compared: int
    mismatched: int
    not_comparable: int

    @property
    def answers(self) -> int:
        """How many answers there were."""
        return self.compared + self.not_comparable


class SharesResult(Message):
    """Which groups of features carry the noise error, see `robustness.probes.shares`; or why that is not known."""

    groups: list[str] = []
    share: list[float] = []
    stderr: list[float] = []
    total: float | None = None
    """The noise error, in squared output units."""
    level: float | None = None
    is_now: bool = False
    """Whether they are of the rows of this assessment; else of the baseline."""
    rise_share: list[float] | None = None
    """Shares of the rise of the noise error since the baseline, where it has risen beyond three standard errors."""
    rise_stderr: list[float] | None = None
    largest: str | None = None
    """The group that carries most of the rise (where that is not known: of the error), beyond three standard errors."""
    cut: str = ""
    reason: str = ""
    """Why they could not be measured, in words; without any input."""


class CanaryResult(Message):
    """The synthetic canary, see `robmon.history.baseline.canary`, at one assessment."""

    rows: int = 0
    ratio: float | None = None
    """Share of its outputs that changed beyond rounding; None where it was not run."""
    is_changed: bool = False
    notes: list[str] = []
    """What has changed besides numbers, or what is new."""
    reason: str = ""
    """Why it was not run, in words; without any input."""
