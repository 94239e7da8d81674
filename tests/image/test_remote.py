"""The variant `remote`: no MLflow, no torch, 256 MiB; the model is asked at its endpoint."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow.pyfunc
import pytest

from tests.e2e.registry import CODE, SIGNATURE
from tests.e2e.test_endpoint import send, weighted
from tests.endpoint import V2Model, serving
from tests.image import checks
from tests.image.container import HEALTHY_SECONDS, PREFIX, running
from tests.image.pod import Pod, standalone_pod
from tests.image.store import Image, Store
from tests.mlflow_client import quiet_mlflow
from tests.servers import answers, model_server, wait_until
from tests.watching.prometheus import alertmanager, alerts, live_config, prometheus_server, query

MEMORY_BYTES = 256 * 2**20
ALERT = "RobmonRobustnessRegression"
FAST = {"rows_per_second": 20_000}


@pytest.fixture(scope="module")
def image(build: Callable[[str], Image]) -> Image:
    return build("remote")


@pytest.fixture(scope="module")
def root(store: Store, image: Image) -> Iterator[Path]:
    with store.mounted(image) as root:
        yield root


def test_beside_mlflows_model_server(
    image: Image, root: Path, revision: str, tmp_path: Path, figures: list[str]
) -> None:
    checks.hold_to_its_labels(image, "remote", revision)
    checks.hold_to_no_rights(root)
    with quiet_mlflow():
        mlflow.pyfunc.save_model(
            tmp_path / "model",
            python_model=str(CODE),
            model_config={"weight": 2.0, "on_load": "behaves"},
            signature=SIGNATURE,
            pip_requirements=[],
        )
    before = checks.contents(root)
    with model_server(tmp_path / "model", tmp_path) as url:
        model = {"uri": f"{url}/invocations", "name": "sums", **FAST}
        pod = standalone_pod("remote", {"model": model}, tmp_path / "chart")
        with running(image, root, pod, tmp_path / "pod") as container:
            assert container.healthy_seconds < HEALTHY_SECONDS
            container.wait_until_ready()
            container.send()
            container.wait_for_assessments(2)
            assert container.value("robmon_model_info", flavor="remote", model_name="sums") == 1
            script, _, advice = pod.test["args"]
            assert container.execute(*pod.test["command"], script, pod.health_url, advice).returncode == 0, "helm test"
            checks.hold_confined(container, MEMORY_BYTES)
            checks.hold_nothing_written(container, root, before)
            measured = checks.measured("remote", root, container)
            container.terminate()
            figures.append(f"{measured}, SIGTERM to the end {container.end_seconds:.1f} s")
    assert checks.contents(root) == before


def test_the_commands_of_alert_and_page_accept_a_version(image: Image, root: Path, tmp_path: Path) -> None:
    """Each typed in the container, as it stands in the text that Alertmanager sends, and on the page."""
    model = V2Model(weighted(1.0), "mlserver", [("x", "FP64", [-1, 2])], "1")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(model))
        uri = f"{server.url}/v2/models/digits/infer"
        pod = standalone_pod("remote", {"model": {"uri": uri, **FAST}}, tmp_path / "chart")
        container = stack.enter_context(running(image, root, pod, tmp_path / "pod"))
        send(container)
        container.wait_for_assessments()
        manager = stack.enter_context(alertmanager(tmp_path / "alertmanager"))
        config = live_config(tmp_path / "prometheus", f"127.0.0.1:{container.port('http_port')}", manager)
        prometheus = stack.enter_context(prometheus_server(tmp_path / "prometheus", config))

        model.predict, model.version = weighted(2.0), "2"
        container.wait_for(lambda: container.regression_stands, "the regression")
        alert = wait_until(lambda: alerts(manager).get(ALERT), what="the alert")
        [command] = re.findall(r"robmon baseline .* --accept", alert["annotations"]["description"])
        assert container.type(command).startswith("accepted: digits/2 ")
        container.wait_for(lambda: not container.regression_stands, "the end of the regression")
        firing = f'ALERTS{{alertname="{ALERT}", alertstate="firing"}}'
        wait_until(lambda: not query(prometheus, firing), what="the end of the alert")
        container.wait_for_assessments()  # with which the next version is compared: this one will be gone

        model.predict, model.version = weighted(4.0), "3"
        container.wait_for(lambda: container.regression_stands, "the regression of the next version")
        told = {command: container.type(command) for command in container.printed_commands()}
        assert len(told) >= 3, "to accept it, and to look back"
        assert [each for each in told.values() if each.startswith("accepted: digits/3 ")]
        container.wait_for(lambda: not container.regression_stands, "the end of it")


def test_nothing_is_left_of_a_run_that_is_killed(image: Image, root: Path, tmp_path: Path) -> None:
    model = {"uri": "http://127.0.0.1:1/invocations", "name": "sums"}
    pod = standalone_pod("remote", {"model": model}, tmp_path / "chart")
    run = multiprocessing.get_context("spawn").Process(target=stay, args=(image, root, pod, tmp_path / "pod"))
    run.start()
    try:
        wait_until(lambda: answers(pod.health_url), what=pod.health_url)
        assert len(containers()) == 1
    finally:
        run.kill()
        run.join()
    wait_until(lambda: not containers(), what="the end of the container and its cgroup")
    assert not answers(pod.health_url)


def stay(image: Image, root: Path, pod: Pod, folder: Path) -> None:
    """Run a container until this process is killed."""
    with running(image, root, pod, folder):
        signal.pause()


def containers() -> list[Path]:
    """The cgroups of all that run."""
    return list(Path("/sys/fs/cgroup").glob(f"memory/{PREFIX}*")) + list(Path("/sys/fs/cgroup").glob(f"{PREFIX}*"))
