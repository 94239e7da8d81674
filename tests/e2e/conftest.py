"""Registries that tests of the daemon share; each test registers models of its own in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.registry import Registry
from tests.servers import local_registry, model_server

# They are for the worker, and no modules of the tests: MLflow warns where they are imported.
collect_ignore = ["embedding_model.py", "loud_model.py", "odd_model.py", "picture_model.py"]


TIMEOUT_SECONDS = 1800
"""For a test: more than the longest wait in it, which then says what has not come."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Real processes take as long as the machine lets them."""
    item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Registry:
    """A SQLite registry, which is looked up by a process of its own."""
    folder = tmp_path_factory.mktemp("local-registry")
    return Registry(local_registry(folder, mlflow_template), folder)


@pytest.fixture(scope="session")
def served(tracking_server: tuple[str, Path]) -> Registry:
    """An MLflow server, which the daemon asks itself."""
    return Registry(*tracking_server)


@pytest.fixture(scope="session")
def model_url(tmp_path_factory: pytest.TempPathFactory, local: Registry) -> Iterator[str]:
    """MLflow's model server with an odd model that behaves: the base URL."""
    model = local.model()
    with model_server(model.files(model.add()), tmp_path_factory.mktemp("model-server")) as url:
        yield url
