"""A baseline as JSON: how it is written, and which of what was written before can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from robmon.drift.novelty import NoveltyReference
from robmon.drift.older import OlderSummaries
from robmon.drift.summaries import Summaries
from robmon.errors import InvalidInputError
from robmon.history.baseline.baseline import Baseline, Source
from robmon.history.baseline.canary import Canary
from robmon.history.baseline.checksum import is_intact, with_checksum
from robmon.history.baseline.kept_shares import KeptShares
from robmon.robustness.false_matches import PairDistances
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.columns import ColumnStatistics
from robmon.robustness.features.moments import Moments

FORMAT = 2
READABLE_FORMATS = (1, FORMAT)
"""Format 1 has no checksum, and nothing of what came later."""
_KEYS = {"input": ("inputs_seen", "input_histograms"), "prediction": ("outputs_seen", "prediction_histograms")}
"""Of summaries: in format 2, and in format 1."""
_PARTS = {
    "canary": Canary.from_dict,
    "shares": KeptShares.from_dict,
    "pairs": PairDistances.from_dict,
    "novelty": NoveltyReference.from_dict,
}
"""What a baseline need not have."""


def baseline_to_dict(baseline: Baseline) -> dict[str, Any]:
    """JSON-able; holds no row of inputs."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "source": baseline.source,
        "rows": baseline.rows,
        "at": baseline.at,
        "levels": baseline.levels,
        "noise": baseline.noise,
        "output": baseline.output,
        "integers": baseline.integers,
        "axis": None if baseline.axis is None else baseline.axis.to_dict(),
        "inputs": baseline.inputs.to_dict(),
        "errors": baseline.errors.to_dict(),
        "outputs": None if baseline.outputs is None else baseline.outputs.to_dict(),
    }
    for what, seen in (("input", baseline.inputs_seen), ("prediction", baseline.outputs_seen)):
        content[_KEYS[what][isinstance(seen, OlderSummaries)]] = seen.to_dict()
    for name in _PARTS:
        if (part := getattr(baseline, name)) is not None:
            content[name] = part.to_dict()
    if baseline.hourly is not None:
        content["hourly"] = baseline.hourly
    if baseline.salt:
        content["salt"] = baseline.salt
    return with_checksum(content)


def baseline_from_dict(data: Mapping[str, Any]) -> Baseline:
    """Inverse of `baseline_to_dict`.

    Raises:
        InvalidInputError: this is no baseline, or one of another format.
    """
    check_readable(data)
    try:
        parts: dict[str, Any] = {name: read(data[name]) for name, read in _PARTS.items() if data.get(name) is not None}
        return Baseline(
            levels=[float(level) for level in data["levels"]],
            noise=str(data.get("noise", "gaussian")),  # the only one, before it was recorded
            inputs=ColumnStatistics.from_dict(data["inputs"]),
            integers=[str(name) for name in data.get("integers", [])],
            axis=None if data.get("axis") is None else FeatureAxis.from_dict(data["axis"]),
            errors=Moments.from_dict(data["errors"]),
            inputs_seen=_seen(data, "input", of_labels=False),
            output=data["output"],
            outputs=Moments.from_dict(data["outputs"]) if data["outputs"] is not None else None,
            outputs_seen=_seen(data, "prediction", of_labels=data["output"] == "label"),
            rows=int(data["rows"]),
            at=float(data["at"]),
            source=cast(Source, data["source"]),
            hourly=data.get("hourly"),
            salt=str(data.get("salt", "")),
            **parts,
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise InvalidInputError("the baseline is damaged: record it again") from None


def check_readable(data: Mapping[str, Any]) -> None:
    """Look whether that is a whole baseline that can be read here.

    Raises:
        InvalidInputError: it is of another format, or not as it was written.
    """
    if data.get("format") not in READABLE_FORMATS:
        known = " or ".join(map(str, READABLE_FORMATS))
        raise InvalidInputError(f"the baseline is not of format {known}: record it again")
    if data["format"] != 1 and not is_intact(data):
        raise InvalidInputError("the baseline is damaged, its checksum does not fit: record it again")


def _seen(data: Mapping[str, Any], what: str, *, of_labels: bool) -> Summaries | OlderSummaries:
    new, old = _KEYS[what]
    if new in data:
        return Summaries.from_dict(data[new])
    if data.get(old) is None or data["source"] == "learning":
        return Summaries.none()
    return OlderSummaries.from_dict(data[old], of_labels)
