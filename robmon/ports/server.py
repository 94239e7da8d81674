"""The HTTP server of one port: uvicorn with bounds, tokens and TLS, and nothing logged of a single request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from itertools import chain
from math import inf
from operator import attrgetter
from typing import Any, Final, cast

import uvicorn

from robmon.errors import SettingsError
from robmon.ports import protocol
from robmon.ports.access import Access
from robmon.ports.connections import Connection
from robmon.ports.protocol import BoundedHttpProtocol
from robmon.ports.tls import Listener
from robmon.ports.tokens import guarded

SHUTDOWN_SECONDS: Final = 2
BACKLOG: Final = 2048
SILENT_SECONDS: Final = 1
"""So long the kernel keeps a connection to itself whose client has said nothing: one that is reset meanwhile costs us
nothing, and a flood of such keeps nobody waiting to be accepted."""
OWN_DESCRIPTORS: Final = 48
"""Left for what is no connection: listeners, children, files, the registry's answers."""
MOMENT_SECONDS: Final = 1.0
"""How long a connection that has just come, or just been answered, is left alone: so long a probe may take to send its
head, or to get its answer, on a machine that is busy."""
WAITING_SINCE: Final = tuple(map(attrgetter, ("idle_since", "unfinished_since", "unread_since", "answering_since")))
"""For what a connection may wait, the one that loses least first."""


def within(descriptors: int, *wanted: int) -> list[int]:
    """Most connections of each port, as many as wanted or a fair share of the descriptors that the process may have.

    For a moment a port holds twice as many, until those have gone that give way. Without a share of its own a port
    whose flood takes all descriptors would keep every probe from the other.

    >>> within(20_000, 64, 512), within(1024, 64, 512), within(64, 64, 512)
    ([64, 512], [64, 424], [4, 4])
    """
    left = max((descriptors - OWN_DESCRIPTORS) // 2, 2 * len(wanted)) if descriptors >= 0 else sum(wanted)
    shares = dict.fromkeys(range(len(wanted)), 0)
    for waiting, port in enumerate(sorted(shares, key=lambda port: wanted[port])):
        shares[port] = min(wanted[port], left // (len(wanted) - waiting))
        left -= shares[port]
    return list(shares.values())


class PortServer(uvicorn.Server):
    """A server among several in one process: signals are the daemon's.

    Args:
        application: an ASGI application.
        refuse: counts, by reason, what is refused before it is a request.
        max_connections: beyond it the connection that is idle for longest goes, else the one whose head or handshake
            has been unfinished for longest, else the one that has left its answer unread for longest, else the one
            that has been asking without a pause for longest, else the newest. A probe sends its head at once, reads
            what it is told and asks no more, so that whoever holds all places does not keep it out.
        access: tokens and TLS; without it everybody may come, and plain HTTP is spoken.
        open_paths: paths that need no token.
    """

    def __init__(
        self,
        application: Any,
        refuse: Callable[[str], None],
        *,
        max_connections: int,
        access: Access | None = None,
        open_paths: Collection[str] = (),
    ) -> None:
        if access is not None and access.tokens is not None:
            application = guarded(application, access.tokens, refuse, open_paths)
        logging.getLogger(protocol.__name__).setLevel(logging.ERROR)  # errors of the application only
        super().__init__(
            uvicorn.Config(
                application,
                loop="uvloop",
                http="httptools",
                ws="none",
                interface="asgi3",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=protocol.IDLE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self.refuse = refuse
        self.listening = asyncio.Event()
        self._max_connections = max_connections
        self._giving_way: set[Connection] = set()
        self._tls_listeners: list[Listener] = []
        self._tls = access.tls if access is not None else None

    @property
    def connections(self) -> set[Connection]:
        """All that are open."""
        return cast("set[Connection]", self.server_state.connections)

    def admit(self) -> bool:
        """Whether there is room for one connection more, after one that waits for its client has given way.

        Many connections are accepted before anything is read of one, and an answer is sent a moment after it is
        complete: so that no probe is thrown out unread or unanswered, what has just come or just become idle stays for
        a moment, and there may be twice as many so long.
        """
        count = len(self.connections - self._giving_way)
        if count < self._max_connections or self._give_way(asyncio.get_running_loop().time() - MOMENT_SECONDS):
            return True
        return self._oldest(inf) is not None if count < 2 * self._max_connections else self._give_way(inf)

    def _give_way(self, before: float) -> bool:
        """End the connection that has waited for longest, if since before that time; an idle one rather than others."""
        oldest = self._oldest(before)
        if oldest is not None:
            self._end(oldest)
        return oldest is not None

    def _end(self, connection: Connection) -> None:
        self._giving_way.add(connection)
        connection.refuse("too_many_connections")

    def _oldest(self, before: float) -> Connection | None:
        """The first connection to give way of those that have waited for their clients since before that time.

        An idle one loses nothing. Of those that have all come or been answered this very moment (`before` is infinite)
        it is the oldest, whatever it waits for: a probe among them is new. Nothing is sorted: this is done for each
        newcomer to a full port.
        """
        those = self.connections - self._giving_way
        found = [min(those, key=since, default=None) for since in WAITING_SINCE]
        waiting = [(since(one), one) for since, one in zip(WAITING_SINCE, found, strict=True) if one is not None]
        fitting = [(since, one) for since, one in waiting if since < before]
        if not fitting:
            return None
        return fitting[0][1] if before < inf else min(fitting, key=lambda each: each[0])[1]

    def _waiting(self, before: float) -> list[Connection]:
        """The connections that have waited for their clients since before that time, the first to give way first."""
        those = self.connections - self._giving_way
        kinds = [sorted((one for one in those if since(one) < before), key=since) for since in WAITING_SINCE]
        return list(dict.fromkeys(chain(*kinds)))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.servers = []
        for listener in sockets or ():
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, SILENT_SECONDS)
            if self._tls is None:
                server = await loop.create_server(lambda: BoundedHttpProtocol(self), sock=listener, backlog=BACKLOG)
                self.servers.append(server)
            else:
                listener.listen(BACKLOG)
                self._tls_listeners.append(Listener(self, listener, self._tls))
        self.started = True
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in self._tls_listeners:
            listener.close()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        now = asyncio.get_running_loop().time()
        for connection in list(self.connections):
            connection.check(now)
        too_many = max(len(self.connections - self._giving_way) - self._max_connections, 0)
        for connection in self._waiting(now - MOMENT_SECONDS)[:too_many]:
            self._end(connection)
        self._giving_way &= self.connections
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def bound(section: str, host: str, port: int) -> Iterator[socket.socket]:
    """A listening address of our own, so that one that is taken is told as the setting that it is.

    Raises:
        SettingsError: it cannot be bound.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise SettingsError(
            f"{section}.host = {host!r} with {section}.port = {port} cannot be bound: {error.strerror}"
        ) from None
    with listener:
        yield listener


@contextlib.asynccontextmanager
async def serving(servers: list[tuple[PortServer, socket.socket]]) -> AsyncIterator[None]:
    """Serve all ports from when they listen until the end of the block."""
    tasks = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in servers]
    try:
        for server, _ in servers:
            await server.listening.wait()
        yield
    finally:
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)
