"""Why a regression stands, as far as that is known beyond chance: as metrics and on the status page."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from robmon import clock
from robmon.export.page.pieces import bars, paragraph
from robmon.export.published import Published, View
from robmon.history.verdict import Causes, Part
from robmon.processes.messages.findings import CanaryResult, SharesResult
from robmon.report.words import listed, percent
from robmon.vocabulary import OTHERS

UNKNOWN = "unknown"
"""In the place of a cause, or a group of features, that is not known beyond three standard errors."""


class CausesCollector(Collector):
    """What the canary says, which features carry the noise error, and what a standing regression comes from."""

    def __init__(self, published: Published, now: Callable[[], float] = clock.now) -> None:
        self._published = published
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """The canary is a state; shares are measurements, and go as those do; causes last as long as a regression."""
        name, view = self._published.model_name, self._published.view
        if view.canary is not None and view.canary.ratio is not None:
            canary = GaugeMetricFamily(
                "robmon_canary_change_ratio",
                "Share of the synthetic canary's outputs that changed under the same version",
                labels=["model_name"],
            )
            canary.add_metric([name], view.canary.ratio)
            yield canary
        if view.worse_since is not None:
            yield from _of_alarm(name, view)
        if view.model is not None and self._published.current_measurement(self._now()) is not None:
            yield from _shares(name, view.model.version, _known_shares(view))


def _of_alarm(name: str, view: View) -> Iterator[Metric]:
    info = InfoMetricFamily(
        "robmon_regression_cause",
        "What a standing regression comes from, model, traffic or runtime, and which group of features carries most of "
        "it; unknown where nothing is beyond three standard errors",
        labels=["model_name"],
    )
    why = named_cause(view)
    info.add_metric([name], {"cause": why.cause or UNKNOWN, "group": why.group or UNKNOWN})
    yield info
    share = GaugeMetricFamily(
        "robmon_change_share",
        "Share of the change of the noise error since the baseline, while a regression stands",
        labels=["model_name", "model_version", "cause"],
    )
    for cause, value in _change_shares(view).items():
        share.add_metric([name, view.worse_since[1] if view.worse_since else "", cause], value)
    if share.samples:
        yield share


def _shares(name: str, version: str, shares: SharesResult | None) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "robmon_noise_share",
        "Share of the noise error at the highest level that a group of features carries",
        labels=["model_name", "model_version", "group"],
    )
    if shares is not None:
        for group, share in zip(shares.groups, shares.share, strict=True):
            family.add_metric([name, version, group], share)
    if family.samples:
        yield family


class Why(NamedTuple):
    """What a regression comes from; None where that is not beyond three standard errors."""

    cause: str | None
    group: str | None


def named_cause(view: View) -> Why:
    """The cause and the group of features that may be named.

    Where the canary has changed it is the runtime. Over time the model is the same by definition, so that it is the
    traffic where the canary has not. The features of no group, or of no group of their own, are not named together:
    that says nothing to anybody.
    """
    causes, shares, canary = _causes(view), view.alert_shares, view.canary
    cause: str | None = None if causes is None else causes.cause
    if _is_over_time(view):
        cause = "traffic" if canary is not None and canary.ratio is not None else None
    if canary is not None and canary.is_changed:
        cause = "runtime"
    return Why(cause, None if shares is None or shares.largest == OTHERS else shares.largest)


def _is_over_time(view: View) -> bool:
    return view.worse_since is not None and view.worse_since[0] == "time"


def _change_shares(view: View) -> dict[str, float]:
    """Shares of the change, by cause, as far as they are known."""
    if _is_over_time(view):
        return {"model": 0.0, "traffic": 1.0} if named_cause(view).cause == "traffic" else {}
    return {cause: part.share for cause, part in _of(_causes(view)) if part.share is not None}


def causes_html(published: Published) -> str:
    """What the quiet canary found, why a regression stands, and which features carry the noise error."""
    view = published.view
    parts = [_quiet_canary(view.canary)]
    if view.worse_since is not None:
        parts.append(_sentences(view))
    parts.append(_table(_known_shares(view)))
    told = "\n".join(filter(None, parts))
    return told and f"<h2>Where it comes from</h2>\n{told}"


def _causes(view: View) -> Causes | None:
    verdict = view.state.verdict
    return None if verdict is None or _is_over_time(view) else verdict.causes


def _of(causes: Causes | None) -> list[tuple[str, Part]]:
    if causes is None:
        return []
    return [(name, part) for name, part in (("model", causes.model), ("traffic", causes.traffic)) if part is not None]


def _known_shares(view: View) -> SharesResult | None:
    """The shares since a standing regression, else the baseline's."""
    alert = view.alert_shares
    is_alert = view.worse_since is not None and alert is not None and alert.groups
    return alert if is_alert else view.shares


def canary_alarm(canary: CanaryResult | None) -> str:
    """A sentence that the version served answers otherwise than it did; empty while it does not."""
    if canary is not None and canary.is_changed:
        notes = "".join(f"; {note}" for note in canary.notes)
        told = (
            f"The same version gives other outputs than before: {percent(canary.ratio or 0.0)} of those for "
            f"{canary.rows} drawn rows are not what they were{notes}. The model's files, its libraries or their types "
            "have changed. Where that is meant, record a new baseline."
        )
        return paragraph(told, "bad")
    return ""


def _quiet_canary(canary: CanaryResult | None) -> str:
    if canary is None or canary.is_changed:
        return ""
    if canary.ratio is None:
        return f"<p>No synthetic canary: {html.escape(canary.reason)}.</p>"
    notes = "".join(f"; {note}" for note in canary.notes)
    told = f"Synthetic canary: {canary.rows} drawn rows give the outputs that they gave before{notes}."
    return f"<p>{html.escape(told)}</p>"


def _sentences(view: View) -> str:
    why, causes, told = named_cause(view), _causes(view), []
    if why.cause is not None:
        told.append(f"Cause: the {why.cause}.")
    parts = [f"the {name} multiplies the noise error by {part.ratio:.3g}{_share(part)}" for name, part in _of(causes)]
    if parts:
        told.append(f"Since the baseline {listed(parts)}, at the highest level.")
    shares = view.alert_shares
    if shares is not None and shares.reason:
        told.append(f"Which features carry it is not known: {shares.reason}.")
    elif shares is not None and why.group is not None:
        of, values = ("the rise", shares.rise_share) if shares.rise_share is not None else ("it", shares.share)
        share = dict(zip(shares.groups, values, strict=True))[why.group]
        told.append(f"{why.group} carries {percent(share)} of {of}.")
    return f"<p>{html.escape(' '.join(told))}</p>" if told else ""


def _share(part: Part) -> str:
    return "" if part.share is None else f" ({percent(part.share)} of the change)"


def _table(shares: SharesResult | None) -> str:
    if shares is None:
        return ""
    if shares.reason:
        return f"<p>Which features carry the noise error is not known: {html.escape(shares.reason)}.</p>"
    columns = [shares.share, shares.stderr, *([shares.rise_share] if shares.rise_share is not None else [])]
    heads = ["share of the noise error", "standard error", *(["share of its rise"] if len(columns) > 2 else [])]
    rows = sorted(zip(shares.groups, *columns, strict=True), key=lambda row: -float(row[1]))
    lines = [(str(name), float(values[0]), [percent(float(value)) for value in values]) for name, *values in rows]
    of = "of these rows" if shares.is_now else "of the baseline"
    caption = f"Which features carry the noise error at level {shares.level:g}, {of}."
    return bars(["features", *heads], lines, caption)
