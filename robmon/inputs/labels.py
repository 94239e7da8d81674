"""Labels and served answers, which come apart from their requests and are joined to the sampled ones by id.

Most requests are not sampled, so most of what is told here belongs to no request that is known. What comes before its
request waits a little: mirrors, loggers and clients keep no order.
"""

from __future__ import annotations

import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

from robmon.inputs.join_keys import join_keys
from robmon.inputs.sample import Feedback, Item

What = Literal["target", "answer"]
KINDS: Final[tuple[What, ...]] = ("target", "answer")
OUTCOMES: Final = ("joined", "late", "unknown", "dropped")
DOES_NOT_FIT: Final = "does_not_fit"

EARLY_SECONDS: Final = 30.0
"""How long a label or an answer waits for its request."""
EARLY_SHARE: Final = 0.25
"""Of the bytes, for what waits for its request."""
JOINED_SHARE: Final = 0.25
"""Of the bytes, for labels and answers that are joined; the rest is for requests that wait for a label."""
ENTRY_BYTES: Final = 256
"""What a waiting entry costs besides its content."""
REMEMBERED_IDS: Final = 4096
MAX_BYTES: Final = 16 * 2**20
WINDOW_SECONDS: Final = 86_400.0


class _Entry(weakref.ref["Feedback"]):
    """A sampled request as long as anyone holds it."""

    __slots__ = ("ids", "size")
    ids: tuple[str, ...]
    size: int
    """Bytes of the label and the answer that are joined to it."""


@dataclass(slots=True)
class _Early:
    content: bytes
    at: float
    size: int


@dataclass(slots=True)
class _Waiting:
    item: Item
    key: float


def _counter(*more_outcomes: str) -> Counter[str]:
    return Counter(dict.fromkeys((*OUTCOMES, *more_outcomes), 0))


@dataclass
class LabelCounts:
    """What became of the labels and the served answers that were told.

    `joined`: to a sampled request. `late`: its request was sampled and is held no longer. `unknown`: no request with
    that id came, or it was not sampled. `dropped`: there was no room. `does_not_fit`: a label that was joined, and then
    found to be no target of the model's outputs.
    """

    target: Counter[str] = field(default_factory=lambda: _counter(DOES_NOT_FIT))
    answer: Counter[str] = field(default_factory=_counter)

    def of(self, what: What) -> Counter[str]:
        """The outcomes of labels, or of answers."""
        return self.target if what == "target" else self.answer


class Labels:
    """Joins labels and served answers to sampled requests, within bounds of bytes and time.

    It knows a request for as long as the sample, or an assessment that is kept, holds it. Labels take longer than that,
    so from the first label on it also holds assessed requests itself, up to `window_seconds`: a random share of them,
    as many as fit, so that they spread over the whole window. Ids should be unique: of two requests with one id the
    later counts.

    Args:
        max_bytes: for labels, answers and the requests that wait for a label.
        window_seconds: how long a request waits for its label.
        random: decides which requests wait.

    >>> from robmon.inputs.sample import Item
    >>> labels = Labels(max_bytes=10_000, window_seconds=60)
    >>> labels.tell("target", "b", b"1.5", now=0)
    >>> item = Item("mlflow", {"x-request-id": "a"}, received_at=0, seed=0, body=b"{}")
    >>> labels.follow(item, now=0)
    >>> labels.tell("target", "a", b"2.5", now=1)
    >>> item.feedback.target, labels.counts.target["joined"], labels.counts.target["unknown"]
    (b'2.5', 1, 0)
    """

    def __init__(
        self, *, max_bytes: int = MAX_BYTES, window_seconds: float = WINDOW_SECONDS, random: Random | None = None
    ) -> None:
        self.counts = LabelCounts()
        self.early_bytes = 0
        """Bytes of what waits for its request."""
        self.joined_bytes = 0
        """Bytes of the labels and answers of the requests that are known."""
        self.waiting_bytes = 0
        """Bytes of the requests that wait for a label."""
        self._max_early_bytes = int(max_bytes * EARLY_SHARE)
        self._max_joined_bytes = int(max_bytes * JOINED_SHARE)
        self._max_waiting_bytes = max_bytes - self._max_early_bytes - self._max_joined_bytes
        self._window_seconds = window_seconds
        self._random = random or Random()  # noqa: S311 - a sample, not a secret
        self._entries: dict[str, _Entry] = {}
        self._alive: dict[int, _Entry] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._early: OrderedDict[tuple[What, str], _Early] = OrderedDict()
        self._waiting: list[_Waiting] = []
        self._last_label_at: float | None = None

    def follow(self, item: Item, now: float) -> None:
        """A request has been sampled: from now on its ids are known, and what came before it is joined."""
        feedback = item.feedback
        feedback.ids = join_keys(item.headers, item.body)
        if not feedback.ids:
            return
        entry = _Entry(feedback, self._lose)
        entry.ids, entry.size = feedback.ids, 0
        self._alive[id(entry)] = entry
        self.expire(now)
        for key in reversed(feedback.ids):  # the most telling id has the last word
            self._entries[key] = entry
            self._gone.pop(key, None)
            for what in KINDS:
                if (early := self._early.pop((what, key), None)) is not None:
                    self.early_bytes -= early.size
                    self._join(entry, feedback, what, early.content)

    def tell(self, what: What, key: str, content: bytes, now: float) -> None:
        """A label, as JSON, or a served answer, as it came, for the request with that id."""
        self.expire(now)
        if what == "target":
            self._last_label_at = now
        entry = self._entries.get(key)
        feedback = entry() if entry is not None else None
        if entry is not None and feedback is not None:
            self._join(entry, feedback, what, content)
        elif key in self._gone:
            self.counts.of(what)["late"] += 1
        else:
            self._wait(what, key, content, now)

    def expire(self, now: float) -> None:
        """What has waited too long for its request is unknown."""
        while self._early and next(iter(self._early.values())).at < now - EARLY_SECONDS:
            self._drop_oldest_early()

    def keep(self, items: Iterable[Item], now: float) -> None:
        """Hold requests that were assessed, until their labels come; those without room go by chance."""
        earliest = now - self._window_seconds
        if self._last_label_at is None or self._last_label_at < earliest:
            self._waiting, self.waiting_bytes = [], 0
            return
        known = {id(waiting.item.feedback) for waiting in self._waiting}
        fresh = (item for item in items if item.feedback.ids and id(item.feedback) not in known)
        candidates = self._waiting + [_Waiting(item, self._random.random()) for item in fresh]
        candidates.sort(key=lambda waiting: (waiting.item.feedback.target is None, waiting.key))
        self._waiting, self.waiting_bytes = [], 0
        for waiting in candidates:
            if waiting.item.received_at < earliest:
                continue
            if self.waiting_bytes + waiting.item.size > self._max_waiting_bytes:
                break
            self._waiting.append(waiting)
            self.waiting_bytes += waiting.item.size

    def labelled(self, items: Sequence[Item], limit: int, now: float) -> list[Item]:
        """The newest labelled requests, at most `limit`: of these items, and of those that waited for their labels."""
        earliest = now - self._window_seconds
        held = [*items, *(waiting.item for waiting in self._waiting if waiting.item.received_at >= earliest)]
        found = {id(item.feedback): item for item in held if item.feedback.target is not None}
        return sorted(found.values(), key=lambda item: -item.received_at)[:limit]

    def drop_unfit(self, unfit: Iterable[tuple[Item, bytes]]) -> None:
        """Forget labels that are no targets of the model's outputs, so that a right one may still come.

        Args:
            unfit: requests and what their labels were then; one that has been corrected since stays.
        """
        drop = [item.feedback for item, target in unfit if item.feedback.target == target]
        entries = {id(entry()): entry for entry in self._alive.values()} if drop else {}
        for feedback in drop:
            size = len(feedback.target or b"")
            feedback.target = None
            self.counts.target[DOES_NOT_FIT] += 1
            if (entry := entries.get(id(feedback))) is not None:
                entry.size -= size
                self.joined_bytes -= size

    def _wait(self, what: What, key: str, content: bytes, now: float) -> None:
        size = len(content) + len(key) + ENTRY_BYTES
        if size > self._max_early_bytes or not key:
            self.counts.of(what)["dropped" if key else "unknown"] += 1
            return
        if (before := self._early.pop((what, key), None)) is not None:
            self.early_bytes -= before.size
            self.counts.of(what)["unknown"] += 1
        while self.early_bytes + size > self._max_early_bytes:
            self._drop_oldest_early()
        self._early[what, key] = _Early(content, now, size)
        self.early_bytes += size

    def _drop_oldest_early(self) -> None:
        (what, _), early = self._early.popitem(last=False)
        self.early_bytes -= early.size
        self.counts.of(what)["unknown"] += 1

    def _join(self, entry: _Entry, feedback: Feedback, what: What, content: bytes) -> None:
        more = len(content) - len(getattr(feedback, what) or b"")
        if self.joined_bytes + more > self._max_joined_bytes:
            self.counts.of(what)["dropped"] += 1
            return
        setattr(feedback, what, content)
        entry.size += more
        self.joined_bytes += more
        self.counts.of(what)["joined"] += 1

    def _lose(self, entry: Any) -> None:
        """Nobody holds the request any longer."""
        del self._alive[id(entry)]
        self.joined_bytes -= entry.size
        for key in entry.ids:
            if self._entries.get(key) is entry:
                del self._entries[key]
                self._gone[key] = None
        while len(self._gone) > REMEMBERED_IDS:
            self._gone.popitem(last=False)
