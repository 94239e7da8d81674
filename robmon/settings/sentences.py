"""What is wrong with a setting, in one sentence that says which, and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from robmon.models.uri import mask
from robmon.settings.leaves import leaves, variable
from robmon.settings.settings import Settings
from robmon.wording import MAX_TEXT_CHARACTERS, printable


def sentence(error: ValidationError, sources: Mapping[str, str]) -> str:
    """What pydantic found first, and where it comes from; users and passwords within a URL are masked.

    Args:
        error: of the settings.
        sources: of every value, by dotted name.
    """
    first = error.errors(include_url=False)[0]
    name = printable(_name(first["loc"]))
    if first["type"] == "extra_forbidden":
        known = [leaf.name for leaf in leaves()] if "." in name else list(Settings.model_fields)
        return f"{name} is no setting{did_you_mean(name, known)}"
    if first["type"] == "missing":
        missing = name if "." in name else f"{name}.uri"
        return f"{missing} is required: give --{missing}, {variable(missing)}, or set it in the settings file"
    if first["type"] == "model_type":
        example = next(leaf.name for leaf in leaves() if leaf.name.startswith(f"{name}."))
        return f"{name} is a section: it must hold settings, such as {example}"
    allowed = first["msg"].removeprefix("Value error, ").replace("Input should be ", "it must be ", 1)
    if first["type"] == "value_error" and (not name or "." not in name):
        return f"{name}: {allowed}" if name else allowed
    places = {"environment": f", from {variable(name)},", "file": ", from the settings file,"}
    place = places.get(sources.get(name, ""), "")
    return f"{name} = {_shown_value(first['input'])!r}{place} is not allowed: {allowed}"


def _shown_value(value: object) -> str:
    """A value as a short text, users and passwords of URLs masked."""
    try:
        return mask(str(value))[:MAX_TEXT_CHARACTERS]
    except ValueError:
        return "a number of thousands of digits"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the words that are known, as the end of a sentence; empty where none is near."""
    by_lower_case = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1)
    return f"; did you mean {by_lower_case[close[0]]}?" if close else ""


def _name(location: tuple[int | str, ...]) -> str:
    """The setting or section to which a place within the values belongs: a list has items, a union types below it."""
    settings = {leaf.name for leaf in leaves()}
    name = ""
    for part in location:
        if name in settings or isinstance(part, int):
            break
        name = f"{name}.{part}" if name else part
    return name
