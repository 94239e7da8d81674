"""Several pods of one model, for minutes: no verdict flips, no bad version passes because one pod saw it pass."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.campaign.watch import watched
from tests.e2e.daemon import PASSWORD, ROWS, running_daemon
from tests.e2e.registry import Registry
from tests.e2e.test_memory import GOOD, detected, pending, regression, remembered
from tests.servers import mlflow_server

pytestmark = pytest.mark.campaign

PODS = 5
CANARY_SECONDS = 180
HEALTHZ_SECONDS = 10.0
"""Slowest answer of /healthz: several daemons, each with a worker that loads MLflow, share one machine here."""
# Pods see other traffic: the version that is bad for high rows alone passes where there are none.
HIGH, LOW = (sorted(ROWS)[100:160], sorted(ROWS)[:60])


def test_five_pods_of_which_one_lets_a_bad_version_pass(served: Registry, tmp_path: Path) -> None:
    model = served.model()
    good, bad = model.add(GOOD), model.add(GOOD, steep_above=(LOW[-1][0] + HIGH[0][0]) / 2)
    model.accept(good)
    model.serve(good)
    for life, fault in enumerate(("five pods judge a bad version, one lets it pass", "the five pods, begun anew")):
        with contextlib.ExitStack() as stack:
            folders = [tmp_path / f"{life}-{pod}" for pod in range(PODS)]
            pods = [
                stack.enter_context(running_daemon(folder, model.uri, served.tracking_uri, model__poll_seconds=0.5))
                for folder in folders
            ]
            for pod in pods:
                pod.send(LOW if pod is pods[0] else HIGH)
            for pod in pods:
                pod.wait_for_assessments()
            with watched(pods[0], fault, PODS, beside=pods[1:], healthz_seconds=HEALTHZ_SECONDS):
                if life == 0:
                    model.serve(bad)
                    pods[0].wait_for(partial(pods[0].log, "robustness held"), "the pass of one pod")
                for pod in pods:
                    pod.wait_for(lambda pod=pod: pod.assessed_version == bad, "the bad version")
                    pod.wait_for(lambda pod=pod: pod.regression_stands, "the regression")
                for pod in pods:
                    pod.wait_for_assessments(2)
                    assert regression(pod) == (bad, good)
                    assert not (life and pod.log("robustness regressed")), "no new trial"
        assert remembered(model, bad)["accepted"] is False


def test_a_canary_for_minutes(served: Registry, tmp_path: Path) -> None:
    model = served.model()
    champion, canary = model.add(GOOD), model.add(GOOD)
    model.accept(champion)
    model.serve(champion)
    pinned, scope = f"models:/{model.name}/{canary}", {"history__scope": "champion"}
    fault = f"champion and canary side by side for {CANARY_SECONDS} s"
    with (
        running_daemon(tmp_path / "champion", model.uri, served.tracking_uri) as first,
        running_daemon(tmp_path / "canary", pinned, served.tracking_uri, **scope) as second,
        first.traffic(),
        second.traffic(),
    ):
        second.told("robustness held")
        with watched(first, fault, 2, beside=[second], healthz_seconds=HEALTHZ_SECONDS):
            before = [first.assessments(), second.assessments()]
            end = time.monotonic() + CANARY_SECONDS
            while time.monotonic() < end:
                first.wait_for_assessments()
                assert [(detected(each), pending(each)) for each in (first, second)] == [(0, set())] * 2
            assert first.assessments() > before[0] + 20 and second.assessments() > before[1] + 20
            assert len(second.log("robustness held")) == 1 and not first.log("robustness held")
    assert {entry["version"]: entry["accepted"] for entry in model.memory()} == {champion: True, canary: True}


def test_a_user_who_may_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own users: it is told that verdicts are kept nowhere but in an empty folder."""
    admin = ("admin", "rule-all-of-it-3")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", admin[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", admin[1])
    with mlflow_server(tmp_path / "registry", admin_password=admin[1]) as url:
        user = {"username": "robmon", "password": PASSWORD}
        answer = httpx.post(f"{url}/api/2.0/mlflow/users/create", json=user, auth=admin, trust_env=False)
        assert answer.status_code == 200, answer.text
        model = Registry(url, tmp_path / "registry").model()
        model.serve(model.add(GOOD))
        with running_daemon(tmp_path, model.uri, url) as daemon:
            daemon.send()
            daemon.wait_for_assessments()
            with watched(daemon, "a registry that lets us read alone", healthz_seconds=HEALTHZ_SECONDS):
                daemon.wait_for(lambda: pending(daemon) == {"no_reference", "memory_not_kept"}, "what is not kept")
                daemon.wait_for_assessments()
                page = daemon.get("/").text
                assert 'class="good"' not in page and "Verdicts are kept in the data folder alone" in page
                assert len(daemon.told("verdicts not kept in the registry")) == 1, "told once"
        assert model.memory() == []
