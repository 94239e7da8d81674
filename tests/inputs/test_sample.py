"""The bounded sample: uniformity, top-up, age, bytes."""

from __future__ import annotations

import itertools
from math import comb
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robmon.inputs.sample import Feedback, Item, Sample


def make(rows: int = 10, *, seed: int = 0, **overrides: float) -> Sample:
    options = {"max_age_seconds": 1000.0, "sample_bytes": 10**9, "rows_per_request": 1} | overrides
    return Sample(sample_rows=rows, random=Random(seed), **options)  # type: ignore[arg-type]


def fill(sample: Sample, bodies: range, now: float = 0.0) -> None:
    for number in bodies:
        sample.offer(str(number).encode(), "mlflow", {"content-type": "application/json"}, now)


def numbers(items: list[Item]) -> list[int]:
    return [int(item.body) for item in items]


def within_binomial_band(successes: int, trials: int, share: float) -> bool:
    """Whether the count is within 4.5 standard deviations, a chance of 7e-6 to be outside."""
    return abs(successes - trials * share) <= 4.5 * (trials * share * (1 - share)) ** 0.5


def test_every_request_is_equally_likely() -> None:
    requests, rows, repeats = 40, 10, 3000
    counts = [0] * requests
    for seed in range(repeats):
        sample = make(rows, seed=seed)
        fill(sample, range(requests))
        chosen = numbers(sample.snapshot(0))
        assert len(set(chosen)) == rows
        for number in chosen:
            counts[number] += 1
    assert all(within_binomial_band(count, repeats, rows / requests) for count in counts), counts


def test_share_of_a_mixture_that_changes_half_way() -> None:
    """90 % ones before the middle of the window, 20 % after: the sample has 55 %."""
    sample = make(2000, seed=3)
    stream = Random(1)
    for number in range(20_000):
        share = 0.9 if number < 10_000 else 0.2
        sample.offer(b"1" if stream.random() < share else b"0", "mlflow", {}, now=0)
    assert within_binomial_band(sum(numbers(sample.snapshot(0))), 2000, 0.55)


def test_a_share_of_the_requests_is_considered() -> None:
    """The rest are never sampled, however few there are; in the second window as in the first."""
    requests, rows, share, repeats = 40, 10, 0.25, 2000
    counts = [0] * requests
    for seed in range(repeats):
        sample = make(rows, seed=seed, share=share)
        fill(sample, range(requests))
        sample.discard(sample.snapshot(0))
        fill(sample, range(requests))
        for number in numbers(sample.snapshot(0)):
            counts[number] += 1
    considered = [comb(requests, k) * share**k * (1 - share) ** (requests - k) for k in range(requests + 1)]
    kept = sum(chance * min(k, rows) for k, chance in enumerate(considered))
    assert all(within_binomial_band(count, repeats, kept / requests) for count in counts), counts


def size_of(body: bytes, headers: dict[str, str] | None = None, ids: tuple[str, ...] = ()) -> int:
    """Bytes that Python holds of such a request."""
    return Item("mlflow", headers or {}, 0, 0, body, feedback=Feedback(ids)).size


def test_headers_and_ids_count_as_bytes() -> None:
    bare = size_of(bytes(600))
    assert 900 < bare < 1600, "the objects count, not their content alone"
    assert size_of(bytes(700)) == bare + 96
    named = size_of(bytes(600), {"ce-id": "x" * 400})
    assert named > bare + 400
    assert named + 100 < size_of(bytes(600), {"ce-id": "x" * 400}, ("x" * 400,)) < named + 900
    assert size_of(bytes(600), {"ce-id": "x" * 400}, ("x" * 400, "y" * 400)) > named + 900
    sample = make(4, sample_bytes=named)
    assert sample.offer(bytes(600), "mlflow", {"ce-id": "x" * 400}, now=0)
    assert sample.held_bytes == named
    assert not sample.offer(bytes(600), "mlflow", {"ce-id": "x" * 416}, now=0)


def test_a_window_of_requests_does_not_know_the_one_before() -> None:
    sample = make(100)
    fill(sample, range(1000))
    sample.snapshot(0)
    fill(sample, range(1000, 1100))
    assert sorted(numbers(sample.snapshot(0))) == list(range(1000, 1100))


def test_requests_whose_body_never_arrives_leave_no_gap() -> None:
    """Every second body is lost after it was drawn; the others stay equally likely."""
    requests, rows, repeats = 40, 10, 2000
    counts = [0] * requests
    for seed in range(repeats):
        sample = make(rows, seed=seed)
        for number in range(requests):
            key = sample.draw()
            if key is not None and number % 2 == 0:
                sample.add(key, str(number).encode(), "mlflow", {}, 0)
        chosen = numbers(sample.snapshot(0))
        assert len(chosen) == rows
        for number in chosen:
            counts[number] += 1
    assert all(within_binomial_band(count, repeats, rows / 20) for count in counts[::2]), counts


def test_bodies_that_arrive_late_and_in_another_order_are_judged_alike() -> None:
    in_order, reversed_order = make(5, seed=7), make(5, seed=7)
    fill(in_order, range(50))
    keys = [(reversed_order.draw(), number) for number in range(50)]
    for key, number in reversed(keys):
        assert key is not None  # nothing was added yet, so all were worth waiting for
        reversed_order.add(key, str(number).encode(), "mlflow", {}, 0)
    assert len(reversed_order.snapshot(0)) == len(in_order.snapshot(0)) == 5
    smallest = sorted(keys)[:5]
    assert sorted(numbers(reversed_order.snapshot(0))) == sorted(number for _, number in smallest)


def test_topped_up_from_the_sample_before_newest_window_first() -> None:
    sample = make(10)
    for start, count in ((0, 10), (100, 4), (200, 3)):
        fill(sample, range(start, start + count), now=start)
        items = sample.snapshot(now=start)
        sample.turn_over(now=start)
    assert len(items) == 10
    assert sorted(numbers(items)[:3]) == [200, 201, 202]
    assert sorted(numbers(items)[3:7]) == [100, 101, 102, 103]
    assert all(number < 10 for number in numbers(items)[7:])
    assert [item.topped_up for item in items] == [False] * 3 + [True] * 7


def test_items_of_a_failed_assessment_are_not_marked() -> None:
    sample = make(10)
    fill(sample, range(4))
    sample.snapshot(0)  # the assessment fails: no turn-over
    fill(sample, range(4, 6))
    assert [item.topped_up for item in sample.snapshot(0)] == [False] * 6
    sample.turn_over(0)
    assert [item.topped_up for item in sample.snapshot(0)] == [True] * 6


def test_requests_during_an_assessment_belong_to_the_next_window() -> None:
    sample = make(10)
    fill(sample, range(3))
    sample.snapshot(0)
    fill(sample, range(3, 5))
    sample.turn_over(0)
    items = sample.snapshot(0)
    assert {int(item.body): item.topped_up for item in items} == {0: True, 1: True, 2: True, 3: False, 4: False}


def test_age() -> None:
    sample = make(10, max_age_seconds=60)
    fill(sample, range(2), now=100)
    sample.snapshot(now=100)
    fill(sample, range(2, 5), now=140)
    assert (sample.rows(now=160), sample.oldest(now=160)) == (5, 100)
    assert (sample.rows(now=161), sample.oldest(now=161)) == (3, 140)
    assert sorted(numbers(sample.snapshot(now=200))) == [2, 3, 4]
    assert sample.snapshot(now=201) == []
    assert (sample.rows(now=201), sample.oldest(now=201), sample.held_bytes) == (0, None, 0)


def test_what_is_too_old_is_kept_for_a_verdict_alone() -> None:
    """One request in 200 seconds: never are ten of them younger than 1000 seconds."""
    sample = make(10, verdict_requests=10)
    for number in range(12):
        fill(sample, range(number, number + 1), now=200.0 * number)
        sample.rows(200.0 * number)
    now = 2300.0
    assert sample.most_rows(now) == 5 and sample.rows(now) == 5 and sample.oldest(now) == 1400
    assert sample.most_rows(now, with_old=True) == 10
    usual, for_verdict = sample.snapshot(now), sample.snapshot(now, with_old=True)
    assert sorted(numbers(usual)) == [7, 8, 9, 10, 11] and not any(item.is_old for item in usual)
    assert for_verdict[:5] == usual and numbers(for_verdict[5:]) == [6, 5, 4, 3, 2]
    assert [item.is_old for item in for_verdict] == [False] * 5 + [True] * 5
    sample.discard(for_verdict[5:7])
    assert numbers(sample.snapshot(now, with_old=True)[5:]) == [4, 3, 2]
    fill(sample, range(20, 26), now=now)
    assert sample.most_rows(now, with_old=True) == 11 - 1, "as many as are lacking, the newest"
    week = now + 7 * 86_400
    assert len(sample.snapshot(week, with_old=True)) == 6 and sample.snapshot(week) == []
    assert sample.snapshot(week + 1, with_old=True) == [] and sample.held_bytes == 0


def test_old_requests_give_way_to_bytes_that_others_need() -> None:
    each = size_of(bytes(1000))
    sample = make(100, sample_bytes=10 * each, verdict_requests=8)
    for number in range(8):
        sample.offer(bytes(1000), "mlflow", {}, now=float(number))
    assert sample.most_rows(2000.0, with_old=True) == 8 and sample.held_bytes == 8 * each
    for number in range(2):
        sample.offer(bytes(1000), "mlflow", {}, now=2000.0 + number)
        assert sample.held_bytes <= 10 * each and sample.most_rows(2001.0, with_old=True) == 8
    for _ in range(6):
        sample.offer(bytes(1200), "mlflow", {}, now=2002.0)
    assert not sample.shrunk and sample.held_bytes <= 10 * each
    assert sample.most_rows(2002.0) == 8 and not any(item.is_old for item in sample.snapshot(2002.0, with_old=True))


@pytest.mark.parametrize(("rows", "each", "requests"), [(256, 1, 256), (256, 3, 86), (256, 2.5, 103), (2, 5, 1)])
def test_several_rows_a_request_need_fewer_requests(rows: int, each: float, requests: int) -> None:
    sample = make(rows, rows_per_request=5)
    fill(sample, range(1000))
    assert len(sample.snapshot(0)) == rows, "until it is known how many rows they have"
    sample.learn(int(10 * each), 10)
    assert sample.rows(0) == rows
    fill(sample, range(1000))
    assert sample.rows(0) == rows
    assert len(sample.snapshot(0)) == requests


def test_the_rows_are_those_that_requests_really_have() -> None:
    sample = make(256, rows_per_request=16)
    fill(sample, range(20))
    assert (sample.rows(0), sample.most_rows(0)) == (20, 256), "each has one at least"
    sample.snapshot(0)
    sample.learn(150, 20)
    assert sample.rows(0) == 150
    fill(sample, range(10))
    assert sample.rows(0) == 225
    sample.snapshot(0)
    sample.learn(30, 30)
    assert sample.rows(0) == 30
    fill(sample, range(1000))
    assert sample.rows(0) == 256


def test_requests_of_one_row_are_enough_where_more_may_be_drawn() -> None:
    """Also after a sample of large requests, which few of them fill."""
    sample = make(256, rows_per_request=16)
    for rows_each, held in ((1, 256), (16, 256), (1, 16), (1, 256)):
        fill(sample, range(500))
        items = sample.snapshot(0)
        assert len(items) == held
        sample.learn(rows_each * len(items), len(items))


def test_one_row_a_request_changes_nothing() -> None:
    taught, plain = make(10, seed=3), make(10, seed=3)
    for _ in range(3):
        for sample in (taught, plain):
            fill(sample, range(100))
        items = taught.snapshot(0)
        assert items == plain.snapshot(0)
        for sample in (taught, plain):
            fill(sample, range(30))
        taught.learn(len(items), len(items))
        assert taught.capacity == taught.full_capacity == 10


@pytest.mark.parametrize(("before", "learnt"), [((1, 1), (3, 1)), ((3, 1), (1, 1))], ids=["shrinks", "grows"])
def test_every_request_is_equally_likely_whatever_is_learnt(before: tuple[int, int], learnt: tuple[int, int]) -> None:
    """What comes after it has grown is a window of its own; where it shrinks, the window goes on."""
    requests, rows, repeats = 40, 12, 3000
    grows = learnt < before
    counts = [0] * requests
    for seed in range(repeats):
        sample = make(rows, seed=seed, rows_per_request=3)
        sample.learn(*before)
        fill(sample, range(100, 120) if grows else range(requests // 2))
        sample.learn(*learnt)
        fill(sample, range(requests) if grows else range(requests // 2, requests))
        chosen = numbers(sample.snapshot(0))
        assert len(set(chosen)) == len(chosen) == sample.capacity
        for number in chosen:
            counts[number] += 1
    assert all(within_binomial_band(count, repeats, sample.capacity / requests) for count in counts), counts


def test_what_is_learnt_undoes_no_bound_of_bytes() -> None:
    sample = make(256, sample_bytes=100 * size_of(bytes(1000)), rows_per_request=2)
    for _ in range(2000):
        sample.offer(bytes(1000), "mlflow", {}, now=0)
    assert (sample.capacity, sample.full_capacity) == (64, 256)
    sample.learn(2, 1)
    assert (sample.capacity, sample.full_capacity, sample.shrunk) == (64, 128, True)
    sample.learn(1, 1)
    assert (sample.capacity, sample.full_capacity, sample.shrunk) == (64, 256, True)


def test_items_carry_what_decoding_needs() -> None:
    sample = make(2)
    sample.offer(b"{}", "mlflow", {"content-type": "application/json"}, now=12.5)
    sample.offer(b"{}", "mlflow", {"content-type": "text/csv"}, now=13.5)
    by_type = {item.headers["content-type"]: item for item in sample.snapshot(14)}
    assert by_type["text/csv"].received_at == 13.5
    assert by_type["text/csv"].format == "mlflow"
    assert by_type["text/csv"].seed != by_type["application/json"].seed


def test_bytes_shrink_the_sample_to_fewer_requests_and_say_so() -> None:
    sample_bytes = 100 * size_of(bytes(1000))
    sample = make(256, sample_bytes=sample_bytes)
    assert not sample.shrunk
    for _ in range(2000):
        sample.offer(bytes(1000), "mlflow", {}, now=0)
        assert sample.held_bytes <= sample_bytes
    assert sample.shrunk
    assert (sample.capacity, sample.full_capacity) == (64, 256)
    assert sample.rows(0) == 64


def test_the_capacity_comes_back_when_bodies_are_small_again() -> None:
    sample = make(256, sample_bytes=600 * size_of(bytes(10)))
    large = 6 * size_of(bytes(10))
    for _ in range(2000):
        sample.offer(bytes(large), "mlflow", {}, now=0)
    capacities = []
    for _ in range(4):
        for _ in range(2000):
            sample.offer(bytes(10), "mlflow", {}, now=0)
        sample.snapshot(0)
        capacities.append(sample.capacity)
    assert capacities == [64, 128, 256, 256]  # the first window began with large bodies


def test_a_body_larger_than_the_whole_sample_is_not_kept() -> None:
    largest = size_of(bytes(1000))
    sample = make(4, sample_bytes=largest)
    assert not sample.offer(bytes(1016), "mlflow", {}, now=0)
    assert sample.offer(bytes(1000), "mlflow", {}, now=0)
    assert (sample.capacity, sample.held_bytes) == (4, largest)


@pytest.mark.parametrize("sample_bytes", [20_000, 64_000, 101_000])
def test_the_share_of_large_bodies_does_not_depend_on_the_bound(sample_bytes: int) -> None:
    """Half of the traffic is 100 times as large as the rest: so is half of the sample, window after window."""
    repeats = 1500
    shares = []
    for seed in range(repeats):
        sample = make(32, seed=seed, sample_bytes=sample_bytes)
        stream = Random(seed + 10**6)
        for _ in range(200):
            sample.offer(bytes(5000) if stream.random() < 0.5 else bytes(50), "mlflow", {}, now=0)
        sizes = [len(item.body) for item in sample.snapshot(0)]
        assert sum(sizes) <= sample_bytes
        shares.append(sum(size == 5000 for size in sizes) / len(sizes))
    assert sample.shrunk
    mean = sum(shares) / repeats
    deviation = (sum((share - mean) ** 2 for share in shares) / (repeats - 1) / repeats) ** 0.5
    assert abs(mean - 0.5) <= 4.5 * deviation


@given(
    st.lists(
        st.tuples(st.sampled_from(["offer", "snapshot", "turn_over", "wait", "learn"]), st.integers(0, 400)),
        max_size=80,
    ),
    st.integers(1, 12),
)
def test_bounds_hold_whatever_happens(steps: list[tuple[str, int]], rows: int) -> None:
    sample_bytes = 5 * size_of(bytes(200))
    sample = make(rows, sample_bytes=sample_bytes, max_age_seconds=50, rows_per_request=5)
    now = 0.0
    for step, size in steps:
        if step == "offer":
            sample.offer(bytes(size), "mlflow", {}, now)
        elif step == "wait":
            now += size / 10
        elif step == "learn":
            sample.learn(100 + size, 100)
        elif step == "turn_over":
            sample.turn_over(now)
        else:
            items = sample.snapshot(now)
            assert all(now - item.received_at <= 50 for item in items)
            assert sum(item.size for item in items) == sample.held_bytes
        rows_now = sample.rows(now)
        held = len(sample._window) + len(sample._previous)
        assert held <= sample.capacity <= sample.full_capacity <= rows
        assert held <= rows_now <= sample.most_rows(now) <= rows
        assert sample.held_bytes <= sample_bytes


def test_the_same_seed_keeps_the_same_requests() -> None:
    first, second = make(10, seed=5), make(10, seed=5)
    for sample in (first, second):
        fill(sample, range(500))
    assert first.snapshot(0) == second.snapshot(0)


def test_most_requests_cost_one_random_number() -> None:
    class Counting(Random):
        drawn = 0

        def random(self) -> float:
            self.drawn += 1
            return super().random()

    source = Counting(0)
    sample = Sample(sample_rows=10, max_age_seconds=10, sample_bytes=1000, random=source)
    for _ in itertools.repeat(None, 10_000):
        sample.offer(b"x", "mlflow", {}, now=0)
    assert source.drawn == 10_000


def test_garbage_is_dropped_and_makes_room() -> None:
    sample = Sample(sample_rows=10, max_age_seconds=100, sample_bytes=100_000, random=Random(0))
    for _ in range(10):
        sample.offer(b"x" * 10, "mlflow", {}, now=0)
    items = sample.snapshot(now=1)
    sample.discard(items[:4])
    assert (sample.rows(now=1), sample.held_bytes) == (6, 6 * items[0].size)
    sample.turn_over(now=1)
    assert [item.body for item in sample.snapshot(now=2)] == [item.body for item in items[4:]]


class Told:
    """A source that only notes what it is told."""

    poll_seconds = 1.0

    def __init__(self) -> None:
        self.told: list[str] = []

    async def poll(self) -> None:
        self.told.append("poll")

    async def close(self) -> None:
        self.told.append("close")

    def mark(self) -> None:
        self.told.append("mark")

    def commit(self) -> None:
        self.told.append("commit")


def test_every_source_is_told_what_was_used() -> None:
    sample, sources = make(), (Told(), Told())
    for source in sources:
        sample.attach(source)
    fill(sample, range(5))
    sample.snapshot(now=1)
    assert [source.told for source in sources] == [["mark"]] * 2
    sample.snapshot(now=2)  # that assessment failed
    sample.discard([])
    sample.turn_over(now=3)
    assert [source.told for source in sources] == [["mark", "mark", "commit"]] * 2
