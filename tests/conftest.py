"""What tests of several rooms share: see `servers` for the helpers behind it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import QUIET_MLFLOW, template_database

collect_ignore = ["fuzz.py"]  # a program, which needs the extra `fuzz`: `make fuzz` runs it
os.environ.update(QUIET_MLFLOW)
# The same examples in every run, and nothing that hangs on how fast the machine is at the moment.
settings.register_profile("reproducible", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("reproducible")


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, made once for all the processes of a test run."""
    folder = tmp_path_factory.getbasetemp()
    return template_database(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)
