"""The variant `remote`: no MLflow, no torch, 256 MiB; the model is asked at its endpoint."""

from __future__ import annotations

import multiprocessing
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

MEMORY = "256Mi"
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
        pod = standalone_pod(
            {"model": {"uri": f"{url}/invocations", "name": "sums", **FAST}}, MEMORY, tmp_path / "chart"
        )
        with running(image, root, pod, tmp_path / "pod") as container:
            assert container.healthy_seconds < HEALTHY_SECONDS
            container.wait_until_ready()
            container.send()
            container.wait_for_assessments(2)
            assert container.value("robmon_model_info", flavor="remote", model_name="sums") == 1
            checks.hold_confined(container, 256 * 2**20)
            checks.hold_nothing_written(container, root, before)
            measured = checks.measured("remote", root, container)
            container.terminate()
            figures.append(f"{measured}, SIGTERM to the end {container.end_seconds:.1f} s")
    assert checks.contents(root) == before


def test_the_command_that_the_page_prints_accepts_a_version(image: Image, root: Path, tmp_path: Path) -> None:
    model = V2Model(weighted(1.0), "mlserver", [("x", "FP64", [-1, 2])], "1")
    with serving(model) as server:
        uri = f"{server.url}/v2/models/digits/infer"
        pod = standalone_pod({"model": {"uri": uri, **FAST}}, MEMORY, tmp_path / "chart")
        with running(image, root, pod, tmp_path / "pod") as container:
            send(container)
            container.wait_for_assessments()
            model.predict, model.version = weighted(2.0), "2"
            container.wait_for(lambda: container.regression_stands, "the regression")
            assert container.run_printed_command().startswith("accepted: digits/2 ")
            container.wait_for(lambda: not container.regression_stands, "the end of the regression")


def test_nothing_is_left_of_a_run_that_is_killed(image: Image, root: Path, tmp_path: Path) -> None:
    pod = standalone_pod(
        {"model": {"uri": "http://127.0.0.1:1/invocations", "name": "sums"}}, MEMORY, tmp_path / "chart"
    )
    run = multiprocessing.get_context("spawn").Process(target=stay, args=(image, root, pod, tmp_path / "pod"))
    run.start()
    try:
        wait_until(lambda: answers(pod.health_url), 150, pod.health_url)
        assert len(containers()) == 1
    finally:
        run.kill()
        run.join()
    wait_until(lambda: not containers(), 60, "the end of the container and its cgroup")
    assert not answers(pod.health_url)


def stay(image: Image, root: Path, pod: Pod, folder: Path) -> None:
    """Run a container until this process is killed."""
    with running(image, root, pod, folder):
        signal.pause()


def containers() -> list[Path]:
    """The cgroups of all that run."""
    return list(Path("/sys/fs/cgroup").glob(f"memory/{PREFIX}*")) + list(Path("/sys/fs/cgroup").glob(f"{PREFIX}*"))
