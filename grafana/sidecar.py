"""The dashboard of robmon itself: what it costs, what it is given, and whether it works."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import units

from grafana import parts
from grafana.parts import PLACE, POD, QUARTER, THIRD, Query, names, now, over_time, steps

IDENTIFIER = "robmon-sidecar"
PROCESS = f'{PLACE}, instance=~"$instance"'
STATE = f'{PROCESS}, model_name=~"$model_name"'
# Counters and process metrics carry no model_name; the gauge that is always there says which process watches the model.
OF_MODEL = f"and on ({POD}) robmon_last_assessment_timestamp_seconds{{{STATE}}}"


def rate(metric: str, by: str) -> str:
    return parts.rate(metric, by, PROCESS, OF_MODEL)


def increase(metric: str, by: str) -> str:
    return parts.increase(metric, by, PROCESS, OF_MODEL)


def mean(histogram: str, by: str) -> str:
    """The mean of what was observed: of a sum and a count, which are there without a histogram too."""
    return f"{rate(f'{histogram}_sum', by)} / ({rate(f'{histogram}_count', by)} > 0)"


def at_a_glance() -> list[Any]:
    age = f"time() - (robmon_last_assessment_timestamp_seconds{{{STATE}}} > 0)"
    busy = f"sum(rate(robmon_assessment_duration_seconds_sum{{{PROCESS}}}[$__rate_interval]) {OF_MODEL})"
    pods = f"count(robmon_last_assessment_timestamp_seconds{{{STATE}}})"
    resident = f"process_resident_memory_bytes{{{PROCESS}}} {OF_MODEL}"
    return [
        now(
            "Pods",
            "Pods whose robmon can be scraped.",
            units.Short,
            Query(f"count(up{{{PROCESS}}} == 1 {OF_MODEL})", "pods"),
        ).thresholds(steps((None, "text"))),
        now(
            "Oldest assessment",
            "Age of the last good assessment, in the pod in which it is oldest. A pod without one has none here.",
            units.Seconds,
            Query(f"max({age})", "age"),
        )
        .no_value("none yet")
        .thresholds(steps((None, "green"), (600, "red"))),
        now(
            "Assessing",
            "Share of the time in which an assessment runs, averaged over pods.",
            units.PercentUnit,
            Query(f"{busy} / {pods}", "share"),
        ).thresholds(steps((None, "text"))),
        now(
            "Memory",
            "Resident memory of daemon and worker together, in the pod with the most.",
            units.BytesIEC,
            Query(
                f"max(sum by ({POD}) (robmon_worker_resident_memory_bytes{{{STATE}}}) + sum by ({POD}) ({resident}))",
                "memory",
            ),
        ).thresholds(steps((None, "text"))),
    ]


def assessment_panels() -> list[Any]:
    return [
        over_time(
            "Assessments",
            "Assessments finished, by outcome and reason, in each interval of the graph, over all pods.",
            units.Short,
            THIRD,
            Query(f"{increase('robmon_assessments_total', 'outcome, reason')} > 0", "{{outcome}} ({{reason}})"),
        ),
        over_time(
            "Age of the last good assessment",
            "Seconds since the last good assessment, a series a pod. A pod without one has none here.",
            units.Seconds,
            THIRD,
            Query(f"time() - (robmon_last_assessment_timestamp_seconds{{{STATE}}} > 0)", "{{instance}}"),
        ),
        over_time(
            "Rows and trials",
            "What fitted into the time budget of an assessment: rows of the sample, and trials a level, averaged over "
            "pods.",
            units.Short,
            THIRD,
            Query(f"avg by (model_name) (robmon_assessment_rows{{{STATE}}})", "rows, {{model_name}}"),
            Query(f"avg by (model_name) (robmon_assessment_trials{{{STATE}}})", "trials, {{model_name}}"),
        ),
        over_time(
            "Worker restarts",
            "Restarts of the process that runs the model, by reason, in each interval of the graph.",
            units.Short,
            THIRD,
            Query(increase("robmon_worker_restarts_total", "reason"), "{{reason}}"),
        ),
        over_time(
            "Model failures",
            "Model versions that could not be fetched or loaded, by stage and reason, in each interval of the graph.",
            units.Short,
            THIRD,
            Query(f"{increase('robmon_model_failures_total', 'stage, reason')} > 0", "{{stage}}: {{reason}}"),
        ),
        over_time(
            "Non-finite outputs",
            "Model outputs that were NaN or infinite, by noise level, in each interval of the graph. The bound is then "
            "infinite.",
            units.Short,
            THIRD,
            Query(increase("robmon_nonfinite_outputs_total", "level"), "level {{level}}"),
        ),
    ]


def cost_panels() -> list[Any]:
    lag = rate("robmon_event_loop_lag_seconds_bucket", "instance, le")
    return [
        over_time(
            "CPU of the daemon",
            "Cores that the daemon keeps busy, a series a pod. The worker is not in it: see Duration by phase.",
            units.Short,
            THIRD,
            Query(rate("process_cpu_seconds_total", "instance"), "{{instance}}"),
        ),
        over_time(
            "Memory",
            "Resident memory of the daemon and of the worker that runs the model, a series a pod.",
            units.BytesIEC,
            THIRD,
            Query(f"process_resident_memory_bytes{{{PROCESS}}} {OF_MODEL}", "daemon, {{instance}}"),
            Query(f"robmon_worker_resident_memory_bytes{{{STATE}}}", "worker, {{instance}}"),
        ),
        over_time(
            "Duration by phase",
            "Mean duration of each phase of an assessment, over all pods.",
            units.Seconds,
            THIRD,
            Query(mean("robmon_assessment_duration_seconds", "phase"), "{{phase}}"),
        ),
        over_time(
            "Event loop lag",
            "How late the daemon comes to what is due, on average, and 99 % of the times where histograms are exported "
            "(http.histograms), a series a pod: it is this late for the kubelet's probe, too.",
            units.Seconds,
            THIRD,
            Query(mean("robmon_event_loop_lag_seconds", "instance"), "mean, {{instance}}"),
            Query(f"histogram_quantile(0.99, {lag})", "99 %, {{instance}}"),
        ),
        over_time(
            "Series a pod",
            "Series that Prometheus takes from each pod: at most 200 by default, with histograms some 120 more.",
            units.Short,
            THIRD,
            Query(f"scrape_samples_scraped{{{PROCESS}}} {OF_MODEL}", "{{instance}}"),
        ),
        over_time(
            "Writes that failed",
            "Writes to the data folder that failed, state files found damaged, and log lines that nobody took, in each "
            "interval of the graph.",
            units.Short,
            THIRD,
            Query(increase("robmon_history_write_failures_total", "instance"), "failed, {{instance}}"),
            Query(increase("robmon_history_damages_total", "instance"), "damaged, {{instance}}"),
            Query(increase("robmon_log_lines_left_out_total", "instance"), "log lines left out, {{instance}}"),
        ),
    ]


def device_panels() -> list[Any]:
    device = f"robmon_device_info{{{STATE}}}"
    info = now(
        "Device",
        "The device on which the model runs, and in which precision.",
        units.Short,
        Query(f"count by (device, precision) ({device})", "{{device}}, precision {{precision}}"),
    )
    return [
        names(info).height(8),
        over_time(
            "Memory of the GPU",
            "The most memory of a CUDA device that the worker held in its last assessment, a series a pod. None on a "
            "CPU.",
            units.BytesIEC,
            QUARTER,
            Query(
                f"robmon_device_memory_bytes{{{STATE}}} * on ({POD}) group_left (device, precision) {device}",
                "{{device}}, {{instance}}",
            ),
        ),
        over_time(
            "Batches",
            "Most rows that the model is given at a time, a series a pod.",
            units.Short,
            QUARTER,
            Query(f"robmon_engine_batch_rows{{{STATE}}}", "{{instance}}"),
        ),
        over_time(
            "Out of memory",
            "How often memory ran out and batches were halved, in each interval of the graph.",
            units.Short,
            QUARTER,
            Query(increase("robmon_out_of_memory_retries_total", "instance"), "{{instance}}"),
        ),
    ]


def input_panels() -> list[Any]:
    return [
        over_time(
            "Inputs",
            "Mirrored requests received, sampled and skipped a second, over all pods.",
            units.RequestsPerSecond,
            THIRD,
            Query(rate("robmon_inputs_received_total", "source"), "received ({{source}})"),
            Query(rate("robmon_inputs_sampled_total", "source"), "sampled ({{source}})"),
            Query(rate("robmon_inputs_skipped_total", "source"), "skipped ({{source}})"),
        ),
        over_time(
            "Bodies that come again",
            "Requests a second with the same body, to the byte, as one of the last 65,536 different ones (detect.ring):"
            " retries, replays, and inputs that are the same.",
            units.RequestsPerSecond,
            THIRD,
            Query(rate("robmon_inputs_repeated_total", "source"), "{{source}}"),
        ),
        over_time(
            "Rejected",
            "Requests that could not be used, by reason, and connections refused at either port, in each interval of "
            "the graph.",
            units.Short,
            THIRD,
            Query(increase("robmon_inputs_rejected_total", "source, reason"), "{{source}}: {{reason}}"),
            Query(increase("robmon_http_rejected_total", "reason"), "/metrics: {{reason}}"),
        ),
        over_time(
            "Size of the requests",
            "Mean size of the bodies that arrived whole, over all pods.",
            units.BytesIEC,
            THIRD,
            Query(mean("robmon_inputs_body_bytes", "source"), "{{source}}"),
        ),
        over_time(
            "Sample",
            "Rows that the next assessment will use, a series a pod.",
            units.Short,
            THIRD,
            Query(f"robmon_sample_rows{{{STATE}}}", "{{instance}}"),
        ),
        over_time(
            "Age of the sample",
            "Age of the oldest request in the sample, a series a pod.",
            units.Seconds,
            THIRD,
            Query(f"time() - robmon_sample_oldest_timestamp_seconds{{{STATE}}}", "{{instance}}"),
        ),
        over_time(
            "Labels and served answers",
            "Labels and served answers told, by what became of them, in each interval of the graph. Most requests are "
            "not sampled, so most labels are unknown. Empty where none is told.",
            units.Short,
            THIRD,
            Query(increase("robmon_labels_total", "outcome"), "label {{outcome}}"),
            Query(increase("robmon_served_answers_total", "outcome"), "answer {{outcome}}"),
        ),
        over_time(
            "Baseline",
            "Rows in the baseline, a series a pod.",
            units.Short,
            THIRD,
            Query(f"robmon_baseline_rows{{{STATE}}}", "{{instance}}"),
        ),
        over_time(
            "Evidence begun again",
            "How often the evidence gathered over time counted no more since the start of the pod, by what had become "
            "another than it was.",
            units.Short,
            THIRD,
            Query(
                f"sum by (reason) (robmon_detection_restarts_total{{{PROCESS}}} {OF_MODEL})",
                "{{reason}}",
            ),
        ),
    ]


def variables() -> list[Any]:
    model = f'{PLACE}, model_name=~"$model_name"'
    return [
        *parts.place_variables(),
        parts.several(parts.variable("model_name", "Model", f"label_values({parts.ALWAYS}{{{PLACE}}}, model_name)")),
        parts.several(parts.variable("instance", "Instance", f"label_values({parts.ALWAYS}{{{model}}}, instance)")),
    ]


def build() -> str:
    """The dashboard as JSON text."""
    return parts.board(
        IDENTIFIER,
        "robmon: sidecar",
        "Does robmon itself work, what is it given, and what does it cost?",
        variables(),
        {
            "Does it assess?": lambda: [*at_a_glance(), *assessment_panels()],
            "What does it cost?": cost_panels,
            "What does it do to the device?": device_panels,
            "What is it given?": input_panels,
        },
    )
