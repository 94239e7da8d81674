"""Which versions of a registry are audited."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fnmatch import fnmatchcase

from robmon.errors import InvalidInputError
from robmon.models.registry.listing import ListedVersion
from robmon.models.uri import registered_name

HOW_TO_PICK = "all, latest:3 (the last three of each model) or alias:champion"


def pick(listed: Sequence[ListedVersion], models: Sequence[str], versions: str = "all") -> list[ListedVersion]:
    """Those of the listed versions that are asked for.

    Args:
        listed: by name and number, rising.
        models: `models:/name`, or with `*`, `?` and `[...]` in the name.
        versions: of each model: `all`, `latest:N`, or `alias:NAME`.

    Raises:
        InvalidInputError: it is asked for otherwise; or nothing of what is there is asked for.

    >>> from robmon.models.registry.listing import ListedVersion
    >>> listed = [ListedVersion("digits", n, ("champion",) if n == 2 else (), {}, "") for n in (1, 2, 3)]
    >>> [each.number for each in pick(listed, ["models:/dig*"], "latest:2")]
    [2, 3]
    >>> [each.number for each in pick(listed, ["models:/digits"], "alias:champion")]
    [2]
    """
    patterns = [_pattern(model) for model in models]
    check_rule(versions)
    named = [each for each in listed if any(fits(each.name, pattern) for pattern in patterns)]
    picked: list[ListedVersion] = []
    for _, of_model in itertools.groupby(named, key=lambda each: each.name):
        picked += _picked(list(of_model), versions)
    if not picked:
        what = f"a version with the alias {versions.partition(':')[2]}" if named else "a version of such a model"
        raise InvalidInputError(f"nothing to audit: the registry lists no {what.removeprefix('a ')}")
    return picked


def fits(name: str, pattern: str) -> bool:
    """Whether a model has that name, or one that the pattern stands for.

    >>> fits("digits [old]", "digits [old]"), fits("digits", "dig*"), fits("digits", "fraud")
    (True, True, False)
    """
    return name == pattern or fnmatchcase(name, pattern)


def check_rule(versions: str) -> None:
    """Look whether it says which versions of a model are meant.

    Raises:
        InvalidInputError: it does not.
    """
    kind, _, value = versions.partition(":")
    is_known = (
        versions == "all" or (kind == "alias" and value) or (kind == "latest" and value.isdecimal() and int(value))
    )
    if not is_known:
        raise InvalidInputError(f"versions {versions!r} are not known: say {HOW_TO_PICK}")


def _picked(of_model: list[ListedVersion], versions: str) -> list[ListedVersion]:
    kind, _, value = versions.partition(":")
    if kind == "alias":
        return [each for each in of_model if value in each.aliases]
    return of_model[-int(value) :] if kind == "latest" else of_model


def _pattern(model: str) -> str:
    name = registered_name(model)
    if name is None:
        raise InvalidInputError(
            f"{model} names no registered models: an audit takes models:/name or a pattern such as 'models:/*', and "
            f"--versions says which versions of each ({HOW_TO_PICK})"
        )
    return name
