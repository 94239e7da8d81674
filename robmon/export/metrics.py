"""The Prometheus metrics of robmon: its counters, and the collectors of everything else.

Gauges are built at each scrape from one published view, so that none outlives what it speaks of. No NaN is ever
exported, because NaN silences every comparison of an alert; +Inf is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    Summary,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from robmon.export.causes import CausesCollector
from robmon.export.circumstances import REQUESTS_ALONE, Circumstances
from robmon.export.families import Families
from robmon.export.inputs import InputsCollector
from robmon.export.measured import PublishedCollector
from robmon.export.published import Published
from robmon.inputs.counts import InputCounts
from robmon.logs import lines_left_out
from robmon.vocabulary import (
    ATTACK_OUTCOMES,
    EVENT_OUTCOMES,
    FAILURE_REASONS,
    OUTCOMES,
    RESTART_REASONS,
)

PHASE_BUCKETS_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
LAG_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """The registry with all of robmon's metrics, and the counters that the daemon increments."""

    def __init__(
        self,
        model_name: str,
        inputs: InputCounts,
        sample: Callable[[], tuple[int, float | None]],
        circumstances: Circumstances = REQUESTS_ALONE,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(LogCollector())
        self.assessments = Counter(
            "robmon_assessments", "Assessments by outcome and reason", ["outcome", "reason"], registry=self.registry
        )
        self.duration = self._durations(
            "robmon_assessment_duration_seconds",
            "Duration of the phases of an assessment",
            PHASE_BUCKETS_SECONDS if circumstances.histograms else None,
            "phase",
        )
        self.event_loop_lag = self._durations(
            "robmon_event_loop_lag_seconds",
            "How much later than due the daemon's event loop came to something, asked ten times a second",
            LAG_BUCKETS_SECONDS if circumstances.histograms else None,
        )
        self.nonfinite_outputs = Counter(
            "robmon_nonfinite_outputs", "Model outputs that were NaN or infinite", ["level"], registry=self.registry
        )
        self.out_of_memory_retries = Counter(
            "robmon_out_of_memory_retries",
            "How often memory ran out in an assessment that went on with smaller batches, or on the CPU",
            registry=self.registry,
        )
        self.worker_restarts = Counter(
            "robmon_worker_restarts", "Restarts of the worker by reason", ["reason"], registry=self.registry
        )
        self.model_failures = Counter(
            "robmon_model_failures",
            "Model versions that could not be fetched or loaded, by stage and reason",
            ["stage", "reason"],
            registry=self.registry,
        )
        self.history_failures = Counter(
            "robmon_history_write_failures", "Writes to the data folder that failed", registry=self.registry
        )
        self.history_damages = Counter(
            "robmon_history_damages",
            "State files that were found damaged and set aside, or removed; what could be read is in the new one",
            registry=self.registry,
        )
        self.detection_restarts = Counter(
            "robmon_detection_restarts",
            "How often evidence gathered over time counted no more, by what had become another than it was",
            ["reason"],
            registry=self.registry,
        )
        self.http_rejected = Counter(
            "robmon_http_rejected",
            "Connections and requests refused at the port of /metrics, by reason",
            ["reason"],
            registry=self.registry,
        )
        self.registry_events = self._events(EVENT_OUTCOMES if circumstances.takes_events else ())
        self.attacks = Counter(
            "robmon_attacks", "Attacks by outcome and reason", ["outcome", "reason"], registry=self.registry
        )
        told = [(self.assessments, OUTCOMES), *([(self.attacks, ATTACK_OUTCOMES)] if circumstances.attacks else [])]
        for counter, outcomes in told:
            for outcome, reasons in outcomes.items():
                for reason in filter(circumstances.can_be, reasons):
                    counter.labels(outcome, reason)
        for stage, reasons in FAILURE_REASONS.items():
            for reason in reasons:
                if circumstances.can_be(reason):
                    self.model_failures.labels(stage, reason)
        for reason in RESTART_REASONS:
            self.worker_restarts.labels(reason)
        for level in circumstances.levels:
            self.nonfinite_outputs.labels(f"{level:g}")
        self._inputs = inputs
        self.registry.register(InputsCollector(model_name, inputs, sample, circumstances))

    def _events(self, outcomes: Sequence[str]) -> Counter:
        """A counter of the registry's events, with those outcomes at 0."""
        text = "Events that the registry sent, by what became of them"
        events = Counter("robmon_registry_events", text, ["outcome"], registry=self.registry)
        for outcome in outcomes:
            events.labels(outcome)
        return events

    def _durations(
        self, name: str, help_text: str, buckets: tuple[float, ...] | None, *labels: str
    ) -> Histogram | Summary:
        """Durations in seconds, with their sum and count, and where there are buckets how many fell into each."""
        if buckets is None:
            return Summary(name, help_text, labels, registry=self.registry)
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)

    def expose(self, published: Published) -> None:
        """Export what is published too."""
        self.registry.register(PublishedCollector(published))
        self.registry.register(CausesCollector(published))

    def count_rejected(self, rejected: Mapping[str, Mapping[str, int]]) -> None:
        """Count requests that the worker could not decode, by format and reason."""
        for source, reasons in rejected.items():
            for reason, count in reasons.items():
                self._inputs.rejected[source, reason] += count


class LogCollector(Collector):
    """What of the log was lost."""

    def collect(self) -> Families:
        """A counter, which has a series once there is something to count."""
        help_text = "Log lines that were left out: standard error was not read, or could not be written"
        yield CounterMetricFamily("robmon_log_lines_left_out", help_text, value=lines_left_out() or None)
