"""Labels and served answers, which come apart from their requests and are joined to the sampled ones by id.

Most requests are not sampled, so most of what is told here belongs to no request that is known. What comes before its
request waits a little: mirrors, loggers and clients keep no order.
"""

from __future__ import annotations

import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any, Final, Literal

from robmon.inputs.heap import Heap, Place
from robmon.inputs.join_keys import join_keys
from robmon.inputs.object_size import KEY, SLOT, held
from robmon.inputs.sample import BYTES_IN_SAMPLE, Feedback, Item

What = Literal["target", "answer"]
KINDS: Final[tuple[What, ...]] = ("target", "answer")
OUTCOMES: Final = ("joined", "late", "unknown", "dropped")
DOES_NOT_FIT: Final = "does_not_fit"

EARLY_SECONDS: Final = 30.0
"""How long a label or an answer waits for its request."""
EARLY_SHARE: Final = 0.25
"""Of the bytes, for what waits for its request."""
JOINED_SHARE: Final = 0.25
"""Of the bytes, for labels and answers that are joined."""
GONE_SHARE: Final = 1 / 16
"""Of the bytes, for ids of requests that are held no longer; the rest is for requests that wait for a label."""
REMEMBERED_IDS: Final = 4096
BYTES_OF_EARLY: Final = 64 + 32 + 32 + 64 + 48 + KEY
"""Of what waits for its request, besides content and id: its entry in a dictionary that keeps its order."""
BYTES_OF_WAITING: Final = 64 + 32 + 3 * (64 + 32 + SLOT) + KEY - BYTES_IN_SAMPLE
"""Of a request that waits for a label, besides the request: its places here, less those that it has in the sample."""
BYTES_OF_GONE: Final = 48 + KEY
"""Of an id that is remembered, besides the id."""
MAX_BYTES: Final = 16 * 2**20
WINDOW_SECONDS: Final = 86_400.0


class _Entry(weakref.ref["Feedback"]):
    """A sampled request as long as anyone holds it."""

    __slots__ = ("ids", "place", "size")
    ids: tuple[str, ...]
    place: int
    """Where it lies in memory: no two that live lie at the same."""
    size: int
    """Bytes of the label and the answer that are joined to it."""


@dataclass(slots=True)
class _Early:
    content: bytes
    at: float
    size: int


@dataclass(eq=False, slots=True)
class _Waiting:
    """An assessed request that is held until its label comes, and then as a labelled one."""

    item: Item
    key: float
    by_age: Place[_Waiting] | None = None
    by_key: Place[_Waiting] | None = None
    """Among those with a label, or among those without."""
    by_newness: Place[_Waiting] | None = None
    """Among those with a label."""


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
        max_bytes: that Python may hold of labels, answers and the requests that wait for a label.
        window_seconds: how long a request waits for its label.
        random: decides which requests wait.

    >>> from robmon.inputs.sample import Item
    >>> labels = Labels(max_bytes=100_000, window_seconds=60)
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
        self._gone_bytes = 0
        self._max_early_bytes = int(max_bytes * EARLY_SHARE)
        self._max_joined_bytes = int(max_bytes * JOINED_SHARE)
        self._max_gone_bytes = int(max_bytes * GONE_SHARE)
        self._max_waiting_bytes = max_bytes - self._max_early_bytes - self._max_joined_bytes - self._max_gone_bytes
        self._window_seconds = window_seconds
        self._random = random or Random()  # noqa: S311 - a sample, not a secret
        self._entries: dict[str, _Entry] = {}
        self._alive: dict[int, _Entry] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._early: OrderedDict[tuple[What, str], _Early] = OrderedDict()
        self._waiting: dict[int, _Waiting] = {}
        self._by_age: Heap[_Waiting] = Heap()  # the oldest first
        self._unlabelled: Heap[_Waiting] = Heap()  # the largest key first
        self._labelled: Heap[_Waiting] = Heap()  # the largest key first
        self._newest: Heap[_Waiting] = Heap()  # of those with a label
        self._last_label_at: float | None = None

    @property
    def held_bytes(self) -> int:
        """Bytes that Python holds for all of it."""
        return self.early_bytes + self.joined_bytes + self.waiting_bytes + self._gone_bytes

    def waiting(self) -> Iterator[Item]:
        """The assessed requests that are held here, those with a label among them."""
        return (waiting.item for waiting in self._waiting.values())

    def early(self, what: What) -> int:
        """How many labels, or answers, wait for their request."""
        return sum(each == what for each, _ in self._early)

    def knows(self, key: str) -> bool:
        """Whether a sampled request with that id is held, by whomever."""
        return key in self._entries

    def follow(self, item: Item, now: float) -> None:
        """A request has been sampled: from now on its ids are known, and what came before it is joined."""
        feedback = item.feedback
        feedback.ids = feedback.ids or join_keys(item.headers, item.body)
        if not feedback.ids:
            return
        entry = _Entry(feedback, self._lose)
        entry.ids, entry.place, entry.size = feedback.ids, id(feedback), 0
        self._alive[entry.place] = entry
        self.expire(now)
        for key in reversed(feedback.ids):  # the most telling id has the last word
            self._entries[key] = entry
            self._forget(key)
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
            earliest = inf
        else:
            for item in items:
                if item.feedback.ids and id(item.feedback) not in self._waiting:
                    self._hold(item)
        while (oldest := self._by_age.first()) is not None and oldest.rank < earliest:
            self._let_go(oldest.thing)
        while self.waiting_bytes > self._max_waiting_bytes:
            last = self._unlabelled.first() or self._labelled.first()
            if last is None:
                return
            self._let_go(last.thing)

    def labelled(self, items: Sequence[Item], limit: int, now: float) -> list[Item]:
        """The newest labelled requests, at most `limit`: of these items, and of those that waited for their labels."""
        earliest = now - self._window_seconds
        waited = (waiting.item for waiting in self._newest.smallest(limit))
        known = [*items, *(item for item in waited if item.received_at >= earliest)]
        found = {id(item.feedback): item for item in known if item.feedback.target is not None}
        return sorted(found.values(), key=lambda item: -item.received_at)[:limit]

    def drop_unfit(self, unfit: Iterable[tuple[Item, bytes]]) -> None:
        """Forget labels that are no targets of the model's outputs, so that a right one may still come.

        Args:
            unfit: requests and what their labels were then; one that has been corrected since stays.
        """
        for feedback in [item.feedback for item, target in unfit if item.feedback.target == target]:
            size = held(feedback.target)
            feedback.target = None
            self.counts.target[DOES_NOT_FIT] += 1
            self._sort_in(feedback)
            if (entry := self._alive.get(id(feedback))) is not None:
                entry.size -= size
                self.joined_bytes -= size

    def _hold(self, item: Item) -> None:
        waiting = _Waiting(item, -self._random.random())
        waiting.by_age = self._by_age.push(item.received_at, waiting)
        self._waiting[id(item.feedback)] = waiting
        self.waiting_bytes += item.size + BYTES_OF_WAITING
        self._sort_in(item.feedback)

    def _sort_in(self, feedback: Feedback) -> None:
        """Put a request that waits among those with a label, or among those without."""
        waiting = self._waiting.get(id(feedback))
        if waiting is None or (waiting.by_key is not None and self._is_sorted_in(waiting)):
            return
        self._take_out(waiting)
        if feedback.target is None:
            waiting.by_key = self._unlabelled.push(waiting.key, waiting)
        else:
            waiting.by_key = self._labelled.push(waiting.key, waiting)
            waiting.by_newness = self._newest.push(-waiting.item.received_at, waiting)

    def _is_sorted_in(self, waiting: _Waiting) -> bool:
        return (waiting.by_newness is None) == (waiting.item.feedback.target is None)

    def _take_out(self, waiting: _Waiting) -> None:
        if waiting.by_newness is not None:
            self._newest.remove(waiting.by_newness)
        if waiting.by_key is not None:
            (self._unlabelled if waiting.by_newness is None else self._labelled).remove(waiting.by_key)
        waiting.by_key = waiting.by_newness = None

    def _let_go(self, waiting: _Waiting) -> None:
        self._take_out(waiting)
        if waiting.by_age is not None:
            self._by_age.remove(waiting.by_age)
        waiting.by_age = None  # a place refers to what lies there: a circle would live on
        del self._waiting[id(waiting.item.feedback)]
        self.waiting_bytes -= waiting.item.size + BYTES_OF_WAITING

    def _wait(self, what: What, key: str, content: bytes, now: float) -> None:
        size = held(content) + held(key) + BYTES_OF_EARLY
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
        before = getattr(feedback, what)
        more = held(content) - (held(before) if before is not None else 0)
        if self.joined_bytes + more > self._max_joined_bytes:
            self.counts.of(what)["dropped"] += 1
            return
        setattr(feedback, what, content)
        entry.size += more
        self.joined_bytes += more
        self.counts.of(what)["joined"] += 1
        self._sort_in(feedback)

    def _lose(self, entry: Any) -> None:
        """Nobody holds the request any longer."""
        del self._alive[entry.place]
        self.joined_bytes -= entry.size
        for key in entry.ids:
            if self._entries.get(key) is entry:
                del self._entries[key]
                self._gone[key] = None
                self._gone_bytes += held(key) + BYTES_OF_GONE
        while self._gone_bytes > self._max_gone_bytes or len(self._gone) > REMEMBERED_IDS:
            self._forget(next(iter(self._gone)))

    def _forget(self, key: str) -> None:
        """Remember no longer that a request of this id was sampled."""
        if key in self._gone:
            del self._gone[key]
            self._gone_bytes -= held(key) + BYTES_OF_GONE
