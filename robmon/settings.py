"""Every setting of robmon: typed, described, with its unit.

This module is the only place that knows the settings. Values come, highest first, from command-line flags
(`--assess.levels`), environment variables (`ROBMON_ASSESS__LEVELS`), a YAML file, and the defaults below. The field
descriptions are the reference documentation: `robmon run --help` and the manual's table are made from them.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from robmon import model_uri
from robmon.errors import ModelError, OverBudgetError, SettingsError, or_pace
from robmon.messages import EndpointAccess
from robmon.model_uri import mask
from robmon.robustness.checks import check_levels
from robmon.robustness.specification import Specification
from robmon.vocabulary import NOISE_NAMES, PLANNED_SHARE, TASKS, NoiseName, OutputKind, Task

ENV_PREFIX = "ROBMON_"
ENV_DELIMITER = "__"
DEVICES = r"^(auto|cpu|cuda(:\d+)?)$"

Port = Annotated[int, Field(ge=0, le=65535)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveSeconds = PositiveFloat
PositiveInt = Annotated[int, Field(gt=0)]


def _split_list(value: Any) -> Any:
    """Accept a list as JSON, or as words separated by spaces or commas."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise ValueError("a list is JSON, or values separated by spaces or commas") from None
    return [word for word in re.split(r"[\s,]+", value) if word]


def _header_names(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", word, re.ASCII):
            raise ValueError("headers are named without their values, such as X-Synthetic-Test")
    return words


def _tags(words: tuple[str, ...]) -> tuple[str, ...]:
    if any("=" not in word for word in words):
        raise ValueError("tags are given as key=value")
    return words


def _device(name: str) -> str:
    if not re.fullmatch(DEVICES, name):
        raise ValueError("a device is cpu, cuda, cuda:1 or auto")
    return name


def _paths(words: tuple[str, ...]) -> tuple[str, ...]:
    if any(not word.startswith("/") for word in words):
        raise ValueError("paths begin with /")
    return words


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_list)]
HeaderNames = Annotated[Words, AfterValidator(_header_names)]
Paths = Annotated[Words, AfterValidator(_paths)]
Levels = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_split_list), AfterValidator(check_levels)]
Shape = Annotated[tuple[PositiveInt, ...], NoDecode, BeforeValidator(_split_list)]


class Section(BaseModel):
    """A group of settings. Unknown keys are refused; values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _model_uri(uri: str) -> str:
    try:
        return model_uri.parse(uri).text
    except ModelError as error:
        raise ValueError(str(error)) from None


class ModelSettings(Section):
    uri: Annotated[str, AfterValidator(_model_uri)] = Field(
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
    require_tags: Annotated[Words, AfterValidator(_tags)] = Field(
        (), description="Tags, as key=value, that a registered version must carry before it is loaded"
    )
    input_dtype: Literal["float16", "float32", "float64"] | None = Field(
        None, description="Type of the inputs of a model without a signature; else float32 for torch, float64 otherwise"
    )
    input_shape: Shape | None = Field(
        None, description="Shape of one input row of a model without a signature; else that of the first row seen"
    )
    output_column: Annotated[str, Field(min_length=1)] | None = Field(
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


TokenFile = Annotated[
    Path | None, Field(description="File of bearer tokens, one a line, any of which a request must carry; unset: none")
]
CertFile = Annotated[
    Path | None, Field(description="PEM file of the port's certificate chain; unset: plain HTTP, without TLS")
]
KeyFile = Annotated[Path | None, Field(description="PEM file of the certificate's private key, without a passphrase")]


def _check_tls(section: InputsSettings | HttpSettings) -> None:
    if (section.tls_cert_file is None) != (section.tls_key_file is None):
        raise ValueError("tls_cert_file and tls_key_file must be given together")


class InputsSettings(Section):
    host: str = Field("127.0.0.1", description="Address on which mirrored requests arrive")
    port: Port = Field(9878, description="Port on which mirrored requests arrive; 0: any free one")
    sample_rows: PositiveInt = Field(256, description="Rows of the input sample")
    max_age_seconds: PositiveSeconds = Field(3600, description="Age in seconds beyond which an input is not used")
    rows_per_request: PositiveInt = Field(1, description="Most rows drawn at random from one request")
    max_body_bytes: PositiveInt = Field(8 * 2**20, description="Largest request body in bytes; beyond it, 413")
    sample_bytes: PositiveInt = Field(
        32 * 2**20, description="Bytes of the sample as Python holds it; beyond it, fewer"
    )
    max_inflight_bytes: PositiveInt = Field(16 * 2**20, description="Bytes of bodies still arriving; beyond it, 503")
    share: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Share of the requests that is considered")
    model: str | None = Field(
        None,
        description="Only requests that name this model, in path (/invocations names none) or event; unset: all",
    )
    exclude_headers: HeaderNames = Field(
        (), description="Requests with one of these headers are left out (synthetic tests)"
    )
    exclude_paths: Paths = Field((), description="Requests whose path begins with one of these are left out")
    files: Annotated[str, Field(min_length=1)] | None = Field(
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


class HttpSettings(Section):
    host: str = Field("127.0.0.1", description="Address of /metrics, /healthz, /readyz and the status page")
    port: Port = Field(9877, description="Port of /metrics, /healthz, /readyz and the status page; 0: any free one")
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
        Specification.levels, description="Noise levels, in standard deviations of a feature, or shares"
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

    @model_validator(mode="after")
    def _can_be_done(self) -> AssessSettings:
        self.specification()
        return self

    def specification(self, output_column: str | None = None) -> Specification:
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
            mse_limit=self.mse_limit,
        )

    @property
    def fewest_predictions(self) -> int:
        """Rows that the smallest assessment asks the model for: each twice without noise, and in all its trials."""
        specification = self.specification()
        return self.min_rows * (2 + specification.needed_trials * specification.noisy_levels)


class CompareSettings(Section):
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(0.01, description="Chance of a false alarm when comparing")
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.10, description="Relative worsening of the MSE that is tolerated"
    )


class BaselineSettings(Section):
    min_rows: PositiveInt = Field(1024, description="Rows gathered before a learnt baseline counts")


def _scope(text: str) -> str:
    if not re.fullmatch(r"[\w.:-]{1,200}", text, re.ASCII):
        raise ValueError("a scope is of letters, digits and . : _ - only, at most 200")
    return text


class HistorySettings(Section):
    store: Literal["auto", "folder", "registry"] = Field(
        "auto",
        description="Where verdicts are remembered: folder: in data_dir; registry: also in a tag of the registered "
        "model, so that they outlive the pod; auto: in the registry where it lets us write, else in the folder",
    )
    scope: Annotated[str, AfterValidator(_scope)] | None = Field(
        None,
        description="Daemons with the same scope share the verdicts on a model; unset: the alias that model.uri "
        "names, or pinned",
    )


class DriftSettings(Section):
    max_features: PositiveInt = Field(32, description="Features exported one by one (the most drifted)")


class WorkerSettings(Section):
    python: str = Field(sys.executable, description="Interpreter that loads the model; default: robmon's own")
    timeout_seconds: PositiveSeconds = Field(600, description="Seconds after which a silent worker is killed")
    memory_bytes: PositiveInt | Literal["auto"] = Field(
        "auto", description="Memory at which the worker is killed; auto: 85 % of the cgroup's limit less 128 MiB"
    )
    output: Literal["drop", "log"] = Field("drop", description="What the model prints; it may hold production inputs")


class DeviceSettings(Section):
    name: Annotated[str, AfterValidator(_device)] = Field(
        "cpu", json_schema_extra={"pattern": DEVICES}, description="Device; auto: cuda where there is one"
    )
    threads: PositiveInt = Field(1, description="Threads of the worker: of torch, OpenMP, BLAS, joblib")


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe line that is logged")
    format: Literal["json", "console"] | None = Field(
        None, description="Form of the log lines; unset: console on a terminal, else json"
    )


class Settings(BaseSettings):
    """All settings of one robmon process. Build it with `load`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        extra="forbid",
        frozen=True,
    )

    model: ModelSettings
    mlflow: MlflowSettings = Field(default_factory=MlflowSettings)
    inputs: InputsSettings = Field(default_factory=InputsSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    assess: AssessSettings = Field(default_factory=AssessSettings)
    compare: CompareSettings = Field(default_factory=CompareSettings)
    baseline: BaselineSettings = Field(default_factory=BaselineSettings)
    history: HistorySettings = Field(default_factory=HistorySettings)
    drift: DriftSettings = Field(default_factory=DriftSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    device: DeviceSettings = Field(default_factory=DeviceSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    data_dir: Path = Field(Path("robmon-data"), description="Folder of models fetched, baselines and history")

    @model_validator(mode="after")
    def _ports_differ(self) -> Settings:
        if self.http.port == self.inputs.port != 0:
            raise ValueError(f"http.port and inputs.port must differ, both are {self.http.port}")
        return self

    @model_validator(mode="after")
    def _model_is_loaded_or_asked(self) -> Settings:
        uri = model_uri.parse(self.model.uri)
        if isinstance(uri, model_uri.ModelUri):
            if self.model.name is not None or self.model.token_file is not None:
                raise ValueError("model.name and model.token_file are for endpoints, and model.uri is none")
            return self
        if not (self.model.name or uri.name):
            raise ValueError("model.name is required, because the URL of model.uri names no model")
        if self.model.token_file is not None and uri.credentials is not None:
            raise ValueError("model.token_file and a user in model.uri exclude one another")
        if self.model.allowed_flavors or self.model.require_tags or self.worker.python != sys.executable:
            raise ValueError(
                "model.allowed_flavors, model.require_tags and worker.python are for models that are loaded, "
                "and model.uri is an endpoint"
            )
        self._check_pace()
        return self

    def _check_pace(self) -> None:
        """Refuse a pace at which no assessment could ever be made; a slower server is seen when it is asked."""
        needed_seconds = self.assess.fewest_predictions / self.model.rows_per_second / PLANNED_SHARE
        if needed_seconds > self.assess.max_seconds:
            higher = f"assess.max_seconds{or_pace()}"
            raise ValueError(str(OverBudgetError(needed_seconds, self.assess.max_seconds, higher)))

    @model_validator(mode="after")
    def _sample_holds_min_rows(self) -> Settings:
        if self.assess.min_rows > self.inputs.sample_rows:
            raise ValueError(
                f"assess.min_rows ({self.assess.min_rows}) must not exceed "
                f"inputs.sample_rows ({self.inputs.sample_rows})"
            )
        return self

    @property
    def scope(self) -> str:
        """The scope in which verdicts are remembered."""
        return self.history.scope or model_uri.default_scope(model_uri.parse(self.model.uri))

    @property
    def specification(self) -> Specification:
        """What an assessment does."""
        return self.assess.specification(self.model.output_column)

    @property
    def specification_digest(self) -> str:
        """A short word for all settings on which a verdict depends."""
        compare = self.compare.model_dump(mode="json")
        return self.specification.digest(compare=compare, rows_per_request=self.inputs.rows_per_request)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` merges the sources itself, because it says where each value came from


@dataclass(frozen=True)
class Leaf:
    """One setting: its dotted name and the field that describes it."""

    name: str
    field: FieldInfo

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENV_PREFIX + self.name.replace(".", ENV_DELIMITER).upper()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that are allowed, where only certain ones are."""
        kinds = (self.field.annotation, *get_args(self.field.annotation))
        return tuple(str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind))

    @property
    def default_text(self) -> str:
        """The default as it would be written in a YAML file or a flag."""
        if self.field.is_required():
            return "required"
        if self.name == "worker.python":
            return "robmon's own"
        return as_text(self.field.default)


def leaves() -> Iterator[Leaf]:
    """Every setting, section by section."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for key, subfield in field.annotation.model_fields.items():
                yield Leaf(f"{name}.{key}", subfield)
        else:
            yield Leaf(name, field)


def as_text(value: Any) -> str:
    """A value as one would write it in a flag; `none` where there is none."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return " ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


@dataclass(frozen=True)
class Loaded:
    """Settings with the source of every value (`flag`, `environment`, `file`, `default`), by dotted name."""

    settings: Settings
    sources: dict[str, str]

    def value(self, name: str) -> Any:
        """The effective value of the setting with that dotted name."""
        value: Any = self.settings
        for part in name.split("."):
            value = getattr(value, part)
        return value


def load(
    flags: Mapping[str, Any] | None = None, file: Path | None = None, otherwise: Mapping[str, Any] | None = None
) -> Loaded:
    """Read the settings from flags (dotted name -> value), the environment and a YAML file.

    Args:
        flags: win over everything else.
        file: loses against the environment.
        otherwise: stands in where nothing else says anything.

    Raises:
        SettingsError: in one sentence: which setting, which value, what is allowed.
    """
    layers = {
        "flag": _nest(flags or {}),
        "environment": _from_environment(os.environ),
        "file": _from_file(file) if file is not None else {},
    }
    merged: dict[str, Any] = _nest(otherwise or {})
    for layer in reversed(layers.values()):
        merged = _merge(merged, layer)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from None
    sources = {leaf.name: _source(leaf.name, layers) for leaf in leaves()}
    return Loaded(settings, sources)


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        target = nested
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return nested


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Values of `ROBMON_SECTION__KEY`; other `ROBMON_*` variables without `__` are Kubernetes' own service links."""
    known = {leaf.variable: leaf.name for leaf in leaves()}
    found: dict[str, Any] = {}
    for variable, value in environ.items():
        if variable in known:
            found[known[variable]] = value
        elif variable.startswith(ENV_PREFIX) and ENV_DELIMITER in variable:
            raise SettingsError(f"the environment variable {variable} is no setting{_did_you_mean(variable, known)}")
    return _nest(found)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where is not None else ""
        raise SettingsError(f"the settings file {file} is not YAML{line}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise SettingsError(f"the settings file {file} must hold sections such as 'model:' at its top level")
    return content


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _source(name: str, layers: Mapping[str, dict[str, Any]]) -> str:
    for source, layer in layers.items():
        value: Any = layer
        for part in name.split("."):
            value = value.get(part, layers) if isinstance(value, dict) else layers
        if value is not layers:
            return source
    return "default"


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"] if isinstance(part, str) and part not in _UNION_TAGS)
    if first["type"] == "extra_forbidden":
        known = [leaf.name for leaf in leaves()] if "." in name else list(Settings.model_fields)
        return f"{name} is no setting{_did_you_mean(name, known)}"
    if first["type"] == "missing":
        missing = name if "." in name else f"{name}.uri" if name == "model" else name
        variable = Leaf(missing, FieldInfo()).variable
        return f"{missing} is required: give --{missing}, {variable}, or set it in the settings file"
    allowed = first["msg"].removeprefix("Value error, ").replace("Input should be ", "it must be ", 1)
    if first["type"] == "value_error" and (not name or "." not in name):
        return f"{name}: {allowed}" if name else allowed
    return f"{name} = {mask(str(first['input']))!r} is not allowed: {allowed}"


_UNION_TAGS = {"int", "literal['auto']", "constrained-int", "constrained-float", "float", "str"}


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
