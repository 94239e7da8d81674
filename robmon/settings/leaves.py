"""Every single setting with its name: for flags, tables, and the sentences about a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from robmon.settings.sections.section import Section
from robmon.settings.settings import ENV_DELIMITER, ENV_PREFIX, Settings


@dataclass(frozen=True)
class Leaf:
    """One setting: its dotted name and the field that describes it."""

    name: str
    field: FieldInfo

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return variable(self.name)

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


def value_of(settings: Settings, name: str) -> Any:
    """The value of the setting with that dotted name."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def variable(name: str) -> str:
    """The environment variable that sets the setting with that dotted name.

    >>> variable("assess.levels")
    'ROBMON_ASSESS__LEVELS'
    """
    return ENV_PREFIX + name.replace(".", ENV_DELIMITER).upper()


def as_text(value: Any) -> str:
    """A value as one would write it in a flag; `none` where there is none."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return " ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
