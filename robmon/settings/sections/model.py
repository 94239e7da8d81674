"""The model that is served, and its registry."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from robmon.models.access import EndpointAccess
from robmon.settings.sections.section import Section
from robmon.settings.values import NonEmpty, PositiveFloat, PositiveInt, PositiveSeconds, Shape, Tags, Uri, Words


class ModelSettings(Section):
    uri: Uri = Field(
        description="Served model: models:/name@alias, models:/name/3, a run's runs:/id/path, or its endpoint's URL: "
        "http://host/invocations, http://host/v1/models/name:predict, http://host/v2/models/name/infer"
    )
    name: str | None = Field(
        None, description="Name of a model at an endpoint; unset: the one in the URL (MLflow's URLs have none)"
    )
    follow: Literal["alias", "pinned"] = Field(
        "alias", description="alias: look the alias up regularly; pinned: resolve it once, at the start"
    )
    poll_seconds: PositiveSeconds = Field(30, description="Seconds between two look-ups of the alias")
    reference: str | None = Field(
        None, description="Version or alias to compare with; unset: the last accepted version, see history.store"
    )
    allowed_flavors: Words = Field(
        (), description="MLflow flavours (pytorch, sklearn ...) that may be loaded, which runs their code; empty: all"
    )
    require_tags: Tags = Field(
        (), description="Tags, as key=value, that a registered version must carry before it is loaded"
    )
    input_dtype: Literal["float16", "float32", "float64"] | None = Field(
        None, description="Type of the inputs of a model without a signature; unset: float32 for torch, else float64"
    )
    input_shape: Shape | None = Field(
        None, description="Shape of one input row of a model without a signature; unset: that of the first row seen"
    )
    output_column: NonEmpty | None = Field(
        None,
        description="Column or part of the outputs to assess, where they have several: its name or position, "
        "or several of them, separated by commas",
    )
    rows_per_second: PositiveFloat = Field(1000, description="Most rows sent to an endpoint per second")
    batch_rows: PositiveInt = Field(32, description="Most rows in one request to an endpoint")
    timeout_seconds: PositiveSeconds = Field(10, description="Seconds to wait for an answer of an endpoint")
    token_file: Path | None = Field(
        None, description="File with a bearer token for the endpoint, read again for each request"
    )

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
        None, description="MLflow tracking server or SQLite file; unset: the variable MLFLOW_TRACKING_URI"
    )
    webhook_secret_file: Path | None = Field(
        None,
        description="File of secrets, one per line, for the signatures of MLflow's webhooks to /registry-event on the "
        "http port, each of which makes robmon ask the registry at once; unset: no webhooks are accepted",
    )
