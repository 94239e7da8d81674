"""The metrics: names and labels of the contract, what is published when, and what never is."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from robmon.export.circumstances import Circumstances
from robmon.export.measured import PublishedCollector
from robmon.export.metrics import Metrics
from robmon.export.published import ENOUGH_ANSWERS, FurtherMeasurement, Published, ServedComparison, View
from robmon.export.status import status_page
from robmon.history.standing import Pending, Regression
from robmon.inputs.counts import InputCounts
from robmon.processes.messages.curve import FurtherNoise, LevelResult, SlopeResult
from robmon.processes.messages.findings import ServedResult
from robmon.processes.messages.model import LoadedModel
from robmon.vocabulary import PENDING_REASONS
from tests.export.published import NOW, change, everything, state_of
from tests.watching.contract import LABELS, SOMETIMES

VERSION = {"model_name": "digits", "model_version": "2"}
MEASUREMENTS = ("robmon_noise_mse", "robmon_robustness_index", "robmon_input_drift")
STATES = ("robmon_regression_detected", "robmon_version_mse_ratio", "robmon_last_assessment_timestamp_seconds")


def scrape(published: Published, now: float = NOW + 1) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(PublishedCollector(published, clock=lambda: now))
    return registry


def names(registry: CollectorRegistry) -> set[str]:
    return {sample.name for family in registry.collect() for sample in family.samples}


def test_values_and_labels_of_measurements() -> None:
    registry = scrape(everything())
    at = {**VERSION, "noise": "gaussian", "level": "0.05"}
    value = registry.get_sample_value
    assert value("robmon_noise_mse", {**at, "reference": "prediction"}) == 0.25
    assert value("robmon_noise_mse_bound", {**at, "reference": "prediction", "confidence": "0.95"}) == math.inf
    assert value("robmon_request_change_bound", {**at, "confidence": "0.95"}) == 2.0
    assert value("robmon_prediction_agreement_ratio", at) == 0.75
    assert value("robmon_noise_mse_baseline_ratio", at) == 1.5
    for score, slope, lack_of_fit in (("mse", 2.0, 0.01), ("agreement", -0.5, 0.02), ("accuracy", -0.25, 0.03)):
        labels = {**VERSION, "noise": "gaussian", "score": score}
        assert value("robmon_robustness_slope", labels) == slope
        assert value("robmon_robustness_slope_lack_of_fit", labels) == lack_of_fit
    assert value("robmon_robustness_area", {**VERSION, "noise": "gaussian", "reference": "prediction"}) == 0.1
    assert value("robmon_robustness_index", {**VERSION, "noise": "gaussian", "reference": "prediction"}) == 0.9
    assert value("robmon_noise_margin_level", {**VERSION, "noise": "gaussian"}) == 0.05
    assert value("robmon_clean_mse", VERSION) == 0.5
    assert value("robmon_noise_mse", {**at, "reference": "label"}) == 0.625
    assert value("robmon_noise_mse_bound", {**at, "reference": "label", "confidence": "0.95"}) == 0.875
    assert value("robmon_robustness_area", {**VERSION, "noise": "gaussian", "reference": "label"}) == 0.3
    assert value("robmon_robustness_index", {**VERSION, "noise": "gaussian", "reference": "label"}) == 0.7
    assert value("robmon_labelled_rows", VERSION) == 120
    assert value("robmon_clean_nonfinite_ratio", VERSION) == 2 / 256
    assert value("robmon_served_prediction_mismatch_ratio", VERSION) == 0.25
    assert value("robmon_served_predictions_compared", VERSION) == 8
    assert value("robmon_served_predictions_not_comparable", VERSION) == 1
    age = {**VERSION, "feature": "age"}
    assert value("robmon_input_drift", {**age, "statistic": "psi"}) == 0.3
    assert value("robmon_input_drift", {**age, "statistic": "js"}) == 0.25
    assert value("robmon_input_drift", {**age, "statistic": "wasserstein"}) == math.inf
    assert value("robmon_input_drift", {**VERSION, "feature": "all", "statistic": "psi"}) == 0.2
    assert value("robmon_input_quality_ratio", {**age, "problem": "missing"}) == 0.125
    assert value("robmon_input_quality_ratio", {**age, "problem": "out_of_range"}) is None
    assert value("robmon_input_drifted_features", VERSION) == 1
    assert value("robmon_noise_mse", {**at, "level": "0", "reference": "prediction"}) == 0


def test_the_reference_s_curve_stands_beside_the_served_one_in_the_units_of_the_verdict() -> None:
    published = everything()
    at = {**VERSION, "noise": "gaussian", "level": "0.05"}
    of = {**at, "reference_version": "1"}
    value = scrape(published).get_sample_value
    assert value("robmon_reference_noise_mse", {**of, "space": "verdict"}) == 0.02
    assert value("robmon_reference_noise_mse_bound", {**of, "space": "verdict"}) == 0.025
    assert value("robmon_noise_mse", {**at, "reference": "prediction", "space": "verdict"}) == 0.03
    state = published.view.state
    assert state.verdict is not None and state.verdict.curves is not None
    in_output = state.verdict.curves.model_copy(update={"space": "output", "reference_bound": None})
    verdict = state.verdict.model_copy(update={"curves": in_output})
    change(published, state=dataclasses.replace(state, verdict=verdict))
    value = scrape(published).get_sample_value
    assert value("robmon_reference_noise_mse", {**of, "space": "output"}) == 0.02
    assert value("robmon_reference_noise_mse_bound", {**of, "space": "output"}) is None
    assert value("robmon_noise_mse", {**at, "reference": "prediction", "space": "verdict"}) is None
    assert "robmon_reference_noise_mse" not in names(scrape(published, NOW + 10_000))


def test_the_reference_s_curve_is_of_the_verdict_on_the_version_served() -> None:
    """A third version is served while the second stands as a regression."""
    published = everything()
    view = published.view
    assert view.model is not None and view.measurement is not None
    model = view.model.model_copy(update={"version": "3"})
    change(published, model=model, measurement=dataclasses.replace(view.measurement, model_version="3"))
    found = names(scrape(published))
    assert "robmon_noise_mse" in found and "robmon_reference_noise_mse" not in found


def test_values_and_labels_of_states() -> None:
    value = scrape(everything()).get_sample_value
    model = {"model_name": "digits"}
    assert value("robmon_regression_detected", {**model, "kind": "version"}) == 1
    assert value("robmon_regression_since_timestamp_seconds", {**model, "kind": "version"}) == NOW - 100
    by_level = {**model, "reference_version": "1", "level": "0.05"}
    assert value("robmon_version_mse_ratio", by_level) == 1.5
    assert value("robmon_version_flip_ratio", by_level) == 1.125
    pooled = {**model, "reference_version": "1", "score": "probability"}
    ends = ("", "_lower", "_upper")
    assert [value(f"robmon_version_ratio{end}", pooled) for end in ends] == [1.4, 1.25, 1.75]
    assert value("robmon_baseline_rows", model) == 1024
    assert value("robmon_worker_resident_memory_bytes", model) == 350 * 2**20
    info = {**VERSION, "flavor": "torch", "device": "cpu", "run_id": "abc", "baseline": "learnt"}
    assert value("robmon_model_info", info) == 1
    assert value("robmon_device_info", {**model, "device": "cpu", "precision": "none", "compiled": "false"}) == 1
    assert value("robmon_device_memory_bytes", model) == 3 * 2**30
    assert value("robmon_engine_batch_rows", model) == 512


def test_how_the_device_is_used() -> None:
    published = everything()
    change(published, loaded=LoadedModel(flavor="torch", device="cuda:1", precision="bfloat16", compiled=True))
    used = {"model_name": "digits", "device": "cuda:1", "precision": "bfloat16", "compiled": "true"}
    assert scrape(published).get_sample_value("robmon_device_info", used) == 1
    measurement = published.view.measurement
    assert measurement is not None
    on_cpu = measurement.result.model_copy(update={"device_memory_bytes": None})
    change(published, measurement=replace(measurement, result=on_cpu))
    families = {family.name for family in scrape(published).collect()}
    assert "robmon_engine_batch_rows" in families
    assert "robmon_device_memory_bytes" not in families, "a processor has none"
    change(published, loaded=None, measurement=None)
    families = {family.name for family in scrape(published).collect()}
    assert not families & {"robmon_device", "robmon_engine_batch_rows"}


def test_nan_is_never_published_and_infinity_is() -> None:
    samples = [sample for family in scrape(everything()).collect() for sample in family.samples]
    assert not any(math.isnan(sample.value) for sample in samples)
    assert any(math.isinf(sample.value) for sample in samples)
    assert "robmon_noise_mse_baseline_ratio_lower" not in {sample.name for sample in samples}


def test_what_alert_rules_ask_is_there_from_the_start() -> None:
    metrics = Metrics("digits", InputCounts(), lambda: (0, None), Circumstances(levels=(0.05, 0.1)))
    metrics.expose(Published("digits", 3600, 3600, alias="champion"))
    value = metrics.registry.get_sample_value
    assert value("robmon_assess_interval_seconds", {"model_name": "digits"}) == 3600
    assert value("robmon_served_alias_info", {"model_name": "digits", "alias": "champion"}) == 1
    assert value("robmon_nonfinite_outputs_total", {"level": "0.05"}) == 0


def test_the_ratio_of_a_regression_that_another_pod_has_found() -> None:
    """It is remembered with its interval; the ratios by level are not."""
    published = everything()
    found = Regression("2", "1", NOW, pooled_ratio=3.75, pooled_low=3.1, pooled_high=4.4, score="mse")
    change(published, state=dataclasses.replace(published.view.state, verdict=None, regression=found))
    value = all_metrics(published).registry.get_sample_value
    labels = {"model_name": "digits", "reference_version": "1", "score": "mse"}
    assert [value(f"robmon_version_ratio{end}", labels) for end in ("", "_lower", "_upper")] == [3.75, 3.1, 4.4]
    assert value("robmon_version_mse_ratio", {**labels, "level": "0.05"}) is None


@pytest.mark.parametrize(
    ("age_seconds", "outcomes", "is_there"),
    [
        (179, [("failed", "crash")], True),
        (181, [("failed", "crash")], False),
        (181, [("skipped", "too_few_inputs")], True),
        (3599, [("skipped", "too_few_inputs")] * 50, True),
        (3601, [("skipped", "too_few_inputs")] * 50, False),
        (181, [("skipped", "too_few_inputs"), ("failed", "timeout")], False),
        (181, [("failed", "timeout"), ("ok", "none")], True),
    ],
)
def test_measurements_go_with_age_and_states_stay(
    age_seconds: float, outcomes: list[tuple[str, str]], is_there: bool
) -> None:
    published = everything()
    for outcome, reason in outcomes:
        published.publish(published.view.with_outcome(outcome, reason))
    found = names(scrape(published, NOW + age_seconds))
    assert all((name in found) == is_there for name in MEASUREMENTS)
    assert all(name in found for name in STATES)


def test_a_slow_assessment_lives_three_times_its_duration() -> None:
    published = everything()
    published.publish(published.view.with_outcome("failed", "crash"))
    assert published.view.measurement is not None
    change(published, measurement=dataclasses.replace(published.view.measurement, duration_seconds=100))
    assert "robmon_noise_mse" in names(scrape(published, NOW + 299))
    assert "robmon_noise_mse" not in names(scrape(published, NOW + 301))


def test_measurements_go_with_their_version() -> None:
    published = everything()
    assert published.view.model is not None
    change(published, model=published.view.model.model_copy(update={"version": "3"}))
    found = names(scrape(published))
    assert not found & set(MEASUREMENTS) and set(STATES) <= found


def served_answers(published: Published, now: float = NOW) -> tuple[float | None, ...]:
    """Share that differs, how many were compared and could not be."""
    value = scrape(published, now).get_sample_value
    names = ("prediction_mismatch_ratio", "predictions_compared", "predictions_not_comparable")
    return tuple(value(f"robmon_served_{name}", VERSION) for name in names)


def found(mismatched: int, compared: int, not_comparable: int = 0, at: float = NOW) -> ServedComparison:
    return ServedComparison(
        ServedResult(compared=compared, mismatched=mismatched, not_comparable=not_comparable), requests_at=at
    )


def test_what_served_answers_said_stands_until_enough_newer_ones_say_otherwise() -> None:
    published = everything()
    change(published, served=())
    assert served_answers(published) == (None, None, None)
    published.publish(published.view.with_served(found(18, 18)))
    published.publish(published.view.with_served(found(0, 6)))
    assert served_answers(published) == (0.75, 24, 0)
    published.publish(published.view.with_served(found(0, 6, 7)))
    assert served_answers(published) == (0.6, 30, 7), "19 newer answers are not enough"
    published.publish(published.view.with_served(found(0, 1)))
    assert served_answers(published) == (0, 13, 7)
    published.publish(published.view.with_served(found(0, 0, 20)))
    assert served_answers(published) == (None, 0, 20)


def test_what_served_answers_said_goes_with_the_age_of_their_requests() -> None:
    published = everything()
    change(published, served=())
    published.publish(published.view.with_served(found(4, 4, at=NOW)))
    published.publish(published.view.with_served(found(0, 4, at=NOW + 100)))
    published.publish(published.view.with_outcome("failed", "crash"))
    assert served_answers(published, NOW + 3600) == (0.5, 8, 0), "whatever becomes of the assessments"
    assert "4 of 8 are not this version" in status_page(published, NOW + 3600)
    assert served_answers(published, NOW + 3601) == (0, 4, 0)
    assert served_answers(published, NOW + 3701) == (None, None, None)


def test_many_small_comparisons_are_not_heaped_up() -> None:
    published = everything()
    for number in range(1000):
        published.publish(published.view.with_served(found(number % 2, 1)))
    assert served_answers(published) == (0.5, ENOUGH_ANSWERS, 0)
    assert len(published.view.served) == ENOUGH_ANSWERS


def test_without_a_regression() -> None:
    published = everything()
    change(published, state=state_of(("2", None), ("2", True)))
    registry = scrape(published)
    detected = registry.get_sample_value("robmon_regression_detected", {"model_name": "digits", "kind": "version"})
    assert detected == 0
    assert not {"robmon_regression_since_timestamp_seconds", "robmon_regression_info"} & set(names(registry))


def test_a_version_without_a_verdict_is_no_version_without_a_regression() -> None:
    published = everything()
    change(
        published,
        state=replace(
            state_of(("3", None), ("1", True), ("2", False), ("2b", True)), pending=(Pending("failed", "It fails."),)
        ),
    )
    registry = scrape(published)
    of_version = {"model_name": "digits", "kind": "version"}
    assert registry.get_sample_value("robmon_regression_detected", of_version) is None
    pending = {
        reason: registry.get_sample_value("robmon_comparison_pending", {"model_name": "digits", "reason": reason})
        for reason in PENDING_REASONS
    }
    assert pending == {reason: float(reason == "failed") for reason in PENDING_REASONS}


def test_the_regression_names_the_versions_it_speaks_of() -> None:
    """Not the one that is served while it waits for its verdict."""
    published = everything()
    change(published, state=state_of(("3", None), ("1", True), ("2", False)))
    registry = scrape(published)
    of = {"model_name": "digits", "model_version": "2", "reference_version": "1"}
    assert registry.get_sample_value("robmon_regression_info", of) == 1
    assert registry.get_sample_value("robmon_regression_detected", {"model_name": "digits", "kind": "version"}) == 1


def all_metrics(published: Published) -> Metrics:
    counts = InputCounts(repeated=Counter(), kafka_lag_messages=7)
    counts.rejected["mlflow", "too_large"] += 1
    counts.labels.target["joined"] += 1
    counts.labels.answer["joined"] += 1
    circumstances = Circumstances(histograms=True, attacks=True, takes_events=True)
    metrics = Metrics(published.model_name, counts, lambda: (256, NOW), circumstances)
    metrics.expose(published)
    metrics.duration.labels("assess").observe(1)
    metrics.nonfinite_outputs.labels("0.1").inc()
    metrics.model_failures.labels("load", "crash").inc()
    metrics.detection_restarts.labels("version").inc()
    metrics.http_rejected.labels("unauthorized").inc()
    return metrics


def test_names_and_labels_are_those_of_the_contract() -> None:
    published = everything()
    assert published.view.measurement is not None
    assert published.view.attack is not None
    change(published, attack=dataclasses.replace(published.view.attack, at=time.time()))
    result = published.view.measurement.result
    shares = {"beyond_threshold": 0.25, "triplet_flips": 0.125, "self_nearest": 0.875}  # no model has classes too
    levels = [point.model_copy(update=shares) for point in result.levels]
    result = result.model_copy(update={"levels": levels})
    change(published, measurement=dataclasses.replace(published.view.measurement, at=time.time(), result=result))
    change(
        published, served=tuple(dataclasses.replace(each, requests_at=time.time()) for each in published.view.served)
    )
    samples = [
        sample
        for family in all_metrics(published).registry.collect()
        for sample in family.samples
        if sample.name.startswith("robmon_")
    ]
    for sample in samples:
        told = set(sample.labels) - SOMETIMES.get(sample.name, set())
        assert told == LABELS[sample.name] - SOMETIMES.get(sample.name, set()), sample.name
    not_there = {name for name in LABELS if name.startswith("robmon_")} - {sample.name for sample in samples}
    # NaN in this result; and no line of the log was lost
    assert not_there == {"robmon_noise_mse_baseline_ratio_lower", "robmon_log_lines_left_out_total"}


def test_body_sizes_are_a_cumulative_histogram() -> None:
    counts = InputCounts()
    for size in (1, 1024, 1025, 2**20, 2**20 + 1, 2**30):
        counts.body_bytes["v2"].observe(size)
    counts.received["mlflow"] += 1
    counts.received["v2"] += 6
    value = Metrics("digits", counts, lambda: (0, None), Circumstances(histograms=True)).registry.get_sample_value
    below = [
        value("robmon_inputs_body_bytes_bucket", {"source": "v2", "le": limit})
        for limit in ("1024.0", "4096.0", "524288.0", "1.048576e+06", "2.097152e+06", "8.388608e+06", "+Inf")
    ]
    assert below == [2, 3, 3, 4, 5, 5, 6]
    assert value("robmon_inputs_body_bytes_count", {"source": "v2"}) == 6
    assert value("robmon_inputs_body_bytes_sum", {"source": "v2"}) == 2050 + 2**21 + 1 + 2**30
    assert value("robmon_inputs_body_bytes_bucket", {"source": "mlflow", "le": "+Inf"}) == 0


def test_promtool_finds_nothing_to_complain_about() -> None:
    text = generate_latest(all_metrics(everything()).registry)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "name", ['"', "\\", "\n", 'a"b\\"\nc\\n{}=,', "<script>", "ü\u2028", "\x00\x1b[31m", "x" * 100_000]
)
def test_label_values_are_whatever_they_are(name: str) -> None:
    published = everything(name)
    assert published.view.model is not None and published.view.measurement is not None
    change(published, model=published.view.model.model_copy(update={"version": name, "run_id": name}))
    drift = [
        each.model_copy(update={"feature": name + each.feature, "statistic": "js"})
        for each in published.view.measurement.result.input_drift
    ]
    result = published.view.measurement.result.model_copy(update={"input_drift": drift})
    change(published, measurement=dataclasses.replace(published.view.measurement, model_version=name, result=result))
    text = generate_latest(scrape(published)).decode()
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    (info,) = [sample for sample in found if sample.name == "robmon_model_info"]
    assert [info.labels[label] for label in ("model_name", "model_version", "run_id")] == [name] * 3
    assert {each.labels["feature"] for each in found if each.name == "robmon_input_drift"} == {
        name + "age",
        name + "all",
    }
    done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_known_label_sets_start_at_zero() -> None:
    metrics = Metrics("digits", InputCounts(), lambda: (0, None))
    metrics.expose(Published("digits", 60, 3600))
    value = metrics.registry.get_sample_value
    assert value("robmon_assessments_total", {"outcome": "ok", "reason": "none"}) == 0
    assert value("robmon_worker_restarts_total", {"reason": "crash"}) == 0
    assert value("robmon_inputs_received_total", {"source": "mlflow"}) == 0
    assert value("robmon_last_assessment_timestamp_seconds", {"model_name": "digits"}) == 0
    assert value("robmon_regression_detected", {"model_name": "digits", "kind": "version"}) is None
    assert value("robmon_comparison_pending", {"model_name": "digits", "reason": "failed"}) == 0
    assert value("robmon_inputs_rejected_total", {"source": "v2", "reason": "too_large"}) == 0
    assert value("robmon_model_failures_total", {"stage": "fetch", "reason": "registry_unreachable"}) == 0
    assert value("robmon_model_failures_total", {"stage": "load", "reason": "not_loadable"}) == 0


@pytest.mark.parametrize(
    "circumstances", [Circumstances(), Circumstances(is_endpoint=True, reads_files=True, may_use_cuda=True)]
)
def test_what_cannot_happen_has_no_series(circumstances: Circumstances) -> None:
    """Until it does happen, whatever the settings say."""
    counts = InputCounts()
    value = Metrics("m", counts, lambda: (0, None), circumstances).registry.get_sample_value
    at_endpoint = {"outcome": "failed", "reason": "endpoint_unreachable"}
    assert value("robmon_assessments_total", at_endpoint) == (0 if circumstances.is_endpoint else None)
    for name, labels in {
        "robmon_assessments_total": {"outcome": "skipped", "reason": "device_full"},
        "robmon_model_failures_total": {"stage": "load", "reason": "device_full"},
    }.items():
        assert value(name, labels) == (0 if circumstances.may_use_cuda else None)
    for name in ("received", "sampled", "skipped"):
        assert value(f"robmon_inputs_{name}_total", {"source": "file"}) == (0 if circumstances.reads_files else None)
        assert value(f"robmon_inputs_{name}_total", {"source": "kafka"}) is None
    counts.received["file"] += 2
    assert value("robmon_inputs_received_total", {"source": "file"}) == 2


def further(noise: str, at: float, version: str = "2", **changes: Any) -> FurtherMeasurement:
    levels = [
        LevelResult(level=level, mean_mse=level / 100, bound=None, request_bound=4.0, agreement=0.5)
        for level in (0.0, 50.0)
    ]
    given: dict[str, Any] = {
        "levels": levels,
        "confidence": 0.95,
        "area": 0.25,
        "index": 0.75,
        "rows": 64,
        "trials": 1,
        **changes,
    }
    given["slopes"] = {"mse": SlopeResult(value=0.01, lack_of_fit=0.0)} if given["levels"] else {}
    return FurtherMeasurement(version, FurtherNoise(noise=noise, **given), at, 0.1)


def test_further_noises_are_told_apart_and_expire_by_their_own_age() -> None:
    published = everything()
    shown = Published("digits", published.interval_seconds, 10.0, further_noises=2, view=published.view)
    missed = further("uniform", NOW, levels=[])
    told = (further("jpeg", NOW), further("crop", NOW - 100), further("pixelate", NOW, version="1"), missed)
    change(shown, further=told)

    def of(noise: str, at: float = NOW + 1) -> dict[str, float]:
        registry = CollectorRegistry()
        registry.register(PublishedCollector(shown, clock=lambda: at))
        found = [sample for family in registry.collect() for sample in family.samples]
        return {
            sample.name: sample.value
            for sample in found
            if sample.labels.get("noise") == noise and sample.labels.get("primary") == "false"
        }

    assert of("jpeg") == {
        "robmon_noise_mse": 0.5,
        "robmon_request_change_bound": 2.0,
        "robmon_prediction_agreement_ratio": 0.5,
        "robmon_robustness_slope": 0.01,
        "robmon_robustness_slope_lack_of_fit": 0.0,
        "robmon_robustness_area": 0.25,
        "robmon_robustness_index": 0.75,
    }
    assert of("pixelate") == of("uniform") == of("gaussian") == {}
    lifetime = 3 * 2 * shown.interval_seconds
    assert of("crop", NOW - 100 + lifetime) and not of("crop", NOW - 100 + lifetime + 1)
    assert of("jpeg", NOW + lifetime), "although the other one has gone, and what decides alarms too"
    change(shown, only_too_few_inputs_since=False, measurement=None)
    assert of("jpeg", NOW + lifetime) and not of("jpeg", NOW + lifetime + 1)


def test_what_was_not_run_leaves_what_there_was() -> None:
    first, missed = further("jpeg", NOW), further("jpeg", NOW + 5, levels=[], reason="over_budget")
    view = View().with_further(first).with_further(further("crop", NOW)).with_further(missed)
    assert [each.result.noise for each in view.further] == ["jpeg", "crop"]
    assert (view.further[0].at, view.further[0].result) == (NOW, first.result)
    assert view.further[0].missed == missed.result
    again = further("jpeg", NOW + 9)
    assert view.with_further(again).further[0] == again
    assert View().with_further(missed).with_further(again).further == (again,)
