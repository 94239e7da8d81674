"""When the worker is asked which features carry the noise error: once for an alarm, and on request. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robmon.processes.messages.findings import SharesResult
from robmon.processes.messages.question import AttributionQuestion

Alarm = tuple[str, str, float]
"""Its kind, the version and since when, in Unix time."""


class CauseSearch:
    """Remembers for which alarm shares have been measured.

    A baseline's shares, and those of a version that is found worse, the worker measures by itself. Where the time was
    too short for the latter, it is asked once more, with time kept for it.

    Args:
        groups: features of each, by name, as the settings have them.
    """

    def __init__(self, groups: Mapping[str, list[str]]) -> None:
        self._groups = dict(groups)
        self._measured: Alarm | None = None
        self._is_requested = False

    def request(self) -> None:
        """Have them measured at the next assessment, whatever it is of."""
        self._is_requested = True

    def question(self, standing: Alarm | None, before: Mapping[str, Any] | None) -> AttributionQuestion:
        """What is asked at the next assessment.

        Args:
            standing: the alarm that stands on the version that is assessed, see `View.worse_since`.
            before: the baseline of the version that it is, or is to be, compared with; None: its own.
        """
        shares = None if before is None else before.get("shares")
        now = self._is_requested or (standing is not None and standing != self._measured)
        return AttributionQuestion(groups=self._groups, now=now, before=shares)

    def take(self, asked: AttributionQuestion, standing: Alarm | None, found: SharesResult | None) -> None:
        """Take note of an answer, with the alarm that stands after it.

        One that came without being asked for counts only where it holds shares.
        """
        if found is not None and found.is_now and (asked.now or not found.reason):
            self._measured, self._is_requested = standing, False
