"""What happened to a model: its assessments and events, row by row, of which the oldest go."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from robmon.history.events import Event
from robmon.history.state import contents
from robmon.history.state.kept import Kept
from robmon.history.state.model_state import ModelState
from robmon.history.state.records import Bounds, Row

ROWS_CHECKED: Final = 1000
"""At a time, some ten milliseconds: verdicts that wait to be written come between."""


class Past:
    """The past of one model, in its state.

    Args:
        state: of the model.
        bounds: of the assessments and events that are kept.
    """

    def __init__(self, state: ModelState, bounds: Bounds) -> None:
        self._state = state
        self._bounds = bounds

    def add(
        self,
        assessment: Mapping[str, Any],
        specification: Mapping[str, Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Add one assessment, with `at` and `number`, and what is too old or too much goes. Raises OSError.

        Args:
            assessment: as JSON can hold it.
            specification: by which it was made, kept once; its name is added to the assessment.
            now: the Unix time by which others are too old.
        """
        at, number = float(assessment["at"]), int(assessment["number"])
        name, whole = "", b""
        if specification is not None:
            whole = _json(specification)
            name = hashlib.blake2b(whole, digest_size=8).hexdigest()
            assessment = {**assessment, "specification_name": name}
        content = _json(assessment)

        def write(kept: Kept) -> None:
            kept.records.add_assessment(at, number, content)
            if name:
                kept.records.add_specification(name, whole)
            kept.records.bound(self._bounds, now())

        self._state.write(write)
        self._state.shrink(self._bounds.max_bytes)

    def add_events(self, events: Iterable[Event], told: Mapping[str, Any] | None = None) -> None:
        """Add what happened, each event once, and remember with them what has been told by now. Raises OSError."""
        rows = [(event.at, _json(event.to_dict())) for event in events]

        def write(kept: Kept) -> None:
            for at, content in rows:
                kept.records.add_event(at, content)
            if told is not None:
                kept.put("told", "", _json(told))

        self._state.write(write)

    def read_daemon_facts(self) -> dict[str, Any]:
        """What had been told with the events added last; nothing where none were. Raises OSError."""
        nothing: dict[str, Any] = {}
        return self._state.read(contents.daemon_facts, nothing)

    def assessments(self) -> list[dict[str, Any]]:
        """All past ones that are known, in the order in which they were written. Raises OSError."""
        return self._rows("assessments")

    def events(self) -> list[dict[str, Any]]:
        """All that are known, in the order in which they were written. Raises OSError."""
        return self._rows("events")

    def specifications(self) -> dict[str, dict[str, Any]]:
        """The specifications by which assessments were made, by name. Raises OSError."""
        nothing: dict[str, dict[str, Any]] = {}
        return self._state.read(contents.specifications, nothing)

    def unlogged(self, most: int) -> list[dict[str, Any]]:
        """The oldest assessments that are not logged elsewhere yet, at most so many. Raises OSError."""

        def read(kept: Kept) -> list[Row]:
            logged = kept.get("logged")
            after = 0 if logged is None else kept.records.behind_row_of("assessments", float(logged))
            return kept.records.some("assessments", after, most)

        nothing: list[Row] = []
        return [json.loads(row.content) for row in self._state.read(read, nothing)]

    def tell_logged(self, until: float) -> None:
        """Remember that all up to the one of that time are. Raises OSError."""
        self._state.write(lambda kept: kept.put("logged", "", repr(until).encode()))

    def check(self, table: str, after: int = 0) -> int | None:
        """Look whether the next rows of `assessments` or `events` are whole, else set the file aside. Raises OSError.

        Returns:
            the id of the last row looked at; None behind the last one.
        """

        def check(kept: Kept) -> int | None:
            rows = kept.records.some(table, after, ROWS_CHECKED)
            return rows[-1].id if rows else None

        return self._state.read(check, None)

    def _rows(self, table: str) -> list[dict[str, Any]]:
        nothing: list[dict[str, Any]] = []
        return self._state.read(lambda kept: [json.loads(row.content) for row in kept.records.rows(table)], nothing)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(_finite(content), separators=(",", ":"), allow_nan=False).encode()


def _finite(value: Any) -> Any:
    """As JSON can hold it: infinite numbers as text, what is no number as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
