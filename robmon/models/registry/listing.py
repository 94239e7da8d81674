"""What a registry holds: versions of all its models, in a few calls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from robmon.errors import InvalidInputError
from robmon.models.registry.registry import Registry

PAGE: int = 1000
_PROMPT_TAG = "mlflow.prompt.is_prompt"
"""MLflow keeps prompts among the models."""


@dataclass(frozen=True)
class ListedVersion:
    """One version of a registered model.

    Attributes:
        name: of the model.
        number: of the version.
        aliases: that stand for it.
        tags: of the version.
        identity: another text for every version, also where a model was deleted and made again under its name.
    """

    name: str
    number: int
    aliases: tuple[str, ...]
    tags: dict[str, str]
    identity: str

    @property
    def uri(self) -> str:
        """The URI that stands for this version."""
        return f"models:/{self.name}/{self.number}"


def list_versions(registry: Registry, condition: str = "") -> list[ListedVersion]:
    """All versions of all models, by name and number.

    Args:
        registry: asked.
        condition: a filter of MLflow's for model versions, such as `name LIKE 'digits%' and tags.stage = 'prod'`.

    Raises:
        RegistryError: the registry did not answer, or refused the credentials.
        InvalidInputError: it does not understand the condition.
    """
    client = registry.client
    with registry.asking():
        models = list(_paged(lambda token: client.search_registered_models(max_results=PAGE, page_token=token)))
        try:
            found = list(
                _paged(lambda token: client.search_model_versions(condition, max_results=PAGE, page_token=token))
            )
        except MlflowException as error:
            if condition and error.error_code == codes.ErrorCode.Name(codes.INVALID_PARAMETER_VALUE):
                why = error.message.splitlines()[0][:200]
                raise InvalidInputError(f"the registry does not understand the filter {condition!r}: {why}") from None
            raise
    aliases = {model.name: model.aliases for model in models}
    listed = [
        ListedVersion(
            name=each.name,
            number=int(each.version),
            aliases=tuple(sorted(a for a, of in aliases.get(each.name, {}).items() if int(of) == int(each.version))),
            tags=dict(each.tags),
            identity=_identity(each),
        )
        for each in found
        if each.tags.get(_PROMPT_TAG) != "true"
    ]
    return sorted(listed, key=lambda each: (each.name, each.number))


def _identity(version: Any) -> str:
    text = f"{version.source}\n{version.run_id}\n{version.creation_timestamp}"
    return hashlib.sha256(text.encode()).hexdigest()


def _paged(page: Callable[[str | None], Any]) -> Iterator[Any]:
    token: str | None = None
    while True:
        found = page(token)
        yield from found
        token = found.token
        if not token:
            return
