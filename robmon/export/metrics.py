"""The Prometheus metrics: names, labels and help texts of everything robmon exports.

Gauges are built at each scrape from one published view, so that none outlives what it speaks of. No NaN is ever
exported, because NaN silences every comparison of an alert; +Inf is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    Summary,
    disable_created_metrics,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from robmon import clock
from robmon.export.attack import attack_metrics
from robmon.export.causes import CausesCollector
from robmon.export.curve import curve_metrics
from robmon.export.detection import detection_metrics, detection_state, watching
from robmon.export.drift import drift_metrics
from robmon.export.families import add as _add
from robmon.export.families import nonempty as _nonempty
from robmon.export.families import of_version as _family
from robmon.export.novelty import novelty_metrics, repeated_metrics
from robmon.export.published import Measurement, Published
from robmon.export.verdict import reference_metrics, remembered_metrics, verdict_metrics
from robmon.inputs.counts import BODY_BUCKETS_BYTES, InputCounts, SizeHistogram
from robmon.inputs.routing import NO_SOURCE
from robmon.logs import lines_left_out
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.model import LoadedModel
from robmon.vocabulary import (
    ARRIVAL_REASONS,
    ATTACK_OUTCOMES,
    DEVICE_REASONS,
    ENDPOINT_REASONS,
    EVENT_OUTCOMES,
    FAILURE_REASONS,
    OUTCOMES,
    PENDING_REASONS,
    RESTART_REASONS,
)

ARRIVING = ("mlflow", "v1", "v2", "cloudevents")
"""Formats of requests, which may arrive whatever the settings."""
PHASE_BUCKETS_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
LAG_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)

Families = Iterator[Metric]


@dataclass(frozen=True)
class Circumstances:
    """What can happen under the settings: its counters start at 0, so that the first increase of each is seen.

    Attributes:
        is_endpoint: the model is asked at its endpoint, not loaded.
        reads_files: inputs are read from files too.
        reads_kafka: and from topics of Kafka.
        may_use_cuda: the model may run on a CUDA device.
        histograms: whether durations and sizes are exported with all their buckets; else their sum and count alone.
        levels: of the noise.
        attacks: whether the model is attacked.
        takes_events: whether the registry's webhooks are taken.
    """

    is_endpoint: bool = False
    reads_files: bool = False
    reads_kafka: bool = False
    may_use_cuda: bool = False
    histograms: bool = False
    levels: tuple[float, ...] = ()
    attacks: bool = False
    takes_events: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """Where inputs can come from."""
        return (*ARRIVING, *["file"] * self.reads_files, *["kafka"] * self.reads_kafka)

    def can_be(self, reason: str) -> bool:
        """Whether an assessment can end, or a model not be loaded, for that reason."""
        is_known = self.is_endpoint or reason not in ENDPOINT_REASONS
        return is_known and (self.may_use_cuda or reason not in DEVICE_REASONS)


class Metrics:
    """The registry with all of robmon's metrics, and the counters that the daemon increments."""

    def __init__(
        self,
        model_name: str,
        inputs: InputCounts,
        sample: Callable[[], tuple[int, float | None]],
        circumstances: Circumstances = Circumstances(),
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
            "How often memory ran out in an assessment that went on with smaller batches",
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
        """Of the registry, with those outcomes at 0."""
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


class PublishedCollector(Collector):
    """Measurements and states, as they are at the moment of the scrape."""

    def __init__(self, published: Published, clock: Callable[[], float] = clock.now) -> None:
        self._published = published
        self._clock = clock

    def collect(self) -> Families:
        """All gauge families; those of measurements only while the measurement is current."""
        now = self._clock()
        yield from _state(self._published)
        yield from _served(self._published, now)
        yield from _measured(self._published, now)
        yield from attack_metrics(self._published, now)


class InputsCollector(Collector):
    """Counters of the receiver and gauges of the sample."""

    def __init__(
        self,
        model_name: str,
        counts: InputCounts,
        sample: Callable[[], tuple[int, float | None]],
        circumstances: Circumstances,
    ) -> None:
        self._circumstances = circumstances
        self._model_name = model_name
        self._counts = counts
        self._sample = sample

    def collect(self) -> Families:
        """Input counters by source, and size and age of the sample."""
        sources = self._sources()
        for event in ("received", "sampled", "skipped"):
            family = CounterMetricFamily(f"robmon_inputs_{event}", f"Requests {event}, by source", labels=["source"])
            for source, count in getattr(self._counts, event).items():
                if count or source in sources or source == NO_SOURCE:
                    family.add_metric([source], count)
            yield family
        yield from repeated_metrics(self._counts.repeated, [each for each in (*ARRIVING, "kafka") if each in sources])
        rejected = CounterMetricFamily(
            "robmon_inputs_rejected", "Requests rejected, by source and reason", labels=["source", "reason"]
        )
        known = [(source, reason) for source in ARRIVING if source in sources for reason in ARRIVAL_REASONS]
        known += [("kafka", "unavailable")] if self._circumstances.reads_kafka else []
        for (source, reason), count in (dict.fromkeys(known, 0) | self._counts.rejected).items():
            rejected.add_metric([source, reason], count)
        yield rejected
        if (lag := self._counts.kafka_lag_messages) is not None:
            help_text = "Messages of the partitions that this process reads which it has not read yet"
            yield _gauge("robmon_kafka_lag_messages", help_text, self._model_name, lag)
        labels = self._counts.labels
        yield from _by_outcome("robmon_labels", "Labels told, by what became of them", labels.target)
        yield from _by_outcome("robmon_served_answers", "Served answers told, by what became of them", labels.answer)
        yield self._body_bytes({name: each for name, each in self._counts.body_bytes.items() if name in sources})
        rows, oldest = self._sample()
        yield _gauge(
            "robmon_sample_rows",
            "Rows sampled for the next assessment, which uses those that fit into its time budget; an estimate where "
            "several are drawn from a request",
            self._model_name,
            rows,
        )
        if oldest is not None:
            help_text = "Unix time at which the oldest request of the sample arrived"
            yield _gauge("robmon_sample_oldest_timestamp_seconds", help_text, self._model_name, oldest)

    def _sources(self) -> set[str]:
        """Those from which something has come; until anything has, all from which it can."""
        counts = self._counts
        used = {source for event in (counts.received, counts.skipped) for source, count in event.items() if count}
        used |= {source for (source, _), count in counts.rejected.items() if count}
        return (used - {NO_SOURCE}) or set(self._circumstances.sources)

    def _body_bytes(self, sizes: Mapping[str, SizeHistogram]) -> Metric:
        name, help_text = "robmon_inputs_body_bytes", "Sizes of the request bodies that arrived whole, by source"
        if not self._circumstances.histograms:
            summary = SummaryMetricFamily(name, help_text, labels=["source"])
            for source, each in sizes.items():
                summary.add_metric([source], sum(each.counts), each.total)
            return summary
        family = HistogramMetricFamily(name, help_text, labels=["source"])
        limits = [*map(floatToGoString, BODY_BUCKETS_BYTES), "+Inf"]
        for source, each in sizes.items():
            family.add_metric([source], list(zip(limits, accumulate(each.counts), strict=True)), each.total)
        return family


def _by_outcome(name: str, help_text: str, outcomes: Mapping[str, int]) -> Families:
    """All outcomes once there is one: most models never get a label."""
    family = CounterMetricFamily(name, help_text, labels=["outcome"])
    for outcome, count in outcomes.items():
        family.add_metric([outcome], count)
    if any(outcomes.values()):
        yield family


def _gauge(name: str, help_text: str, model_name: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_text, labels=["model_name"])
    family.add_metric([model_name], value)
    return family


def _state(published: Published) -> Families:
    name = published.model_name
    yield _gauge(
        "robmon_last_assessment_timestamp_seconds",
        "Unix time of the last good assessment; 0 until the first",
        name,
        clock.as_shown(published.view.last_assessment_at) if published.view.last_assessment_at else 0.0,
    )
    yield _gauge(
        "robmon_assess_interval_seconds",
        "Time between two assessments, as it is set: alert rules wait for so many of them",
        name,
        published.interval_seconds,
    )
    if published.alias is not None:
        alias = InfoMetricFamily("robmon_served_alias", "The alias under which the version served was found")
        alias.add_metric([], {"model_name": name, "alias": published.alias})
        yield alias
    yield _gauge(
        "robmon_worker_resident_memory_bytes",
        "Resident memory of the worker and its children",
        name,
        published.worker_memory_bytes(),
    )
    if published.view.model is not None and published.view.loaded is not None:
        info = InfoMetricFamily("robmon_model", "The model version that is assessed", labels=["model_name"])
        info.add_metric(
            [name],
            {
                "model_version": published.view.model.version,
                "flavor": published.view.loaded.flavor,
                "device": published.view.loaded.device,
                "run_id": published.view.model.run_id or "",
                "baseline": "inherited"
                if detection_state(published.view) == "inherited"
                else published.view.baseline.source,
            },
        )
        yield info
        yield from _device(name, published.view.loaded, published.view.measurement)
    yield _gauge("robmon_baseline_rows", "Input rows in the baseline", name, published.view.baseline.rows)
    if published.view.baseline.at is not None:
        help_text = "Unix time at which the baseline was last changed"
        yield _gauge("robmon_baseline_timestamp_seconds", help_text, name, published.view.baseline.at)
    yield from _verdict(published)
    yield from detection_metrics(published)


def _device(name: str, loaded: LoadedModel, measurement: Measurement | None) -> Families:
    """The guest on its device, as it was in the last good assessment; at an endpoint there is none."""
    if loaded.flavor == "remote":
        return
    info = InfoMetricFamily(
        "robmon_device", "The device on which the model runs, and in which precision", labels=["model_name"]
    )
    compiled = "true" if loaded.compiled else "false"
    info.add_metric([name], {"device": loaded.device, "precision": loaded.precision or "none", "compiled": compiled})
    yield info
    if measurement is None:
        return
    result = measurement.result
    yield _gauge("robmon_engine_batch_rows", "Most rows that the model was given at a time", name, result.batch_rows)
    if result.device_memory_bytes is not None:
        yield _gauge(
            "robmon_device_memory_bytes",
            "The most memory of a CUDA device that the worker held in the last assessment, as the driver counts it",
            name,
            result.device_memory_bytes,
        )


def _verdict(published: Published) -> Families:
    name, state = published.model_name, published.view.state
    detected = GaugeMetricFamily(
        "robmon_regression_detected", "1 while a robustness regression stands, else 0", labels=["model_name", "kind"]
    )
    since = GaugeMetricFamily(
        "robmon_regression_since_timestamp_seconds",
        "Unix time at which the standing regression was found",
        labels=["model_name", "kind"],
    )
    if state.regression is not None or state.is_accepted:
        detected.add_metric([name, "version"], 1 if state.regression is not None else 0)
    if (record := watching(published.view)) is not None:
        detected.add_metric([name, "time"], 1 if record.since is not None else 0)
        if record.since is not None:
            since.add_metric([name, "time"], record.since)
    if state.regression is not None:
        since.add_metric([name, "version"], state.regression.since)
    yield from _nonempty(detected, since)
    yield _pending(published)
    if state.ratio_since is not None:
        product = GaugeMetricFamily(
            "robmon_version_ratio_since",
            "Product of the pooled ratios of all versions accepted since the anchor, which a person or nobody accepted",
            labels=["model_name", "anchor"],
        )
        anchor, value = state.ratio_since
        product.add_metric([name, anchor], value)
        yield product
    if state.regression is not None:
        info = InfoMetricFamily("robmon_regression", "Which version regressed, against which", labels=["model_name"])
        versions = {"model_version": state.regression.version, "reference_version": state.regression.reference_version}
        info.add_metric([name], versions)
        yield info
    if state.verdict is not None:
        yield from verdict_metrics(name, state.verdict)
    elif state.regression is not None:
        yield from remembered_metrics(name, state.regression)


def _pending(published: Published) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "robmon_comparison_pending",
        "1 while nobody can rely on a verdict on the version served, by reason",
        labels=["model_name", "reason"],
    )
    reasons = {pending.reason for pending in published.view.state.pending}
    for reason in PENDING_REASONS:
        family.add_metric([published.model_name, reason], 1 if reason in reasons else 0)
    return family


def _measured(published: Published, now: float) -> Families:
    measurement, view = published.current_measurement(now), published.view
    yield from curve_metrics(published.model_name, measurement, view.curves, published.current_further(now))
    if measurement is None:
        return
    of, verdict, curves = [published.model_name, measurement.model_version], view.state.verdict, view.curves
    if verdict is not None and curves is not None:
        yield from reference_metrics(of, verdict.reference_version, curves)
    yield from _scalars(of, measurement.result)
    yield from drift_metrics(of, measurement.result)
    yield from novelty_metrics(of, measurement.result.novelty)


def _scalars(of: list[str], result: Assessed) -> Families:
    margin = _family("robmon_noise_margin_level", "Largest level whose bound stays under the limit", "noise")
    _add(margin, [*of, result.noise], result.noise_margin)
    clean = _family("robmon_clean_mse", "MSE against labels without noise")
    _add(clean, of, None if result.labels is None else result.labels.clean_mse)
    rows = _family("robmon_assessment_rows", "Rows of the last assessment: those that fitted into its time budget")
    _add(rows, of, result.plan.rows)
    trials = _family(
        "robmon_assessment_trials",
        "Noise trials a level of the last assessment: those that fitted into its time budget",
    )
    _add(trials, of, result.plan.trials)
    nonfinite = _family(
        "robmon_clean_nonfinite_ratio", "Share of the rows left out because their clean output is NaN or infinite"
    )
    _add(nonfinite, of, len(result.nonfinite_rows) / result.plan.rows if result.plan.rows else None)
    labelled = _family("robmon_labelled_rows", "Rows that have a label which fits the model")
    _add(labelled, of, result.labelled_rows or None)
    yield from _nonempty(margin, clean, rows, trials, nonfinite, labelled)


def _served(published: Published, now: float) -> Families:
    served = published.current_served(now)
    if served is None or published.view.model is None:
        return
    of = [published.model_name, published.view.model.version]
    ratio = _family(
        "robmon_served_prediction_mismatch_ratio",
        "Share of the served answers that differ from this version's own predictions, beyond rounding",
    )
    _add(ratio, of, served.mismatched / served.compared if served.compared else None)
    compared = _family("robmon_served_predictions_compared", "Requests whose served answer was compared")
    _add(compared, of, served.compared)
    apart = _family(
        "robmon_served_predictions_not_comparable", "Requests whose served answer has another form than the model's"
    )
    _add(apart, of, served.not_comparable)
    yield from _nonempty(ratio, compared, apart)
