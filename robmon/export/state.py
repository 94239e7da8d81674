"""What runs and stands, measured or not, as metrics: times, model, device, baseline."""

from __future__ import annotations

from prometheus_client.core import InfoMetricFamily

from robmon import clock
from robmon.export.detection import detection_metrics, detection_state
from robmon.export.families import Families, gauge
from robmon.export.published import Measurement, Published
from robmon.export.regression import regression_metrics
from robmon.processes.messages.model import LoadedModel


def state_metrics(published: Published) -> Families:
    """All families of it that there are now."""
    name = published.model_name
    yield gauge(
        "robmon_last_assessment_timestamp_seconds",
        "Unix time of the last good assessment; 0 until the first",
        name,
        clock.as_shown(published.view.last_assessment_at) if published.view.last_assessment_at else 0.0,
    )
    yield gauge(
        "robmon_assess_interval_seconds",
        "Time between two assessments, as it is set: alert rules wait for so many of them",
        name,
        published.interval_seconds,
    )
    if published.alias is not None:
        alias = InfoMetricFamily("robmon_served_alias", "The alias under which the version served was found")
        alias.add_metric([], {"model_name": name, "alias": published.alias})
        yield alias
    yield gauge(
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
    yield gauge("robmon_baseline_rows", "Input rows in the baseline", name, published.view.baseline.rows)
    if published.view.baseline.at is not None:
        help_text = "Unix time at which the baseline was last changed"
        yield gauge("robmon_baseline_timestamp_seconds", help_text, name, published.view.baseline.at)
    yield from regression_metrics(published)
    yield from detection_metrics(published)


def _device(name: str, loaded: LoadedModel, measurement: Measurement | None) -> Families:
    """The guest on its device, as it was in the last good assessment; at an endpoint there is none."""
    if loaded.flavor == "remote":
        return
    info = InfoMetricFamily(
        "robmon_device",
        "The device on which the model runs, in which precision, and whether compiled",
        labels=["model_name"],
    )
    compiled = "true" if loaded.compiled else "false"
    info.add_metric([name], {"device": loaded.device, "precision": loaded.precision or "none", "compiled": compiled})
    yield info
    if measurement is None:
        return
    result = measurement.result
    yield gauge("robmon_engine_batch_rows", "Most rows that the model was given at a time", name, result.batch_rows)
    if result.device_memory_bytes is not None:
        yield gauge(
            "robmon_device_memory_bytes",
            "The most memory of a CUDA device that the worker held in the last assessment, as the driver counts it",
            name,
            result.device_memory_bytes,
        )
