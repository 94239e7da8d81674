"""Somebody searches for the decision boundary of a model that is really served, and a mirror tells robmon of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.proxies import nginx
from tests.e2e.registry import Registry
from tests.mlflow_client import quiet_mlflow, tracking
from tests.models.conftest import tensor
from tests.servers import free_port, model_server

FEATURES = 12
SHARE = 0.05
"""Of the traffic."""
WITHIN = 3
"""Assessments."""
NEAR = "robmon_input_near_duplicate_rows"
SETTINGS: dict[str, Any] = {
    **{"inputs__sample_rows": 256, "assess__min_rows": 64, "assess__interval_seconds": 4, "assess__trials": 19},
    **{"assess__levels": "0.1", "assess__task": "classification", "baseline__min_rows": 1024},
}


class _OverError(Exception):
    """Enough has been seen of the search."""


class Traffic:
    """Clients of the model server behind the mirror: rows of one law, and among them what somebody asks."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._random = np.random.default_rng(3)
        self._mix = np.eye(FEATURES) + 0.3

    def rows(self, count: int) -> NDArray[np.float64]:
        return np.asarray(self._random.normal(size=(count, FEATURES)) @ self._mix)

    def ask(self, row: NDArray[np.float64]) -> int:
        answer = self._client.post("/invocations", json={"inputs": [row.tolist()]})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["predictions"][0])

    def usual(self, count: int) -> None:
        for row in self.rows(count):
            self.ask(row)

    def among_others(self, queries: NDArray[np.float64]) -> NDArray[np.int64]:
        """Answers to queries that are that share of the traffic."""
        answers = []
        for query in queries:
            self.usual(round(1 / SHARE) - 1)
            answers.append(self.ask(query))
        return np.array(answers)


def two_more_assessments(traffic: Traffic, daemon: Daemon) -> None:
    """Among usual traffic: of rows that another assessment has seen nothing is told."""
    begun = daemon.assessments()
    while daemon.assessments() < begun + 2:
        traffic.usual(50)


def hop_skip_jump(traffic: Traffic, daemon: Daemon) -> list[float | None]:
    """ART's own, by labels alone, from one row of the traffic: the near-duplicates of each assessment since it began,
    until they are three."""
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import BlackBoxClassifier

    began, seen = daemon.assessments(), dict[float, float | None]()

    def predict(rows: NDArray[Any]) -> NDArray[np.float64]:
        found = []
        for row in rows:
            found.append(traffic.among_others(row.astype(np.float64)[None])[0])
            done = daemon.assessments() - began
            seen[done] = max(seen.get(done) or 0.0, daemon.value(NEAR) or 0.0) if done else None
            if (seen[done] or 0) >= 3 or done > WITHIN:
                raise _OverError
        return np.eye(2)[found]

    classifier = BlackBoxClassifier(predict, (FEATURES,), 2, clip_values=(-6.0, 6.0))
    search = HopSkipJump(classifier, batch_size=1, norm=2, max_iter=20, max_eval=200, init_eval=20, verbose=False)
    with contextlib.suppress(_OverError):
        while True:
            search.generate(traffic.rows(1).astype(np.float32))
    return [seen[done] for done in sorted(seen)]


@pytest.fixture
def served_model(local: Registry, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A classifier of scikit-learn in MLflow's own server: its URI and the server's URL."""
    import mlflow.sklearn

    random = np.random.default_rng(1)
    rows = random.normal(size=(2000, FEATURES)) @ (np.eye(FEATURES) + 0.3)
    classifier = LogisticRegression().fit(rows, (rows @ random.normal(size=FEATURES) > 0).astype(int))
    model = local.model("probed")
    with quiet_mlflow(), tracking(local.tracking_uri), mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            classifier, name="model", signature=tensor("float64", (-1, FEATURES)), registered_model_name=model.name,
            pip_requirements=["scikit-learn"], serialization_format="cloudpickle",
        )  # fmt: skip
        folder = mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(tmp_path / "model"))
    with model_server(folder, tmp_path) as url:
        yield f"models:/{model.name}/1", url


@pytest.mark.long
def test_a_search_for_the_boundary_is_seen_and_retries_are_not(
    served_model: tuple[str, str], local: Registry, tmp_path: Path
) -> None:
    uri, url = served_model
    settings = SETTINGS | {"inputs__port": free_port()}
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(nginx(tmp_path / "nginx", url, settings["inputs__port"]))
        client = stack.enter_context(httpx.Client(base_url=proxy, trust_env=False, timeout=60))
        traffic = Traffic(client)
        with running_daemon(tmp_path, uri, local.tracking_uri, **settings) as daemon:
            while (daemon.value("robmon_baseline_rows") or 0) < settings["baseline__min_rows"]:
                traffic.usual(50)
            two_more_assessments(traffic, daemon)
            assert daemon.value(NEAR) == 0
            assert daemon.value("robmon_input_novel_ratio") is not None
            repeated = daemon.count("robmon_inputs_repeated_total")
            assert repeated == 0

            clients = traffic.rows(64)
            for _ in range(4):
                for row in clients:
                    traffic.ask(row)
            daemon.wait_for(lambda: daemon.count("robmon_inputs_repeated_total") == 192, "the repeats")
            two_more_assessments(traffic, daemon)
            assert daemon.value(NEAR) == 0, "retries are no near-duplicates"

            near = hop_skip_jump(traffic, daemon)
            print("near-duplicates by assessment:", near)
            assert (near[-1] or 0) >= 3 and len(near) - 1 <= WITHIN
            page = daemon.get("/").text
            assert (
                "Unusual queries" in page and "attack" not in page.partition("Unusual queries")[2].partition("<h2>")[0]
            )
            daemon.kill()
        with running_daemon(tmp_path, uri, local.tracking_uri, **settings) as daemon:
            assert daemon.count("robmon_inputs_repeated_total") == 0
            daemon.wait_for(lambda: daemon.value("robmon_baseline_rows"), "the baseline, from disk")
            near = hop_skip_jump(traffic, daemon)
            print("near-duplicates by assessment after the kill:", near)
            assert (near[-1] or 0) >= 3 and len(near) - 1 <= WITHIN
