"""YAML that people write: values without code, each name once, and where it is wrong."""

from __future__ import annotations

from typing import Any

import yaml

from robmon.wording import printable


class YamlTextError(ValueError):
    """It cannot be used; the text says why, behind the name of the file: `is not YAML (line 2)`."""


class _Loader(yaml.SafeLoader):
    """YAML's own takes the last of several values of one name, and says nothing of the others."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    name, line = printable(key.value[:80]), key.start_mark.line + 1
                    raise YamlTextError(f"says {name} twice (line {line}): only the later one would hold")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: bytes) -> Any:
    """What it says, None where it is empty.

    Raises:
        YamlTextError: it is not YAML, or gives one name several values.

    >>> parse_yaml(b"model: {uri: models:/a@b}")
    {'model': {'uri': 'models:/a@b'}}
    """
    try:
        return _Loader(text.decode()).get_single_data()
    except YamlTextError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2026-13-01 is a ValueError
        mark = getattr(error, "problem_mark", None)
        raise YamlTextError("is not YAML" + (f" (line {mark.line + 1})" if mark is not None else "")) from None
