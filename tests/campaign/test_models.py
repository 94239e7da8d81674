"""Models that do their worst: each costs some assessments, never the daemon, and leaves no process behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.watch import lasting_processes, watched
from tests.e2e.daemon import ROWS, Daemon, running_daemon
from tests.e2e.loading import measured_patience_seconds
from tests.e2e.registry import Registry

CODE = Path(__file__).with_name("hostile_model.py")
WORKER_SECONDS = 60.0
"""In which a worker has to answer where the machine is not busy."""

GOES_ON = [
    "forks a process away",
    "has 300 children",
    "has 100 threads",
    "prints without end",
    "ignores signals and has a timer",
    "changes environment, folder, warnings and limits",
    "changes its inputs",
    "returns a hostile array",
]
FAILS = [
    "raises a name made of an input",
    "raises in a file named after an input",
    "raises KeyboardInterrupt",
    "raises GeneratorExit",
    "returns a billion rows",
    "returns a list of 300 million",
    "wants 3 GB for a moment",
    "overflows the stack",
    "breaks memory",
    "forges frames",
    "stops itself",
]
HEALS = [
    "patches numpy once",
    "leaves three descriptors",
    "removes isinstance",
    "leaves a process in a session and exits",
]
"""What the model does once; it is sane afterwards, and so is every new interpreter."""
RED = {
    "raises a name made of an input",
    "raises in a file named after an input",
    "patches numpy once",
    "leaves three descriptors",
    "leaves a process in a session and exits",
    "forks a process away",
}


def marked(names: list[str]) -> list[object]:
    return [pytest.param(name, marks=[pytest.mark.red] if name in RED else []) for name in names]


@pytest.fixture(scope="module")
def uri(local: Registry) -> str:
    """Of a hostile model."""
    model = local.model("hostile")
    return f"models:/{model.name}/{model.add(code=CODE)}"


@pytest.fixture(scope="module")
def worker_seconds(uri: str, local: Registry, tmp_path_factory: pytest.TempPathFactory) -> float:
    """After which a worker counts as hanging."""
    return measured_patience_seconds(tmp_path_factory.mktemp("first"), uri, local.tracking_uri, at_least=WORKER_SECONDS)


@pytest.fixture(scope="module")
def shared(
    uri: str, worker_seconds: float, local: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    with running_daemon(
        tmp_path_factory.mktemp("hostile"),
        uri,
        local.tracking_uri,
        worker__timeout_seconds=worker_seconds,
        worker__memory_bytes=700 * 2**20,
        model__poll_seconds=30,
    ) as daemon:
        daemon.send()
        daemon.wait_for_assessments()
        yield daemon


@pytest.fixture
def daemon(shared: Daemon) -> Iterator[Daemon]:
    """With a model that behaves; afterwards the next good assessment comes by itself, and nothing is left."""
    (shared.temporary / "once").unlink(missing_ok=True)
    shared.send(ROWS[:30])
    yield shared
    shared.model("behaves")
    shared.wait_for_assessments()
    shared.hold_to_promises()


@pytest.mark.campaign
@pytest.mark.parametrize("behaviour", marked(GOES_ON))
def test_what_a_model_may_do(behaviour: str, daemon: Daemon) -> None:
    """It is assessed all the same. What it started ends with its worker."""
    with watched(daemon, f"a model that {behaviour}"):
        daemon.model(behaviour)
        daemon.wait_for_assessments(3)
        daemon.model("behaves")
        daemon.worker().kill()
        daemon.wait_for(lambda: lasting_processes(daemon) == 1, "the end of all that the worker started")
        daemon.wait_for_assessments()


@pytest.mark.campaign
@pytest.mark.parametrize("behaviour", marked(FAILS))
def test_what_costs_assessments(behaviour: str, daemon: Daemon) -> None:
    with watched(daemon, f"a model that {behaviour}"):
        failed = daemon.count("robmon_assessments_total", outcome="failed")
        daemon.model(behaviour)
        daemon.wait_for(lambda: daemon.count("robmon_assessments_total", outcome="failed") > failed, "a failure")
        daemon.model("behaves")
        daemon.wait_for_assessments()
    daemon.hold_to_promises()


@pytest.mark.campaign
@pytest.mark.parametrize("behaviour", marked(HEALS))
def test_what_a_new_worker_heals(behaviour: str, daemon: Daemon) -> None:
    """Though the model goes on doing what it does, which is nothing any more."""
    with watched(daemon, f"a model that {behaviour}"):
        worker = daemon.worker()
        daemon.model(behaviour)
        daemon.wait_for((daemon.temporary / "once").exists, "that it is done")
        daemon.wait_for(lambda: not worker.is_running(), "a new worker")
        daemon.wait_for_assessments(2)
        assert lasting_processes(daemon) == 2


@pytest.mark.campaign
def test_output_that_is_logged(uri: str, worker_seconds: float, local: Registry, tmp_path: Path) -> None:
    """`worker.output=log`: at a bounded rate, and the worker goes on."""
    with running_daemon(
        tmp_path,
        uri,
        local.tracking_uri,
        worker__output="log",
        worker__timeout_seconds=worker_seconds,
        model__poll_seconds=30,
    ) as daemon:
        daemon.send()
        daemon.wait_for_assessments()
        worker, size = daemon.worker(), daemon.log_file.stat().st_size
        with watched(daemon, "a model that prints without end into the log"):
            daemon.model("prints without end")
            daemon.wait_for_assessments(6)
        assert daemon.worker() == worker
        assert daemon.log_file.stat().st_size - size < 30 * 2**20
