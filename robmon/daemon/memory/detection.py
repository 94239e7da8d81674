"""The detector over time, as far as it is decided here: what its evidence is of, which requests count, what follows.

Its numerics need NumPy, so the worker steps it: one step for every good assessment of the version served that has at
least one request which counts. No I/O.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from robmon import clock
from robmon.history.baseline.checksum import SCALES, checksum
from robmon.history.detection import Detection, DetectionRecord
from robmon.history.memory import Entries, of_version
from robmon.inputs.sample import Item
from robmon.processes.messages.model import ModelVersion
from robmon.processes.messages.question import DetectionQuestion
from robmon.settings import Settings
from robmon.vocabulary import DETECTION_RESTARTS, detection_threshold

STATISTIC_FORMAT: Final = 2
"""Of what the evidence is made of, beyond the detector's own format."""
DIGESTED_BYTES: Final = 4096
"""Of a body, at either end: two requests of one id that differ only between are taken for one."""


class Fresh(NamedTuple):
    """Which requests of a sample count.

    Attributes:
        hours: for each request the hour it arrived, in whole hours of Unix time; None where it does not count.
        counted: digests of those that do and have an id.
    """

    hours: list[int | None]
    counted: tuple[str, ...]


class Asked(NamedTuple):
    """A step that the worker is asked for, the requests that it counts, and what its evidence is of."""

    question: DetectionQuestion
    fresh: Fresh
    identity: Mapping[str, Any]


def identity_of(
    settings: Settings,
    model: ModelVersion,
    baseline: Mapping[str, Any] | None,
    entries: Entries,
    left_out: Iterable[int] = (),
) -> dict[str, Any]:
    """What evidence is of, as JSON holds it.

    Args:
        settings: how is assessed, and how alarms are raised.
        model: the version served.
        baseline: its own, None where it has none.
        entries: the memory; that a person accepts a version says that what it is now is normal.
        left_out: hours of the baseline that a person has left out.
    """
    accepted_at = accepted_by_person(entries, model)
    scales = checksum({name: baseline.get(name) for name in SCALES} if baseline is not None else {})
    alerts, specification = settings.alerts, settings.specification
    return {
        "version": [model.version, model.run_id],
        "noise": [specification.noise, specification.output, str(specification.output_column)],
        "level": specification.levels[-1],
        "baseline": [scales, accepted_at, sorted(left_out)],
        "tolerance": alerts.tolerance,
        "threshold": [threshold_of(settings), alerts.clear_evidence],
        "format": STATISTIC_FORMAT,
    }


def accepted_by_person(entries: Entries, model: ModelVersion) -> float | None:
    """Unix time at which a person accepted that version; None where none did."""
    entry = of_version(entries, model.version, model.run_id)
    return entry.at if entry is not None and entry.accepted and entry.by == "person" else None


def threshold_of(settings: Settings) -> float:
    """Evidence at which an alarm begins."""
    return detection_threshold(settings.alerts.false_alarms_per_month, settings.assess.interval_seconds)


def hours_name(identity: Mapping[str, Any]) -> str:
    """Under which name the hours of a version are kept: those of other scales are errors of another size."""
    of = {name: identity[name] for name in ("version", "noise", "level")} | {"of": identity["baseline"][:2]}
    return f"{identity['version'][0]}/{checksum(of)}"


def restart_reason(record: DetectionRecord | None, identity: Mapping[str, Any]) -> str | None:
    """Why evidence that was gathered counts no more; None where it does, or where there is none."""
    if record is None or record.found.detector is None:
        return None
    return next((name for name in DETECTION_RESTARTS if record.identity.get(name) != identity[name]), None)


def fresh(items: Sequence[Item], counted: Iterable[str]) -> Fresh:
    """Which of these requests count: those that no earlier assessment has used, and of the same request one alone.

    A mirror that sends a request again gives it the same id and the same body.
    """
    known, hours, new = set(counted), list[int | None](), list[str]()
    for item in items:
        digest = None if item.topped_up else _digest(item)
        if item.topped_up or digest in known:
            hours.append(None)
            continue
        hours.append(int(clock.as_shown(item.received_at) // 3600))
        if digest is not None:
            known.add(digest)
            new.append(digest)
    return Fresh(hours, tuple(new))


def record_after(
    record: DetectionRecord | None,
    identity: Mapping[str, Any],
    found: Detection,
    counted: Sequence[str],
    *,
    number: int,
    at: float,
    most: int,
) -> DetectionRecord:
    """What is kept after a step.

    Args:
        record: what was kept before.
        identity: what the evidence is of.
        found: what the worker says.
        counted: digests of the requests counted now.
        number: of the assessment.
        at: Unix time.
        most: digests that are kept.
    """
    since = None
    if found.is_standing:
        since = at if record is None or record.since is None else record.since
    before = () if record is None else record.counted
    return DetectionRecord(
        identity=dict(identity), found=found, since=since, number=number, counted=(*before, *counted)[-most:]
    )


def _digest(item: Item) -> str | None:
    """Of a request that has an id: that and the ends of its body, since several requests may share a trace's id."""
    if not item.feedback.ids:
        return None
    body = item.body
    hashed = hashlib.blake2b(item.feedback.ids[0].encode(), digest_size=8)
    hashed.update(len(body).to_bytes(8))
    hashed.update(body[:DIGESTED_BYTES] + body[-DIGESTED_BYTES:])
    return hashed.hexdigest()
