"""The worker's answer: one complete assessment."""

from __future__ import annotations

from typing import Any, Literal

from robmon.history.detection import Detection
from robmon.history.verdict import Verdict
from robmon.processes.messages.base import Message
from robmon.processes.messages.comparison import KeptClasses, KeptCurve, NotCompared
from robmon.processes.messages.curve import FurtherNoise, LabelResult, LevelResult, LimitCrossing, SlopeResult
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.findings import (
    CanaryResult,
    DriftValue,
    NoveltyFound,
    QualityValue,
    ServedResult,
    SharesResult,
)
from robmon.processes.messages.model import LoadedModel
from robmon.processes.messages.question import Plan
from robmon.vocabulary import ComparisonScore, Distance


class Assessed(Message):
    """One complete assessment. Its only blob is what is kept for comparisons, see `robmon.worker.judging.Kept`."""

    type: Literal["assessed"] = "assessed"
    number: int
    seed: int
    plan: Plan
    noise: str
    level_unit: str
    """What a noise level counts."""
    masked: str
    """What was not perturbed, and why, in words; empty where everything was."""
    notes: list[str] = []
    """Sentences on what was deduced, left alone or left out; no production input is in them."""
    confidence: float
    output: str
    distance: Distance | None = None
    """Distance between embeddings; None for other outputs."""
    threshold: float | None = None
    """For embeddings, the distance beyond which two no longer count as the same thing; None where none is known."""
    levels: list[LevelResult]
    slopes: dict[str, SlopeResult] = {}
    """By score: mse, agreement, accuracy."""
    area: float | None
    index: float | None
    noise_margin: float | None = None
    crossings: list[LimitCrossing] = []
    """Crossings of the MSE and the agreement, where the owner has limited them."""
    worst_requests: list[int] = []
    """Indices of the requests with the largest errors at the highest level, largest first."""
    labels: LabelResult | None = None
    """The same against labels, where enough rows have one."""
    label_problem: str = ""
    """Why there is no such result although there are labels; without any input."""
    labelled_rows: int = 0
    """Rows that have a label which fits the model."""
    unfit_labels: list[int] = []
    """Indices of the labelled requests whose label does not fit the model's outputs."""
    served: ServedResult | None = None
    """The served answers against this version's, where any is known."""
    clean_variance: list[float]
    """The variance that the row errors are divided by: the baseline's once it counts, else that of this sample."""
    output_names: list[str] = []
    """Of the parts of the outputs that stand side by side, in their order; none where one part is taken."""
    detection: Detection | None = None
    """The detector over time, where it was asked for."""
    detection_hours: dict[int, dict[str, Any]] = {}
    """The hours that this assessment's rows belong to: as they came with the question, and these added."""
    new_hours: dict[str, Any] | None = None
    """The hours that are new in the baseline, where this is a time to share them."""
    shares: SharesResult | None = None
    further: FurtherNoise | None = None
    """Results of a further noise, where one was asked for."""
    canary: CanaryResult | None = None
    """None while the baseline is being learnt."""
    input_drift: list[DriftValue] = []
    input_quality: list[QualityValue] = []
    drifted_features: int | None = None
    """How many have drifted, at the rate of mistakes that was asked for."""
    features_watched: int | None = None
    """Features of which drift is measured; None while the baseline is being learnt."""
    prediction_drift: list[DriftValue] = []
    novelty: NoveltyFound | None = None
    """Unusual rows; None while the baseline is being learnt, or where they are not looked for."""
    baseline: dict[str, Any]
    """The baseline as it stands after this assessment."""
    kept_classes: KeptClasses | None = None
    """What is kept of a classifier for comparisons, beside the blob."""
    kept_curves: dict[ComparisonScore, KeptCurve] = {}
    """The curve in the units of each verdict there may be, by its score."""
    is_reference: bool = True
    """Whether another version can be compared with it."""
    verdict: Verdict | None = None
    not_compared: NotCompared | None = None
    """Why there is no verdict although there was to be one."""
    sample_sha256: str = ""
    """Digest of the rows of the plan as the model takes them, see `robmon.worker.digest`."""
    rejections: Rejections
    """Rejections of the sample; the plan may take fewer rows than could be used."""
    nonfinite_rows: list[int] = []
    """Rows of the plan whose clean output is not finite: they are left out of every number."""
    phase_seconds: dict[str, float] = {}
    batch_rows: int
    """Most rows that the model was given at a time."""
    out_of_memory_retries: int = 0
    """How often memory ran out: batches were halved, or the model was loaded again on the CPU."""
    draws: str
    """What drew the noise: the same seed gives other numbers elsewhere."""
    compiled: bool = False
    """Whether what was compiled of the model was called."""
    device_memory_bytes: int | None = None
    """The most that the worker held of the memory of a CUDA device; None where it computes elsewhere."""
    loaded_again: LoadedModel | None = None
    """The model as it was loaded for this assessment, on another device than before."""
