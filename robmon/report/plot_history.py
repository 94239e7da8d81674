"""The noise error of a served model over time as a picture, with what happened meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from robmon.report.event_sentences import worst_level
from robmon.report.plot import BOUND, LIMIT, MEAN, SIZE_INCHES
from robmon.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
SHOWN_EVENTS: Final = {
    "version_loaded": ("version {version}", LIMIT),
    "regression_began": ("regression", "#b00020"),
    "regression_ended": ("regression over", "#1b5e20"),
    "settings_changed": ("settings", LIMIT),
    "robmon_changed": ("robmon {now}", LIMIT),
}


def plot_history(assessments: Sequence[Row], events: Sequence[Row], model: str) -> Figure:
    """Mean and bound at the highest level over time, below them the evidence, where there is any."""
    from matplotlib.figure import Figure

    times = [datetime.fromtimestamp(row["at"], UTC) for row in assessments]
    evidence = [_number(row.get("evidence")) for row in assessments]
    has_evidence = any(np.isfinite(evidence))
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes, *below = figure.subplots(1 + has_evidence, sharex=True, squeeze=False)[:, 0]
    for name, color, dashes, label in (("bound", BOUND, "--", "trial bound"), ("mse", MEAN, "-", "mean")):
        values = [_number(worst_level(row).get(name)) for row in assessments]
        axes.plot(times, values, color=color, ls=dashes, lw=1.2, label=label)
    level = worst_level(assessments[-1]).get("level") if assessments else None
    axes.set_title(f"{printable(model)}: noise error at level {level}", loc="left", parse_math=False)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", edgecolor="none", framealpha=0.9)
    for each in below:
        each.plot(times, evidence, color=MEAN, lw=1.2)
        thresholds = [_number(row.get("evidence_threshold")) for row in assessments]
        each.plot(times, thresholds, color=LIMIT, ls=":", lw=1.2)
        each.set_yscale("symlog", linthresh=1)
        each.set_title("evidence that it has become worse, and its threshold", loc="left", fontsize=10)
    for each in (axes, *below):
        each.grid(alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)
    _mark(axes, events)
    figure.autofmt_xdate()
    return figure


def _mark(axes: Axes, events: Sequence[Row]) -> None:
    from matplotlib.dates import date2num

    for event in events:
        if (shown := SHOWN_EVENTS.get(str(event.get("kind")))) is None:
            continue
        text, color = shown
        names = {name: printable(event.get(name, "")) for name in ("version", "now")}
        at: float = date2num(datetime.fromtimestamp(event["at"], UTC))  # type: ignore[no-untyped-call]
        axes.axvline(at, color=color, lw=1, ls=":")
        axes.annotate(
            text.format(**names), (at, 1), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right",
            fontsize=7, color=color, parse_math=False,
        )  # fmt: skip


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
