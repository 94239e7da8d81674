"""What is remembered of the verdicts on a model's versions, in data folder and registry alike: pure functions.

A memory is a list of entries, the oldest first. Several daemons write the same one, each when it has judged a version,
so two memories are merged by rules that give the same result in whatever order they are met.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from robmon.errors import InvalidInputError
from robmon.vocabulary import ComparisonScore

MAX_ENTRIES: Final = 10
MAX_BYTES: Final = 4096
"""Of a memory as JSON: MLflow's database keeps 5000 characters of a registered model's tag."""
MAX_READ_BYTES: Final = 4 * MAX_BYTES
"""Of what is read as a memory, which a person may have written by hand; anything longer is none."""
LIMIT_DIGITS: Final = 4
"""Of an interval, so that ten entries fit."""
TAG_PREFIX: Final = "robmon.memory."

Key = tuple[str, str | None]
"""Version and run id: numbers begin again when a model is made anew."""


class Entry(BaseModel):
    """What became of one version."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    version: str
    run_id: str | None = None
    """The run that made the version, None where there is none."""
    accepted: bool
    """Whether it was accepted, else it was rejected."""
    by: Literal["person", "verdict", "first"]
    """Who says so: a person, a comparison, or nobody: the first version has none to be compared with."""
    against: str | None = None
    """The version that it was compared with."""
    pooled_ratio: float | None = None
    """Its noise MSE over that version's, pooled over the levels."""
    pooled_low: float | None = None
    pooled_high: float | None = None
    """Confidence limits of that ratio, to `LIMIT_DIGITS`."""
    score: ComparisonScore | None = None
    """What was compared."""
    pvalue: float | None = None
    rows: int | None = None
    """Rows of the comparison."""
    at: Annotated[float, Field(allow_inf_nan=False)]
    """Unix time."""
    goes_on_since: Annotated[float | None, Field(allow_inf_nan=False)] = None
    """Of a rejection: when the regression began that was seen to stand until then, of a version served before it; None
    where none was, or an older robmon wrote it."""
    specification: str = ""
    """Digest of the settings under which it was judged; empty where it was not."""
    error_ratio_high: float | None = None
    """Upper limit of its row errors at the highest level over those of the version that it was compared with."""
    anchor: str | None = None
    """Of a version accepted by verdict: the last version before it that a person, or nobody, accepted."""
    ratio_since: float | None = None
    """Product of the pooled ratios from the anchor to this version, of those judged under this specification."""

    @model_validator(mode="after")
    def _only_verdicts_reject(self) -> Entry:
        if not self.accepted and self.by != "verdict":
            raise ValueError("only a verdict rejects a version")
        return self

    @property
    def key(self) -> Key:
        """By which it is told from other entries."""
        return self.version, self.run_id

    @property
    def stands_since(self) -> float:
        """Unix time at which the regression began, which a further bad version does not renew where it follows at once.

        Where that is not known it is the time of this rejection, which holds of its version whatever was served before.
        """
        return self.at if self.goes_on_since is None else self.goes_on_since

    @property
    def _rank(self) -> tuple[int, float]:
        """A person outranks verdicts, a rejection an acceptance: of many pods one always passes a bad version."""
        if self.by == "person":
            return 3, self.at
        return (2 if not self.accepted else 1 if self.by == "verdict" else 0), -self.at


Entries = tuple[Entry, ...]
_ENTRIES: TypeAdapter[Entries] = TypeAdapter(Entries)


def merge(*memories: Iterable[Entry], without: Iterable[Key] = ()) -> Entries:
    """One memory of several: one entry a version, of the highest rank, cut to what fits.

    Of versions that were accepted because nobody knew another, only the oldest keeps that: two pods that start on an
    empty memory with two versions would else accept both unseen.

    Args:
        memories: in any order.
        without: entries that are left out.
    """
    left_out = set(without)
    by_key: dict[Key, Entry] = {}
    for entry in (entry for memory in memories for entry in memory if entry.key not in left_out):
        known = by_key.get(entry.key)
        if known is None or entry._rank > known._rank:
            by_key[entry.key] = entry
    entries = sorted(by_key.values(), key=_age)
    return _fitting([entry for index, entry in enumerate(entries) if entry.by != "first" or index == 0])


def of_version(entries: Entries, version: str, run_id: str | None) -> Entry | None:
    """What is remembered of one version, None where nothing is."""
    return next((entry for entry in reversed(entries) if entry.key == (version, run_id)), None)


def reference(entries: Entries) -> Entry | None:
    """The newest accepted entry, whose version new ones are compared with; None where there is none."""
    return next((entry for entry in reversed(entries) if entry.accepted), None)


def later_than(entries: Entries, at: float) -> float:
    """Unix time of what comes after all that is remembered, to the millisecond: a clock that was set back since must
    not make it older.

    >>> later_than((Entry(version="1", accepted=True, by="first", at=90_000.0),), 3_600.0)
    90000.001
    """
    return round(max([at, *(entry.at + 0.001 for entry in entries)]), 3)


def standing_rejection(entries: Entries, version: str, run_id: str | None, quiet_at: float = -math.inf) -> Entry | None:
    """The rejection that stands while this version is served; None where none does.

    A rejected version's own stands wherever it is served. Over a version that is not judged yet the newest rejection
    stands, unless some version was accepted after it, or an accepted one was served here since.

    Args:
        entries: the memory.
        version: the version served.
        run_id: its run.
        quiet_at: Unix time at which an accepted version was last seen served here.
    """
    entry = of_version(entries, version, run_id)
    if entry is not None:
        return None if entry.accepted else entry
    newest = entries[-1] if entries else None
    return newest if newest is not None and not newest.accepted and newest.at > quiet_at else None


def judged(
    entries: Entries,
    *,
    version: str,
    run_id: str | None,
    accepted: bool,
    against: str,
    pooled_ratio: float | None,
    pvalue: float,
    rows: int,
    at: float,
    specification: str,
    limits: tuple[float, float] | None = None,
    score: ComparisonScore | None = None,
    error_ratio_high: float | None = None,
    stood_since: float | None = None,
) -> Entry:
    """The entry of a version that was compared, which carries on the product of the ratios, or a regression.

    `stood_since` is when the regression began that stood until now, here where the version is served; None: none did.
    """
    anchor = ratio = None
    if accepted and pooled_ratio is not None:
        before = next((entry for entry in reversed(entries) if entry.accepted and entry.version == against), None)
        anchor = against if before is None or before.anchor is None else before.anchor
        ratio = pooled_ratio * (1.0 if before is None else _product(entries, before, specification) or 1.0)
    low, high = limits or (None, None)
    return Entry(
        version=version,
        run_id=run_id,
        accepted=accepted,
        by="verdict",
        against=against,
        pooled_ratio=pooled_ratio,
        pooled_low=_limit(low),
        pooled_high=_limit(high),
        score=score,
        pvalue=pvalue,
        rows=rows,
        at=at,
        goes_on_since=None if accepted else stood_since,
        specification=specification,
        error_ratio_high=error_ratio_high,
        anchor=anchor,
        ratio_since=ratio,
    )


def _limit(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(f"{value:.{LIMIT_DIGITS}g}")


def ratio_since(entries: Entries, entry: Entry, specification: str) -> tuple[str, float] | None:
    """The anchor of an accepted entry, and the product of the pooled ratios since, of those judged as now.

    None where no ratio between the two was found under this specification.
    """
    if not entry.accepted:
        return None
    product = _product(entries, entry, specification)
    return None if product is None else (entry.anchor or entry.version, product)


def _product(entries: Entries, upto: Entry, specification: str) -> float | None:
    """Of the ratios between the anchor of `upto` and itself; 1 where it is its own anchor."""
    if upto.anchor is None:
        return 1.0 if upto.by != "verdict" else None
    for entry in reversed(entries):
        if entry.at <= upto.at and entry.anchor == upto.anchor and entry.specification == specification:
            return entry.ratio_since
    return None


def to_json(entries: Entries) -> str:
    """A memory as a JSON list, ASCII."""
    return json.dumps([_plain(entry) for entry in entries], separators=(",", ":"))


def from_json(text: str | bytes) -> Entries:
    """A memory from JSON.

    Raises:
        InvalidInputError: it is none, or one that a person has spoilt.
    """
    not_understood = InvalidInputError("what is remembered of the versions cannot be understood")
    if len(text) > MAX_READ_BYTES:
        raise not_understood
    try:
        return merge(_ENTRIES.validate_json(text))
    except ValidationError:
        raise not_understood from None


def understood(text: str | None) -> Entries | None:
    """A memory from JSON; None where there is none, or where it cannot be understood."""
    try:
        return None if text is None else from_json(text)
    except InvalidInputError:
        return None


def _plain(entry: Entry) -> dict[str, Any]:
    told = entry.model_dump(exclude_none=True)
    return {name: "Infinity" if value == math.inf else value for name, value in told.items()}


def _age(entry: Entry) -> tuple[float, str, str]:
    return entry.at, entry.version, entry.run_id or ""


def _fitting(entries: list[Entry]) -> Entries:
    """The newest entries that fit, and always the reference: else ten bad versions in a row would make it forgotten."""
    kept = reference(tuple(entries))
    newest = entries[-MAX_ENTRIES:]
    if kept is not None and kept not in newest:
        newest = [kept, *newest[1:]]
    while len(newest) > 1 and len(to_json(tuple(newest))) > MAX_BYTES:
        newest.remove(next(entry for entry in newest if entry is not kept))
    return tuple(newest)
