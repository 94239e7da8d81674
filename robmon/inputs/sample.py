"""The bounded sample of raw requests.

Every request draws one random key; the sample is the requests with the smallest keys. That is a plain reservoir (the
bottom-k form: Cohen & Kaplan 2007) with two properties that one which swaps slots lacks. A request is judged before its
body has arrived, and one whose body never arrives leaves no gap. And when the sample must become smaller, the largest
keys go, so that what remains is again a simple random sample.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from random import Random
from typing import Protocol


@dataclass(eq=False, slots=True, weakref_slot=True)
class Feedback:
    """What becomes known of a request later. All copies of its item share it."""

    ids: tuple[str, ...] = ()
    """Those by which it is found, the most telling first."""
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
    """Unix seconds."""
    seed: int
    """Decides which of the request's rows are drawn."""
    body: bytes
    model: str | None = None
    """The model that the request named, in its path or as the service of its event."""
    topped_up: bool = False
    """Whether an earlier assessment has already used it."""
    feedback: Feedback = field(default_factory=Feedback, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes of the body and of the headers."""
        return len(self.body) + sum(map(len, self.headers.values()))


class Checkpoint(Protocol):
    """A source of requests that can hand them over again."""

    def mark(self) -> None:
        """All that was handed over so far is in the sample that is assessed now, or was not drawn."""

    def commit(self) -> None:
        """That assessment was good: nothing of it has to be handed over again."""


class Sample:
    """A uniform sample of the requests since the last assessment, topped up from the sample before it.

    It holds as many requests as have `sample_rows` rows: one for each, until `learn` is told how many they have.
    Those that arrived since the last assessment (the window) come first; the places that are left go to the previous
    sample, newest window first, while younger than `max_age_seconds`.

    Bytes are bounded by halving the number of requests until they fit, and by nothing else: which requests go is
    decided by their random keys alone. Leaving out whichever body happens not to fit would prefer small ones, and a
    sample of small requests is not a sample of the traffic. The smaller capacity stays until the requests of a whole
    window would have fitted twice over; then it doubles, once an assessment.

    Args:
        sample_rows: rows that an assessment wants.
        max_age_seconds: age beyond which a request is not used.
        sample_bytes: most bytes of bodies and their headers held. A single larger body is never kept.
        rows_per_request: most rows that are drawn from one request.
        share: of the requests, that is considered at all.
        random: source of the keys and seeds.

    >>> sample = Sample(sample_rows=2, max_age_seconds=600, sample_bytes=1000, random=Random(0))
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
        random: Random | None = None,
    ) -> None:
        self.full_capacity = sample_rows
        """Requests that the sample holds when their bodies fit."""
        self.capacity = self.full_capacity
        """Requests that the sample holds now."""
        self.held_bytes = 0
        """Bytes of the bodies and headers held now."""
        self.checkpoint: Checkpoint | None = None
        """The source that is told of snapshots and of good assessments."""
        self._sample_rows = sample_rows
        self._rows_per_request = rows_per_request
        self._mean_rows = 1.0  # of a request
        self._max_age_seconds = max_age_seconds
        self._sample_bytes = sample_bytes
        self._random = random or Random()  # noqa: S311 - a sample, not a secret
        self._window: list[tuple[float, int, Item]] = []  # a heap: the largest key first
        self._share = share
        self._threshold = share  # a key below it enters the window
        self._serial = 0
        self._previous: list[Item] = []  # newest window first, within it the smallest key first

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
    ) -> Item | None:
        """Keep a request whose key was drawn; None if it was no longer wanted when its body was there."""
        if key >= self._threshold:
            return None
        item = Item(request_format, headers, now, self._random.getrandbits(32), body, model)
        if item.size > self._sample_bytes:
            return None
        self._serial += 1
        heapq.heappush(self._window, (-key, self._serial, item))
        self.held_bytes += item.size
        self._trim()
        while self.held_bytes > self._sample_bytes and self.capacity > 1:
            self.capacity = ceil(self.capacity / 2)
            self._trim()
        return item if key <= self._threshold else None

    def offer(self, body: bytes, request_format: str, headers: Mapping[str, str], now: float) -> Item | None:
        """Draw and, if kept, add: for sources that have the whole body at hand."""
        key = self.draw()
        return self.add(key, body, request_format, headers, now) if key is not None else None

    def snapshot(self, now: float) -> list[Item]:
        """What an assessment that starts now uses, at most `capacity` requests; a new window begins.

        The items stay to top up later samples. Until `turn_over` they do not count as used, so that those of an
        assessment that failed are not lost to the next one.
        """
        self._drop_expired(now)
        self._recover()
        self._begin_window()
        if self.checkpoint is not None:
            self.checkpoint.mark()
        return list(self._previous)

    def discard(self, items: Iterable[Item]) -> None:
        """Drop items of the last snapshot that turned out to be of no use, such as garbage."""
        useless = {id(item) for item in items}
        self.held_bytes -= sum(item.size for item in self._previous if id(item) in useless)
        self._previous = [item for item in self._previous if id(item) not in useless]

    def turn_over(self, now: float) -> None:
        """The assessment of the last snapshot is good: what is left of its items is marked as topped up from now on."""
        self._drop_expired(now)
        self._previous = [item if item.topped_up else replace(item, topped_up=True) for item in self._previous]
        if self.checkpoint is not None:
            self.checkpoint.commit()

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

    def most_rows(self, now: float) -> int:
        """Rows that an assessment would use now, if every request has at least `rows_per_request` of them."""
        return min(self._requests(now) * self._rows_per_request, self._sample_rows)

    def oldest(self, now: float) -> float | None:
        """Unix seconds of the oldest request that an assessment would use now; None for an empty sample."""
        self._drop_expired(now)
        times = [item.received_at for item in self._previous]
        times += [item.received_at for _, _, item in self._window]
        return min(times, default=None)

    def _requests(self, now: float) -> int:
        self._drop_expired(now)
        return len(self._window) + len(self._previous)

    def _begin_window(self) -> None:
        window = [item for _, _, item in sorted(self._window, key=lambda entry: -entry[0])]
        self._previous = window + self._previous
        self._window = []
        self._threshold = self._share

    def _trim(self) -> None:
        """Hold at most `capacity` requests: the previous sample gives way first, then the largest keys."""
        room = max(self.capacity - len(self._window), 0)
        for item in self._previous[room:]:
            self.held_bytes -= item.size
        del self._previous[room:]
        while len(self._window) > self.capacity:
            self.held_bytes -= heapq.heappop(self._window)[2].size
        if len(self._window) == self.capacity:
            self._threshold = -self._window[0][0]

    def _drop_expired(self, now: float) -> None:
        earliest = now - self._max_age_seconds
        if all(item.received_at >= earliest for item in self._previous) and all(
            item.received_at >= earliest for _, _, item in self._window
        ):
            return
        self._previous = [item for item in self._previous if item.received_at >= earliest]
        self._window = [entry for entry in self._window if entry[2].received_at >= earliest]
        heapq.heapify(self._window)
        self.held_bytes = sum(item.size for item in self._previous)
        self.held_bytes += sum(item.size for _, _, item in self._window)

    def _recover(self) -> None:
        """Double a shrunk capacity if twice the requests of the window's mean size would fill half the bytes."""
        if not self.shrunk or not self._window:
            return
        mean_bytes = sum(item.size for _, _, item in self._window) / len(self._window)
        if mean_bytes * self.capacity * 2 <= self._sample_bytes / 2:
            self.capacity = min(self.capacity * 2, self.full_capacity)
