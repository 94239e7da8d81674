"""What the daemon publishes on `/metrics`, read as Prometheus would read it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

SCRAPE_SECONDS = 0.5
HEADLINE_LEVEL = "0.4"
"""Noise level whose numbers stand for the whole curve in the view: 0.4 standard deviations of each pixel."""


@dataclass(frozen=True)
class Point:
    """One level of the published curve of one version."""

    level: float
    mse: float
    bound: float
    agreement: float


@dataclass(frozen=True)
class Disturbed:
    """What one level of a noise does to one version, as it was published last.

    Attributes:
        mse: mean squared distance of the outputs from those without noise.
        agreement: share of the answers that stay the same.
        moves_less: 95 % of the outputs move by less, in the unit of the outputs.
    """

    mse: float
    agreement: float
    moves_less: float


Disturbances = dict[tuple[str, float], Disturbed]
"""By noise and level."""


@dataclass(frozen=True)
class Scrape:
    """One answer of `/metrics`: its text, and the samples in it."""

    text: str
    samples: tuple[Sample, ...]

    @classmethod
    def parse(cls, text: str) -> Scrape:
        """Read the text format.

        >>> Scrape.parse('robmon_model_info{model_version="2"} 1').version
        '2'
        """
        families = text_string_to_metric_families(text)
        return cls(text, tuple(sample for family in families for sample in family.samples))

    def find(self, name: str, labels: Mapping[str, str] = MappingProxyType({})) -> Iterator[Sample]:
        """The samples of that name that carry those labels."""
        return (sample for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items())

    def value(self, name: str, **labels: str) -> float | None:
        """The first such value, or None; of the noise that decides alarms, unless `primary` says otherwise."""
        found = (each for each in self.find(name, labels) if "primary" in labels or "primary" not in each.labels)
        return next((sample.value for sample in found), None)

    @property
    def version(self) -> str | None:
        """The version that is assessed, None before one is loaded."""
        info = next(self.find("robmon_model_info"), None)
        return info.labels["model_version"] if info is not None else None

    @property
    def is_measured(self) -> bool:
        """Whether a current measurement is published."""
        return next(self.find("robmon_noise_mse"), None) is not None

    @property
    def received(self) -> int:
        """Mirrored requests that have arrived."""
        return int(self.value("robmon_inputs_received_total", source="mlflow") or 0)

    @property
    def sample_rows(self) -> int:
        """Rows that the next assessment will use."""
        return int(self.value("robmon_sample_rows") or 0)

    @property
    def baseline_rows(self) -> int:
        """Rows in the baseline."""
        return int(self.value("robmon_baseline_rows") or 0)

    @property
    def worker_memory_mib(self) -> float:
        """Resident memory of the worker, 0 where there is none."""
        return (self.value("robmon_worker_resident_memory_bytes") or 0.0) / 2**20

    @property
    def worker_restarts(self) -> int:
        """Restarts of the worker for another reason than a new version."""
        restarts = self.find("robmon_worker_restarts_total")
        return int(sum(sample.value for sample in restarts if sample.labels["reason"] != "new_version"))

    @property
    def has_regressed(self) -> bool:
        """Whether a regression between versions stands."""
        return self.value("robmon_regression_detected", kind="version") == 1

    @property
    def ratios(self) -> dict[float, float]:
        """Noise MSE of the judged version over its reference's, by level; empty before a verdict."""
        return {float(s.labels["level"]): s.value for s in self.find("robmon_version_mse_ratio")}

    @property
    def ratio(self) -> float:
        """The ratio that the verdict tests, of all levels together; NaN before a verdict."""
        ratio = self.value("robmon_version_ratio")
        return math.nan if ratio is None else ratio

    @property
    def drift(self) -> float | None:
        """Mean population stability index over all pixels; None while the baseline is being learnt."""
        return self.value("robmon_input_drift", feature="all")

    @property
    def index(self) -> float | None:
        """The robustness index."""
        return self.value("robmon_robustness_index")

    def at_level(self, name: str, level: str = HEADLINE_LEVEL) -> float | None:
        """A value at one noise level."""
        return self.value(name, level=level)

    @property
    def curve(self) -> list[Point]:
        """The published curve, level 0 first."""
        labels_of = (sample.labels for sample in self.find("robmon_noise_mse"))
        in_output = [labels for labels in labels_of if not {"space", "primary"} & labels.keys()]
        levels = sorted((labels["level"] for labels in in_output), key=float)
        names = ("robmon_noise_mse", "robmon_noise_mse_bound", "robmon_prediction_agreement_ratio")
        return [Point(float(level), *(self.at_level(name, level) or 0.0 for name in names)) for level in levels]

    @property
    def disturbed(self) -> Disturbances:
        """What the noise that decides alarms does, at levels above 0."""
        return self._disturbances(is_primary=True)

    @property
    def further(self) -> Disturbances:
        """What the further noises do that are published now."""
        return self._disturbances(is_primary=False)

    def _disturbances(self, *, is_primary: bool) -> Disturbances:
        found: Disturbances = {}
        for sample in self.find("robmon_prediction_agreement_ratio"):
            labels = {name: sample.labels[name] for name in ("noise", "level")}
            if ("primary" not in sample.labels) is is_primary and float(labels["level"]) > 0:
                labels |= {} if is_primary else {"primary": "false"}
                mse, bound = (
                    self.value(name, **labels) for name in ("robmon_noise_mse", "robmon_request_change_bound")
                )
                if mse is not None and bound is not None:
                    found[labels["noise"], float(labels["level"])] = Disturbed(mse, sample.value, bound)
        return found


@dataclass
class Watch:
    """The daemon's numbers as they are now, and the last measurement of each version."""

    client: httpx.AsyncClient
    url: str | None = None
    """URL of the daemon; None before it is up."""
    now: Scrape | None = None
    measured: dict[str, Scrape] = field(default_factory=dict)
    further: dict[str, Disturbances] = field(default_factory=dict)
    """What the further noises do to each version: each has its turn in another assessment."""

    async def run(self, changed: Callable[[], None]) -> None:
        """Ask again and again until cancelled, and say so each time."""
        while True:
            if self.url is not None:
                await self._ask(self.url)
            changed()
            await asyncio.sleep(SCRAPE_SECONDS)

    async def _ask(self, url: str) -> None:
        try:
            answer = await self.client.get(f"{url}/metrics")
            answer.raise_for_status()
        except httpx.HTTPError:
            return
        self.now = Scrape.parse(answer.text)
        if self.now.is_measured and self.now.version is not None:
            self.measured[self.now.version] = self.now
            self.further.setdefault(self.now.version, {}).update(self.now.further)
