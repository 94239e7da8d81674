"""The client that asks the model server, and the mirror that copies each of its requests to robmon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle

import httpx
import numpy as np
from numpy.typing import NDArray

REQUESTS_PER_SECOND = 60
QUIET_REQUESTS_PER_SECOND = 10
RETRY_SECONDS = 0.2
MAX_COPIES_IN_FLIGHT = 32
PATH = "/invocations"
JSON = {"content-type": "application/json"}


@dataclass
class Mirror:
    """Copies requests, same path and same bytes, as a mirroring proxy does: nobody waits for the answer."""

    client: httpx.AsyncClient
    url: str
    dropped: int = 0
    _in_flight: set[asyncio.Task[None]] = field(default_factory=set)

    def copy(self, body: bytes) -> None:
        """Send a copy in the background; dropped where too many are still on their way."""
        if len(self._in_flight) >= MAX_COPIES_IN_FLIGHT:
            self.dropped += 1
            return
        task = asyncio.create_task(self._send(body))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _send(self, body: bytes) -> None:
        try:
            await self.client.post(self.url + PATH, content=body, headers=JSON)
        except httpx.HTTPError:
            self.dropped += 1

    async def close(self) -> None:
        """Give up the copies that are still on their way."""
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)


@dataclass
class Traffic:
    """One request after another, for ever: the held-out digits in a circle, one digit a request.

    `server_url` and `requests_per_second` may be changed at any time: they hold from the next request on.
    """

    client: httpx.AsyncClient
    mirror: Mirror
    server_url: str
    digits: NDArray[np.float64]
    requests_per_second: float = REQUESTS_PER_SECOND
    answered: int = 0
    failed: int = 0
    last_failure: str = ""

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            for body in cycle(list(_bodies(self.digits))):
                self.mirror.copy(body)
                await asyncio.gather(self._ask(body), asyncio.sleep(1 / self.requests_per_second))
        finally:
            await self.mirror.close()

    async def _ask(self, body: bytes) -> None:
        try:
            answer = await self.client.post(self.server_url + PATH, content=body, headers=JSON)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            self.failed += 1
            self.last_failure = str(error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self.answered += 1


def _bodies(digits: NDArray[np.float64]) -> Iterator[bytes]:
    """Each digit as a request in MLflow's own JSON format.

    >>> next(_bodies(np.zeros((1, 3))))
    b'{"inputs": [[0.0, 0.0, 0.0]]}'
    """
    return (json.dumps({"inputs": [digit.tolist()]}).encode() for digit in digits)
