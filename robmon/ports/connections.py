"""What a server and its connections know of each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import uvicorn
from uvicorn.server import ServerState


class Connection(Protocol):
    """What the server knows of a connection, whether TLS or HTTP is spoken on it."""

    @property
    def idle_since(self) -> float:
        """When its last answer was complete, in the loop's time; infinite while something is in progress."""

    @property
    def unfinished_since(self) -> float:
        """When the head or the handshake that is still arriving, or the connection whose first is waited for, began;
        infinite where there is none."""

    def check(self, now: float) -> None:
        """End it if it is past a deadline."""

    @property
    def unread_since(self) -> float:
        """When the answer began that its client does not read; infinite where there is none."""

    @property
    def answering_since(self) -> float:
        """Since when one whole request after the other is answered, with no pause; infinite where none is."""

    def refuse(self, reason: str) -> None:
        """Count the reason and end it without an answer."""


class Port(Protocol):
    """What a connection knows of the server that accepted it."""

    @property
    def config(self) -> uvicorn.Config:
        """Of the server."""

    @property
    def server_state(self) -> ServerState:
        """Open connections and running requests, as uvicorn keeps them."""

    @property
    def connections(self) -> set[Connection]:
        """All that are open."""

    @property
    def refuse(self) -> Callable[[str], None]:
        """Counts, by reason, what is refused before it is a request."""

    def admit(self) -> bool:
        """Whether there is room for one connection more."""
