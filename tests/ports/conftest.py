"""A port on a real server, with an application that says what it got."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import Any

import pytest

from robmon.ports.access import Access
from robmon.ports.server import MOMENT_SECONDS, PortServer
from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until


class Port:
    """A port behind `PortServer`, in a thread of its own. A POST is read to its end; a GET's body is not.

    Paths: `/long` answers more than the kernel holds for a client that does not read.
    """

    def __init__(self, *, max_connections: int = 64, access: Access | None = None, open_paths: set[str] | None = None):
        self.refused: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.loop: asyncio.AbstractEventLoop | None = None  # once there has been a request
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.server = PortServer(
            self._application,
            self._refuse,
            max_connections=max_connections,
            access=access,
            open_paths=open_paths or set(),
        )
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self._listener]})

    def __enter__(self) -> Port:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join(timeout=PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _refuse(self, reason: str) -> None:
        self.refused[reason] += 1

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        self.loop = asyncio.get_running_loop()
        body = b""
        more = scope["method"] == "POST"
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.requests.append({"path": scope["path"], "body": body, "scheme": scope["scheme"]})
        answer = b"x" * 2**24 if scope["path"] == "/long" else b"ok"
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    @property
    def connections(self) -> int:
        return len(self.server.connections)

    @property
    def unread(self) -> int:
        """How many leave their answer unread."""
        return sum(connection.unread_since < inf for connection in self.server.connections)

    @property
    def busy(self) -> int:
        """How many wait for their answer, or their head, to be complete."""
        return sum(connection.idle_since == inf for connection in self.server.connections)

    @contextlib.contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(self.address, timeout=PATIENCE_SECONDS) as client:
            yield client

    def wait_past_moment(self, stack: contextlib.ExitStack, data: bytes) -> socket.socket:
        """A further connection that sends this, no whole head, and may have to give way when this returns."""
        count = self.connections
        client = stack.enter_context(self.connection())
        client.sendall(data)
        wait_until(lambda: self.connections > count)
        time.sleep(1.1 * MOMENT_SECONDS)  # what has just come does not give way
        return client

    def answers(self) -> bool:
        with self.connection() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return status(client) == 200


def reset_on_close(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def status(client: socket.socket) -> int:
    """The status of the next answer, whose body is read too; 0 if there is none."""
    head = b""
    try:
        while not head.endswith(b"\r\n\r\n"):
            byte = client.recv(1)
            if not byte:
                return 0
            head += byte
        length = re.search(rb"content-length: (\d+)", head)
        client.recv(int(length[1]) if length else 0)
    except ConnectionResetError:
        return 0
    return int(head.split()[1])


def closed(client: socket.socket) -> bool:
    try:
        return client.recv(4096) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def port() -> Iterator[Port]:
    with Port() as served:
        yield served
