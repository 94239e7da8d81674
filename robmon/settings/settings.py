"""All settings of one process, and what must go together over the sections."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from robmon.errors import OverBudgetError
from robmon.models import uri as model_uri
from robmon.report.budget import SETTINGS
from robmon.robustness.specification import Specification
from robmon.settings.sections.assess import AssessSettings, EmbeddingSettings, ImagesSettings
from robmon.settings.sections.findings import AttackSettings, AttributionSettings, DetectSettings, DriftSettings
from robmon.settings.sections.http import HttpSettings
from robmon.settings.sections.inputs import InputsSettings, KafkaSettings
from robmon.settings.sections.model import MlflowSettings, ModelSettings
from robmon.settings.sections.process import DeviceSettings, LogSettings, WorkerSettings
from robmon.settings.sections.verdict import AlertsSettings, BaselineSettings, CompareSettings, HistorySettings
from robmon.vocabulary import PLANNED_SHARE

ENV_PREFIX = "ROBMON_"
ENV_DELIMITER = "__"
SOURCES: ContextVar[tuple[PydanticBaseSettingsSource, ...]] = ContextVar("SOURCES")
"""Of the settings that are being built, highest first: `load` knows them, and pydantic-settings asks the class."""


class Settings(BaseSettings):
    """All settings of one robmon process. Build it with `load`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        enable_decoding=False,  # a list is more than JSON: `values.Words`
        case_sensitive=True,  # of `assess` and `Assess` in one file the library would drop one without a word
        extra="forbid",
        frozen=True,
    )

    model: ModelSettings
    mlflow: MlflowSettings = Field(default_factory=MlflowSettings)
    inputs: InputsSettings = Field(default_factory=InputsSettings)
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    assess: AssessSettings = Field(default_factory=AssessSettings)
    images: ImagesSettings = Field(default_factory=ImagesSettings)
    embedding: EmbeddingSettings = Field(default_factory=EmbeddingSettings)
    compare: CompareSettings = Field(default_factory=CompareSettings)
    alerts: AlertsSettings = Field(default_factory=AlertsSettings)
    baseline: BaselineSettings = Field(default_factory=BaselineSettings)
    history: HistorySettings = Field(default_factory=HistorySettings)
    drift: DriftSettings = Field(default_factory=DriftSettings)
    detect: DetectSettings = Field(default_factory=DetectSettings)
    attribution: AttributionSettings = Field(default_factory=AttributionSettings)
    attack: AttackSettings = Field(default_factory=AttackSettings)
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
                raise ValueError("model.name and model.token_file are for endpoints, and model.uri is not one")
            return self
        if self.history.log_to_mlflow:
            raise ValueError("history.log_to_mlflow is for models that a run has made, and model.uri is an endpoint")
        if not (self.model.name or uri.name):
            raise ValueError("model.name is required, because the URL of model.uri names no model")
        if self.model.token_file is not None and uri.credentials is not None:
            raise ValueError("model.token_file and a user in model.uri exclude one another")
        is_python_set = self.worker.python != sys.executable
        if self.model.allowed_flavors or self.model.require_tags or is_python_set or self.device.precision is not None:
            raise ValueError(
                "model.allowed_flavors, model.require_tags, worker.python and device.precision are for models that are "
                "loaded, and model.uri is an endpoint"
            )
        self._check_pace()
        return self

    def _check_pace(self) -> None:
        """Refuse a pace at which no assessment could ever be made; a slower server is seen when it is asked."""
        needed_seconds = self.assess.fewest_predictions / self.model.rows_per_second / PLANNED_SHARE
        if needed_seconds > self.assess.max_seconds:
            advice = SETTINGS.advice(is_endpoint=True)
            raise ValueError(str(OverBudgetError(needed_seconds, self.assess.max_seconds, advice)))

    @model_validator(mode="after")
    def _noises_can_be_done(self) -> Settings:
        """With what other sections say of embeddings and images."""
        self.specification  # noqa: B018
        self.further_specifications  # noqa: B018
        return self

    @model_validator(mode="after")
    def _sample_holds_min_rows(self) -> Settings:
        if self.assess.min_rows > self.inputs.sample_rows:
            raise ValueError(
                f"assess.min_rows ({self.assess.min_rows}) must not exceed "
                f"inputs.sample_rows ({self.inputs.sample_rows})"
            )
        return self

    @model_validator(mode="after")
    def _attack_ends(self) -> Settings:
        if self.attack.enabled and self.attack.max_seconds >= self.worker.timeout_seconds:
            raise ValueError(
                f"attack.max_seconds ({self.attack.max_seconds:g}) must be less than worker.timeout_seconds "
                f"({self.worker.timeout_seconds:g}), after which the worker is killed"
            )
        return self

    @property
    def scope(self) -> str:
        """The scope in which verdicts are remembered."""
        return self.history.scope or model_uri.default_scope(model_uri.parse(self.model.uri))

    @property
    def specification(self) -> Specification:
        """What an assessment does."""
        return self.assess.specification(self.model.output_column, self.images.layout, self.embedding)

    @property
    def further_specifications(self) -> tuple[Specification, ...]:
        """What is done with the further noises, in their order."""
        return self.assess.further(self.model.output_column, self.images.layout)

    @property
    def specification_digest(self) -> str:
        """A short word for all settings on which a verdict depends."""
        return self.specification.digest(**self._beside)

    @property
    def whole_specification(self) -> dict[str, Any]:
        """All settings by which assessments are made and judged, as JSON can hold them."""
        bounds = {"max_seconds": self.assess.max_seconds, "min_rows": self.assess.min_rows}
        rows = {"sample_rows": self.inputs.sample_rows, "interval_seconds": self.assess.interval_seconds}
        further = {"noises": list(self.assess.noises)} if self.assess.noises else {}
        assess = {"assess": self.specification.to_dict(), **self._beside, **bounds, **rows, **further}
        return {"digest": self.specification_digest} | assess

    @property
    def _beside(self) -> dict[str, Any]:
        """What a verdict depends on besides the specification."""
        compare = self.compare.model_dump(mode="json")
        # As long as it is not set it stands in no digest, so that verdicts of before keep theirs.
        precision = {"precision": self.device.precision} if self.device.precision is not None else {}
        return {"compare": compare, "rows_per_request": self.inputs.rows_per_request, **precision}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return SOURCES.get()
