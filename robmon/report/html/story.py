"""What happened, in one paragraph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from robmon.report.event_sentences import Row, cause_words, figure, sentence, utc_minute, value_of, worst_level
from robmon.report.html.charts import shown
from robmon.report.html.period import CHANGES, Period
from robmon.report.words import listed, noise_of
from robmon.wording import duration, printable


@dataclass(frozen=True)
class Story:
    """The paragraph, and whether it is `good`, `bad` or neither."""

    text: str
    mood: str


def story(period: Period) -> Story:
    """The paragraph: whether a regression stands, how sure, what else changed, how large it is, what has drifted."""
    if not period.assessments:
        return Story("Nothing was assessed in this period.", "")
    told = [*_regressions(period), *_size(period), *_drift(period), *_gaps(period), _assessed(period)]
    return Story(" ".join(told), "bad" if period.standing else "good" if _is_known(period) else "")


def _assessed(period: Period) -> str:
    (version, count), *others = ((printable(version), count) for version, count in period.counts.items())
    first = f"{count:,} assessment{'' if count == 1 else 's'} of version {version}"
    return f"robmon made {listed([first, *(f'{count:,} of version {version}' for version, count in others)])}."


def _is_known(period: Period) -> bool:
    """Whether something would have said that a regression stands."""
    return any("standing" in row for row in period.assessments[-1:]) or any(
        event.get("kind") in ("verdict", "version_accepted") for event in period.all_events
    )


def _regressions(period: Period) -> Iterator[str]:
    for began in period.standing:
        yield from _standing(period, began)
    ended = [event for event in period.events if event.get("kind") == "regression_ended"]
    if not period.standing:
        yield (
            f"A regression ended at {utc_minute(ended[-1]['at'])}, and none stands."
            if ended
            else "No regression stands."
            if _is_known(period)
            else "Whether it has regressed is not known: there is no verdict and no baseline that suffices."
        )


def _standing(period: Period, began: Row) -> Iterator[str]:
    """A regression that stands: which, since when, how sure, why, and what else changed."""
    since, kind = began.get("since") or began["at"], began.get("regression")
    against = f"is worse than version {printable(began.get('against', '-'))}"
    if kind == "time":
        against = "has become worse than its own baseline"
    version = printable(began.get("version", "-"))
    yield f"Version {version} {against}: the regression has stood since {utc_minute(since)}."
    if kind == "time":
        yield from _evidence(period)
    named = [each for each in period.all_events if each.get("kind") == "cause_named" and each["at"] >= since]
    if named and named[-1].get("regression") == kind:
        yield f"It {cause_words(named[-1])}."
    changes = period.changes_before(since)
    if changes:
        yield f"In the hour before: {'; '.join(sentence(event) for event in changes[:4])}."
    else:
        yield _last_change(period, since)


def _last_change(period: Period, at: float) -> str:
    earlier = [event for event in period.all_events if event.get("kind") in CHANGES and event["at"] < at]
    if not earlier:
        return "Nothing is known to have changed before."
    return (
        f"In the hour before, no version, setting or robmon is known to have changed; the last change, "
        f"{duration(round(at - earlier[-1]['at']))} before: {sentence(earlier[-1])}."
    )


def _evidence(period: Period) -> Iterator[str]:
    row: Row = next((each for each in reversed(period.assessments) if "evidence_threshold" in each), {})
    threshold = row.get("evidence_threshold")
    if not isinstance(threshold, int | float):
        return
    interval = (period.specification_of(row) or {}).get("interval_seconds")
    often = f"{threshold:,.0f} assessments"
    if isinstance(interval, int | float):
        often += f" ({duration(round(threshold * interval))})"
    yield (
        f"The evidence is {shown(value_of(row.get('evidence')))}, and its threshold {shown(threshold)}: without a "
        f"change it is passed once in {often} on average, or less often."
    )


def _size(period: Period) -> Iterator[str]:
    worst = period.worst
    if worst is None:
        return
    point = worst_level(worst)
    level, unit = point.get("level"), printable(worst.get("level_unit") or "")
    where = f"noise level {figure(level)}"
    if unit and isinstance(level, int | float):
        where = noise_of(level, unit)
    if point.get("ratio") is None:
        yield f"The noise error was largest at {utc_minute(worst['at'])}: {figure(point.get('mse'))} at {where}."
        return
    last = worst_level(period.assessments[-1]).get("ratio")
    yield (
        f"At {where} the noise error was {figure(point.get('ratio'), 3)} times its baseline's when it was worst, at "
        f"{utc_minute(worst['at'])}, and {figure(last, 3)} times at the end."
    )


def _drift(period: Period) -> Iterator[str]:
    row: Row = next((each for each in reversed(period.assessments) if each.get("drift")), {})
    drifted, watched = row.get("drifted_features"), row.get("features_watched")
    features = [each for each in row.get("drift", ()) if each.get("feature") != "all"]
    if not features:
        return
    most = max(features, key=lambda each: max(value_of(each.get("psi")), value_of(each.get("js"))))
    name = printable(most["feature"])
    effects = ", ".join(f"{what} {figure(most[key], 3)}" for key, what in _EFFECTS if most.get(key) is not None)
    if isinstance(drifted, int | float):
        have = "has" if drifted == 1 else "have"
        yield f"{figure(drifted)} of {figure(watched)} watched features {have} drifted; most {name} ({effects})."
    else:
        yield f"Of {figure(watched)} watched features {name} has moved most ({effects})."


_EFFECTS = (("js", "Jensen-Shannon distance"), ("psi", "PSI"))


def _gaps(period: Period) -> Iterator[str]:
    """How long there were no assessments, by the reasons that were told."""
    seconds: Counter[str] = Counter()
    open_since: tuple[float, str] | None = None
    for event in [*period.events, {"kind": "assessments_again", "at": period.until}]:
        if open_since is not None and event.get("kind") in ("assessments_missing", "assessments_again"):
            seconds[open_since[1]] += round(event["at"] - max(open_since[0], period.since))
            open_since = None
        if event.get("kind") == "assessments_missing":
            open_since = (event["at"], printable(event.get("reason", "-")))
    told = [f"{duration(lost)} ({reason})" for reason, lost in seconds.most_common() if lost >= 60]
    if told:
        yield f"Assessments were missing for {listed(told)}."


def shares(value: Any) -> str:
    """A share in percent with one digit.

    >>> shares(0.123), shares(None)
    ('12.3 %', '-')
    """
    return f"{100 * value:.3g} %" if isinstance(value, int | float) else "-"
