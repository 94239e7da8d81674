"""MLflow's own client in tests: quiet, and pointed at a registry."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """MLflow warns of pickles, versions and missing type hints while it saves a model."""
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


@contextmanager
def tracking(uri: str) -> Iterator[None]:
    """MLflow logs and registers to the tracking URI that is set for the whole process, and in its environment.

    Afterwards none is set, as before: one that stays set would outweigh the variable in the tests that follow.
    """
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before
