"""The verdict between two versions, as metrics and in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from robmon.export.families import add, nonempty, of_version
from robmon.history.standing import Regression
from robmon.history.verdict import JudgedCurves, Verdict
from robmon.report.words import chance, interval
from robmon.vocabulary import ComparisonScore

REFERENCE_LABELS: Final = ("noise", "level", "reference_version", "space")


_POOLED: Final = {
    "robmon_version_ratio": "Noise error of the version judged last over that of its reference version, all levels "
    "together, on the same rows and noise: what the verdict tests",
    "robmon_version_ratio_lower": "Lower confidence limit of robmon_version_ratio",
    "robmon_version_ratio_upper": "Upper confidence limit of robmon_version_ratio",
}


def remembered_metrics(name: str, regression: Regression) -> Iterator[GaugeMetricFamily]:
    """The pooled ratio with its limits of a regression that another pod has found, as far as it is remembered."""
    if regression.score is not None:
        values = (regression.pooled_ratio, regression.pooled_low, regression.pooled_high)
        yield from _pooled([name, regression.reference_version, regression.score], values)


def _pooled(of: list[str], values: tuple[float | None, ...]) -> Iterator[GaugeMetricFamily]:
    for (metric, help_text), value in zip(_POOLED.items(), values, strict=True):
        family = GaugeMetricFamily(metric, help_text, labels=["model_name", "reference_version", "score"])
        add(family, of, value)
        yield from nonempty(family)


CHANGES: Final[Mapping[ComparisonScore, str]] = {
    "flips": "share of changed classes",
    "triplets": "share of changed triplets",
}
"""Scores that count changes, and what they count."""


def verdict_metrics(name: str, verdict: Verdict) -> Iterator[GaugeMetricFamily]:
    """The pooled ratio with its limits, and the ratios by level."""
    pooled = (verdict.pooled_ratio, verdict.pooled_low, verdict.pooled_high)
    yield from _pooled([name, verdict.reference_version, verdict.score], pooled)
    by_level = {
        "robmon_version_mse_ratio": (
            verdict.ratio if verdict.score not in CHANGES else None,
            "Noise MSE of the judged version over that of its reference version, on the same rows and noise; of "
            "classifiers, of their probabilities at a common confidence",
        ),
        "robmon_version_flip_ratio": (
            verdict.ratio if verdict.score == "triplets" else verdict.flip_ratio,
            "Share of classes, or of triplets of embeddings, that noise changes, of the judged version over that of "
            "its reference version",
        ),
    }
    for metric, (values, help_text) in by_level.items():
        if values is not None:
            family = GaugeMetricFamily(metric, help_text, labels=["model_name", "reference_version", "level"])
            for level, value in zip(verdict.levels, values, strict=True):
                family.add_metric([name, verdict.reference_version, f"{level:g}"], value)
            yield family


def reference_metrics(of: list[str], reference_version: str, curves: JudgedCurves) -> Iterator[GaugeMetricFamily]:
    """The curve of the version that the one served was compared with, on the rows of the verdict."""
    mean = of_version(
        "robmon_reference_noise_mse",
        "Mean MSE of the reference version on the rows of the verdict, in the units of space: those of the outputs, or "
        "what the verdict compares",
        *REFERENCE_LABELS,
    )
    bound = of_version(
        "robmon_reference_noise_mse_bound",
        "Trial bound of the reference version on the rows of the verdict, in the same units",
        *REFERENCE_LABELS,
    )
    for family, values in ((mean, curves.reference_mean), (bound, curves.reference_bound or ())):
        for level, value in zip(curves.levels, values, strict=False):
            add(family, [*of, curves.noise, f"{level:g}", reference_version, curves.space], value)
    yield from nonempty(mean, bound)


def headline(verdict: Verdict) -> str:
    """The pooled ratio with its interval, in words."""
    return "{} ({})".format(*ratio_and_chance(verdict))


def ratio_and_chance(verdict: Verdict) -> tuple[str, str]:
    """The pooled ratio, and its interval with the p-value, in words."""
    what = CHANGES.get(verdict.score, "noise MSE")
    limits = interval(verdict.confidence, verdict.pooled_low, verdict.pooled_high, digits=3)
    return f"{verdict.pooled_ratio:.3g} times its {what}", f"{limits}, {chance(verdict.pvalue)}"
