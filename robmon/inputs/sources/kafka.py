"""Production inputs from topics of Kafka.

Messages are drawn into the same sample as mirrored requests. The group's offsets are committed once the rows have been
in a good assessment, and not before: after a kill, messages that only the lost sample held are taken again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final, Protocol

import structlog

from robmon import clock
from robmon.inputs.counts import InputCounts
from robmon.inputs.join_keys import event_id, join_keys
from robmon.inputs.kept_headers import kept_headers
from robmon.inputs.labels import Labels
from robmon.inputs.repeats import Repeats
from robmon.inputs.routing import CONTENT_TYPE, EVENT_ID, Filters, Kind, RawHeaders, Route, Router, event_headers
from robmon.inputs.sample import Sample
from robmon.ports.rejections import RejectionLog

log = structlog.get_logger(__name__)

SOURCE: Final = "kafka"
POLL_SECONDS: Final = 1.0
_PLAIN: Final = "/invocations"
"""A message that is no event is taken as a request to this path: a topic names no model."""
_EVENT: Final = "/"

Partition = tuple[str, int]
"""A topic, and the number of one of its partitions."""


class Message(Protocol):
    """A message, as the client library has it."""

    def __len__(self) -> int:
        """Bytes of its value."""

    def value(self) -> bytes | None:
        """Its value; a copy at each call."""

    def headers(self) -> Any:
        """Its headers, pairs of a text and bytes or None; None where there are none."""

    def topic(self) -> str | None:
        """The topic that it came from."""

    def partition(self) -> int | None:
        """The partition that it came from."""

    def offset(self) -> int | None:
        """Its place in the partition."""

    def timestamp(self) -> tuple[int, int]:
        """What kind of time it has (0: none), and Unix milliseconds."""


@dataclass(frozen=True)
class Batch:
    """What came at once.

    Attributes:
        messages: in their order within each partition.
        starts: of the partitions that were assigned meanwhile, the offset from which on they are read; None: nobody
            knows anything of them, or not anymore. What came of them before in the same batch may come again.
        problem: that no broker answers, or none lets us read a topic, in one sentence; empty: neither; None: it was not
            looked at again.
    """

    messages: Sequence[Message] = ()
    starts: Mapping[Partition, int | None] = field(default_factory=dict)
    problem: str | None = ""


class Consumer(Protocol):
    """A member of a consumer group."""

    async def next(self, next_offsets: Mapping[Partition, int]) -> Batch:
        """The next messages; none where there are none yet.

        Args:
            next_offsets: from where on messages are new, where the group knows less of that.
        """

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the offsets of those partitions that are ours, without waiting for it."""

    def lag(self, next_offsets: Mapping[Partition, int]) -> int | None:
        """Messages of our partitions that have not come yet, as far as is known; None: nothing is known."""

    async def close(self) -> None:
        """Leave the group."""


class Offsets(Protocol):
    """Offsets of a group, kept over restarts."""

    def read(self) -> dict[Partition, int]:
        """As written last; nothing where that is not known."""

    def write(self, offsets: Mapping[Partition, int]) -> None:
        """Write them soon, without waiting for it."""


class KafkaSource:
    """Keeps the sample supplied from Kafka. A `Source`.

    Args:
        consumer: of the topics.
        offsets: kept beside the assessments. Those of the group follow a moment later, and a kill may come between.
        sample: takes the messages.
        counts: of inputs.
        filters: which messages are left out; paths are those of requests, and leave out none.
        labels: where the answers that events tell are joined to the requests.
        repeats: the last bodies, to count those that come again; None: they are not counted.
        max_body_bytes: largest message.
        max_age_seconds: an older message is skipped: a topic may hold years of them.
        now: seconds that never step.
    """

    poll_seconds = POLL_SECONDS

    def __init__(
        self,
        consumer: Consumer,
        offsets: Offsets,
        sample: Sample,
        counts: InputCounts,
        *,
        filters: Filters,
        labels: Labels,
        repeats: Repeats | None = None,
        max_body_bytes: int,
        max_age_seconds: float,
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._sample = sample
        self._counts = counts
        self._labels = labels
        self._repeats = repeats
        self._max_body_bytes = max_body_bytes
        self._max_age_seconds = max_age_seconds
        self._now = now
        self._rejections = RejectionLog("kafka")
        self._events = Router(replace(filters, exclude_paths=()))
        self._plain = Router(replace(filters, exclude_paths=(), model=None))
        self._next = offsets.read()
        self._marked = dict(self._next)
        self._unavailable = ""

    async def poll(self) -> None:
        """Take in all that is new. Never raises, whatever the brokers do."""
        while (batch := await self._consumer.next(self._next)).messages:
            self._take(batch, await self._hashed(batch.messages))
            self._tell(batch.problem)  # there may be more for hours
        self._take(batch)
        self._tell(batch.problem)

    async def close(self) -> None:
        """Leave the group, so that its partitions need not wait for another consumer."""
        await self._consumer.close()

    def mark(self) -> None:
        """What has come so far is in the sample that is assessed now, or was not drawn."""
        self._marked = dict(self._next)

    def commit(self) -> None:
        """The assessment was good: what was marked need not come again."""
        self._offsets.write(self._marked)
        self._consumer.commit(self._marked)

    def _tell(self, problem: str | None) -> None:
        """The lag, and what is wrong: the log has a line when it begins, and one when it ends."""
        self._counts.kafka_lag_messages = self._consumer.lag(self._next)
        if problem:
            self._reject("unavailable")
            if not self._unavailable:
                log.error("kafka unavailable", error=problem)
        elif problem == "" and self._unavailable:
            log.info("kafka available again")
        self._unavailable = self._unavailable if problem is None else problem
        self._rejections.tell()

    async def _hashed(self, messages: Sequence[Message]) -> Sequence[blake2b | None]:
        """What was hashed of each body, on another thread: many of them may be large; None where that is not asked."""
        repeats = self._repeats
        if repeats is None:
            return [None] * len(messages)
        return await asyncio.to_thread(lambda: [repeats.hasher(each.value() or b"") for each in messages])

    def _take(self, batch: Batch, hashed: Sequence[blake2b | None] = ()) -> None:
        """Take in what came."""
        for place, start in batch.starts.items():
            if start is None:
                self._next.pop(place, None)
            else:
                if start > self._next.get(place, -1):  # others assessed those before it while the partition was theirs
                    self._marked[place] = start
                self._next[place] = start
        for message, each in zip(batch.messages, hashed, strict=True):
            place, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
            if place in batch.starts and offset < self._next.get(place, 0):
                continue  # taken already, before the partition went and came back
            self._next[place] = offset + 1
            self._take_message(message, each)

    def _take_message(self, message: Message, hashed: blake2b | None) -> None:
        try:
            headers = list(_as_of_requests(message.headers() or ()))
        except (SystemError, UnicodeError):  # the client's own failure where the name of a header is no text
            self._reject("bad_headers")
            return
        value = _Value(message)
        route, event = self._route(headers, value)
        if route.kind is Kind.OTHER or value.size == 0:
            self._counts.skipped[SOURCE] += 1
        elif value.size > self._max_body_bytes:
            self._counts.received[SOURCE] += route.kind is Kind.PREDICTION
            self._reject("too_large")
        elif route.kind is Kind.RESPONSE:
            told = event_id(event.get(EVENT_ID, b"").decode("latin-1"))
            self._labels.tell("answer", told, value.body, self._now())
        else:
            self._take_request(message, value, headers, route.model, hashed)

    def _route(self, headers: RawHeaders, value: _Value) -> tuple[Route, Mapping[bytes, bytes]]:
        """What the message is, by its headers; of an event in structured mode by its head. With what tells that."""
        _, picked = self._events.pick(headers)
        route = self._events.route("POST", _EVENT, picked)
        if route.kind is not Kind.EVENT:
            return route, picked
        if CONTENT_TYPE not in picked:
            return self._plain.route("POST", _PLAIN, picked), picked
        picked = event_headers(value.body)
        return self._events.route_event(route, _EVENT, picked), picked

    def _take_request(
        self, message: Message, value: _Value, headers: RawHeaders, model: str | None, hashed: blake2b | None
    ) -> None:
        now = self._now()
        has_time, milliseconds = message.timestamp()
        at = min(clock.from_wall(milliseconds / 1000), now) if has_time else now
        if now - at > self._max_age_seconds:
            self._counts.skipped[SOURCE] += 1
            return
        self._counts.received[SOURCE] += 1
        self._counts.body_bytes[SOURCE].observe(value.size)
        if self._repeats is not None and hashed is not None and self._repeats.is_repeat(hashed):
            self._counts.count_repeated(SOURCE)
        key = self._sample.draw()
        if key is None:
            return
        kept = kept_headers(headers)
        ids = join_keys(kept, value.body)
        item = self._sample.add(key, value.body, SOURCE, kept, at, model=model, ids=ids)
        if item is not None:
            self._counts.sampled[SOURCE] += 1
            self._labels.follow(item, now)

    def _reject(self, reason: str) -> None:
        self._counts.rejected[SOURCE, reason] += 1
        self._rejections.note(reason)


class _Value:
    """The value of a message, which is copied when it is first looked at, and once."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self.size = len(message)

    @cached_property
    def body(self) -> bytes:
        """Its bytes; none where it has no value."""
        return self._message.value() or b""


def _as_of_requests(headers: Iterable[tuple[str, bytes | None]]) -> Iterator[tuple[bytes, bytes]]:
    """Headers as a request has them: those of an event in binary mode are called `ce_type` here and `Ce-Type` there."""
    for name, value in headers:
        low = name.lower()
        if low != "content-length":  # a message has its own length
            yield (f"ce-{low[3:]}" if low.startswith("ce_") else low).encode(), value or b""
