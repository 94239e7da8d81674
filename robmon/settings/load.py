"""One process's settings, read from all their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import InitSettingsSource, PydanticBaseSettingsSource

from robmon.errors import SettingsError
from robmon.settings.leaves import leaves, value_of
from robmon.settings.sentences import sentence
from robmon.settings.settings import SOURCES, Settings
from robmon.settings.sources import EnvironmentSource, YamlSource


@dataclass(frozen=True)
class Loaded:
    """Settings with the source of every value (`flag`, `environment`, `file`, `default`), by dotted name."""

    settings: Settings
    sources: dict[str, str]

    def value(self, name: str) -> Any:
        """The effective value of the setting with that dotted name."""
        return value_of(self.settings, name)


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
    sources: dict[str, PydanticBaseSettingsSource] = {"flag": _nested_source(flags), "environment": EnvironmentSource()}
    if file is not None:
        sources["file"] = YamlSource(file)
    sources["default"] = _nested_source(otherwise)
    given = {word: source() for word, source in sources.items()}
    origins = {leaf.name: _source_of(leaf.name, given) for leaf in leaves()}
    token = SOURCES.set(tuple(sources.values()))
    try:
        return Loaded(Settings(), origins)
    except ValidationError as error:
        raise SettingsError(sentence(error, origins)) from None
    finally:
        SOURCES.reset(token)


def _nested_source(flat: Mapping[str, Any] | None) -> InitSettingsSource:
    """Values by their dotted names, as a source."""
    nested: dict[str, Any] = {}
    for name, value in (flat or {}).items():
        *sections, key = name.split(".")
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = value
    return InitSettingsSource(Settings, nested)


def _source_of(name: str, given: Mapping[str, Mapping[str, Any]]) -> str:
    """The first source that says anything of a setting."""
    *sections, key = name.split(".")
    for word, values in given.items():
        for section in sections:
            below = values.get(section)
            values = below if isinstance(below, Mapping) else {}
        if key in values:
            return word
    return "default"
