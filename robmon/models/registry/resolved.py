"""What a registry says of a version."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlflow.entities import LoggedModel

from robmon.models.uri import ModelUri


@dataclass(frozen=True)
class Resolved:
    """What a URI stands for at this moment.

    Attributes:
        uri: the URI that was resolved.
        version: the registry's version as text; of a run's model the run's id, of a logged model its own.
        run_id: the run that made it, if known.
        source: where its files lie.
        tags: of the registered version; None where it is not registered.
        model_tags: of the registered model.
        aliases: of the registered model, and the versions that they stand for.
    """

    uri: ModelUri
    version: str
    run_id: str | None
    source: str
    created_milliseconds: int
    tags: dict[str, str] | None = None
    model_tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.uri.name


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as its registry lists it."""

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: dict[str, str]

    @property
    def uri(self) -> str:
        """The URI that stands for this version."""
        return f"models:/{self.name}/{self.number}"


def of_logged_model(uri: ModelUri, version: str, model: LoggedModel) -> Resolved:
    """A model of MLflow 3 that a run has logged."""
    return Resolved(
        uri,
        version,
        model.source_run_id or None,
        model.artifact_location,
        created_milliseconds=model.creation_timestamp,
    )
