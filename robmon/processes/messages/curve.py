"""What noise does to the outputs, in the worker's answer: of one noise, of a further one, and against labels."""

from __future__ import annotations

from robmon.processes.messages.base import Message
from robmon.vocabulary import Distance


class LevelResult(Message):
    """One point of the noise robustness curve."""

    level: float
    mean_mse: float
    bound: float | None
    request_bound: float | None
    agreement: float | None
    realised_level: float = 0.0
    """Root mean square of what was added to the perturbed cells, in units of their scale."""
    nonfinite_outputs: int = 0
    baseline_ratio: float | None = None
    baseline_ratio_lower: float | None = None
    baseline_stderr: float | None = None
    """Standard error of the baseline's mean over its rows, as a share of that mean."""
    beyond_threshold: float | None = None
    """For embeddings, like the next ones, see `robmon.robustness.curve_point.CurvePoint`."""
    triplet_flips: float | None = None
    self_nearest: float | None = None
    median_move: float | None = None


class SlopeResult(Message):
    """The robustness slope of one score."""

    value: float
    lack_of_fit: float | None


class LimitCrossing(Message):
    """The level at which a score crosses the owner's limit, with its confidence limits over rows; None: beyond the
    highest level assessed, as the text says in words."""

    score: str
    limit: float
    level: float | None
    low: float | None
    high: float | None
    text: str


class FurtherNoise(Message):
    """What a further noise did to the rows of an assessment, in what was left of its time; or why it was not run."""

    noise: str
    level_unit: str = ""
    """What a noise level counts."""
    confidence: float = 0.0
    output: str = ""
    distance: Distance | None = None
    """Distance between embeddings; None for other outputs."""
    rows: int = 0
    trials: int = 0
    levels: list[LevelResult] = []
    """Empty where it was not run."""
    slopes: dict[str, SlopeResult] = {}
    area: float | None = None
    index: float | None = None
    notes: list[str] = []
    cut: str = ""
    """What the time left of rows and trials, in words; empty where nothing was cut."""
    reason: str = ""
    """Why it was not run, as that of an assessment."""
    why: str = ""
    """The same in words; without any input."""


class LabelResult(Message):
    """The model assessed on labelled rows: its errors against their targets."""

    rows: int
    trials: int
    levels: list[LevelResult]
    area: float | None
    index: float | None
    clean_mse: float | None
    accuracy_slope: SlopeResult | None
    crossings: list[LimitCrossing] = []
    """Crossings of the accuracy, where the owner has limited it."""
