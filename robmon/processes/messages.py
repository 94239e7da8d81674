"""The typed messages between the daemon and its short or heavy processes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    PlainSerializer,
    PlainValidator,
)

from robmon.history.attack import AttackFound
from robmon.history.detection import Detection
from robmon.history.verdict import Verdict
from robmon.inputs.readers.answers import FileOpened, FileRows, NoMoreRows, ReadFailure
from robmon.inputs.readers.position import FilePosition
from robmon.models.access import EndpointAccess
from robmon.models.device import DeviceUse
from robmon.robustness.specification import Specification
from robmon.vocabulary import ComparisonScore, DetectionBasis, Distance, NoExponent, NoVerdict

PROTOCOL_VERSION = 15


def _failing_fast(schema: Any) -> Any:
    """The schema, in which each list ends at the first item that is wrong."""
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if each.get("type") == "list":
                each["fail_fast"] = True
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each
    return schema


class Message(BaseModel):
    """Base of all messages: unknown fields are refused, infinities and NaN are kept."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> Any:
        """Of a list the first item that is wrong is enough: to note each of millions takes gigabytes."""
        return _failing_fast(handler(source))


def _specification(content: Any) -> Specification:
    return content if isinstance(content, Specification) else Specification.from_dict(content)


_Plain = Annotated[Any, PlainValidator(_specification), PlainSerializer(Specification.to_dict)]
SpecificationField = Annotated[Specification, GetPydanticSchema(lambda _source, handler: handler(_Plain))]


class ModelVersion(Message):
    """One version of a registered model (or a run's model), fetched to a local folder, or served at an endpoint."""

    name: str
    version: str
    run_id: str | None = None
    path: str = ""
    """Local folder; empty of a model at an endpoint."""
    endpoint: str | None = None
    """Prediction URL of a model that is not loaded here, but asked."""
    flavors: list[str] = []
    tags: dict[str, str] = {}
    """Of the registered version, as far as they are kept; see `models.registry.Resolved`."""
    commit: str | None = None
    """The commit of the code that made it, where its run tells it."""
    baseline: dict[str, Any] | None = None
    """The baseline recorded beside the model as an artifact, if any."""
    learnt: dict[str, Any] | None = None
    """The baseline that pods of this version have learnt and shared, if any."""
    learnt_before: dict[str, dict[str, Any]] = {}
    """The same of the versions that it was compared with, one after the other, as far as it inherits from them."""


class Hello(Message):
    """First message of a worker or fetch process."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL_VERSION
    pid: int


class Rejections(Message):
    """What of a sample could not be used. It holds, and is told, whatever becomes of the rest."""

    counts: dict[str, dict[str, int]] = {}
    """Requests, or rows of them, that could not be used: by format, then by reason."""
    unusable: list[int] = []
    """Indices of the requests of which nothing could be used."""
    rows: int | None = None
    """How many rows of the other requests could be used; None as long as that is not known."""


class Failure(Message):
    """An answer that tells what went wrong, in words that hold no production input.

    `reason` is a short word for counters. `error` is the exception's type, `where` its module and line.
    `message` is only set for robmon's own errors and the system's, never for an exception of the model's code.
    """

    type: Literal["failure"] = "failure"
    reason: str
    error: str = ""
    where: str = ""
    message: str = ""
    rejections: Rejections = Rejections()
    """Of the sample that was to be assessed."""
    served_version: str | None = None
    """Version as which an endpoint answered, where that is another than the one that is assessed."""

    @property
    def told(self) -> str:
        """What went wrong in a sentence; words of model code are not in it."""
        place = f"{self.error} at {self.where}" if self.where else self.error
        if self.message and (not self.where or self.where in self.message):
            return self.message
        return f"{self.message} ({place})" if self.message else place


# --- fetch -----------------------------------------------------------------------------------------------------------


class Fetch(Message):
    """Resolve `uri`; download it unless it resolves to `known_version`."""

    type: Literal["fetch"] = "fetch"
    uri: str
    tracking_uri: str | None = None
    data_dir: str
    known_version: str | None = None
    allowed_flavors: list[str] = []
    require_tags: list[str] = []
    keep_versions: list[str] = []
    access: EndpointAccess = EndpointAccess()
    memory_tag: str | None = None
    """Tag of the registered model that is read too: what is remembered of its versions."""
    remembered_versions: list[str] = []
    """Versions whose runs are asked for, besides those in the tag."""


class Fetched(Message):
    """What `uri` is now. `model` is None where it is still the known version."""

    type: Literal["fetched"] = "fetched"
    version: str
    model: ModelVersion | None
    memory: str | None = None
    """The tag's text, None where there is none."""
    run_ids: dict[str, str | None] = {}
    """The runs of the versions that are remembered, of those that the registry has."""
    aliases: dict[str, str] = {}
    """The registered model's aliases, and the versions that they stand for."""


class Remember(Message):
    """Merge entries into what a tag of a registered model remembers of its versions."""

    type: Literal["remember"] = "remember"
    tracking_uri: str | None = None
    name: str
    tag: str
    entries: str
    """As JSON, see `history.memory`."""
    without: list[tuple[str, str | None]] = []
    """Version and run id of entries that are taken out."""


class LogResults(Message):
    """Log what assessments found to the run that made the version."""

    type: Literal["log_results"] = "log_results"
    tracking_uri: str | None = None
    run_id: str
    metrics: list[tuple[str, float, int, int]]
    """Name, value, Unix milliseconds and step of each; the same one twice is one."""
    tags: dict[str, str]
    curve: dict[str, Any]
    """The last one, as JSON."""


class ResultsLogged(Message):
    """They are there."""

    type: Literal["results_logged"] = "results_logged"


class ShareBaseline(Message):
    """Put a learnt baseline beside the version's model, merged with what other pods have put there."""

    type: Literal["share_baseline"] = "share_baseline"
    tracking_uri: str | None = None
    name: str
    version: str
    baseline: dict[str, Any]
    """As it stands here; what is there wins, but for the hours."""
    new_hours: dict[str, dict[str, Any]]
    """By id, the hours that this pod has gathered: those that are not there are added."""


class BaselineShared(Message):
    """What lies there now."""

    type: Literal["baseline_shared"] = "baseline_shared"
    baseline: dict[str, Any]


class Remembered(Message):
    """What the tag holds, as it was read again after the write."""

    type: Literal["remembered"] = "remembered"
    memory: str


# --- tail ------------------------------------------------------------------------------------------------------------


class Tail(Message):
    """Read what is new in the files; the first message a tail process gets."""

    type: Literal["tail"] = "tail"
    url: str
    max_age_seconds: float
    max_body_bytes: int
    positions: dict[str, FilePosition]


class ReadMore(Message):
    """Go on."""

    type: Literal["read_more"] = "read_more"


# --- worker ----------------------------------------------------------------------------------------------------------


class Load(Message):
    """Load a model version; the first message a worker gets, and it gets one only."""

    type: Literal["load"] = "load"
    model: ModelVersion
    access: EndpointAccess = EndpointAccess()
    device: DeviceUse = DeviceUse()
    threads: int
    input_dtype: str | None = None
    input_shape: list[int] | None = None
    integers: list[str] = []


class LoadedModel(Message):
    """The model is loaded and can be assessed."""

    type: Literal["loaded"] = "loaded"
    flavor: str
    device: str
    precision: str | None = None
    """What autocast computes in; None: the model computes as it is."""
    compiled: bool = False
    """Whether the model was compiled for its device."""
    mismatches: list[str] = []
    """Recorded requirements that the worker's environment does not meet, a sentence each."""
    remarks: list[str] = []
    """What of `device` is used otherwise than it was set, and why, a sentence each."""
    libraries: dict[str, str] = {}
    """Versions of Python and of the packages that compute here."""
    processor: str = ""
    """The model of the processor, where the system tells it."""


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
    """Its label, as JSON."""
    answer: int | None = None
    """Index of the blob that holds the answer that was served, where it is to be compared."""


class KeptClasses(Message):
    """What is kept of a classifier's assessment, beside its blob: see `robmon.worker.judging.Kept`."""

    levels: int
    """Those above 0."""
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
    origins: list[int]
    nonfinite_rows: list[int] = []
    """The reference's rows without a finite clean output, which are left out, by their place in `origins`."""
    classes: KeptClasses | None = None
    """Of a classifier."""
    curves: dict[ComparisonScore, KeptCurve] = {}
    """The reference's curve in the units of the verdict there may be, by its score."""
    draws: str | None = None
    """What drew the noise, which draws it again where it can."""
    traffic_ratio: float | None = None
    """The reference's mean MSE at the highest level over its baseline's; None where that has not settled."""
    traffic_stderr: float | None = None
    """Standard error of the baseline's mean, as a share of that mean."""


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
    """Of versions before, whose hours stand in for those that are not there yet; the nearest first."""
    without: list[int] = []
    """Hours that a person has left out."""


class AttributionQuestion(Message):
    """Which features carry the noise error at the highest level: asked once for a baseline, and when it is worse."""

    groups: dict[str, list[str]] = {}
    """Features of each, by name; empty: they are chosen by a screen."""
    now: bool = False
    """Whether it is measured now; else only for a baseline that has no shares, or a version that is worse."""
    before: dict[str, Any] | None = None
    """Shares of the baseline of the version that this one is compared with, see `robmon.history.kept_shares`."""


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
    """Of embeddings; as are the others, see `robmon.robustness.curve_point.CurvePoint`."""
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


class FurtherNoise(Message):
    """What a further noise did to the rows of an assessment, in what was left of its time; or why it was not run."""

    noise: str
    level_unit: str = ""
    """What a noise level counts."""
    confidence: float = 0.0
    output: str = ""
    distance: Distance | None = None
    """Of embeddings."""
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
    """Of the accuracy, where the owner has limited it."""


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
    """Of the rise of the noise error since the baseline, where it has risen beyond three standard errors."""
    rise_stderr: list[float] | None = None
    largest: str | None = None
    """The group that carries most of the rise (where that is not known: of the error), beyond three standard errors."""
    cut: str = ""
    reason: str = ""
    """Why they could not be measured, in words; without any input."""


class CanaryResult(Message):
    """The synthetic canary, see `robmon.history.canary`, at one assessment."""

    rows: int = 0
    ratio: float | None = None
    """Share of its outputs that changed beyond rounding; None where it was not run."""
    is_changed: bool = False
    notes: list[str] = []
    """What has changed besides numbers, or what is new."""
    reason: str = ""
    """Why it was not run, in words; without any input."""


class NoveltyFound(Message):
    """What is unusual about the fresh rows of the sample, one a request: see `robmon.drift.novelty`."""

    rows: int
    """So many were judged."""
    ratio: float | None
    """Share of them that is novel; None where the baseline has too few rows to say."""
    pvalue: float | None
    """Of so many, if all were as the baseline's."""
    near_duplicates: int | None
    """Rows nearer to another than the baseline's ever were; None where too few of its pairs are known."""
    equal_rows: int
    """Rows with the same content as another."""
    novel_requests: list[int] = []
    """Indices of their requests."""
    near_requests: list[int] = []


class NotCompared(Message):
    """Why a version could not be compared with its reference; without any input."""

    reason: NoVerdict
    why: str


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
    """Of embeddings."""
    threshold: float | None = None
    """Of embeddings: the distance beyond which two are not taken for the same thing; None where none is known."""
    levels: list[LevelResult]
    slopes: dict[str, SlopeResult] = {}
    """By score: mse, agreement, accuracy."""
    area: float | None
    index: float | None
    noise_margin: float | None = None
    crossings: list[LimitCrossing] = []
    """Of the MSE and the agreement, where the owner has limited them."""
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
    detection: Detection | None = None
    """The detector over time, where it was asked for."""
    detection_hours: dict[int, dict[str, Any]] = {}
    """The hours that this assessment's rows belong to: as they came with the question, and these added."""
    new_hours: dict[str, Any] | None = None
    """Of the hours in the baseline those that it did not have before, where that is a time to share them."""
    shares: SharesResult | None = None
    further: FurtherNoise | None = None
    """Of a further noise, where one was asked for."""
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
    """Of a classifier, what is kept for comparisons beside the blob."""
    kept_curves: dict[ComparisonScore, KeptCurve] = {}
    """Its curve in the units of the verdict there may be, by its score."""
    is_reference: bool = True
    """Whether another version can be compared with it."""
    verdict: Verdict | None = None
    not_compared: NotCompared | None = None
    """Why there is no verdict although there was to be one."""
    sample_sha256: str = ""
    """Digest of the rows of the plan as the model takes them, see `robmon.worker.digest`."""
    rejections: Rejections
    """Of the sample; the plan may take fewer rows than could be used."""
    nonfinite_rows: list[int] = []
    """Rows of the plan whose clean output is not finite: they are left out of every number."""
    phase_seconds: dict[str, float] = {}
    batch_rows: int
    """Most rows that the model was given at a time."""
    out_of_memory_retries: int = 0
    """How often memory ran out, and batches were halved."""
    draws: str
    """What drew the noise: the same seed gives other numbers elsewhere."""
    device_memory_bytes: int | None = None
    """The most that the worker held of the memory of a CUDA device; None where it computes elsewhere."""


class AttackRows(Message):
    """Look for the worst: moves within each radius that change the loaded model's class of rows of the requests."""

    type: Literal["attack"] = "attack"
    sample: Assess
    """The requests, whose bodies are the blobs, and how they are read, as for an assessment; budget, rows and seed are
    those of the attack."""
    radii: list[float]


class Attacked(Message):
    """What came of it, in numbers alone: what was found stays where it was found."""

    type: Literal["attacked"] = "attacked"
    found: AttackFound


# --- audit -----------------------------------------------------------------------------------------------------------


class Examine(Message):
    """Load a version and examine it; the only message that a process of an audit gets."""

    type: Literal["examine"] = "examine"
    path: str
    """Local folder of the version."""
    device: str
    threads: int
    inputs: str
    """Local file."""
    targets: list[str] = []
    """Columns of the labels."""
    specification: SpecificationField
    scale: float | None = None
    """As of `robmon.assess`."""
    seed: int
    attack: dict[str, Any] | None = None
    """Options of `robmon.attack`; None: it is not asked for, as are the others."""
    certify: dict[str, Any] | None = None
    advise: bool = False


class Examined(Message):
    """What was found, in numbers and words alone."""

    type: Literal["examined"] = "examined"
    content: dict[str, Any]


class Stop(Message):
    """End now."""

    type: Literal["stop"] = "stop"


AnyMessage = (
    Hello
    | Failure
    | Fetch
    | Fetched
    | Remember
    | Remembered
    | LogResults
    | ResultsLogged
    | ShareBaseline
    | BaselineShared
    | Tail
    | ReadMore
    | FileOpened
    | FileRows
    | NoMoreRows
    | ReadFailure
    | Load
    | LoadedModel
    | Assess
    | Assessed
    | AttackRows
    | Attacked
    | Examine
    | Examined
    | Stop
)
