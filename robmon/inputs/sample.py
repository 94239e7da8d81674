"""The bounded sample of raw requests.

Every request draws one random key; the sample is the requests with the smallest keys. That is a plain reservoir (the
bottom-k form: Cohen & Kaplan 2007) with two properties that one which swaps slots lacks. A request is judged before its
body has arrived, and one whose body never arrives leaves no gap. And when the sample must become smaller, the largest
keys go, so that what remains is again a simple random sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from random import Random
from typing import Final

from robmon.inputs.heap import Heap, Place
from robmon.inputs.object_size import KEY, SLOT, all_held, held
from robmon.inputs.sources.protocol import Source


@dataclass(eq=False, slots=True, weakref_slot=True)
class Feedback:
    """What becomes known of a request later. All copies of its item share it."""

    ids: tuple[str, ...] = ()
    """The ids by which the request is found, the most telling first."""
    target: bytes | None = None
    """The label, as JSON."""
    answer: bytes | None = None
    """The body of the answer that was served, as it came."""
    answer_compared: bool = False
    """Whether an assessment has compared it with the version watched."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request that was kept: the raw body and what is needed to decode it later."""

    format: str
    headers: Mapping[str, str]
    """The few that are kept, by name in lower case."""
    received_at: float
    """Seconds by the clock that never steps."""
    seed: int
    """Decides which of the request's rows are drawn."""
    body: bytes
    model: str | None = None
    """The model that the request named, in its path or as the service of its event."""
    topped_up: bool = False
    """Whether an earlier assessment has already used it."""
    is_old: bool = False
    """Whether it is older than an input may be, and kept for a verdict alone."""
    feedback: Feedback = field(default_factory=Feedback, compare=False, repr=False)
    size: int = field(init=False, compare=False, repr=False)
    """Bytes that Python holds of it, but for what becomes known later."""

    def __post_init__(self) -> None:
        ids, model = self.feedback.ids, (self.model,) if self.model is not None else ()
        size = all_held((self.body, self.headers, *self.headers.values(), *ids, *model)) + BYTES_OF_EACH
        object.__setattr__(self, "size", size + (held(ids) + BYTES_OF_IDS + BYTES_OF_ID * len(ids) if ids else 0))


OLDEST_SECONDS: Final = 7 * 86400.0
"""Beyond which a request is not kept even for a verdict."""
BYTES_IN_SAMPLE: Final = 64 + 2 * (64 + 32 + SLOT) + KEY
"""Of every request, for its places in the sample."""
BYTES_OF_EACH: Final = 112 + 80 + 3 * 32 + BYTES_IN_SAMPLE
"""Of every request: the item, its feedback and numbers, and its places."""
BYTES_OF_IDS: Final = 96 + 32 + KEY
"""Of a request that has ids: that it is known as long as anybody holds it."""
BYTES_OF_ID: Final = KEY
"""Of each id: that a label finds its request by it."""


@dataclass(eq=False, slots=True)
class _Held:
    """A request in the sample."""

    item: Item
    by_key: Place[_Held] | None = None
    """In the window; None where it belongs to the sample before."""
    by_age: Place[_Held] | None = None
    """None where it is old."""


class Sample:
    """A uniform sample of the requests since the last assessment, topped up from the sample before it.

    It holds as many requests as have `sample_rows` rows: one for each, until `learn` is told how many they have.
    Those that arrived since the last assessment (the window) come first; the places that are left go to the previous
    sample, newest window first, while younger than `max_age_seconds`.

    Bytes are bounded by halving the number of requests until they fit, and by nothing else: which requests go is
    decided by their random keys alone. Leaving out whichever body happens not to fit would prefer small ones, and a
    sample of small requests is not a sample of the traffic. The smaller capacity stays until the requests of a whole
    window would have fitted twice over; then it doubles, once an assessment.

    A model that few ask must have its verdict too: of what becomes too old the newest requests are kept for that, as
    many as `verdict_requests` lacks, for a week at most, and as long as nobody else needs their bytes. No other
    assessment uses them.

    Args:
        sample_rows: rows that an assessment wants.
        max_age_seconds: age beyond which a request is not used.
        sample_bytes: most bytes that Python may hold of them. A single larger request is never kept.
        rows_per_request: most rows that are drawn from one request.
        share: of the requests, that is considered at all.
        verdict_requests: so many are kept for a verdict, old ones among them.
        random: source of the keys and seeds.

    >>> sample = Sample(sample_rows=2, max_age_seconds=600, sample_bytes=10_000, random=Random(0))
    >>> for second in range(100):
    ...     _ = sample.offer(b"{}", "mlflow", {"content-type": "application/json"}, now=second)
    >>> len(sample.snapshot(now=100)), sample.rows(now=100)
    (2, 2)
    """

    def __init__(
        self,
        *,
        sample_rows: int,
        max_age_seconds: float,
        sample_bytes: int,
        rows_per_request: int = 1,
        share: float = 1.0,
        verdict_requests: int = 0,
        random: Random | None = None,
    ) -> None:
        self.full_capacity = sample_rows
        """Requests that the sample holds when their bodies fit."""
        self.capacity = self.full_capacity
        """Requests that the sample holds now."""
        self.held_bytes = 0
        """Bytes that Python holds of them now."""
        self._sources: list[Source] = []
        self._sample_rows = sample_rows
        self._rows_per_request = rows_per_request
        self._mean_rows = 1.0  # of a request
        self._max_age_seconds = max_age_seconds
        self._sample_bytes = sample_bytes
        self._random = random or Random()  # noqa: S311 - a sample, not a secret
        self._window: Heap[_Held] = Heap()  # the largest key first
        self._share = share
        self._threshold = share  # a key below it enters the window
        self._previous: dict[_Held, None] = {}  # newest window first, within it the smallest key first
        self._ages: Heap[_Held] = Heap()  # of both, the oldest first
        self._old: dict[_Held, None] = {}  # the oldest first
        self._verdict_requests = verdict_requests

    def attach(self, source: Source) -> None:
        """Tell this source too of snapshots and of good assessments."""
        self._sources.append(source)

    @property
    def shrunk(self) -> bool:
        """Whether bodies are so large that the sample holds fewer requests than it should."""
        return self.capacity < self.full_capacity

    def draw(self) -> float | None:
        """Judge a request by one random number: a key for `add`, or None if it need not be kept."""
        key = self._random.random()
        return key if key < self._threshold else None

    def add(
        self,
        key: float,
        body: bytes,
        request_format: str,
        headers: Mapping[str, str],
        now: float,
        model: str | None = None,
        ids: tuple[str, ...] = (),
    ) -> Item | None:
        """Keep a request whose key was drawn; None if it was no longer wanted when its body was there."""
        if key >= self._threshold:
            return None
        item = Item(request_format, headers, now, self._random.getrandbits(32), body, model, feedback=Feedback(ids))
        if item.size > self._sample_bytes:
            return None
        each = _Held(item)
        each.by_key = self._window.push(-key, each)
        each.by_age = self._ages.push(now, each)
        self.held_bytes += item.size
        self._trim()
        self._trim_old(now)
        while self.held_bytes > self._sample_bytes and self.capacity > 1:
            self.capacity = ceil(self.capacity / 2)
            self._trim()
        return item if key <= self._threshold else None

    def offer(self, body: bytes, request_format: str, headers: Mapping[str, str], now: float) -> Item | None:
        """Draw and, if kept, add: for sources that have the whole body at hand."""
        key = self.draw()
        return self.add(key, body, request_format, headers, now) if key is not None else None

    def snapshot(self, now: float, *, with_old: bool = False) -> list[Item]:
        """What an assessment that starts now uses, at most `capacity` requests; a new window begins.

        For a verdict the old ones that are kept come after those, the newest first.

        The items stay to top up later samples. Until `turn_over` they do not count as used, so that those of an
        assessment that failed are not lost to the next one.
        """
        self._drop_expired(now)
        self._recover()
        self._begin_window()
        for source in self._sources:
            source.mark()
        found = [each.item for each in self._previous]
        return (found + [each.item for each in reversed(self._old)])[: self.capacity] if with_old else found

    def discard(self, items: Iterable[Item]) -> None:
        """Drop items of the last snapshot that turned out to be of no use, such as garbage."""
        if useless := {id(item) for item in items}:
            for each in [each for each in (*self._previous, *self._old) if id(each.item) in useless]:
                self._drop(each)

    def turn_over(self, now: float) -> None:
        """The assessment of the last snapshot is good: what is left of its items is marked as topped up from now on."""
        self._drop_expired(now)
        for each in self._previous:
            if not each.item.topped_up:
                each.item = replace(each.item, topped_up=True)
        for source in self._sources:
            source.commit()

    def learn(self, rows: int, requests: int) -> None:
        """Hold as many requests as have `sample_rows` rows, now that so many were found to have so many.

        Where that are fewer, the largest keys go. Where that are more, a new window begins: what the smaller capacity
        has turned away is gone, and what is left of the window so far only tops up.
        """
        self._mean_rows = rows / requests
        is_shrunk = self.shrunk
        self.full_capacity = ceil(self._sample_rows / self._mean_rows)
        capacity = min(self.capacity, self.full_capacity) if is_shrunk else self.full_capacity
        if capacity > self.capacity:
            self._begin_window()
        self.capacity = capacity
        self._trim()

    def rows(self, now: float) -> int:
        """Rows that an assessment would use now, if its requests have as many as `learn` was told; before, one each."""
        return min(round(self._requests(now) * self._mean_rows), self._sample_rows)

    def most_rows(self, now: float, *, with_old: bool = False) -> int:
        """Rows that an assessment would use now, if every request has at least `rows_per_request` of them.

        With the old requests those of a verdict.
        """
        requests = self._requests(now) + (len(self._old) if with_old else 0)
        return min(requests * self._rows_per_request, self._sample_rows)

    def oldest(self, now: float) -> float | None:
        """When the oldest request arrived that an assessment would use now; None for an empty sample."""
        self._drop_expired(now)
        oldest = self._ages.first()
        return oldest.rank if oldest is not None else None

    def _requests(self, now: float) -> int:
        self._drop_expired(now)
        return len(self._window) + len(self._previous)

    def _begin_window(self) -> None:
        window = self._window.smallest(len(self._window))
        for each in window:
            each.by_key = None
        self._previous = dict.fromkeys(reversed(window)) | self._previous
        self._window = Heap()
        self._threshold = self._share

    def _trim(self) -> None:
        """Hold at most `capacity` requests: the previous sample gives way first, then the largest keys."""
        while self._previous and len(self._window) + len(self._previous) > self.capacity:
            each, _ = self._previous.popitem()
            self._drop(each)
        while (largest := self._window.first()) is not None and len(self._window) > self.capacity:
            self._drop(largest.thing)
        if largest is not None and len(self._window) == self.capacity:
            self._threshold = -largest.rank

    def _drop_expired(self, now: float) -> None:
        earliest = now - self._max_age_seconds
        while (oldest := self._ages.first()) is not None and oldest.rank < earliest:
            each = oldest.thing
            self._take_out(each)
            each.item = replace(each.item, is_old=True)
            self._old[each] = None
        self._trim_old(now)

    def _trim_old(self, now: float) -> None:
        """Keep old requests for a verdict alone: as many as are lacking, for a week, where they are in nobody's way."""
        most = max(self._verdict_requests - len(self._window) - len(self._previous), 0)
        while self._old:
            oldest = next(iter(self._old))
            is_in_time = now - oldest.item.received_at <= OLDEST_SECONDS
            if is_in_time and len(self._old) <= most and self.held_bytes <= self._sample_bytes:
                return
            self._drop(oldest)

    def _drop(self, each: _Held) -> None:
        self._take_out(each)
        self.held_bytes -= each.item.size

    def _take_out(self, each: _Held) -> None:
        if each.by_key is not None:
            self._window.remove(each.by_key)
        elif each.by_age is None:
            self._old.pop(each, None)
        else:
            self._previous.pop(each, None)
        if each.by_age is not None:
            self._ages.remove(each.by_age)
        each.by_key = each.by_age = None  # a place refers to what lies there: a circle would live on

    def _recover(self) -> None:
        """Double a shrunk capacity if twice the requests of the window's mean size would fill half the bytes."""
        if not self.shrunk or not self._window:
            return
        mean_bytes = sum(each.item.size for each in self._window) / len(self._window)
        if mean_bytes * self.capacity * 2 <= self._sample_bytes / 2:
            self.capacity = min(self.capacity * 2, self.full_capacity)
