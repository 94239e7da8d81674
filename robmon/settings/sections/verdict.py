"""What a version is judged by, and what is remembered of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from robmon.settings.sections.section import Section
from robmon.settings.values import PositiveFloat, PositiveInt, Scope


class CompareSettings(Section):
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        0.01, description="Chance of a false alarm when versions are compared"
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.10, description="Relative worsening of the MSE that is tolerated"
    )


class AlertsSettings(Section):
    false_alarms_per_month: PositiveFloat = Field(
        1.0,
        description="Alarms of the detector over time allowed in 30 days, on average, while no hour is worse than the "
        "baseline's worst one; all pods of a model together",
    )
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description="Relative worsening of the baseline's worst hour that is tolerated; unset: 0.10 for a baseline "
        "that spans 7 days, 0.25 for a shorter one",
    )
    clear_evidence: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        60.0, description="Evidence of the opposite at which a standing alarm of the detector over time is cleared"
    )


class BaselineSettings(Section):
    min_rows: PositiveInt = Field(1024, description="Rows to gather before a learnt baseline counts")
    hash_names: bool = Field(
        False,
        description="Whether a baseline holds salted hashes instead of the names of categories in the inputs; the "
        "canary then draws none",
    )


class HistorySettings(Section):
    store: Literal["auto", "folder", "registry"] = Field(
        "auto",
        description="Where verdicts are remembered: folder: in data_dir; registry: also in a tag of the registered "
        "model, so that they outlive the pod; auto: registry where it lets us write, else folder",
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
        256 * 2**20,
        description="Largest size of the history file in bytes, verdicts included; the oldest assessments go first",
    )
