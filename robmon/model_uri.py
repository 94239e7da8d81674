"""The ways in which a model can be named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from robmon.errors import ModelError

FORMS = "models:/name@alias, models:/name/version, models:/m-id or runs:/run_id/path"


@dataclass(frozen=True)
class ModelUri:
    """A parsed URI.

    Attributes:
        text: the URI as it was given.
        kind: what it points at: an alias or a version of a registered model, a logged model, or a run's model.
        name: the registered model's name; of a logged model its id, of a run's model the last part of its path.
        target: the alias, the version, the logged model's id, or the run's id.
        path: where the model lies in the run's artifacts, empty for the other kinds.
    """

    text: str
    kind: Literal["alias", "version", "logged", "run"]
    name: str
    target: str
    path: str = ""


def registered_name(uri: str) -> str | None:
    """The name in `models:/name`, which stands for all versions of that registered model; None for any other text.

    >>> registered_name("models:/digits"), registered_name("models:/digits/3"), registered_name("models:/m-1f")
    ('digits', None, None)
    """
    match = re.fullmatch(r"models:/(?!m-[0-9a-zA-Z]+$)([^/@]+)", uri)
    return match.group(1) if match else None


def parse(uri: str) -> ModelUri:
    """Parse a model's URI.

    >>> parse("models:/digits@champion").target, parse("models:/digits/3").kind, parse("runs:/1f/a/model").name
    ('champion', 'version', 'model')

    Raises:
        ModelError: it has none of the known forms.
    """
    if re.match(r"https?://", uri):
        raise ModelError("a remote endpoint is not supported yet as model.uri: give " + FORMS)
    patterns: tuple[tuple[Literal["alias", "version", "logged", "run"], str], ...] = (
        ("alias", r"models:/(?P<name>[^/]+)@(?P<target>[^/@]+)"),
        ("version", r"models:/(?P<name>[^/]+)/(?P<target>\d+)"),
        ("logged", r"models:/(?P<name>(?P<target>m-[0-9a-zA-Z]+))"),
        ("run", r"runs:/(?P<target>[^/]+)/(?P<path>(?:.*/)?(?P<name>[^/]+))/?"),
    )
    for kind, pattern in patterns:
        if match := re.fullmatch(pattern, uri):
            return ModelUri(text=uri, kind=kind, **match.groupdict())
    raise ModelError(f"{uri!r} is no model URI: give {FORMS}")
