"""What one setting can be: the types of values, and how a text becomes one.

Environment variables and flags are texts, a YAML file has numbers and lists as well: each type takes both.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from robmon.errors import ModelError
from robmon.models import uri as model_uri
from robmon.robustness.checks import check_levels
from robmon.robustness.specification import Specification
from robmon.vocabulary import JPEG_SUBSAMPLING, OTHERS, JpegSubsampling

MOST_RADII: Final = 8
"""Of an attack: each is a series an attack."""
MOST_NOISES: Final = 8
"""Further noises: each has its own series, and waits for all others."""
DEVICES = r"^(auto|cpu|cuda(:\d+)?)$"


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


def _as_written(value: Any) -> Any:
    """A subsampling: without quotes YAML 1.1 reads `4:2:0` as a number to the base 60."""
    if not isinstance(value, int):
        return value
    return next((name for name in JPEG_SUBSAMPLING if _to_base_60(name) == value), value)


def _to_base_60(name: str) -> int:
    """What YAML 1.1 makes of it.

    >>> _to_base_60("4:2:0")
    14520
    """
    first, second, third = map(int, name.split(":"))
    return 3600 * first + 60 * second + third


def _check_radii(radii: tuple[float, ...]) -> tuple[float, ...]:
    if not 1 <= len(radii) <= MOST_RADII or len(set(radii)) < len(radii):
        raise ValueError(f"radii are 1 to {MOST_RADII} numbers that differ")
    if any(not math.isfinite(radius) or radius <= 0 for radius in radii):
        raise ValueError("radii are finite numbers above 0")
    return tuple(sorted(radii))


def _check_header_names(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", word, re.ASCII):
            raise ValueError("headers are named without their values, such as X-Synthetic-Test")
    return words


def _check_tags(words: tuple[str, ...]) -> tuple[str, ...]:
    if any("=" not in word for word in words):
        raise ValueError("tags are given as key=value")
    return words


def _check_paths(words: tuple[str, ...]) -> tuple[str, ...]:
    if any(not word.startswith("/") for word in words):
        raise ValueError("paths begin with /")
    return words


def _split_words(value: Any) -> Any:
    """Accept a list as JSON, or as words separated by spaces: commas are part of them."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return value.split()
    return _split_list(value)


def _check_groups(words: tuple[str, ...]) -> tuple[str, ...]:
    groups = [group_of(word) for word in words]
    if not all(name and all(columns) for name, columns in groups):
        raise ValueError("groups of features are given as name=column,column")
    named = [name for name, _ in groups]
    columns = [column for _, columns in groups for column in columns]
    if len(set(named)) < len(named) or len(set(columns)) < len(columns):
        raise ValueError("a group has a name of its own, and a column is in one group only")
    if OTHERS in named:
        raise ValueError(f"a group cannot be called {OTHERS!r}: those are the columns in no group")
    return words


def group_of(word: str) -> tuple[str, list[str]]:
    """A group of features, as a setting has it: its name and its columns.

    >>> group_of("wheels=left,right")
    ('wheels', ['left', 'right'])
    """
    name, _, columns = word.partition("=")
    return name, [column.strip() for column in columns.split(",")]


def _check_noises(words: tuple[str, ...]) -> tuple[str, ...]:
    if len(words) > MOST_NOISES:
        raise ValueError(f"at most {MOST_NOISES} further noises are taken in turn, not {len(words)}")
    names = [noise_of(word).noise for word in words]
    doubles = sorted({str(name) for name in names if names.count(name) > 1})
    if doubles:
        raise ValueError(f"{doubles[0]} is named twice: give all its levels at once, as {doubles[0]}@level,level")
    return words


def noise_of(word: str) -> Specification:
    """A further noise, as a setting has it: its name, and its levels where they are not the usual ones.

    Raises:
        InvalidInputError: there is no such noise, or it has no such levels.
        ValueError: its levels are no numbers.

    >>> noise_of("jpeg@50,75").levels, noise_of("jpeg").levels
    ((0.0, 50.0, 75.0), (0.0, 25.0, 50.0, 75.0, 90.0))
    """
    name, at, told = word.partition("@")
    if not at:
        return Specification(noise=name)
    try:
        levels = tuple(float(level) for level in told.split(","))
    except ValueError:
        raise ValueError(f"levels of a further noise are numbers behind its name, as {name}@0.1,0.2") from None
    return Specification(noise=name, levels=levels)


def _check_brokers(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        found = re.fullmatch(r"([^\s/:\[\]]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?", word)
        if found is None or not 0 < int(found["port"] or 9092) < 65536:
            raise ValueError(f"{word!r} is no broker: write host:port, such as broker-1:9092")
    return words


def _check_topics(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", word):
            raise ValueError(f"{word!r} is no topic: topics are named one by one, with letters, digits and . _ - only")
    return words


def _check_device(name: str) -> str:
    if not re.fullmatch(DEVICES, name):
        raise ValueError("a device is cpu, cuda, cuda:1 or auto")
    return name


def _check_scope(text: str) -> str:
    if not re.fullmatch(r"[\w.:-]{1,200}", text, re.ASCII):
        raise ValueError("a scope is of letters, digits and . : _ - only, at most 200")
    return text


def _normalise_uri(uri: str) -> str:
    try:
        return model_uri.parse(uri).text
    except ModelError as error:
        raise ValueError(str(error)) from None


Port = Annotated[int, Field(ge=0, le=65535)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveSeconds = PositiveFloat
Share = Annotated[float, Field(gt=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
NonEmpty = Annotated[str, Field(min_length=1)]

Words = Annotated[tuple[str, ...], BeforeValidator(_split_list)]
HeaderNames = Annotated[Words, AfterValidator(_check_header_names)]
Paths = Annotated[Words, AfterValidator(_check_paths)]
Tags = Annotated[Words, AfterValidator(_check_tags)]
Brokers = Annotated[Words, AfterValidator(_check_brokers)]
Topics = Annotated[Words, AfterValidator(_check_topics)]
Groups = Annotated[tuple[str, ...], BeforeValidator(_split_words), AfterValidator(_check_groups)]
Noises = Annotated[tuple[str, ...], BeforeValidator(_split_words), AfterValidator(_check_noises)]
Levels = Annotated[
    tuple[float, ...],
    BeforeValidator(_split_list),
    AfterValidator(check_levels),
    WithJsonSchema({"type": "array", "items": {"type": "number", "minimum": 0}}),
]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_split_list)]
Radii = Annotated[
    Numbers,
    AfterValidator(_check_radii),
    WithJsonSchema({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}}),
]
Subsampling = Annotated[JpegSubsampling, BeforeValidator(_as_written)]
Shape = Annotated[tuple[PositiveInt, ...], BeforeValidator(_split_list)]

Uri = Annotated[str, AfterValidator(_normalise_uri)]
Device = Annotated[str, AfterValidator(_check_device)]
Scope = Annotated[
    str, AfterValidator(_check_scope), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,200}$"})
]

TokenFile = Annotated[
    Path | None, Field(description="File of bearer tokens, one a line, any of which a request must carry; unset: none")
]
CertFile = Annotated[
    Path | None, Field(description="PEM file of the port's certificate chain; unset: plain HTTP, without TLS")
]
KeyFile = Annotated[Path | None, Field(description="PEM file of the certificate's private key, without a passphrase")]
