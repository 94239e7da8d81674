"""Bodies that come again: told to the byte, in memory that never grows, without a dictionary of inputs."""

from __future__ import annotations

import gc
import socket
import tracemalloc
from hashlib import blake2b

from robmon.inputs.repeats import HASH_BYTES, WAYS, Repeats
from tests.inputs.conftest import Served
from tests.inputs.test_receiver import head, post, status
from tests.patience import PATIENCE_SECONDS

RING = 65_536


def known(repeats: Repeats, body: bytes) -> bool:
    return repeats.is_repeat(repeats.hasher(body))


def test_64_clients_that_retry_are_repeats() -> None:
    repeats = Repeats(RING)
    bodies = [b'{"inputs": [[%d.5]]}' % client for client in range(64)]
    assert [sum(known(repeats, body) for body in bodies) for _ in range(4)] == [0, 64, 64, 64]


def test_what_is_held_is_what_is_said_and_does_not_grow() -> None:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        repeats = Repeats(RING)
        empty = tracemalloc.get_traced_memory()[0] - before
        for number in range(4 * RING):
            known(repeats, b"%d" % number)
        gc.collect()
        full = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert repeats.held_bytes == RING * HASH_BYTES + RING // WAYS
    assert repeats.held_bytes <= empty < repeats.held_bytes + 2048
    assert full < repeats.held_bytes + 4096


def test_about_the_last_so_many_bodies_are_known() -> None:
    repeats = Repeats(8192)
    for number in range(50_000):
        assert not known(repeats, b"%d" % number)
    last = sum(known(repeats, b"%d" % number) for number in range(49_999, 49_999 - 4096, -1))
    assert last > 0.95 * 4096, "half as many as it holds"
    assert sum(known(repeats, b"%d" % number) for number in range(10_000)) < 10


def test_no_hash_can_be_looked_up_and_pieces_are_one_body() -> None:
    one, other = Repeats(8), Repeats(8)
    assert one.hasher(b"a").digest() != other.hasher(b"a").digest() != blake2b(b"a", digest_size=8).digest()
    pieces = one.hasher()
    pieces.update(b"ab")
    pieces.update(b"c")
    assert pieces.digest() == one.hasher(b"abc").digest()
    assert [known(Repeats(bodies), b"a") for bodies in (1, 7, 9)] == [False] * 3


def test_the_receiver_counts_what_it_keeps_and_what_it_does_not(served: Served) -> None:
    """The sample holds 8 requests, so most of these are never stored."""
    bodies = [b'{"inputs": [[%d.0]]}' % number for number in range(40)]
    with socket.create_connection(served.address, timeout=PATIENCE_SECONDS) as client:
        for body in (*bodies, *bodies, bodies[0]):
            client.sendall(post(body))
            assert status(client) == 202
        for _ in range(2):
            client.sendall(post(b"{}").replace(b"/invocations", b"/feedback"))
            status(client)
            client.sendall(head(method="GET", path="/health"))
            assert status(client) == 200
        large = b"x" * 60_000
        for end in (b"a", b"a", b"b"):
            client.sendall(post(large + end))
            assert status(client) == 202
    assert served.counts.repeated == {"mlflow": 42} and served.counts.received["mlflow"] == 84
