"""A second process that runs the same network on the same device, as a model server does."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

START_SECONDS = 120.0
ANSWER_SECONDS = 60.0
BATCHES = range(1, 9)


@dataclass(frozen=True)
class Service:
    """What the server did from `begin` to `end`.

    Attributes:
        latencies: seconds of every answer, from inputs in main memory to outputs there.
        failures: what went wrong instead of an answer.
    """

    latencies: list[float]
    failures: list[str]


class Neighbour:
    """The process, seen from outside."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def begin(self, pause_seconds: float) -> None:
        """Serve one request after the other, with a pause between them."""
        self._connection.send(pause_seconds)

    def end(self) -> Service:
        """Serve no more."""
        self._connection.send(None)
        return self.told()

    def told(self, seconds: float = ANSWER_SECONDS) -> Any:
        """What the process says next.

        Raises:
            TimeoutError: it says nothing.
        """
        if not self._connection.poll(seconds):
            raise TimeoutError(f"the second process said nothing for {seconds:g} s")
        return self._connection.recv()


@contextlib.contextmanager
def neighbour(name: str, device: str, is_quick: bool, memory_share: float = 0.0) -> Iterator[Neighbour]:
    """A process that has the network on the device, and so much of the device's memory."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, name, device, is_quick, memory_share), daemon=True)
    process.start()
    theirs.close()
    try:
        other = Neighbour(ours)
        other.told(START_SECONDS)
        yield other
    finally:
        ours.close()
        process.kill()  # it holds nothing that has to be put back
        process.join()


def serve(connection: Connection, name: str, device: str, is_quick: bool, memory_share: float) -> None:
    """Serve while it is told to, until the other end is closed."""
    import torch

    from tests.gpu.networks import inputs, make

    torch.set_num_threads(1)
    network, shape = make(name, device, is_quick)
    requests = [inputs(rows, shape, "cpu") for rows in BATCHES]

    def answer(request: Any) -> None:
        with torch.inference_mode():
            network(request.to(device)).cpu()

    for request in requests * 2:
        answer(request)
    ballast = hold(device, memory_share)
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            pause_seconds = connection.recv()
            latencies, failures = [], []
            for request in itertools.cycle(requests):
                if connection.poll():
                    break
                began = time.perf_counter()
                try:
                    answer(request)
                    latencies.append(time.perf_counter() - began)
                except RuntimeError as error:  # torch.OutOfMemoryError is one
                    failures.append(f"{type(error).__name__}: {str(error)[:200]}")
                time.sleep(pause_seconds)
            connection.recv()
            connection.send(Service(latencies, failures))
    del ballast


def hold(device: str, memory_share: float) -> Any:
    """Take memory of a CUDA device until so much of all of it is taken, by whomever."""
    if not memory_share:
        return None
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return torch.empty(max(0, int(free - (1 - memory_share) * total)), dtype=torch.uint8, device=device)
