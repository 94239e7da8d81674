"""The light process: it wires the rooms together, schedules, and shuts down.

It answers HTTP before a model is loaded and whatever worker and registry do. It never imports torch, mlflow, pandas or
the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections import deque
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import structlog
import uvloop

from robmon import clock, logs
from robmon.daemon.event_loop import leave_to_itself_what_stays, until_signal, watched
from robmon.daemon.incident import Incidents
from robmon.daemon.inputs.sources import sources_of
from robmon.daemon.journal.chronicle import Chronicle
from robmon.daemon.journal.journal import Journal
from robmon.daemon.journal.result_log import LOOK_SECONDS, ResultLog
from robmon.daemon.memory.baseline_sharing import BaselineSharing
from robmon.daemon.memory.recorded_baselines import RecordedBaselines
from robmon.daemon.memory.regression_watch import RegressionWatch
from robmon.daemon.memory.verdict_memory import VerdictMemory
from robmon.daemon.memory.writer import Writer
from robmon.daemon.needs import check_packages, check_registry
from robmon.daemon.registry.early_poll import EarlyPoll
from robmon.daemon.registry.follow import Follower, failure_reason
from robmon.daemon.runner import Runner
from robmon.daemon.servers import Servers
from robmon.daemon.timing.jobs import Jobs
from robmon.daemon.timing.schedule import STEADY
from robmon.daemon.worker.attacker import Attacker
from robmon.daemon.worker.examiner import Examiner
from robmon.daemon.worker.host import ModelHost
from robmon.errors import RobmonError
from robmon.export.circumstances import Circumstances
from robmon.export.metrics import Metrics
from robmon.export.published import Published
from robmon.export.recent import DAY_SECONDS, Recent
from robmon.history.baseline.files import BaselineFiles
from robmon.history.folder import claimed, make_writable
from robmon.history.reading import HistoryError, HistoryReader
from robmon.history.state.kept import NewerStateError
from robmon.history.state.records import Bounds
from robmon.history.store import History
from robmon.inputs.labels import Labels
from robmon.inputs.receiver import Receiver
from robmon.inputs.repeats import Repeats
from robmon.inputs.routing import Filters
from robmon.inputs.sample import Sample
from robmon.models.bearer import bearer_token
from robmon.models.uri import alias_of, history_key, is_endpoint, parse
from robmon.ports.access import RENEW_SECONDS
from robmon.ports.server import serving
from robmon.processes.strays import strays
from robmon.settings import Settings

log = structlog.get_logger("robmon.daemon")

HURRY_SECONDS = 0.5
EXPIRE_SECONDS = 5.0
SHARED = (
    "another robmon that runs keeps the history of this model in the same data_dir: baselines, evidence over time and "
    "events of both are mixed; give each a folder of its own"
)


def run(settings: Settings, command_prefix: str = "") -> None:
    """Run a daemon until SIGTERM or SIGINT; `command_prefix` as in `Published`.

    Raises:
        SettingsError: a port cannot be bound, a token or certificate not be used, or the data folder not be written.
        MissingPackageError: what `model.uri` or `inputs.files` needs is not installed.
        RegistryError: no registry is named, and there is no default one.
    """
    check_packages(settings)
    make_writable(settings.data_dir)
    # A core would hold the sample; its children inherit this.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    uvloop.run(Daemon(settings, command_prefix).run())


class Daemon:
    """One robmon daemon: build it, await `run`."""

    def __init__(self, settings: Settings, command_prefix: str = "") -> None:
        inputs = settings.inputs
        self._settings = settings
        self._follower = Follower(settings)
        self._sample = Sample(
            sample_rows=inputs.sample_rows,
            max_age_seconds=inputs.max_age_seconds,
            sample_bytes=inputs.sample_bytes,
            rows_per_request=inputs.rows_per_request,
            share=inputs.share,
            verdict_requests=settings.assess.min_rows,
        )
        filters = Filters(inputs.model, inputs.exclude_headers, inputs.exclude_paths)
        self._labels = Labels(max_bytes=inputs.label_bytes, window_seconds=inputs.label_window_seconds)
        repeats = Repeats(settings.detect.ring) if settings.detect.enabled and settings.detect.ring else None
        self._receiver = Receiver(
            self._sample,
            max_body_bytes=inputs.max_body_bytes,
            max_inflight_bytes=inputs.max_inflight_bytes,
            filters=filters,
            labels=self._labels,
            repeats=repeats,
        )
        self._metrics = Metrics(
            self._follower.name,
            self._receiver.counts,
            self._sample_now,
            Circumstances(
                is_endpoint=is_endpoint(settings.model.uri),
                reads_files=inputs.files is not None,
                reads_kafka=bool(settings.kafka.topics),
                may_use_cuda=settings.device.name != "cpu",
                histograms=settings.http.histograms,
                takes_events=settings.mlflow.webhook_secret_file is not None,
                levels=settings.assess.levels,
                attacks=settings.attack.enabled,
            ),
        )
        key = history_key(parse(settings.model.uri), self._follower.name)
        bounds = Bounds(settings.history.max_days, settings.history.max_bytes)
        asides: deque[str] = deque()
        history = History(settings.data_dir, key, bounds, asides.append)
        self._writer = Writer(self._metrics.history_failures.inc)
        self._baseline_writer = Writer(self._metrics.history_failures.inc, "baselines")
        counts, count_damage = self._receiver.counts, self._metrics.history_damages.inc
        self._memory = VerdictMemory(settings, self._follower, history, self._writer)
        self._recent, self._history_key = Recent(), key
        self._chronicle = Chronicle(settings, history.past, self._writer, counts, asides, self._recent, count_damage)
        self._result_log = ResultLog(self._follower, history.past, self._writer)
        self._host = ModelHost(settings, self._metrics, self._chronicle.tell_restart)
        self._published = Published(
            self._follower.name,
            settings.assess.interval_seconds,
            inputs.max_age_seconds,
            inputs_problem=lambda: self._receiver.problem,
            worker_memory_bytes=lambda: self._host.memory_bytes,
            alias=alias_of(settings.model.uri),
            command_prefix=command_prefix,
            mse_limit=settings.assess.mse_limit,
            attack_interval_seconds=settings.attack.interval_seconds if settings.attack.enabled else None,
            recent=self._recent,
            further_noises=len(settings.assess.noises),
        )
        self._metrics.expose(self._published)
        self._published.watch(self._chronicle.tell_view)
        baselines = RecordedBaselines(BaselineFiles(settings.data_dir, key), self._baseline_writer)
        self._sharing = BaselineSharing(self._follower, baselines)
        watch = RegressionWatch(
            settings, history, self._writer, lambda reason: self._metrics.detection_restarts.labels(reason).inc()
        )
        examiner = Examiner(
            *(settings, self._host, self._sample, self._labels, baselines, history, self._writer, self._memory, watch)
        )
        self._runner = Runner(
            settings,
            self._follower,
            self._host,
            self._sample,
            examiner,
            self._memory,
            baselines,
            watch,
            self._sharing,
            self._writer,
            Journal(self._chronicle, self._metrics),
            self._published,
        )
        self._attacker = Attacker(
            *(settings, self._follower, self._host, baselines, history, self._writer, self._chronicle, self._metrics),
            self._published,
        )
        bearer_token(settings.model.access, "model.token_file")  # a bad one is told at once; later it is read each time
        self._early_poll = EarlyPoll(lambda at: self._jobs.run_at("follow", at))
        incidents = Incidents(settings, self._follower, self._runner, self._memory, self._published, key)
        self._servers = Servers(settings, self._receiver, self._published, self._metrics, incidents, self._early_poll)
        self._sources = sources_of(
            *(settings, self._follower.name, self._sample, self._receiver.counts, filters, self._labels),
            *(repeats, history, self._writer),
        )
        self._one_at_a_time = asyncio.Lock()
        self._compiling: asyncio.Task[None] | None = None
        self._jobs = Jobs()

    async def run(self) -> None:
        """Answer, follow and assess until a signal comes; then end everything, children first."""
        strays.adopt()
        leave_to_itself_what_stays()
        asyncio.get_running_loop().set_exception_handler(logs.tell_unexpected)
        folder, scope = Path(self._settings.data_dir), self._settings.scope
        with self._servers.bound() as servers, claimed(folder, self._history_key, scope) as is_alone:
            check_registry(self._settings)
            if not is_alone:
                log.warning("data folder shared", error=SHARED)
            self._chronicle.tell_start()
            async with serving(servers), watched(self._metrics.event_loop_lag.observe), self._scheduled():
                http_port, inputs_port = (listener.getsockname()[1] for _, listener in servers)
                log.info("listening", model=self._follower.name, http_port=http_port, inputs_port=inputs_port)
                await until_signal(self._runner.request_shares)
                log.info("stopping")

    @contextlib.asynccontextmanager
    async def _scheduled(self) -> AsyncIterator[None]:
        """The jobs, until the end of the block."""
        settings = self._settings
        now = datetime.now(STEADY)
        self._jobs.add(self._follow, settings.model.poll_seconds, id="follow", next_run_time=now)
        recall = asyncio.create_task(self._recall())
        self._jobs.add(self._assess, settings.assess.interval_seconds, id="assess")
        self._jobs.add(self._hurry, HURRY_SECONDS)
        self._jobs.add(self._look_after_disk, HURRY_SECONDS)
        self._jobs.add(self._remember, HURRY_SECONDS)
        if settings.history.log_to_mlflow:
            self._jobs.add(self._result_log.log, LOOK_SECONDS)
        if settings.device.idle_release_seconds is not None:
            self._jobs.add(self._release_idle, HURRY_SECONDS)
        self._jobs.add(self._renew_access, RENEW_SECONDS)
        self._jobs.add(self._expire_labels, EXPIRE_SECONDS)
        for source in self._sources:
            self._jobs.add(source.poll, source.poll_seconds, next_run_time=now)
        self._jobs.start()
        try:
            yield
        finally:
            await self._jobs.end(recall)
            await self._runner.close()
            await self._host.close()
            for source in self._sources:
                await source.close()
            await strays.end()
            self._chronicle.tell_stop()
            await asyncio.gather(self._writer.close(), self._baseline_writer.close())

    async def _recall(self) -> None:
        """Read the last day, as it was before this start, for the status page: on a thread, and only once."""

        def read() -> Recent:
            return Recent.of(HistoryReader(self._settings.data_dir, self._history_key), time.time() - DAY_SECONDS)

        with contextlib.suppress(HistoryError, NewerStateError):  # whoever writes there tells of damage
            self._recent.merge(await asyncio.to_thread(read))

    async def _follow(self) -> None:
        """Job: look which version is served, and load it where it is another."""
        with self._early_poll.polling():
            await self._look()

    async def _look(self) -> None:
        remembered = [entry.version for entry in self._memory.entries]
        try:
            changed = await self._follower.poll(self._runner.needed_versions, remembered)
        except RobmonError as error:
            self._metrics.model_failures.labels("fetch", failure_reason(error)).inc()
            if str(error) != self._follower.failure:
                log.warning("served version unknown", error=str(error), still=self._served_version())
            self._follower.failure = str(error)
            return
        finally:
            self._memory.read()
            self._runner.refresh()
        if self._follower.failure is not None:
            log.info("registry answers again", version=self._served_version())
            self._follower.failure = None
        if (version := self._served_version()) is not None:
            self._chronicle.tell_served(alias_of(self._settings.model.uri), version)
        if changed:
            self._attacker.interrupt()
            if self._compiling is not None:
                self._compiling.cancel()
            async with self._one_at_a_time:
                await self._runner.prepare()

    async def _assess(self) -> None:
        """Job: one assessment, and the attack and the compiling that may follow it."""
        async with self._one_at_a_time:
            await self._runner.assess()
            if self._runner.concluded is not None:
                is_verdict_due = self._runner.is_verdict_due
                await self._attacker.attack_if_due(*self._runner.concluded, is_verdict_due=is_verdict_due)
                if not is_verdict_due:  # else another version is loaded before this one
                    await self._compile()

    async def _compile(self) -> None:
        """Let the worker compile its model; where another version is served meanwhile that ends, with the worker."""
        self._compiling = asyncio.create_task(self._host.compile())
        try:
            await asyncio.wait({self._compiling})
        finally:
            self._compiling.cancel()

    async def _hurry(self) -> None:
        """Job: start the first assessment of a version as soon as it can be made."""
        if not self._one_at_a_time.locked() and self._runner.may_start_first:
            self._jobs.run_at("assess", datetime.now(STEADY))

    async def _release_idle(self) -> None:
        """Job: end a worker that has nothing to do for long, if that is set."""
        if not self._one_at_a_time.locked():
            async with self._one_at_a_time:
                await self._runner.release_idle()

    async def _look_after_disk(self) -> None:
        """Job: take note of what came of writing to the data folder, and of hours that are over."""
        self._writer.watch()
        self._baseline_writer.watch()
        self._chronicle.tick()

    async def _remember(self) -> None:
        """Job: write to the registry what it lacks of verdicts and baselines, which may take long."""
        if await self._memory.write():
            self._runner.refresh()
        await self._sharing.write()

    async def _renew_access(self) -> None:
        """Job: take over tokens and certificates that have been replaced."""
        self._servers.renew()

    async def _expire_labels(self) -> None:
        """Job: count labels and answers whose request does not come, also when no other comes."""
        self._labels.expire(clock.now())

    def _served_version(self) -> str | None:
        return self._follower.target.version if self._follower.target is not None else None

    def _sample_now(self) -> tuple[int, float | None]:
        now = clock.now()
        oldest = self._sample.oldest(now)
        return self._sample.rows(now), clock.as_shown(oldest) if oldest is not None else None
