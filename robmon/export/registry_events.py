"""`POST /registry-event`: the registry tells that something of it has changed, so that it is asked before its time.

Nothing that is told is believed, or even read: what the registry says when it is asked is what counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from robmon.ports.signed_events import MAX_EVENT_BYTES, Headers, SignedEvents
from robmon.vocabulary import EventOutcome

PATH: Final = "/registry-event"
STATUS: Final[dict[EventOutcome, int]] = {
    "accepted": 202,
    "bad_signature": 401,
    "stale": 401,
    "replayed": 401,
    "too_large": 413,
}


class RegistryEvents:
    """Takes events.

    Args:
        signed: tells which count.
        ask_registry: has the registry asked soon.
        count: told of each, by what became of it.
    """

    def __init__(
        self, signed: SignedEvents, ask_registry: Callable[[], None], count: Callable[[EventOutcome], None]
    ) -> None:
        self._signed = signed
        self._ask_registry = ask_registry
        self._count = count

    async def take(
        self, headers: Headers, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
    ) -> tuple[int, bytes]:
        """Status and text of the answer; a body that is too large is read no further."""
        body = await _body(receive)
        outcome: EventOutcome = "too_large" if body is None else self._signed.check(headers, body)
        self._count(outcome)
        if outcome == "accepted":
            self._ask_registry()
        return STATUS[outcome], f"{outcome}\n".encode()


async def _body(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes | None:
    """All of it; None where that is more than there may be. Of a client that goes away, what came."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_EVENT_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)
