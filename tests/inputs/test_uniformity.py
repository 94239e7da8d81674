"""The sample is uniform over the requests of its window, and within its bounds, on a real server as well."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import ExitStack
from random import Random

from tests.inputs.conftest import MAX_INFLIGHT_BYTES, Served
from tests.inputs.test_receiver import post, status
from tests.inputs.test_sample import within_binomial_band
from tests.servers import wait_until

CONNECTIONS, AT_ONCE = 4, 25


def mirror(served: Served, bodies: Iterable[bytes]) -> None:
    """Send the bodies in turn on several connections, on each several at once, and read all the answers."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(served.address, 20)) for _ in range(CONNECTIONS)]
        queues: list[list[bytes]] = [[] for _ in clients]
        for number, body in enumerate(bodies):
            queues[number % CONNECTIONS].append(post(body))
        while any(queues):
            groups = [queue[:AT_ONCE] for queue in queues]
            for client, queue, group in zip(clients, queues, groups, strict=True):
                del queue[:AT_ONCE]
                client.sendall(b"".join(group))
            for client, group in zip(clients, groups, strict=True):
                answers = b""
                while answers.count(b"\r\n\r\n") < len(group):
                    answers += client.recv(65536)
                assert answers.count(b" 202 ") == len(group)


def test_a_mixture_that_changes_half_way_between_two_assessments() -> None:
    """The sample has the share of the whole window, as much of its beginning as of its end, and nothing from before."""
    rows, window = 300, 4000
    stream = Random(1)
    shares = [0.9] * (window // 2) + [0.2] * (window // 2)
    bodies = [b"%d %d" % (number, stream.random() < share) for number, share in enumerate(shares)]
    with Served(sample_rows=rows) as served:
        mirror(served, [b"-1 0"] * 500)
        served.sample.snapshot(served.now)
        served.sample.turn_over(served.now)
        mirror(served, bodies)
        chosen = [tuple(map(int, item.body.split())) for item in served.sample.snapshot(served.now)]
    assert served.counts.received["mlflow"] == 500 + window
    assert len(set(chosen)) == rows
    assert min(number for number, _ in chosen) >= 0
    share = sum(body.endswith(b" 1") for body in bodies) / window
    assert within_binomial_band(sum(kind for _, kind in chosen), rows, share)
    assert within_binomial_band(sum(number < window // 2 for number, _ in chosen), rows, 0.5)


def test_bytes_and_age_are_bounded_while_requests_of_all_sizes_arrive() -> None:
    """Every fourth body is 200 times as large as the others: so is every fourth of the sample, at last."""
    sample_bytes = 200_000  # ten of the largest bodies
    with Served(sample_rows=128, max_body_bytes=20_000) as served:
        for hour in range(3):
            served.now = 1000.0 + 3000 * hour
            for _ in range(8):
                mirror(served, [bytes(10_000 if number % 4 == 0 else 50) for number in range(200)])
                assert served.sample.held_bytes <= sample_bytes
                assert served.sample.oldest(served.now) >= served.now - 3600
            capacity = served.sample.capacity
            sample = served.sample.snapshot(served.now)  # after which it may become larger again
            assert sum(item.size for item in sample) <= sample_bytes
            assert len(sample) == capacity < 128
            assert within_binomial_band(sum(len(item.body) == 10_000 for item in sample), len(sample), 0.25)
            served.sample.turn_over(served.now)
        assert served.sample.snapshot(served.now + 3601) == []


def test_bodies_on_their_way_are_bounded_at_every_moment() -> None:
    """Twice as many as may be held begin together: some are refused and counted, the others are kept."""
    size = 20_000
    clients_count = 2 * MAX_INFLIGHT_BYTES // size
    with Served(sample_rows=100) as served, ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(served.address, 20)) for _ in range(clients_count)]
        for number, client in enumerate(clients, start=1):
            client.sendall(post(bytes(size))[:-1])
            begun = min(number * (size - 1), MAX_INFLIGHT_BYTES - (size - 1))
            wait_until(lambda begun=begun: served.receiver.inflight_bytes >= begun)
            assert served.receiver.inflight_bytes <= MAX_INFLIGHT_BYTES
        refused = clients_count - MAX_INFLIGHT_BYTES // (size - 1)
        wait_until(lambda: served.counts.rejected["mlflow", "inflight_full"] == refused)
        for client in clients:
            client.sendall(b"\0")
        answers = [status(client) for client in clients]
        assert answers.count(202) == served.sample.rows(served.now) == clients_count - refused
        assert served.receiver.inflight_bytes == 0
