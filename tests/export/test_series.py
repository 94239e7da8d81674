"""How many series a pod has: at most 200 by default, whatever the model and however much of it has gone wrong."""

from __future__ import annotations

import dataclasses
from collections import Counter

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from robmon.export.causes import CausesCollector
from robmon.export.circumstances import Circumstances
from robmon.export.measured import PublishedCollector
from robmon.export.metrics import Metrics
from robmon.export.published import AttackView, FurtherMeasurement, Published
from robmon.history.attack import AttackFound
from robmon.inputs.counts import InputCounts
from robmon.processes.messages.curve import FurtherNoise, LevelResult, SlopeResult
from robmon.processes.messages.findings import DriftValue, QualityValue
from robmon.settings.sections.assess import AssessSettings
from robmon.settings.sections.findings import AttackSettings, DriftSettings
from tests.export.published import NOW, attacked, change, detection, everything

MOST_SERIES = 200
CLASSES = 10
PHASES = ("decode", "plan", "assess", "labels", "compare", "drift", "attribute", "canary")
STATISTICS = ("psi", "js", "ks", "wasserstein")
PROBLEMS = ("missing", "unseen", "out_of_range", "infinite", "type_changed")


def drifted(names: list[str]) -> list[DriftValue]:
    return [DriftValue(feature=name, statistic=statistic, value=0.5) for name in names for statistic in STATISTICS] + [
        DriftValue(feature="all", statistic="psi", value=0.5)
    ]


def fullest(features: int) -> Published:
    """A classifier that stands as a regression of both kinds, all of whose features have drifted, with causes."""
    published = everything()
    view, levels = published.view, AssessSettings().levels
    assert view.measurement is not None and view.state.verdict is not None
    above = [level for level in levels if level > 0]
    by_level = {"levels": above, "ratio": [1.5] * len(above), "flip_ratio": [1.5] * len(above)}
    judged = view.state.verdict.model_copy(update=by_level)
    names = [f"pixel {number}" for number in range(features)]
    result = view.measurement.result.model_copy(
        update={
            "labels": None,
            "labelled_rows": 0,
            "levels": [
                LevelResult(
                    level=level,
                    mean_mse=0.5,
                    bound=1.0,
                    request_bound=2.0,
                    agreement=0.5,
                    baseline_ratio=1.5 if level else None,
                    baseline_ratio_lower=1.25 if level else None,
                )
                for level in levels
            ],
            "input_drift": drifted(names),
            "prediction_drift": drifted([f"output[{number}]" for number in range(CLASSES)]),
            "input_quality": [
                QualityValue(feature=name, problem=each, ratio=0.5) for name in names for each in PROBLEMS
            ],
        }
    )
    groups = {"groups": names[:8], "share": [0.125] * 8, "stderr": [0.01] * 8}
    shares = view.shares.model_copy(update=groups) if view.shares is not None else None
    change(
        published,
        measurement=dataclasses.replace(view.measurement, result=result),
        state=dataclasses.replace(view.state, verdict=judged),
        detection=detection(60_000.0, since=NOW - 60),
        shares=shares,
        alert_shares=None,
        served=(),
    )
    return published


def attacked_as_set() -> AttackFound:
    """By all attacks that the daemon makes, at as many radii as it is set to."""
    radii = list(AttackSettings().radii)
    shares = [0.5] * len(radii)
    by_attack = dict.fromkeys(("worst", "pgd", "square", "random"), shares)
    return attacked(radii=radii, agreement=by_attack, certified=dict.fromkeys(("lipschitz", "interval"), shares))


def exposed(circumstances: Circumstances, features: int = DriftSettings().max_features) -> str:
    counts = InputCounts(repeated=Counter())
    counts.received["mlflow"] += 1
    metrics = Metrics("digits", counts, lambda: (256, NOW), circumstances)
    published = fullest(features)
    published.attack_interval_seconds = AttackSettings().interval_seconds if circumstances.attacks else None
    change(published, attack=AttackView("2", "abc", attacked_as_set(), NOW))
    metrics.registry.register(PublishedCollector(published, clock=lambda: NOW + 1))
    metrics.registry.register(CausesCollector(published, now=lambda: NOW + 1))
    for phase in PHASES:
        metrics.duration.labels(phase).observe(1)
    for level in AssessSettings().levels:
        metrics.nonfinite_outputs.labels(f"{level:g}").inc()
    return generate_latest(metrics.registry).decode()


def series(text: str) -> list[str]:
    return [sample.name for family in text_string_to_metric_families(text) for sample in family.samples]


def test_a_pod_has_at_most_200_series_by_default() -> None:
    found = series(exposed(Circumstances()))
    assert len(found) <= MOST_SERIES, sorted(found)
    assert not [name for name in found if name.endswith("_bucket")]


def test_attacks_are_at_most_40_series_more() -> None:
    without, found = (series(exposed(Circumstances(attacks=attacks))) for attacks in (False, True))
    assert not [name for name in without if "attack" in name]
    assert 20 <= len(found) - len(without) <= 40


def test_histograms_are_what_is_asked_for() -> None:
    found = series(exposed(Circumstances(histograms=True)))
    assert {name for name in found if name.endswith("_bucket")} == {
        "robmon_assessment_duration_seconds_bucket",
        "robmon_inputs_body_bytes_bucket",
        "robmon_event_loop_lag_seconds_bucket",
    }


def test_features_beyond_those_asked_for_are_no_series() -> None:
    """Of the one that drifted most there are all statistics, of the others that on which alerts rest."""
    text = exposed(Circumstances(), features=20)
    drift = [line for line in text.splitlines() if line.startswith("robmon_input_drift{")]
    assert len(drift) == 20 + len(STATISTICS) - 1 + 1
    assert len([line for line in drift if 'feature="pixel 0"' in line]) == len(STATISTICS)
    assert all('statistic="js"' in line for line in drift if 'feature="pixel 1' in line)


def test_sources_that_send_nothing_are_no_series_once_another_does() -> None:
    """Before, each has its zeros: the first request that is rejected is an increase."""
    counts = InputCounts()
    value = Metrics("m", counts, lambda: (0, None)).registry.get_sample_value
    too_large = {"source": "v2", "reason": "too_large"}
    assert value("robmon_inputs_rejected_total", too_large) == 0
    counts.received["mlflow"] += 1
    assert value("robmon_inputs_received_total", {"source": "mlflow"}) == 1
    assert value("robmon_inputs_received_total", {"source": "v2"}) is None
    assert value("robmon_inputs_rejected_total", too_large) is None
    counts.rejected["v2", "too_large"] += 1
    assert value("robmon_inputs_rejected_total", too_large) == 1
    assert value("robmon_inputs_received_total", {"source": "v2"}) == 0


def test_a_further_noise_has_four_a_level_and_six() -> None:
    published = fullest(1)
    assert published.view.measurement is not None
    result = published.view.measurement.result
    without = {"baseline_ratio": None, "baseline_ratio_lower": None}  # there is none of a further noise
    levels = [point.model_copy(update=without) for point in result.levels]
    slope = SlopeResult(value=1.0, lack_of_fit=0.5)
    found = FurtherNoise(
        noise="uniform", levels=levels, confidence=0.95, area=0.5, index=0.5,
        slopes={"mse": slope, "agreement": slope},
    )  # fmt: skip

    def count() -> int:
        return sum(len(family.samples) for family in PublishedCollector(published, clock=lambda: NOW + 1).collect())

    before = count()
    change(published, further=(FurtherMeasurement("2", found, NOW, 0.1),))
    assert count() - before == 4 * (len(levels) - 1) + 6
