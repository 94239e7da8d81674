"""What becomes of labels and served answers: joined, late, unknown or dropped, within every bound."""

from __future__ import annotations

import sys
from dataclasses import replace
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from robmon.inputs import join_keys as join_keys_module
from robmon.inputs.join_keys import MAX_ID_CHARACTERS, join_keys, texts_in_head
from robmon.inputs.labels import (
    BYTES_OF_WAITING,
    EARLY_SECONDS,
    EARLY_SHARE,
    GONE_SHARE,
    JOINED_SHARE,
    KINDS,
    REMEMBERED_IDS,
    Labels,
)
from robmon.inputs.object_size import held
from robmon.inputs.sample import Item, Sample

MAX_BYTES = 40_000


def request(key: str, at: float = 0.0, body: bytes = b"{}") -> Item:
    return Item("mlflow", {"x-request-id": key}, at, 0, body)


def labels(max_bytes: int = MAX_BYTES, window_seconds: float = 1000) -> Labels:
    return Labels(max_bytes=max_bytes, window_seconds=window_seconds, random=Random(0))


def outcomes(told: Labels, what: str = "target") -> dict[str, int]:
    return {outcome: count for outcome, count in getattr(told.counts, what).items() if count}


# --- ids -------------------------------------------------------------------------------------------------------------


def test_ids_in_the_order_of_what_they_tell() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {
        "traceparent": f"00-{trace}-b7ad6b7169203331-01",
        "x-amzn-sagemaker-inference-id": "d",
        "ce-id": "c%20c",
        "x-request-id": " b ",
    }
    assert join_keys(headers, b' {"id": "a", "inputs": []}') == ("a", "b", "c c", "d", trace)
    assert join_keys({}, b"1,2\n3,4") == ()
    assert join_keys({"traceparent": "nonsense"}, b"") == ()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"inputs": [{"name": "id", "id": "inner", "data": [1]}], "id": "a\\u00fc\\""}', 'aü"'),
        (b'{"parameters": {"id": "inner"}, "id" : "outer"}', "outer"),
        (b'{"id": 7}', None),
        (b'{"id": "a', None),
        (b'{"id": "\\ud8"}', None),
        (b'[{"id": "a"}]', None),
        (b'{"x": "' + b"y" * 5000 + b'", "id": "too far"}', None),
    ],
)
def test_the_id_of_a_body(body: bytes, found: str | None) -> None:
    assert join_keys({}, body) == (() if found is None else (found,))


def test_the_id_of_a_compressed_body_and_a_long_one() -> None:
    import gzip
    import zlib

    body = b'{"id": "a", "inputs": [' + b"1," * 50_000 + b"1]}"
    assert join_keys({}, gzip.compress(body)) == join_keys({}, zlib.compress(body)) == ("a",)
    assert join_keys({}, b"\x1f\x8b broken") == ()
    assert len(join_keys({"x-request-id": "y" * 1000}, b"")[0]) == MAX_ID_CHARACTERS


# --- joining ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [b'\\"', b'{\\"a\\":1.5},', b'"', b'"a"   ', b'{"a":'])
def test_a_head_of_nothing_but_quotes_is_read_once(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once from every quote: this much would take hours."""
    monkeypatch.setattr(join_keys_module, "HEAD_BYTES", 2**21)
    for start in (b"{", b'{"specversion":"1.0","data":"'):
        found = texts_in_head(start + piece * (2**21 // len(piece)), ["specversion"])
        assert found.get("specversion") == (None if start == b"{" else "1.0")


def test_a_label_finds_its_request_by_any_id_and_every_copy_of_it() -> None:
    told, item = labels(), Item("v2", {"x-request-id": "b"}, 0, 0, b'{"id": "a"}')
    told.follow(item, 0)
    copy = replace(item, topped_up=True)
    told.tell("target", "b", b"1", 1)
    assert copy.feedback.target == b"1"
    told.tell("target", "a", b"2", 2)  # a correction
    told.tell("answer", "a", b"answer", 3)
    assert (item.feedback.target, item.feedback.answer) == (b"2", b"answer")
    assert outcomes(told) == {"joined": 2} and outcomes(told, "answer") == {"joined": 1}
    assert told.joined_bytes == held(b"2") + held(b"answer")
    del item
    told.tell("target", "a", b"3", 4)
    assert copy.feedback.target == b"3"


def test_labels_that_do_not_fit_are_counted_once_and_may_be_corrected() -> None:
    told, items = labels(), [request(key) for key in "abc"]
    for item, content in zip(items, (b"1", b'"cat"', b'"dog"'), strict=True):
        told.follow(item, 0)
        told.tell("target", item.feedback.ids[0], content, 0)
        told.tell("answer", item.feedback.ids[0], b"answer", 0)
    told.tell("target", "c", b"3", 0)
    for _ in range(2):
        told.drop_unfit([(replace(items[1], topped_up=True), b'"cat"'), (items[2], b'"dog"')])
    assert [item.feedback.target for item in items] == [b"1", None, b"3"]
    assert outcomes(told) == {"joined": 4, "does_not_fit": 1}
    assert told.joined_bytes == 3 * held(b"answer") + 2 * held(b"1")
    told.tell("target", "b", b"2", 0)
    assert items[1].feedback.target == b"2" and told.joined_bytes == 3 * held(b"answer") + 3 * held(b"1")
    del item
    items.clear()
    assert told.joined_bytes == 0
    assert "does_not_fit" not in told.counts.answer, "of answers, the assessment says how many cannot be compared"


def test_what_comes_before_its_request_waits_a_little() -> None:
    told, item, late = labels(), request("a"), request("b")
    told.tell("target", "a", b"1", 0)
    told.tell("answer", "a", b"answer", 0)
    told.tell("target", "b", b"1", 0)
    told.follow(item, EARLY_SECONDS)
    told.follow(late, EARLY_SECONDS + 1)
    assert (item.feedback.target, item.feedback.answer, late.feedback.target) == (b"1", b"answer", None)
    assert outcomes(told) == {"joined": 1, "unknown": 1}
    assert told.early_bytes == 0


def test_of_two_requests_with_one_id_the_later_counts() -> None:
    told, first, second = labels(), request("a"), request("a")
    told.follow(first, 0)
    told.follow(second, 0)
    told.tell("target", "a", b"1", 1)
    assert (first.feedback.target, second.feedback.target) == (None, b"1")
    del first
    told.tell("target", "a", b"2", 1)
    assert second.feedback.target == b"2"


def test_a_label_is_late_once_nobody_holds_its_request() -> None:
    told = labels()
    sample = Sample(sample_rows=1, max_age_seconds=60, sample_bytes=10_000, random=Random(0))
    for number in range(2):
        item = sample.add(0.5 - number / 10, b"{}", "mlflow", {"x-request-id": str(number)}, 0)
        assert item is not None
        told.follow(item, 0)
        told.tell("answer", str(number), b"answer", 0)
        del item
    told.tell("target", "0", b"1", 0)
    told.tell("target", "1", b"1", 0)
    assert outcomes(told) == {"late": 1, "joined": 1}
    assert told.joined_bytes == held(b"answer") + held(b"1")
    sample.rows(now=100)
    assert told.joined_bytes == 0
    told.tell("target", "1", b"1", 100)
    assert outcomes(told)["late"] == 2


def test_only_so_many_lost_ids_are_remembered() -> None:
    told = labels(max_bytes=2**26)
    for number in range(REMEMBERED_IDS + 1):
        told.follow(request(str(number)), 0)
    told.tell("target", "0", b"1", 0)
    told.tell("target", "1", b"1", 0)
    told.expire(EARLY_SECONDS + 1)
    assert outcomes(told) == {"unknown": 1, "late": 1}


def test_lost_ids_take_their_share_of_the_bytes_and_no_more() -> None:
    told = labels()
    for number in range(500):
        told.follow(request(f"{number:0200}"), 0)
        assert told.held_bytes <= MAX_BYTES * GONE_SHARE
    told.tell("target", f"{499:0200}", b"1", 0)
    assert outcomes(told) == {"late": 1}


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_what_waits_too_long_or_is_too_much_is_unknown() -> None:
    told = labels()
    for number in range(1000):
        told.tell("answer", str(number), bytes(100), now=number / 100)
        assert told.early_bytes <= MAX_BYTES * EARLY_SHARE
    waiting = 1000 - outcomes(told, "answer")["unknown"]
    assert 10 < waiting < 25
    newest = request("999")
    told.follow(newest, 10)
    assert newest.feedback.answer is not None
    told.expire(10 + EARLY_SECONDS)
    assert outcomes(told, "answer") == {"unknown": 999, "joined": 1}


def test_what_has_no_room_is_dropped() -> None:
    told, items = labels(), [request(str(number)) for number in range(3)]
    for item in items:
        told.follow(item, 0)
    room = int(MAX_BYTES * JOINED_SHARE)
    told.tell("answer", "0", bytes(room - 60), 0)
    told.tell("answer", "1", bytes(11), 0)
    told.tell("answer", "0", bytes(10), 0)
    told.tell("answer", "2", bytes(11), 0)
    told.tell("answer", "unheard of", bytes(room + 1), 0)
    assert outcomes(told, "answer") == {"joined": 3, "dropped": 2}
    assert [len(item.feedback.answer or b"") for item in items] == [10, 0, 11]


# --- requests that wait ----------------------------------------------------------------------------------------------


def test_assessed_requests_wait_for_labels_once_there_are_any() -> None:
    told = labels()
    told.follow(item := request("a", at=0), 0)
    told.keep([item], 0)
    assert told.waiting_bytes == 0, "nobody has ever told a label"
    told.tell("target", "x", b"1", 1)
    told.keep([item], 1)
    told.keep([replace(item, topped_up=True)], 2)
    assert told.waiting_bytes == item.size + BYTES_OF_WAITING, "once"
    del item
    told.tell("target", "a", b"2", 900)
    (labelled,) = told.labelled([], limit=9, now=900)
    assert labelled.feedback.target == b"2"
    assert told.labelled([], limit=9, now=1001) == []
    told.keep([], 1001)
    assert told.waiting_bytes == 0
    told.tell("target", "a", b"2", 1002)
    del labelled
    told.tell("target", "a", b"2", 1002)
    assert outcomes(told)["late"] == 1


def test_requests_that_wait_spread_over_the_window_and_labelled_ones_stay() -> None:
    told = labels(max_bytes=1_100_000, window_seconds=100_000)
    most_bytes = 1_100_000 * (1 - EARLY_SHARE - JOINED_SHARE - GONE_SHARE)
    told.tell("target", "x", b"1", 0)
    first = request("0", at=0, body=bytes(98))
    told.follow(first, 0)
    told.tell("target", "0", b"1", 0)
    for number in range(1, 2000):
        items = [request(str(number), at=number, body=bytes(98))]
        told.follow(items[0], number)
        told.keep([*items, first], number)
        assert told.waiting_bytes <= most_bytes
    room = int(most_bytes / (first.size + BYTES_OF_WAITING))
    assert 250 < room < 600
    for number in range(2000):
        told.tell("target", str(number), b"1", 2000)
    held_at = [item.received_at for item in told.labelled([], limit=1000, now=2000)]
    assert room - 2 <= len(held_at) <= room and held_at == sorted(held_at, reverse=True) and held_at[-1] == 0
    older = sum(at < 1000 for at in held_at)
    assert 0.4 < older / len(held_at) < 0.6, "half of the requests are older than 1000 seconds"
    assert [item.received_at for item in told.labelled([], limit=7, now=2000)] == held_at[:7]


def test_of_labelled_requests_those_without_room_go_by_chance_too() -> None:
    """And a label that is no target of the model's makes its request one without a label again."""
    told = labels(max_bytes=220_000, window_seconds=100_000)
    items = [request(str(number), at=number) for number in range(400)]
    for item in items:
        told.follow(item, 0)
        told.tell("target", item.feedback.ids[0], b"1", 0)
    told.keep(items, 0)
    kept = told.labelled([], limit=1000, now=400)
    assert 40 < len(kept) < 120
    assert 0.3 < sum(item.received_at < 200 for item in kept) / len(kept) < 0.7
    told.drop_unfit([(item, b"1") for item in kept[:-5]])
    assert told.labelled([], limit=1000, now=400) == kept[-5:]
    more = [request(str(number), at=number) for number in range(400, 800)]
    for item in more:
        told.follow(item, 0)
    told.keep(more, 800)
    assert told.labelled([], limit=1000, now=800) == kept[-5:], "those with a label stay"


def test_upkeep_does_not_grow_with_what_waits() -> None:
    """Counted, not timed: of a book of 20,000 requests an assessment touches a few hundred places."""
    told = labels(max_bytes=2**26, window_seconds=10**6)
    told.tell("target", "x", b"1", 0)
    items = [request(str(number), at=number) for number in range(20_000)]
    for item in items:
        told.follow(item, item.received_at)
    told.keep(items, 20_000)
    assert len(list(told.waiting())) > 15_000
    steps = 0

    def count(_frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal steps
        steps += 1
        return count

    more = [request(str(number), at=number) for number in range(20_000, 20_256)]
    previous = sys.gettrace()
    sys.settrace(count)
    try:
        told.keep(more, 20_256)
        told.labelled(more, limit=256, now=20_256)
    finally:
        sys.settrace(previous)
    assert 256 < steps < 256 * 250


# --- anything in any order -------------------------------------------------------------------------------------------

KEYS = "abcdef"
WINDOW_SECONDS = 50.0
CONTENTS = st.integers(0, 3000).map(bytes)


class AnyOrder(RuleBasedStateMachine):
    """Each thing told ends in one outcome or still waits; bytes are exact and bounded."""

    def __init__(self) -> None:
        super().__init__()
        self.labels = labels(window_seconds=WINDOW_SECONDS)
        self.now = 0.0
        self.told = dict.fromkeys(KINDS, 0)
        self.items: list[Item] = []

    @rule(what=st.sampled_from(KINDS), key=st.sampled_from(KEYS), content=CONTENTS)
    def tell(self, what, key, content) -> None:  # type: ignore[no-untyped-def]
        self.told[what] += 1
        self.labels.tell(what, key, content, self.now)

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=2))
    def sample(self, keys: list[str]) -> None:
        headers = dict(zip(("x-request-id", "ce-id"), keys, strict=False))
        item = Item("v2", headers, self.now, 0, b"{}")
        self.labels.follow(item, self.now)
        self.items.append(item)

    @rule(place=st.integers(0, 9))
    def lose(self, place: int) -> None:
        if place < len(self.items):
            del self.items[place]

    @rule()
    def keep(self) -> None:
        self.labels.keep(self.items, self.now)
        self.items = [replace(item, topped_up=True) for item in self.items]

    @rule(place=st.integers(0, 9))
    def drop_unfit(self, place: int) -> None:
        unfit = [(item, item.feedback.target) for item in self.items[place : place + 1] if item.feedback.target]
        self.labels.drop_unfit(unfit)
        for _ in unfit:
            self.labels.counts.target["joined"] -= 1  # it was counted when it came

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.labels.expire(self.now)

    @invariant()
    def adds_up(self) -> None:
        known_to = {id(item.feedback): item.feedback for item in self.items}
        waiting = list(self.labels.waiting())
        known_to |= {id(item.feedback): item.feedback for item in waiting}
        contents = [getattr(feedback, what) for feedback in known_to.values() for what in KINDS]
        joined = sum(held(content) for content in contents if content is not None)
        assert self.labels.joined_bytes == joined <= MAX_BYTES * JOINED_SHARE
        assert self.labels.waiting_bytes == sum(item.size + BYTES_OF_WAITING for item in waiting) <= MAX_BYTES
        assert self.labels.held_bytes <= MAX_BYTES
        in_time = [item for item in waiting if item.received_at >= self.now - WINDOW_SECONDS]
        has_label = {id(item.feedback) for item in in_time if item.feedback.target is not None}
        assert {id(item.feedback) for item in self.labels.labelled([], limit=1000, now=self.now)} == has_label
        assert self.labels.early_bytes <= MAX_BYTES * EARLY_SHARE
        for what in KINDS:
            assert sum(self.labels.counts.of(what).values()) + self.labels.early(what) == self.told[what]
        known = {key for feedback in known_to.values() for key in feedback.ids}
        assert {key for key in KEYS if self.labels.knows(key)} <= known

    def teardown(self) -> None:
        """In the end nothing is left, and no byte of it."""
        del self.items[:]
        later = self.now + EARLY_SECONDS + WINDOW_SECONDS + 1
        self.labels.expire(later)
        self.labels.keep([], later)
        assert list(self.labels.waiting()) == [] and not any(map(self.labels.early, KINDS))
        assert (self.labels.early_bytes, self.labels.joined_bytes, self.labels.waiting_bytes) == (0, 0, 0)
        assert not any(map(self.labels.knows, KEYS))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
