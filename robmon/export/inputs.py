"""What has arrived, and what is sampled of it, as metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from robmon.export.circumstances import ARRIVING, Circumstances
from robmon.export.families import Families, gauge
from robmon.export.novelty import repeated_metrics
from robmon.inputs.counts import BODY_BUCKETS_BYTES, InputCounts, SizeHistogram
from robmon.inputs.routing import NO_SOURCE
from robmon.vocabulary import ARRIVAL_REASONS


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
            yield gauge("robmon_kafka_lag_messages", help_text, self._model_name, lag)
        labels = self._counts.labels
        yield from _by_outcome("robmon_labels", "Labels told, by what became of them", labels.target)
        yield from _by_outcome("robmon_served_answers", "Served answers told, by what became of them", labels.answer)
        yield self._body_bytes({name: each for name, each in self._counts.body_bytes.items() if name in sources})
        rows, oldest = self._sample()
        yield gauge(
            "robmon_sample_rows",
            "Rows sampled for the next assessment, which uses those that fit into its time budget; an estimate where "
            "several are drawn from a request",
            self._model_name,
            rows,
        )
        if oldest is not None:
            help_text = "Unix time at which the oldest request of the sample arrived"
            yield gauge("robmon_sample_oldest_timestamp_seconds", help_text, self._model_name, oldest)

    def _sources(self) -> set[str]:
        """The sources from which something has come; until anything has, all from which it can."""
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
