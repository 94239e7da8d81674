"""What the tests of the inputs share: the receiver on a real server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from random import Random

import pytest

from robmon.inputs.receiver import Receiver
from robmon.inputs.repeats import Repeats
from robmon.inputs.routing import NO_FILTERS, Filters
from robmon.inputs.sample import Sample
from robmon.ports import protocol
from robmon.ports.server import PortServer
from tests.patience import PATIENCE_SECONDS

MAX_BODY_BYTES = 100_000
MAX_INFLIGHT_BYTES = 150_000


class Served:
    """A receiver behind uvicorn, on a port of its own, in a thread of its own, at a time of its own."""

    def __init__(
        self, sample_rows: int = 8, max_body_bytes: int = MAX_BODY_BYTES, filters: Filters = NO_FILTERS
    ) -> None:
        self.now = 1000.0
        self.sample = Sample(
            sample_rows=sample_rows, max_age_seconds=3600, sample_bytes=10 * max_body_bytes, random=Random(0)
        )
        self.receiver = Receiver(
            self.sample,
            max_body_bytes=max_body_bytes,
            max_inflight_bytes=MAX_INFLIGHT_BYTES,
            filters=filters,
            repeats=Repeats(1024),
            clock=lambda: self.now,
        )
        self.counts = self.receiver.counts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._server = PortServer(self.receiver, self.receiver.refuse, max_connections=512)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})

    def __enter__(self) -> Served:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=PATIENCE_SECONDS)
        assert not self._thread.is_alive()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.1)
    with Served() as server:
        yield server
