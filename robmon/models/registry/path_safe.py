"""Names as parts of paths."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

_MAX_NAME_BYTES = 200


def path_safe(name: str) -> str:
    """A name as one component of a path: odd characters quoted, never hidden or `..`, long ones cut and hashed.

    MLflow takes a percent sign in a local path for a quotation of its own, so an equals sign stands in its place.

    >>> path_safe("digits v2"), path_safe("../x"), path_safe("..")
    ('digits=20v2', '=2E.=2Fx', '=2E.')
    """
    quoted = quote(name, safe="").replace("%", "=")
    if quoted.startswith("."):
        quoted = "=2E" + quoted[1:]
    if len(quoted) <= _MAX_NAME_BYTES:
        return quoted
    return f"{quoted[:_MAX_NAME_BYTES]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
