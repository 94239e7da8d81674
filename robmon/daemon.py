"""The light process: it wires the rooms together, schedules, and shuts down.

It answers HTTP before a model is loaded and whatever worker and registry do. It never imports torch, mlflow, pandas or
the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import structlog
import uvicorn
import uvloop
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from robmon.assessor import Assessor
from robmon.errors import RobmonError, SettingsError
from robmon.export.http import http_application
from robmon.export.metrics import Metrics
from robmon.export.published import Published
from robmon.follow import Follower, failure_reason
from robmon.history.store import History
from robmon.host import ModelHost
from robmon.inputs.receiver import Receiver, uvicorn_config
from robmon.inputs.routing import Filters
from robmon.inputs.sample import Sample
from robmon.settings import Settings

log = structlog.get_logger("robmon.daemon")

HURRY_SECONDS = 0.5
SHUTDOWN_SECONDS = 2


def run(settings: Settings) -> None:
    """Run a daemon until SIGTERM or SIGINT.

    Raises:
        SettingsError: a port cannot be bound, or the data folder not be written.
    """
    uvloop.run(Daemon(settings).run())


class Daemon:
    """One robmon daemon: build it, await `run`."""

    def __init__(self, settings: Settings) -> None:
        inputs = settings.inputs
        self._settings = settings
        self._follower = Follower(settings)
        self._sample = Sample(
            sample_rows=inputs.sample_rows,
            max_age_seconds=inputs.max_age_seconds,
            sample_bytes=inputs.sample_bytes,
            rows_per_request=inputs.rows_per_request,
            share=inputs.share,
        )
        self._receiver = Receiver(
            self._sample,
            max_body_bytes=inputs.max_body_bytes,
            max_inflight_bytes=inputs.max_inflight_bytes,
            filters=Filters(inputs.model, inputs.exclude_headers, inputs.exclude_paths),
        )
        self._published = Published(self._follower.name, settings.assess.interval_seconds, inputs.max_age_seconds)
        self._metrics = Metrics(self._published, self._receiver.counts, self._sample_now)
        self._host = ModelHost(settings, self._metrics)
        self._published.worker_memory_bytes = lambda: self._host.memory_bytes
        history = History(settings.data_dir, self._follower.name)
        self._assessor = Assessor(
            settings, self._follower, self._host, self._sample, history, self._published, self._metrics
        )
        self._one_at_a_time = asyncio.Lock()
        self._scheduler = AsyncIOScheduler(timezone=UTC)

    async def run(self) -> None:
        """Answer, follow and assess until a signal comes; then end everything, children first."""
        _check_writable(self._settings)
        http, inputs = self._settings.http, self._settings.inputs
        application = http_application(self._published, self._metrics.registry)
        with _bind("http", http.host, http.port) as http_socket, _bind("inputs", inputs.host, inputs.port) as in_socket:
            servers = [
                (_Server(_http_config(application)), http_socket),
                (_Server(uvicorn_config(self._receiver, inputs.host, inputs.port)), in_socket),
            ]
            async with _serving(servers), self._scheduled():
                log.info(
                    "listening",
                    model=self._follower.name,
                    http_port=http_socket.getsockname()[1],
                    inputs_port=in_socket.getsockname()[1],
                )
                await _signal()
                log.info("stopping")

    @contextlib.asynccontextmanager
    async def _scheduled(self) -> AsyncIterator[None]:
        """The jobs; one assessment at a time, and one that is late is not made up for."""
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        settings = self._settings
        common = {"trigger": "interval", "max_instances": 1, "coalesce": True, "misfire_grace_time": None}
        now = datetime.now(UTC)
        self._scheduler.add_job(self._follow, seconds=settings.model.poll_seconds, next_run_time=now, **common)
        self._scheduler.add_job(self._assess, id="assess", seconds=settings.assess.interval_seconds, **common)
        self._scheduler.add_job(self._hurry, seconds=HURRY_SECONDS, **common)
        self._scheduler.start()
        try:
            yield
        finally:
            self._scheduler.shutdown(wait=False)
            await self._host.close()

    async def _follow(self) -> None:
        """Job: look which version is served, and load it where it is another."""
        try:
            changed = await self._follower.poll(self._assessor.needed_versions)
        except RobmonError as error:
            self._metrics.model_failures.labels("fetch", failure_reason(error)).inc()
            if str(error) != self._follower.failure:
                log.error("served version unknown", error=str(error), still=self._served_version())
            self._follower.failure = str(error)
            return
        if self._follower.failure is not None:
            log.info("registry answers again", version=self._served_version())
            self._follower.failure = None
        if changed:
            async with self._one_at_a_time:
                await self._assessor.prepare()

    async def _assess(self) -> None:
        """Job: one assessment."""
        async with self._one_at_a_time:
            await self._assessor.assess()

    async def _hurry(self) -> None:
        """Job: start the first assessment of a version as soon as it can be made."""
        if not self._one_at_a_time.locked() and self._assessor.can_start_first:
            self._scheduler.modify_job("assess", next_run_time=datetime.now(UTC))

    def _served_version(self) -> str | None:
        return self._follower.target.version if self._follower.target is not None else None

    def _sample_now(self) -> tuple[int, float | None]:
        now = time.time()
        return self._sample.rows(now), self._sample.oldest(now)


class _Server(uvicorn.Server):
    """A server among several in one process: signals are the daemon's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _http_config(application: object) -> uvicorn.Config:
    return uvicorn.Config(
        application,  # type: ignore[arg-type]
        loop="uvloop",
        http="httptools",
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


@contextlib.contextmanager
def _bind(section: str, host: str, port: int) -> Iterator[socket.socket]:
    """A listening address of our own, so that one that is taken is told as the setting that it is."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, number)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise SettingsError(
            f"{section}.host = {host!r} with {section}.port = {port} cannot be bound: {error.strerror}"
        ) from None
    with bound:
        yield bound


@contextlib.asynccontextmanager
async def _serving(servers: list[tuple[_Server, socket.socket]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(server.serve(sockets=[bound])) for server, bound in servers]
    try:
        for server, _ in servers:
            await server.listening.wait()
        yield
    finally:
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)


async def _signal() -> None:
    """Wait for SIGTERM or SIGINT."""
    came = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, came.set)
    await came.wait()


def _check_writable(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        probe = settings.data_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(f"data_dir = {str(settings.data_dir)!r} cannot be written: {error.strerror}") from None
