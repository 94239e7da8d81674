"""What tests of several rooms share: see `servers` for the helpers behind it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import QUIET_MLFLOW, shared_mlflow_server, template_database

collect_ignore = ["fuzz.py"]  # a program, which needs the extra `fuzz`: `make fuzz` runs it
os.environ.update(QUIET_MLFLOW)
# In small matrices, and beside other tests, threads would wait for one another, and turn while they do. Here and in all
# that tests start; what more threads do `models/test_threads.py` tries.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The same examples in every run, and nothing that depends on how fast the machine is at the moment.
settings.register_profile("reproducible", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reproducible")


# Modules are no garbage: to look for some among them, again and again, takes a fifth of the time of importing MLflow.
gc.disable()


def pytest_collection_finish() -> None:
    """Nor is anything else that is there before the first test."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def folder_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all the processes of a test run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def mlflow_template(folder_of_the_run: Path) -> Path:
    """An empty MLflow database, made once for all the processes of a test run."""
    return template_database(folder_of_the_run)


@pytest.fixture(scope="session")
def tracking_server(folder_of_the_run: Path, mlflow_template: Path) -> Iterator[tuple[str, Path]]:
    """An MLflow server for all tests that bring models of their own: its URL, and where its files lie."""
    folder = folder_of_the_run / "tracking-server"
    with shared_mlflow_server(folder, mlflow_template) as url:
        yield url, folder
