"""Families of gauges, of a model or of one version. Those hold no NaN: it silences every comparison of an alert."""

from __future__ import annotations

import math
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

Families = Iterator[Metric]


def gauge(name: str, help_text: str, model_name: str, value: float) -> GaugeMetricFamily:
    """A family with a value of a model, whatever its version."""
    family = GaugeMetricFamily(name, help_text, labels=["model_name"])
    family.add_metric([model_name], value)
    return family


def of_version(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    """A family of measurements of a model version, with further labels."""
    return GaugeMetricFamily(name, help_text, labels=["model_name", "model_version", *labels])


def add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    """Add a value, if there is one."""
    if value is not None and not math.isnan(value):
        family.add_metric(labels, value)


def nonempty(*families: GaugeMetricFamily) -> Iterator[GaugeMetricFamily]:
    """The families that have a value."""
    return (family for family in families if family.samples)
