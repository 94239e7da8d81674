"""What the worker is asked to assess, and what it plans to do."""

from __future__ import annotations

from typing import Any, Literal

from robmon.processes.messages.base import Message, SpecificationField
from robmon.processes.messages.comparison import ComparisonTerms
from robmon.vocabulary import DetectionBasis


class SampledRequest(Message):
    """One request of the sample, or one with a label."""

    format: str
    headers: dict[str, str] = {}
    seed: int
    """Decides which of the request's rows are drawn."""
    topped_up: bool = False
    hour: int | None = None
    """When it arrived, in whole hours of Unix time, where it counts for the detector over time: once in its life."""
    target: str | None = None
    """The request's label, as JSON."""
    answer: int | None = None
    """Index of the blob that holds the answer that was served, where it is to be compared."""


class Plan(Message):
    """What an assessment will do, fixed before its first trial."""

    rows: int
    trials: int
    batch_rows: int
    seconds: float
    """What it is expected to take."""
    features: dict[str, Any]
    """Scale, mean, sentinels and, where the noise needs it, correlation of the features, as they were used."""
    origins: list[int]
    """For each row the index of the request that it came from."""
    cut: str = ""
    """What the time budget left of rows and trials, and what to raise, in words; empty where nothing was cut."""


class InheritedBaseline(Message):
    """The baseline of a version before."""

    baseline: dict[str, Any]
    ratio: float
    """By how much larger this version's errors may be."""


class DetectionQuestion(Message):
    """What the detector over time knows so far; what it counts are the requests that have an hour."""

    false_alarms_per_month: float
    interval_seconds: float
    tolerance: float | None
    clear_evidence: float
    detector: dict[str, Any] | None = None
    """As it stood after the last assessment; None: it has not begun."""
    basis: DetectionBasis | None = None
    """What its limit comes from."""
    run_id: str | None = None
    accepted_at: float | None = None
    """Unix time at which a person accepted the version as it was then."""
    hours: dict[int, dict[str, Any]] = {}
    """Row errors that were gathered here, by hour, see `robmon.drift.hourly.HourlyErrors`. Those up to the newest hour
    that is in the baseline are in it."""
    learns: bool = True
    """Whether a limit is to be made, and this assessment's rows are normal as far as anybody knows."""
    inherited: list[InheritedBaseline] = []
    """Baselines of versions before, whose hours stand in for those that are not there yet; the nearest first."""
    without: list[int] = []
    """Hours that a person has left out."""


class AttributionQuestion(Message):
    """Which features carry the noise error at the highest level: asked once for a baseline, and when it is worse."""

    groups: dict[str, list[str]] = {}
    """Features of each, by name; empty: they are chosen by a screen."""
    now: bool = False
    """Whether it is measured now; else only for a baseline that has no shares, or a version that is worse."""
    before: dict[str, Any] | None = None
    """Shares of the baseline of the version that this one is compared with, see `history.baseline.kept_shares`."""


class Assess(Message):
    """Assess the loaded model on the requests in the blobs.

    The blobs are the bodies of `requests`, those of `labelled`, the answers, and what was kept of a comparison's
    reference.
    """

    type: Literal["assess"] = "assess"
    number: int
    seed: int
    requests: list[SampledRequest]
    labelled: list[SampledRequest] = []
    """Requests that have a label, of the sample or older, to be assessed against their labels too."""
    rows_per_request: int
    """Most rows drawn from one."""
    sample_rows: int
    """Most rows assessed."""
    specification: SpecificationField
    min_rows: int
    max_seconds: float
    max_features: int
    drift_q: float = 0.01
    """Share of the features said to have drifted that has not."""
    novelty_alpha: float | None = None
    """Share of the baseline's rows that lie beyond what is novel; None: unusual rows are not looked for."""
    baseline: dict[str, Any] | None
    baseline_min_rows: int
    hashes_names: bool = False
    """Whether a baseline that is learnt holds hashes in the place of the names of categories."""
    attribution: AttributionQuestion | None = None
    further: SpecificationField | None = None
    """A further noise, which is run once everything else is known, if there is time; None: none."""
    detection: DetectionQuestion | None = None
    """None where nothing is counted: another version than the one served, or rows that are not its own."""
    plan: Plan | None = None
    """A plan made before, which another version must follow so that both can be compared."""
    comparison: ComparisonTerms | None = None
