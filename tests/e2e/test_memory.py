"""Verdicts outlive the pod that found them: daemons with empty disks on one registry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.proxies import read_only
from tests.e2e.registry import RegisteredModel, Registry
from tests.servers import wait_until

# A model's noise MSE grows with the square of its weight.
GOOD, FRAGILE, AS_FRAGILE = 1.0, 2.0, 2.05


def remembered(model: RegisteredModel, version: str, scope: str = "champion") -> dict[str, object]:
    """The entry of a version in the registry, once it is there."""

    def look() -> dict[str, object] | None:
        return next((entry for entry in model.memory(scope) if entry["version"] == version), None)

    return wait_until(look, what=f"the verdict on version {version} in the registry") or {}


def regression(daemon: Daemon) -> tuple[str, str] | None:
    """Which version regressed against which."""
    info = [sample.labels for sample in daemon.metrics() if sample.name == "robmon_regression_info"]
    return (info[0]["model_version"], info[0]["reference_version"]) if info else None


def pending(daemon: Daemon) -> set[str]:
    """Why there is no verdict that can be relied on."""
    return {
        sample.labels["reason"]
        for sample in daemon.metrics()
        if sample.name == "robmon_comparison_pending" and sample.value == 1
    }


def detected(daemon: Daemon) -> float | None:
    return daemon.value("robmon_regression_detected", kind="version")


@pytest.mark.long
def test_three_pods_with_empty_disks(served: Registry, tmp_path: Path) -> None:
    """Good, fragile, as fragile: the regression stands in the third, against the first, until it is accepted there."""
    model = served.model()
    first, second, third = (model.add(weight) for weight in (GOOD, FRAGILE, AS_FRAGILE))
    model.serve(first)
    with running_daemon(tmp_path / "1", model.uri, served.tracking_uri) as daemon:
        daemon.send()
        entry = remembered(model, first)
        assert (entry["accepted"], entry["by"]) == (True, "first")
        daemon.wait_for_assessments()
        page = daemon.get("/").text
        assert "accepted unseen" in page and 'class="good"' not in page
        assert (pending(daemon), detected(daemon)) == ({"no_reference"}, 0)
        assert [line["note"] for line in daemon.told("version accepted")] == ["accepted unseen"]

    model.serve(second)
    with running_daemon(tmp_path / "2", model.uri, served.tracking_uri) as daemon:
        daemon.send()
        entry = remembered(model, second)
        assert (entry["accepted"], entry["by"], entry["against"]) == (False, "verdict", first)
        assert daemon.regression_stands and regression(daemon) == (second, first)

    model.serve(third)
    with running_daemon(tmp_path / "3", model.uri, served.tracking_uri, by_environment=True) as daemon:
        daemon.send()
        entry = remembered(model, third)
        assert (entry["accepted"], entry["against"]) == (False, first)
        assert daemon.regression_stands and regression(daemon) == (third, first)
        assert "accepted: " in daemon.run_printed_command()
        daemon.wait_for(lambda: not daemon.regression_stands, "the end of the regression")
        assert (pending(daemon), detected(daemon), regression(daemon)) == (set(), 0, None)
        assert (remembered(model, third)["by"], daemon.value("robmon_version_ratio_since", anchor=third)) == (
            "person",
            1,
        )

        model.serve(second)
        daemon.wait_for(lambda: daemon.assessed_version == second, "the rejected version")
        assert regression(daemon) == (second, first), "wherever it is loaded"
        model.serve(first)
        daemon.wait_for(lambda: daemon.assessed_version == first, "the roll-back")
        daemon.wait_for_assessments()
        assert (detected(daemon), regression(daemon)) == (0, None)
        assert len(daemon.told("robustness regressed")) == 1, "no version is tried twice"
        assert daemon.log("robustness held") == []


@pytest.mark.long
def test_champion_challenger_and_canary(served: Registry, tmp_path: Path) -> None:
    """Two daemons side by side: other aliases do not judge for each other, and of one memory no verdict flips."""
    model = served.model()
    champion, challenger, canary = (model.add(weight) for weight in (GOOD, FRAGILE, GOOD))
    model.serve(champion)
    model.serve(challenger, "challenger")
    uri = f"models:/{model.name}@challenger"
    with running_daemon(tmp_path / "challenger", uri, served.tracking_uri) as other:
        with running_daemon(tmp_path / "champion", model.uri, served.tracking_uri) as daemon:
            other.send()
            daemon.send()
            remembered(model, champion)
            remembered(model, challenger, "challenger")
        model.serve(canary, "challenger")
        with running_daemon(tmp_path / "again", model.uri, served.tracking_uri) as daemon:
            daemon.send()
            daemon.wait_for_assessments()
            assert [detected(each) for each in (daemon, other)] == [0, 0]
            assert daemon.log("version accepted") == [], "it is remembered"
            assert remembered(model, canary, "challenger")["against"] == challenger
            assert [entry["version"] for entry in model.memory()] == [champion]

            scope = {"history__scope": "champion"}
            pinned = f"models:/{model.name}/{canary}"
            with running_daemon(tmp_path / "canary", pinned, served.tracking_uri, **scope) as beside:
                beside.send()
                assert remembered(model, canary)["against"] == champion
                before = [daemon.assessments(), beside.assessments()]
                for _ in range(20):
                    daemon.wait_for_assessments()
                    assert [detected(each) for each in (daemon, beside)] == [0, 0]
                beside.wait_for(lambda: beside.assessments() >= before[1] + 3, "assessments of both")
                assert {entry["version"]: entry["by"] for entry in model.memory()} == {
                    champion: "first",
                    canary: "verdict",
                }
                assert len(beside.told("robustness held")) == 1 and daemon.log("robustness held") == []


def test_a_registry_that_may_be_read_only(served: Registry, tmp_path: Path) -> None:
    """With an empty disk that is told, and not green; so is a file of verdicts that is damaged."""
    model = served.model()
    version = model.add(GOOD)
    model.serve(version)
    with read_only(served.tracking_uri) as url:
        with running_daemon(tmp_path, model.uri, url) as daemon:
            daemon.send()
            daemon.wait_for(lambda: pending(daemon) == {"no_reference", "memory_not_kept"}, "what is not kept")
            daemon.wait_for_assessments()
            page = daemon.get("/").text
            assert 'class="good"' not in page
            assert (
                "Verdicts are kept in the data folder alone, which was empty when robmon started: the registry" in page
            )
            assert len(daemon.told("verdicts not kept in the registry")) == 1, "told once"
        assert model.memory() == []

        (state,) = (tmp_path / "data" / "history").glob("*.sqlite")
        os.truncate(state, state.stat().st_size // 2)
        with running_daemon(tmp_path, model.uri, url, by_environment=True) as daemon:
            daemon.send()
            daemon.wait_for_assessments(3)
            assert (pending(daemon), detected(daemon)) == ({"no_reference"}, None)
            page = daemon.get("/").text
            assert f"damaged, and was set aside as {state.name}.damaged-" in page
            assert "No version has been assessed" not in page and 'class="good"' not in page
            assert len(daemon.told("earlier verdicts not understood")) == 1
            assert daemon.log("version accepted") == []
            assert f"in {daemon.data_dir})" in daemon.run_printed_command(), "the registry refuses"
            daemon.wait_for(lambda: "no_reference" not in pending(daemon), "that a person accepted it")
            assert detected(daemon) == 0
