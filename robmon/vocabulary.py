"""Names that several rooms share, and two formulas in whole numbers. Imports nothing of robmon, and nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, get_args

# --- what is assessed, and how ---------------------------------------------------------------------------------------

NoiseName = Literal[
    "gaussian", "uniform", "laplace", "student_t", "salt_and_pepper", "missing", "quantize", "multiplicative",
    "common_mode", "correlated",
    "crop", "jpeg", "thumbnail", "rotate", "brightness", "contrast", "gaussian_blur", "pixelate",
]  # fmt: skip
NOISE_NAMES: Final[tuple[NoiseName, ...]] = get_args(NoiseName)
"""The noise models that robmon brings."""
LEVEL_UNITS: Final[dict[str, str]] = {
    "salt_and_pepper": "share of the cells",
    "missing": "share of the cells",
    "crop": "share of each side",
    "jpeg": "steps of quality below 100",
    "thumbnail": "share of each side",
    "rotate": "degrees",
    "brightness": "share of the range",
    "contrast": "share of the contrast",
    "gaussian_blur": "pixels",
    "pixelate": "share of each side",
}
"""What a level counts, of noises whose levels are no multiple of a scale."""
LARGEST_LEVELS: Final[dict[str, float]] = {
    **dict.fromkeys(LEVEL_UNITS, 1.0),
    "jpeg": 99.0,
    "rotate": 180.0,
    "gaussian_blur": 1000.0,
}
"""The largest level that has a meaning; others have none."""
IMAGE_NOISES: Final = tuple(NOISE_NAMES[NOISE_NAMES.index("crop") :])
"""Those of them that act on pictures."""
FIXED_NOISES: Final = frozenset({"quantize", "crop", "jpeg", "thumbnail", "gaussian_blur", "pixelate"})
"""Those without a draw, with their usual parameters: all trials are alike."""
ALL_INTEGERS: Final = "all"
"""In the place of names: all columns of whole numbers are measurements."""
LEVELS: Final = (0.0, 0.05, 0.1, 0.2, 0.4)
"""The usual ones, of noises whose levels are multiples of a scale, or shares."""
USUAL_LEVELS: Final[dict[str, tuple[float, ...]]] = {
    "jpeg": (0.0, 25.0, 50.0, 75.0, 90.0),
    "rotate": (0.0, 2.0, 5.0, 10.0, 20.0),
    "gaussian_blur": (0.0, 0.5, 1.0, 2.0, 3.0),
}
"""Those of others, in the place of the usual ones."""
ImageChannels = Literal["first", "last"]
IMAGE_CHANNELS: Final[tuple[ImageChannels, ...]] = get_args(ImageChannels)
JpegSubsampling = Literal["4:2:0", "4:2:2", "4:4:4"]
JPEG_SUBSAMPLING: Final[tuple[JpegSubsampling, ...]] = get_args(JpegSubsampling)
"""How few colours, beside brightness, an encoder keeps."""
BoundName = Literal["order_statistic", "tolerance", "cantelli", "student_t"]
BOUNDS: Final[tuple[BoundName, ...]] = get_args(BoundName)
"""Methods of the trial bound."""
Task = Literal["regression", "classification", "embedding"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)
OutputKind = Literal["value", "probability", "multilabel", "logit", "label", "embedding"]
"""Numbers; probabilities, of one class or of all; of several labels at once; scores of classes; classes themselves;
vectors of which only the distances mean something."""
OUTPUT_KINDS: Final[tuple[OutputKind, ...]] = get_args(OutputKind)
Distance = Literal["l2", "cosine"]
DISTANCES: Final[tuple[Distance, ...]] = get_args(Distance)
"""Of two embeddings: the length of their difference; 1 less the cosine of the angle between them."""
FALSE_MATCH_RATE: Final = 0.001
"""The usual share of pairs of different rows that may be nearer to one another than the threshold."""
ComparisonScore = Literal["mse", "probability", "flips", "triplets"]
COMPARISON_SCORES: Final[tuple[ComparisonScore, ...]] = get_args(ComparisonScore)
"""What row errors of a comparison are: squared changes of values, or of probabilities at a common confidence, or shares
of changed classes, or, of embeddings, of changed triplets."""
CurveSpace = Literal["output", "verdict"]
"""In which units two versions' curves stand beside each other: those of the outputs, or what a verdict compares."""
NoExponent = Literal["labels", "saturated", "exponent", "other_classes"]
"""Why flips decide between classifiers: no exponent brings both to a common confidence."""
OTHERS: Final = "all others"
"""The group of the features that are in no other, where a noise error is shared out."""
PLANNED_SHARE: Final = 0.8
"""Share of a time budget that is planned for: one measured batch is an estimate."""

# --- how it ends ------------------------------------------------------------------------------------------------------

Outcome = Literal["ok", "skipped", "failed"]
OUTCOMES: Final[Mapping[Outcome, tuple[str, ...]]] = {
    "ok": ("none",),
    "skipped": (
        *("too_few_inputs", "model_not_ready", "over_budget", "worker_backoff", "version_changed"),
        *("device_full", "device_busy"),
    ),
    "failed": (
        *("model_raised", "invalid_output", "invalid_input", "timeout", "crash", "out_of_memory", "error"),
        *("endpoint_unreachable", "endpoint_status"),
    ),
}
"""How an assessment ends, and for which reasons."""
ATTACK_OUTCOMES: Final[Mapping[Outcome, tuple[str, ...]]] = {
    "ok": ("none",),
    "skipped": ("too_few_inputs", "over_budget", "version_changed", "device_full", "device_busy"),
    "failed": OUTCOMES["failed"],
}
"""How an attack ends, and for which reasons."""
ENDPOINT_REASONS: Final = frozenset({"version_changed", "endpoint_unreachable", "endpoint_status"})
"""Of assessments: those that only a model at its endpoint can have."""
DEVICE_REASONS: Final = frozenset({"device_full", "device_busy"})
"""Of assessments, the former also of models that are loaded: those that only a CUDA device can have."""
FAILURE_REASONS: Final[Mapping[str, tuple[str, ...]]] = {
    "fetch": ("registry_unreachable", "not_found", "refused", "unsupported", "crash", "timeout", "error"),
    "load": ("not_loadable", "crash", "timeout", "memory", "device_full", "error"),
}
"""Why a model version cannot be fetched, or loaded."""
NoVerdict = Literal["failed", "other_units", "too_few_rows"]
"""Why a version could not be compared with its reference."""
PendingReason = Literal["no_reference", "memory_not_kept", NoVerdict]
PENDING_REASONS: Final[tuple[PendingReason, ...]] = get_args(PendingReason)
"""Why nobody can rely on a verdict on the version served."""
DetectionBasis = Literal["inherited", "day", "week"]
"""What the limit of the detector over time comes from: the version before, at least a day's hours, a week's."""
DetectionState = Literal["learning", DetectionBasis]
DETECTION_STATES: Final[tuple[DetectionState, ...]] = get_args(DetectionState)
DETECTION_RESTARTS: Final = ("version", "noise", "level", "baseline", "tolerance", "threshold", "format")
"""Why the detector over time begins again at 0: what of it is another than it was."""
FEWEST_HOURS: Final = 24
"""That a baseline must span before there is a limit in time."""
MOST_HOURS: Final = 168
"""That a baseline holds: a week, the newest."""
DETECTABLE_WITHIN: Final = 60
"""Assessments, within which the smallest change that can be seen is told."""
DeathReason = Literal["crash", "timeout", "memory"]
RESTART_REASONS: Final[tuple[str, ...]] = (*get_args(DeathReason), "new_version")
"""Why the worker is started again: how it died, or for another version."""
EventOutcome = Literal["accepted", "bad_signature", "stale", "replayed", "too_large"]
"""What becomes of an event that the registry sends."""
EVENT_OUTCOMES: Final[tuple[EventOutcome, ...]] = get_args(EventOutcome)

ARRIVAL_REASONS: Final = ("too_large", "inflight_full", "timeout", "disconnected")
"""Why a request is rejected while it arrives, before it is decoded."""
CONNECTION_REASONS: Final = (
    "not_http",
    "head_too_large",
    "head_timeout",
    "answer_timeout",
    "disconnected",
    "too_many_pipelined",
    "too_many_connections",
    "tls_handshake",
    "unauthorized",
)
"""Why connections and requests are refused on either port."""

# --- requests ---------------------------------------------------------------------------------------------------------

PROBE_HEADER: Final = "X-Robmon-Probe"
"""Header of every request that robmon sends to a model's endpoint itself, with the value 1: it never samples these. A
proxy that mirrors them keeps headers; KServe's logger drops all, but makes the client's `Ce-Id` its event's."""
PROBE_ID_PREFIX: Final = "robmon-probe-"
"""What the `Ce-Id` header of such a request, and the `id` of an Open Inference Protocol body, begin with."""
RECORD_TYPE: Final = "application/vnd.robmon.record+json"
"""Content type of a row as a flat JSON object, whatever its columns are called."""

# --- formulas ---------------------------------------------------------------------------------------------------------

GUARD: Final = 1e-9
"""What floating point may add to a whole number: 10 * 0.9 must need rank 9, 0.3 = 0.1 * 3 of 9 trials rank 3."""


def order_statistic_rank(count: int, confidence: float) -> int:
    """The rank `k = ceil((count + 1) * confidence)`, at least 1, guarded against floating point.

    Above `count` where so few draws do not bound a further one.

    >>> order_statistic_rank(19, 0.95), order_statistic_rank(9, 0.9), order_statistic_rank(18, 0.95)
    (19, 9, 19)
    """
    return max(1, math.ceil((count + 1) * confidence - GUARD))


def distance_bound(request_bound: float, distance: str | None) -> float:
    """How far a further output moves, of the bound of its row error: the root of a squared change; of cosines, which
    are no squares, the error itself.

    >>> distance_bound(0.25, None), distance_bound(0.25, "cosine")
    (0.5, 0.25)
    """
    return request_bound if distance == "cosine" else math.sqrt(request_bound)


def detection_threshold(false_alarms_per_month: float, interval_seconds: float) -> float:
    """Evidence at which the detector over time raises an alarm: the mean number of assessments between false ones.

    >>> detection_threshold(1, 60), detection_threshold(2, 60)
    (43200.0, 21600.0)
    """
    return 30 * 86400 / interval_seconds / false_alarms_per_month


def fewest_trials(confidence: float) -> int:
    """The smallest number of trials of which an order statistic bounds a further one with this confidence.

    >>> fewest_trials(0.95), fewest_trials(0.99), fewest_trials(0.9999)
    (19, 99, 9999)
    """
    return max(1, math.ceil((confidence - GUARD) / (1.0 - confidence)))
