"""What can happen under the settings, so that its counters start at 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from robmon.export.families import add as add
from robmon.export.families import nonempty as nonempty
from robmon.export.families import of_version as of_version
from robmon.vocabulary import DEVICE_REASONS, ENDPOINT_REASONS

ARRIVING = ("mlflow", "v1", "v2", "cloudevents")
"""Formats of requests, which may arrive whatever the settings."""


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


REQUESTS_ALONE: Final = Circumstances()
"""Of a model that is loaded, on a processor."""
