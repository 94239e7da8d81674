"""A checksum over what a JSON object holds, kept inside it: whoever reads it knows whether a byte of it has changed.

It is of the content, not of its bytes, so that it stays true where a registry or a person lays the file out anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

CHECKSUM: Final = "checksum"
SCALES: Final = ("integers", "axis", "inputs")
"""The parts of a baseline that decide how large the errors of a row are: how strong the noise is."""


def checksum(content: Mapping[str, Any]) -> str:
    """The checksum of an object, without the checksum in it.

    >>> checksum({"a": 1, "b": [0.1]}) == checksum({"b": [0.1], "a": 1, "checksum": "of another"})
    True
    """
    plain = {name: value for name, value in content.items() if name != CHECKSUM}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """The object, with its checksum in it."""
    return {**content, CHECKSUM: checksum(content)}


def is_intact(content: Mapping[str, Any]) -> bool:
    """Whether it has a checksum, and that of what it holds."""
    try:
        return content.get(CHECKSUM) == checksum(content)
    except (TypeError, ValueError, RecursionError):  # JSON cannot hold it, so it was never written
        return False
