"""Embeddings on real programs: a model from MLflow's registry, mirrored bytes, the daemon, its metrics. What is
published is what the library gets on the same rows."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import robmon
from tests.e2e.daemon import WAIT_SECONDS, Daemon, running_daemon
from tests.e2e.embedding_model import COLUMNS, embed
from tests.e2e.registry import Registry

ROWS, LEVELS, TRIALS = 60, (0.1, 0.3), 19
SETTINGS: dict[str, Any] = {
    "assess__task": "embedding",
    "assess__interval_seconds": 3600,
    "assess__min_rows": ROWS,
    "assess__max_seconds": 240,
    "inputs__sample_rows": ROWS,
    "compare__tolerance": 0.1,
    "model__poll_seconds": 2,
}
OPTIONS: dict[str, Any] = {"task": "embedding", "levels": LEVELS, "trials": TRIALS}
TURNED, STEEP = {"turn": True}, {"turn": True, "steep": 100.0}


@pytest.fixture(scope="module")
def inputs() -> NDArray[np.float64]:
    """No two columns have the same scale."""
    return np.random.default_rng(5).normal(size=(ROWS, COLUMNS)) * np.arange(1, COLUMNS + 1)


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    """The folder in which the model leaves what it is asked."""
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


def as_assessed(seen: Path, inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows in the order in which they were assessed, a random one: the model was asked about all without noise."""
    rows = {row.tobytes() for row in inputs}
    for file in sorted(seen.iterdir()):
        batch = np.load(file)
        if len(batch) == ROWS and {row.tobytes() for row in batch} == rows:
            return np.asarray(batch)
    raise AssertionError("it was never asked about all rows without noise")


def mirror(daemon: Daemon, inputs: NDArray[np.float32]) -> None:
    for row in inputs:
        assert daemon.post(json.dumps({"inputs": [row.tolist()]}).encode()) == 202


def assessments(daemon: Daemon, version: str) -> list[dict[str, Any]]:
    """The log's lines on good assessments of a version."""
    return [line for line in daemon.log("assessment") if line["outcome"] == "ok" and line["version"] == version]


def hold_to_library(daemon: Daemon, result: robmon.Assessment) -> None:
    """Every number of every level."""
    for point in result.curve:
        told = {
            name: daemon.value(f"robmon_{name}", level=f"{point.level:g}")
            for name in ("noise_mse", "noise_mse_bound", "embedding_beyond_threshold_ratio", "triplet_flip_ratio",
                         "self_nearest_ratio")
        }  # fmt: skip
        expected = {
            "noise_mse": point.mean_mse,
            "noise_mse_bound": point.bound,
            "embedding_beyond_threshold_ratio": point.beyond_threshold,
            "triplet_flip_ratio": point.triplet_flips,
            "self_nearest_ratio": point.self_nearest,
        }
        assert told == pytest.approx(expected, rel=1e-6), point.level


def test_mirrored_rows_have_the_numbers_of_the_library(
    local: Registry, tmp_path: Path, seen: Path, inputs: NDArray[np.float64]
) -> None:
    """The same rows in the same order, the seed that the log tells, the same specification: the same numbers."""
    model = local.model("embedding")
    model.serve(model.add_of_embeddings(seen))
    with running_daemon(tmp_path / "daemon", model.uri, local.tracking_uri, **SETTINGS) as daemon:
        mirror(daemon, inputs)
        daemon.wait_for(lambda: assessments(daemon, "1"), "an assessment")
        [told] = assessments(daemon, "1")
        rows = as_assessed(seen, inputs)
        own = robmon.assess(embed, rows, seed=told["seed"], **OPTIONS)
        hold_to_library(daemon, own)
        assert 0 < (own.curve[-1].triplet_flips or 0) < (own.curve[-1].beyond_threshold or 0) <= 1
        other = robmon.assess(embed, inputs, seed=told["seed"], **OPTIONS)
        assert other.curve[-1].mean_mse != pytest.approx(own.curve[-1].mean_mse, rel=1e-6), "another order, other noise"


@pytest.mark.long
def test_a_steeper_version_is_rejected_and_a_turned_one_passes_with_the_ratios_of_the_library(
    local: Registry, tmp_path: Path, seen: Path, inputs: NDArray[np.float64]
) -> None:
    """Each against the first one, on its rows, though no request comes any more."""
    model = local.model("embedding")
    versions = {model.add_of_embeddings(seen, **options): options for options in ({}, STEEP, TURNED)}  # type: ignore[arg-type]
    model.serve("1")
    with running_daemon(tmp_path / "daemon", model.uri, local.tracking_uri, **SETTINGS) as daemon:
        mirror(daemon, inputs)
        daemon.wait_for(lambda: assessments(daemon, "1"), "an assessment of the first version")
        [first] = assessments(daemon, "1")
        rows = as_assessed(seen, inputs)
        for version, is_worse in (("2", True), ("3", False)):
            model.serve(version)
            verdict = f"the verdict on version {version}"
            daemon.wait_for(lambda version=version: assessments(daemon, version), verdict, 3 * WAIT_SECONDS)
            new = partial(embed, **versions[version])
            compared = robmon.compare(embed, new, rows, seed=first["seed"], tolerance=0.1, **OPTIONS)
            assert daemon.value("robmon_version_ratio") == pytest.approx(compared.pooled_ratio, rel=1e-6)
            assert daemon.regression_stands is compared.worse is is_worse
