"""Versions come and go: which one is assessed, with what it is compared, and how long the verdict stands."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from robmon.history.store import History
from tests.e2e.daemon import ROWS, Daemon, running_daemon
from tests.e2e.registry import RegisteredModel, Registry

# A model's noise MSE grows with the square of its weight.
GOOD, FRAGILE, AS_FRAGILE = 1.0, 2.0, 2.05


def wait_for_version(daemon: Daemon, version: str) -> None:
    daemon.wait_for(lambda: daemon.assessed_version == version, f"version {version}")
    daemon.wait_for_assessments()


def wait_for_regression(daemon: Daemon) -> None:
    """On a busy machine the version to compare with may at first be found too slow for the budget."""
    daemon.wait_for(lambda: daemon.regression_stands, "the regression")


def reference_version(daemon: Daemon) -> str:
    ratios = [sample for sample in daemon.metrics() if sample.name == "robmon_version_mse_ratio"]
    return str(ratios[0].labels["reference_version"])


@pytest.mark.long
def test_release_that_is_worse(served: Registry, tmp_path: Path) -> None:
    """A daemon that starts on the new version, as in a new pod, compares it with the one that was accepted.

    A third version, to which the alias moves during an assessment, is as bad and does not clear the alert; accepting it
    does.
    """
    model = served.model()
    first, second, third = (model.add(weight) for weight in (GOOD, FRAGILE, AS_FRAGILE))
    model.accept(first)
    model.serve(second)
    with running_daemon(tmp_path, model.uri, served.tracking_uri) as daemon:
        daemon.send()
        wait_for_version(daemon, second)
        wait_for_regression(daemon)
        assert reference_version(daemon) == first
        assert daemon.value("robmon_version_mse_ratio", level="0.3") == pytest.approx((FRAGILE / GOOD) ** 2)
        since = daemon.value("robmon_regression_since_timestamp_seconds")
        causes = {
            sample.labels["cause"] for sample in daemon.metrics() if sample.name == "robmon_regression_cause_info"
        }
        assert causes == {"model"}

        daemon.model("is slow")
        daemon.wait_for_call()
        model.serve(third)
        wait_for_version(daemon, third)
        daemon.model("behaves")
        assert daemon.value("robmon_assessments_total", outcome="failed") == 0, "the one that ran was not cut off"
        assert daemon.regression_stands
        ratio = pytest.approx((AS_FRAGILE / GOOD) ** 2)
        daemon.wait_for(lambda: daemon.value("robmon_version_mse_ratio", level="0.3") == ratio, "the third's ratio")
        assert reference_version(daemon) == first
        assert (
            daemon.value("robmon_reference_noise_mse", level="0.3", reference_version=first, space="output") or 0
        ) > 0
        page = daemon.get("/")
        assert f"Version {third} beside version {first}, on the rows of the verdict" in page.text
        assert "is worse than version" in page.text and "'unsafe" not in page.headers["content-security-policy"]
        assert daemon.value("robmon_regression_since_timestamp_seconds") == since

        accept(model, third, daemon)
        daemon.wait_for(lambda: not daemon.regression_stands, "the end of the alert")
        assert daemon.value("robmon_regression_since_timestamp_seconds") is None
        data_dir = daemon.data_dir
    check_history(History(data_dir, model.name), second, third)


def check_history(history: History, second: str, third: str) -> None:
    """What a person reads of it afterwards."""
    events = history.past.events()
    told = [(event["kind"], event.get("version")) for event in events if event["kind"] != "worker_restarted"]
    assert told[0] == ("started", None) and told[-2:] == [("traffic", None), ("stopped", None)]
    for each in (("version_loaded", second), ("verdict", second), ("version_loaded", third), ("verdict", third),
                 ("alias_moved", third), ("version_accepted", third)):  # fmt: skip
        assert told.count(each) == 1, told
    assert told.index(("regression_began", second)) < told.index(("version_loaded", third))
    assert ("regression_ended", second) not in told and ("regression_ended", third) in told, "it went on"
    assert told.index(("version_accepted", third)) < len(told) - 1
    assert [event["kind"] for event in events if "regression" in event["kind"]][-1] == "regression_ended"
    rows = history.past.assessments()
    assert {row["version"] for row in rows} >= {second, third}
    assert history.past.specifications()[rows[-1]["specification_name"]]["digest"] == rows[-1]["specification"]
    assert [point["level"] for point in rows[-1]["levels"]][-1] == rows[-1]["noise_level"]
    assert rows[-1]["levels"][-1]["mse"] == rows[-1]["mse"] > 0


@pytest.mark.long
def test_classifiers_are_judged_by_what_they_say(served: Registry, tmp_path: Path) -> None:
    """The same classifier as probabilities of another temperature and type passes; a fragile, quieter one does not."""
    model = served.model("loud")
    first, same = model.add_classifier("logits", 3.0), model.add_classifier("softmax", 1.5)
    fragile = model.add_classifier("logits", 1.2, fragility=1.5)
    model.serve(first)
    settings = {"assess__task": "classification", "inputs__sample_rows": 200}
    with running_daemon(tmp_path, model.uri, served.tracking_uri, **settings) as daemon:
        daemon.send()
        wait_for_version(daemon, first)
        model.serve(same)
        wait_for_version(daemon, same)
        daemon.wait_for(lambda: daemon.value("robmon_version_ratio", score="probability") is not None, "a verdict")
        assert not daemon.regression_stands
        assert daemon.value("robmon_version_ratio", score="probability") == pytest.approx(1, abs=1e-3)
        assert daemon.value("robmon_version_flip_ratio", level="0.3") == pytest.approx(1)
        page = daemon.get("/").text
        assert "1 times its noise MSE (98 % interval" in page and "at a common confidence of" in page

        model.serve(fragile)
        wait_for_version(daemon, fragile)
        wait_for_regression(daemon)
        names = [f"robmon_version_ratio{end}" for end in ("_lower", "", "_upper")]
        low, ratio, high = (daemon.value(name, reference_version=same, score="probability") for name in names)
        assert 1.1 < low < ratio < high
        at = {"level": "0.3", "space": "verdict"}
        mse, reference_mse = (daemon.value(f"robmon_{name}noise_mse", **at) for name in ("", "reference_"))
        assert mse == pytest.approx(daemon.value("robmon_version_mse_ratio", level="0.3") * reference_mse)
        told = daemon.told("robustness regressed")[-1]
        assert told["pooled_ratio"] == pytest.approx(ratio, abs=1e-3) and told["score"] == "probability"
        assert told["agreement"][-1] < told["agreement_of_reference"][-1]
        assert f"Robustness regressed: version {fragile} against {same}" in daemon.get("/").text


def accept(model: RegisteredModel, version: str, daemon: Daemon) -> None:
    """As the owner of the model would."""
    command = [sys.executable, "-m", "robmon", "baseline", "--accept", "--model", f"models:/{model.name}/{version}"]
    command += ["--tracking-uri", model.registry.tracking_uri, "--data-dir", str(daemon.data_dir)]
    subprocess.run(command, check=True)


def files_are_gone(model: RegisteredModel) -> str:
    version = model.add()
    files = model.files(version)
    files.rename(files.with_name("elsewhere"))
    return version


def pickle_is_broken(model: RegisteredModel) -> str:
    version = model.add_pickled()
    pickle = model.files(version) / "python_model.pkl"
    pickle.write_bytes(pickle.read_bytes()[:100])
    return version


def loading_ends_the_process(model: RegisteredModel) -> str:
    return model.add(on_load="exits")


BAD_VERSIONS: list[tuple[Callable[[RegisteredModel], str], str, str]] = [
    (files_are_gone, "fetch", "not_found"),
    (pickle_is_broken, "load", "not_loadable"),
    (loading_ends_the_process, "load", "crash"),
]


@pytest.mark.long
def test_versions_that_cannot_be_had(served: Registry, tmp_path: Path) -> None:
    """The version before them stays under assessment, and the next one that can be had is followed and judged."""
    model = served.model()
    first = model.add(GOOD)
    model.serve(first)
    with running_daemon(tmp_path, model.uri, served.tracking_uri) as daemon:
        daemon.send()
        wait_for_version(daemon, first)
        for make, stage, reason in BAD_VERSIONS:
            bad = make(model)
            model.serve(bad)
            daemon.wait_for(
                lambda stage=stage, reason=reason: daemon.count(
                    "robmon_model_failures_total", stage=stage, reason=reason
                ),
                f"the failure of {make.__name__}",
            )
            daemon.wait_for_assessments(2)
            assert daemon.assessed_version == first
            assert not daemon.regression_stands

        last = model.add(GOOD)
        daemon.model("returns nan")
        model.serve(last)
        daemon.wait_for(lambda: daemon.assessed_version == last, "the version without a number")
        wait_for_regression(daemon)  # nothing is worse than no number
        assert daemon.value("robmon_version_mse_ratio", reference_version=first, level="0.3") == math.inf
        # A slow machine tries a version again; then it is told again, in the same words.
        told = ("served version unknown", "model version cannot be loaded")

        def lines() -> set[tuple[str, str | None]]:
            return {(line["event"], line.get("version")) for line in daemon.log() if line["event"] in told}

        daemon.wait_for(lambda: len(lines()) >= len(BAD_VERSIONS), "a line on each")
        assert len(lines()) == len(BAD_VERSIONS), "one clear line each"


@pytest.mark.long
def test_few_requests_a_day_have_their_verdict_on_old_ones(local: Registry, tmp_path: Path) -> None:
    """There are never enough that are young; of the version before alone nothing is measured."""
    model = local.model()
    first, second = model.add(GOOD), model.add(FRAGILE)
    model.accept(first)
    model.serve(first)
    few = {"inputs__max_age_seconds": 5, "model__poll_seconds": 2}
    with running_daemon(tmp_path, model.uri, local.tracking_uri, **few) as daemon:
        for _ in range(5):
            daemon.send(ROWS[:12])
            daemon.wait_for(lambda: daemon.value("robmon_sample_rows") == 0, "rows that are too old")
        daemon.wait_for_assessments(outcome="skipped", reason="too_few_inputs")
        assert daemon.assessments() == 0, "nothing is assessed on old rows alone"
        model.serve(second)
        daemon.wait_for(lambda: daemon.regression_stands, "the verdict")
        assert reference_version(daemon) == first
        told = daemon.told("notes")
        assert told[0]["version"] == second
        assert any("requests are older than inputs.max_age_seconds" in note for note in told[0]["notes"])
        assert "requests are older than inputs.max_age_seconds" in daemon.get("/").text


@pytest.mark.long
def test_quiet_night(local: Registry, tmp_path: Path) -> None:
    """Without inputs the measurements go and the alert stands, over a restart too.

    The version to compare with is the one that the registry calls accepted. The alias moves, and nothing follows it.
    """
    model = local.model()
    first, _, third = model.add(GOOD), model.add(FRAGILE), model.add(AS_FRAGILE)
    model.serve(third)
    model.accept(first)
    pinned = {"model__follow": "pinned", "model__poll_seconds": 2}
    with running_daemon(tmp_path, model.uri, local.tracking_uri, inputs__max_age_seconds=10, **pinned) as daemon:
        with daemon.traffic():
            daemon.wait_for(lambda: daemon.regression_stands, "the alert")
            model.serve(first)
            assert reference_version(daemon) == first
            assert daemon.value("robmon_noise_mse_bound") is not None
        daemon.wait_for(lambda: daemon.value("robmon_noise_mse_bound") is None, "the end of the measurements")
        assert daemon.value("robmon_sample_rows") == 0
        assert daemon.assessments("skipped", "too_few_inputs") > 0
        assert daemon.regression_stands

        daemon.send()
        daemon.wait_for_assessments()
        assert daemon.regression_stands
        assert daemon.assessed_version == third
    with running_daemon(tmp_path, model.uri, local.tracking_uri, **pinned) as daemon:
        assert daemon.regression_stands
