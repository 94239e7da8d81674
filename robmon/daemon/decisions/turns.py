"""Which of the further noises has its turn: one an assessment, each in its order. No I/O."""

from __future__ import annotations

from robmon.vocabulary import Outcome


class Turns:
    """Knows whose turn it is.

    After an assessment that failed with a further noise the next one has none: that noise may be what the model, or
    the worker, did not bear, and what decides alarms is to be measured in any case.

    Args:
        count: of the further noises.

    >>> turns = Turns(2)
    >>> turns.begin(), turns.end("ok"), turns.begin(), turns.end("failed"), turns.begin(), turns.end("ok")
    (0, None, 1, None, None, None)
    >>> turns.begin(), turns.end("skipped"), turns.begin()
    (0, None, 0)
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._next = 0
        self._rests = False
        self._asked: int | None = None

    def begin(self) -> int | None:
        """The place of the noise whose turn it is in the assessment which begins; None: none has one."""
        self._asked = None if self._rests or not self._count else self._next % self._count
        return self._asked

    def end(self, outcome: Outcome) -> None:
        """Take note of how that assessment ended. One that was skipped took nobody's turn."""
        if outcome == "skipped":
            return
        self._rests = outcome == "failed" and self._asked is not None
        if self._asked is not None:
            self._next += 1
