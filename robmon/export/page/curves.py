"""The noise robustness curves as pictures: the version judged beside its reference, and the one served as it is now."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Final

from robmon.export.page.pieces import short
from robmon.export.published import Published
from robmon.history.verdict import JudgedCurves, Verdict
from robmon.processes.messages.assessed import Assessed
from robmon.report.html.charts import Chart, Line, Sizes
from robmon.report.words import percent

HALF: Final[Sizes] = {"wide": (560, 290), "narrow": (336, 240)}
"""Width and height of a picture that shares a line with another."""
Points = list[tuple[float, float | None]]


def figure(chart: Chart, name: str, keys: Sequence[tuple[str, str]], text: str = "", sizes: Sizes = HALF) -> str:
    """A picture with its title, its legend, and a sentence.

    Args:
        chart: what is drawn.
        name: tells it from others on the page.
        keys: styles of its lines, and what they are.
        text: below the title.
        sizes: of the picture.
    """
    legend = "".join(
        f'<span class="key"><svg viewBox="0 0 26 10" aria-hidden="true"><polyline class="{style}" points="0,5 26,5"/>'
        f"</svg>{html.escape(told)}</span>"
        for style, told in keys
    )
    told = f"<br>{html.escape(text)}" if text else ""
    caption = f"<figcaption><strong>{html.escape(chart.title)}</strong>{told}<br>{legend}</figcaption>"
    return f"<figure>{caption}\n{chart.svg(name, sizes)}</figure>"


def of_verdict(published: Published, verdict: Verdict, curves: JudgedCurves) -> str:
    """Both versions on the rows of the verdict, in units in which one over the other is what it says."""
    judged, reference = short(published.view.judged_version or ""), short(verdict.reference_version)
    lines = [Line("old-bound", _points(curves.levels, curves.reference_bound or ()))]
    lines += [Line("new-bound", _points(curves.levels, curves.bound or ()))]
    lines += [Line("old", _points(curves.levels, curves.reference_mean), dots=True)]
    lines += [Line("new", _points(curves.levels, curves.mean), dots=True)]
    keys = [("new", f"version {judged}"), ("old", f"version {reference}")]
    keys += [("new-bound", f"{percent(curves.confidence)} trial bounds")] if curves.bound else []
    limit = published.mse_limit if curves.space == "output" else None
    chart = Chart(
        f"Version {judged} beside version {reference}, on the rows of the verdict",
        lines,
        limit=_drawn(limit, (*curves.mean, *curves.reference_mean)),
        is_time=False,
    )
    what = _OUTPUTS if curves.space == "output" else _ERRORS.get(verdict.score, "Error")
    text = f"{what}, against noise level."
    return figure(
        chart, "verdict", keys, " ".join([text, *_not_drawn(curves.mean, curves.bound or ()), *_limit(limit)])
    )


_OUTPUTS: Final = "Mean squared change of the output"
_ERRORS: Final = {
    "mse": "Squared change of the outputs over twice their variance",
    "probability": "Mean squared change of the probabilities at a common confidence",
    "flips": "Share of changed classes",
    "triplets": "Share of changed triplets",
}


def of_now(published: Published, version: str, result: Assessed) -> str:
    """The version served, as it was assessed last, beside its own baseline."""
    levels, version = [point.level for point in result.levels], short(version)
    baseline: Points = [
        (point.level, point.mean_mse / point.baseline_ratio)
        if point.baseline_ratio and math.isfinite(point.mean_mse)
        else (point.level, 0.0 if point.level == point.mean_mse == 0 else None)
        for point in result.levels
    ]
    means = [point.mean_mse for point in result.levels]
    bounds = [point.bound for point in result.levels if point.bound is not None]
    has_baseline = any(point.baseline_ratio for point in result.levels)
    lines = [Line("before", baseline, dots=True)] if has_baseline else []
    lines += [Line("new-bound", _points(levels, bounds))] if bounds else []
    lines += [Line("new", _points(levels, means), dots=True)]
    keys = [("new", f"version {version} now")]
    keys += [("new-bound", f"{percent(result.confidence)} trial bound")] if bounds else []
    keys += [("before", "its baseline")] if has_baseline else []
    chart = Chart(
        f"Version {version} now", lines, limit=_drawn(published.mse_limit, means), is_time=False
    )  # fmt: skip
    text = _ERRORS["flips"] if result.output == "label" else _OUTPUTS
    if result.distance is not None:
        text = f"Mean {'distance' if result.distance == 'cosine' else 'squared distance'} of the embedding"
    told = [f"{text}, against noise level.", *_not_drawn(means, bounds), *_limit(published.mse_limit)]
    return figure(chart, "now", keys, " ".join(told))


def _points(levels: Iterable[float], values: Iterable[float]) -> Points:
    return list(zip(levels, values, strict=False))


def _drawn(limit: float | None, means: Sequence[float]) -> float | None:
    """The owner's limit, unless the curve would lie flat below it."""
    highest = max((mean for mean in means if math.isfinite(mean)), default=0.0)
    return limit if limit is not None and limit <= 5 * highest else None


def _limit(limit: float | None) -> list[str]:
    return [] if limit is None else [f"The dotted line is your limit, {limit:.4g}."]


def _not_drawn(means: Sequence[float], bounds: Sequence[float]) -> list[str]:
    if any(map(math.isinf, means)):
        return ["At some levels an output is not finite: nothing is drawn there."]
    return ["At some levels the bound is infinite: it is not drawn there."] if any(map(math.isinf, bounds)) else []
