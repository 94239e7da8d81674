"""The settings, section by section: each typed and described, with its unit, and what goes together within a section.

The descriptions are the reference documentation: `robmon run --help` and the manual's table are made from them.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from robmon.models.access import EndpointAccess
from robmon.models.device import DeviceUse, Precision
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.specification import Specification
from robmon.settings.values import (
    DEVICES,
    Brokers,
    CertFile,
    Device,
    Groups,
    HeaderNames,
    KeyFile,
    Levels,
    Noises,
    NonEmpty,
    Numbers,
    Paths,
    Port,
    PositiveFloat,
    PositiveInt,
    PositiveSeconds,
    Radii,
    Scope,
    Shape,
    Share,
    Subsampling,
    Tags,
    TokenFile,
    Topics,
    Uri,
    Words,
    group_of,
    noise_of,
)
from robmon.vocabulary import DISTANCES, NOISE_NAMES, TASKS, Distance, ImageChannels, NoiseName, OutputKind, Task


class Section(BaseModel):
    """A group of settings. Unknown keys are refused; values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(Section):
    uri: Uri = Field(
        description="Served model: models:/name@alias, models:/name/3, a run's runs:/id/path, or its endpoint's URL: "
        "http://host/invocations, http://host/v1/models/name:predict, http://host/v2/models/name/infer"
    )
    name: str | None = Field(
        None, description="Name of a model that is asked at its endpoint; else that in the URL (MLflow's has none)"
    )
    follow: Literal["alias", "pinned"] = Field(
        "alias", description="alias: look the alias up again and again; pinned: resolve it once, at the start"
    )
    poll_seconds: PositiveSeconds = Field(30, description="Seconds between two look-ups of the alias")
    reference: str | None = Field(
        None, description="Version or alias to compare with; else the version accepted last, see history.store"
    )
    allowed_flavors: Words = Field(
        (), description="MLflow flavours (pytorch, sklearn ...) that may be loaded, which runs their code; empty: all"
    )
    require_tags: Tags = Field(
        (), description="Tags, as key=value, that a registered version must carry before it is loaded"
    )
    input_dtype: Literal["float16", "float32", "float64"] | None = Field(
        None, description="Type of the inputs of a model without a signature; else float32 for torch, float64 otherwise"
    )
    input_shape: Shape | None = Field(
        None, description="Shape of one input row of a model without a signature; else that of the first row seen"
    )
    output_column: NonEmpty | None = Field(
        None,
        description="Column or part of the outputs that is assessed, where they have several: its name or position, "
        "or several of them, separated by commas",
    )
    rows_per_second: PositiveFloat = Field(1000, description="Most rows a second sent to an endpoint")
    batch_rows: PositiveInt = Field(32, description="Most rows in one request to an endpoint")
    timeout_seconds: PositiveSeconds = Field(10, description="Seconds within which an endpoint answers")
    token_file: Path | None = Field(None, description="File with a bearer token for the endpoint, read each time")

    @property
    def access(self) -> EndpointAccess:
        """How an endpoint may be asked."""
        return EndpointAccess(
            token_file=str(self.token_file.absolute()) if self.token_file is not None else None,
            rows_per_second=self.rows_per_second,
            batch_rows=self.batch_rows,
            timeout_seconds=self.timeout_seconds,
        )


class MlflowSettings(Section):
    tracking_uri: str | None = Field(
        None, description="MLflow tracking server or SQLite file; else the variable MLFLOW_TRACKING_URI"
    )
    webhook_secret_file: Path | None = Field(
        None,
        description="File of secrets, one a line, any of which signs what MLflow's webhooks send to /registry-event of "
        "the http port, upon which the registry is asked at once; unset: nothing is taken there",
    )


def _check_tls(section: InputsSettings | HttpSettings | KafkaSettings) -> None:
    if (section.tls_cert_file is None) != (section.tls_key_file is None):
        raise ValueError("tls_cert_file and tls_key_file must be given together")


class InputsSettings(Section):
    host: str = Field("127.0.0.1", description="Address on which mirrored requests arrive")
    port: Port = Field(9878, description="Port on which mirrored requests arrive; 0: any free one")
    sample_rows: PositiveInt = Field(256, description="Rows of the input sample")
    max_age_seconds: PositiveSeconds = Field(
        3600,
        description="Age in seconds beyond which an input is not used; for a verdict that lacks rows it is, for a week",
    )
    rows_per_request: PositiveInt = Field(1, description="Most rows drawn at random from one request")
    max_body_bytes: PositiveInt = Field(8 * 2**20, description="Largest request body in bytes; beyond it, 413")
    sample_bytes: PositiveInt = Field(
        32 * 2**20, description="Bytes of the sample as Python holds it; beyond it, fewer"
    )
    max_inflight_bytes: PositiveInt = Field(16 * 2**20, description="Bytes of bodies still arriving; beyond it, 503")
    share: Share = Field(1.0, description="Share of the requests that is considered")
    model: str | None = Field(
        None,
        description="Only requests that name this model, in path (/invocations names none) or event; unset: all",
    )
    exclude_headers: HeaderNames = Field(
        (), description="Requests with one of these headers are left out (synthetic tests)"
    )
    exclude_paths: Paths = Field((), description="Requests whose path begins with one of these are left out")
    files: NonEmpty | None = Field(
        None, description="Inputs in files as well: a folder, a glob or a file (JSON lines, CSV, Parquet), or their URL"
    )
    files_poll_seconds: PositiveSeconds = Field(30, description="Seconds between two looks at the files")
    label_window_seconds: PositiveSeconds = Field(
        86_400, description="Seconds for which an assessed request waits for its label"
    )
    label_bytes: Annotated[int, Field(ge=2**16)] = Field(
        16 * 2**20,
        description="Bytes of labels, served answers, and of requests that wait for a label, as Python holds them",
    )
    token_file: TokenFile = None
    tls_cert_file: CertFile = None
    tls_key_file: KeyFile = None
    tls_client_ca_file: Path | None = Field(
        None, description="PEM file of the CAs of which clients need a certificate; unset: they need none"
    )

    @model_validator(mode="after")
    def _tls(self) -> InputsSettings:
        _check_tls(self)
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_client_ca_file needs tls_cert_file and tls_key_file")
        return self

    @model_validator(mode="after")
    def _sample_holds_a_body(self) -> InputsSettings:
        if self.sample_bytes < self.max_body_bytes:
            raise ValueError(
                f"sample_bytes ({self.sample_bytes}) must not be less than max_body_bytes ({self.max_body_bytes})"
            )
        return self


class KafkaSettings(Section):
    bootstrap_servers: Brokers = Field(
        (), description="Brokers to begin with, as host:port; unset: no inputs from Kafka"
    )
    topics: Topics = Field((), description="Topics of requests: bodies as the model server gets them, or CloudEvents")
    group_id: NonEmpty | None = Field(
        None,
        description="Consumer group, whose members share the topics' partitions; unset: robmon, the model's name and "
        "the scope of its verdicts, with hyphens between",
    )
    auto_offset_reset: Literal["latest", "earliest"] = Field(
        "latest", description="Where a group begins of which the brokers know no offset"
    )
    tls: bool = Field(False, description="Whether the brokers are spoken to by TLS")
    tls_ca_file: Path | None = Field(
        None, description="PEM file of the CAs of the brokers' certificates; unset: the system's"
    )
    tls_cert_file: Path | None = Field(None, description="PEM file of robmon's own certificate; unset: it has none")
    tls_key_file: Path | None = Field(None, description="PEM file of that certificate's private key")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="How a password is shown; unset: there is none"
    )
    sasl_username: NonEmpty | None = Field(None, description="User whose password it is")
    sasl_password_file: Path | None = Field(None, description="File with the password, in one line")

    @model_validator(mode="after")
    def _goes_together(self) -> KafkaSettings:
        if bool(self.bootstrap_servers) != bool(self.topics):
            raise ValueError("bootstrap_servers and topics must be given together")
        if not self.tls and (self.tls_ca_file or self.tls_cert_file or self.tls_key_file):
            raise ValueError("tls_ca_file, tls_cert_file and tls_key_file need tls = true")
        _check_tls(self)
        sasl = (self.sasl_mechanism, self.sasl_username, self.sasl_password_file)
        if len({each is None for each in sasl}) > 1:
            raise ValueError("sasl_mechanism, sasl_username and sasl_password_file must be given together")
        if self.sasl_mechanism == "PLAIN" and not self.tls:
            raise ValueError("sasl_mechanism PLAIN sends the password as it is, and needs tls = true")
        return self

    @property
    def files(self) -> dict[str, Path]:
        """The files that hold secrets or certificates, by setting."""
        names = ("tls_ca_file", "tls_cert_file", "tls_key_file", "sasl_password_file")
        return {f"kafka.{name}": file for name in names if (file := getattr(self, name)) is not None}


class HttpSettings(Section):
    host: str = Field("127.0.0.1", description="Address of /metrics, /healthz, /readyz and the status page")
    port: Port = Field(9877, description="Port of /metrics, /healthz, /readyz and the status page; 0: any free one")
    histograms: bool = Field(
        False,
        description="Whether durations and sizes have histograms, 120 series more; else their sums and counts alone",
    )
    token_file: TokenFile = None
    tls_cert_file: CertFile = None
    tls_key_file: KeyFile = None

    @model_validator(mode="after")
    def _tls(self) -> HttpSettings:
        _check_tls(self)
        return self


class AssessSettings(Section):
    interval_seconds: PositiveSeconds = Field(60, description="Seconds between two assessments")
    min_rows: Annotated[int, Field(ge=2)] = Field(64, description="Fewest rows that are assessed")
    max_seconds: PositiveSeconds = Field(10, description="Time budget in seconds of one assessment")
    noise: NoiseName = Field(NOISE_NAMES[0], description="Noise model")
    levels: Levels = Field(
        Specification.levels,
        description="Noise levels, in standard deviations of a feature, or shares; the usual ones stand for those of "
        "noise that counts otherwise (jpeg, rotate, gaussian_blur)",
    )
    noises: Noises = Field(
        (),
        description="Further noises, each as name or name@level,level, taken in turn, one an assessment, in what is "
        "left of its time budget; assess.noise alone decides alarms",
    )
    trials: PositiveInt = Field(Specification.trials, description="Independent trials of the noise at each level")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(
        Specification.confidence, description="Stated probability of the bounds"
    )
    task: Task = Field(TASKS[0], description="What the model does")
    output: OutputKind | None = Field(
        None, description="What the model's numbers are; unset: by their type and the task"
    )
    integers: Words = Field(
        (), description="Integer columns that are measurements, by name, or all: perturbed and rounded; else left alone"
    )
    scale_axis: int | None = Field(
        None,
        description="Axis of the inputs (axis 0 are the rows; -1 is the last) with a scale for each of its entries; "
        "unset: by rank and first layer",
    )
    mse_limit: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Largest acceptable bound of the MSE; when set, the noise margin is published"
    )
    agreement_limit: Share | None = Field(
        None,
        description="Smallest acceptable share of unchanged classes; when set, page and history have the level at "
        "which it is no longer kept, with an interval over rows",
    )
    accuracy_limit: Share | None = Field(
        None, description="Likewise of right classes, of the requests that have a label"
    )

    @model_validator(mode="after")
    def _can_be_done(self) -> AssessSettings:
        self.specification()
        if any(each.noise == self.noise for each in self.further()):
            raise ValueError(f"noises are further ones, and {self.noise} is assess.noise: give its levels as levels")
        return self

    def specification(
        self,
        output_column: str | None = None,
        layout: ImageLayout | None = None,
        embedding: EmbeddingSettings | None = None,
    ) -> Specification:
        """What an assessment does by these settings.

        Raises:
            InvalidInputError: they do not go together.
        """
        return Specification(
            noise=self.noise,
            levels=self.levels,
            trials=self.trials,
            confidence=self.confidence,
            task=self.task,
            output=self.output,
            output_column=output_column,
            integers=self.integers,
            scale_axis=self.scale_axis,
            layout=layout,
            mse_limit=self.mse_limit,
            agreement_limit=self.agreement_limit,
            accuracy_limit=self.accuracy_limit,
            **({} if embedding is None else embedding.model_dump()),
        )

    def further(self, output_column: str | None = None, layout: ImageLayout | None = None) -> tuple[Specification, ...]:
        """The same with each of the further noises, in their order; the owner's limits are those of `noise` alone."""
        first = replace(
            self.specification(output_column, layout), mse_limit=None, agreement_limit=None, accuracy_limit=None
        )
        named = map(noise_of, self.noises)
        return tuple(replace(first, noise=each.noise, levels=each.levels, trials=self.trials) for each in named)

    @property
    def fewest_predictions(self) -> int:
        """Rows that the smallest assessment asks the model for: each twice without noise, and in all its trials."""
        specification = self.specification()
        return self.min_rows * (2 + specification.needed_trials * specification.noisy_levels)


class EmbeddingSettings(Section):
    distance: Distance = Field(
        DISTANCES[0],
        description="Distance of two embeddings: the length of their difference, or 1 less the cosine of their angle",
    )
    threshold: PositiveFloat | None = Field(
        None,
        description="Distance beyond which two embeddings are not taken for the same thing; unset: that below which a "
        "share false_match_rate of all pairs of different rows of the baseline lies",
    )
    false_match_rate: Annotated[float, Field(gt=0, lt=1)] = Field(
        Specification.false_match_rate,
        description="Share of pairs of different rows that may be taken for the same thing",
    )


class ImagesSettings(Section):
    channels: ImageChannels | None = Field(
        None, description="Where channels of images stand, first or last (of inputs of rank 4); unset: by the shape"
    )
    range: Numbers | None = Field(
        None, description="Black and white of images, such as 0 1; unset: 0 255 of uint8; never guessed from the data"
    )
    mean: Numbers | None = Field(
        None, description="Where clients normalise images before the request: what they subtract, a number a channel"
    )
    std: Numbers | None = Field(None, description="Likewise what they divide by")
    jpeg_subsampling: Subsampling = Field(
        ImageLayout.jpeg_subsampling, description="Subsampling of the colours under jpeg noise"
    )

    @model_validator(mode="after")
    def _is_a_layout(self) -> ImagesSettings:
        self.layout  # noqa: B018
        return self

    @property
    def layout(self) -> ImageLayout | None:
        """How inputs are pictures; None where nothing is said.

        Raises:
            InvalidInputError: they cannot be so.
        """
        said = self.model_dump()
        return None if said == type(self).model_construct().model_dump() else ImageLayout(**said)


class CompareSettings(Section):
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(0.01, description="Chance of a false alarm when comparing")
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.10, description="Relative worsening of the MSE that is tolerated"
    )


class AlertsSettings(Section):
    false_alarms_per_month: PositiveFloat = Field(
        1.0,
        description="Alarms of the detector over time that may come in 30 days although no hour is worse than the "
        "baseline's worst one; all pods of a model together",
    )
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description="Relative worsening of the baseline's worst hour that is tolerated; unset: 0.10 of a baseline that "
        "spans 7 days, 0.25 of a shorter one",
    )
    clear_evidence: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        60.0, description="Evidence that it is over at which a standing alarm of the detector over time is cleared"
    )


class BaselineSettings(Section):
    min_rows: PositiveInt = Field(1024, description="Rows gathered before a learnt baseline counts")
    hash_names: bool = Field(
        False,
        description="Whether a baseline holds salted hashes in the place of the names of categories in the inputs; the "
        "canary then draws none",
    )


class HistorySettings(Section):
    store: Literal["auto", "folder", "registry"] = Field(
        "auto",
        description="Where verdicts are remembered: folder: in data_dir; registry: also in a tag of the registered "
        "model, so that they outlive the pod; auto: in the registry where it lets us write, else in the folder",
    )
    scope: Scope | None = Field(
        None,
        description="Daemons with the same scope share the verdicts on a model; unset: the alias that model.uri "
        "names, or pinned",
    )
    log_to_mlflow: bool = Field(
        False,
        description="Whether results are logged to MLflow too, once an hour, to the run that made the version: metrics "
        "robmon.*, tags, and the last curve as the artifact robmon/curve.json",
    )
    max_days: PositiveFloat = Field(90, description="Days for which assessments and events are kept in data_dir")
    max_bytes: Annotated[int, Field(ge=2**20)] = Field(
        256 * 2**20, description="Largest file of them in bytes, verdicts included; the oldest assessments go first"
    )


class DriftSettings(Section):
    q: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.01,
        description="Share of the features said to have drifted that has not, at most, on average; where none has, the "
        "probability that any is said to have (Benjamini-Hochberg)",
    )
    max_features: PositiveInt = Field(8, description="Features exported one by one (the most drifted)")


class DetectSettings(Section):
    enabled: bool = Field(
        True, description="Whether unusual queries are looked for: novel rows, near-duplicates, bodies that come again"
    )
    alpha: Annotated[float, Field(gt=0, le=0.5)] = Field(
        0.01, description="Share of the baseline's rows that lie beyond what is called novel"
    )
    ring: Annotated[int, Field(ge=0, le=2**24)] = Field(
        65_536, description="Hashes of bodies kept to count those that come again, 8 bytes each; 0: none"
    )

    @property
    def novelty_alpha(self) -> float | None:
        """What the worker is asked for; None: nothing."""
        return self.alpha if self.enabled else None


class AttributionSettings(Section):
    groups: Groups = Field(
        (),
        description="Groups of features between which the noise error is shared out, as name=column,column; columns in "
        "none are together `all others`; unset: each feature, or the seven largest and all others",
    )

    @property
    def by_name(self) -> dict[str, list[str]]:
        """The columns of each group."""
        return dict(group_of(word) for word in self.groups)


class AttackSettings(Section):
    enabled: bool = Field(
        False,
        description="Whether a classifier is attacked after the first assessment of a version and seldom again: how "
        "few rows keep their class where the worst is looked for",
    )
    interval_seconds: PositiveSeconds = Field(86_400, description="Seconds between two attacks on the same version")
    rows: Annotated[int, Field(ge=2)] = Field(64, description="Most rows that are attacked, of the last assessment")
    radii: Radii = Field(
        (0.05, 0.1, 0.2),
        description="How far each cell may be moved at most, in standard deviations of a feature, as noise levels",
    )
    max_seconds: PositiveSeconds = Field(
        10, description="Time budget in seconds of one attack; an assessment that is due meanwhile waits as long"
    )
    allow_remote: bool = Field(
        False,
        description="Whether a model at an endpoint is attacked too, by its answers alone and at "
        "model.rows_per_second: whoever runs that server should know",
    )


class WorkerSettings(Section):
    python: str = Field(sys.executable, description="Interpreter that loads the model; default: robmon's own")
    timeout_seconds: PositiveSeconds = Field(600, description="Seconds after which a silent worker is killed")
    memory_bytes: PositiveInt | Literal["auto"] = Field(
        "auto", description="Memory at which the worker is killed; auto: 85 % of the cgroup's limit less 128 MiB"
    )
    output: Literal["drop", "log"] = Field("drop", description="What the model prints; it may hold production inputs")


class DeviceSettings(Section):
    name: Device = Field(
        "cpu", json_schema_extra={"pattern": DEVICES}, description="Device; auto: cuda where there is one"
    )
    threads: PositiveInt = Field(1, description="Threads of the worker: of torch, ONNX Runtime, OpenMP, BLAS, joblib")
    memory_fraction: Share = Field(
        0.2,
        description="Most of the memory of a CUDA device that is free without robmon which the worker takes, all that "
        "the driver counts for it included; 1 GiB, or 5 % of the device where that is more, stays free in any case",
    )
    duty_cycle: Share = Field(0.5, description="Share of an assessment's time in which it keeps a CUDA device busy")
    max_utilization: Share | None = Field(
        None,
        description="Share of the time in which others may keep a CUDA device busy (by NVML); above it an assessment "
        "waits, then is skipped",
    )
    precision: Precision | None = Field(
        None, description="What torch models compute in by autocast, which their results say; unset: as they are"
    )
    compile: Literal["auto", "never"] = Field(
        "auto", description="Whether a torch model may be compiled for a CUDA device; none is yet"
    )
    idle_release_seconds: PositiveSeconds | None = Field(
        None,
        description="Seconds between two assessments after which the worker is ended, with all memory that it holds, "
        "until the next one; unset: it stays",
    )

    @property
    def use(self) -> DeviceUse:
        """How the worker uses its device."""
        return DeviceUse(**self.model_dump(include=set(DeviceUse.model_fields)))


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line that is logged")
    format: Literal["json", "console"] | None = Field(
        None, description="Form of the log lines; unset: console on a terminal, else json"
    )
