"""The numbers of an assessment that are the same wherever it is made again: no time, and nothing of its machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from robmon.incident.archive import plain
from robmon.processes.messages.assessed import Assessed

_FIELDS: Final = {
    *("noise", "level_unit", "confidence", "output", "levels", "slopes", "area", "index", "noise_margin"),
    *("clean_variance", "input_drift", "input_quality", "drifted_features", "features_watched", "prediction_drift"),
    *("worst_requests", "nonfinite_rows", "verdict", "sample_sha256"),
}


def numbers_of(result: Assessed, row_errors_sha256: str) -> dict[str, Any]:
    """All of them, as JSON holds them: two are alike only where every bit is."""
    told = result.model_dump(include=_FIELDS)
    told |= {"rows": result.plan.rows, "trials": result.plan.trials, "row_errors_sha256": row_errors_sha256}
    numbers: dict[str, Any] = plain(told)
    return numbers


def differences(recorded: Any, again: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two of them differ, and how.

    >>> list(differences({"a": [1.0, 2.0], "b": "x"}, {"a": [1.0, 2.5], "b": "x"}))
    [('a[1]', 2.0, 2.5)]
    """
    if isinstance(recorded, dict) and isinstance(again, dict):
        for name in sorted(recorded.keys() | again.keys()):
            yield from differences(recorded.get(name), again.get(name), f"{place}.{name}".strip("."))
    elif isinstance(recorded, list) and isinstance(again, list) and len(recorded) == len(again):
        for index, (one, other) in enumerate(zip(recorded, again, strict=True)):
            yield from differences(one, other, f"{place}[{index}]")
    elif type(recorded) is not type(again) or recorded != again:
        yield place, recorded, again
