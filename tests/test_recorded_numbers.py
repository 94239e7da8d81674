"""Every number of seeded assessments, comparisons, rankings and of one daemon, held to its last digit.

What is recorded is `recorded_numbers.json` beside this file; `python -m tests.test_recorded_numbers` writes it anew,
which is for changes that are meant to change numbers, and for them alone. Exponentials and matrix products differ in
their last digits between processors, so that on another one than the recording's numbers are held to 9 digits, and of a
module in single precision to 4.
"""

from __future__ import annotations

import asyncio
import json
import math
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import robmon
from robmon import clock
from robmon.daemon.app import Daemon
from robmon.settings import load
from tests.endpoint import V2Model, serving

RECORDED = Path(__file__).with_name("recorded_numbers.json")
WORDS = ("notes", "cut", "level_unit", "why", "flip_note", "left_out", "a", "b")
"""Of results: what speaks, and what is a result of its own."""


def rows(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


WEIGHTS = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, -3.0], [1.0, 1.0, 0.25], [-0.5, 2.0, 1.0]])


def scores(x: Any, factor: float = 1.0, bend: float = 0.0) -> Any:
    """Logits of three classes, by sums of products alone."""
    hidden = (x[:, :, None] * WEIGHTS).sum(axis=1)
    return factor * (hidden + bend * hidden * hidden)


def shares(x: Any, factor: float = 1.0) -> Any:
    logits = np.exp(scores(x, factor))
    return logits / logits.sum(axis=1, keepdims=True)


def network(hidden: int = 16) -> torch.nn.Module:
    """A small one with weights that do not come from a random generator."""
    module = torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 3))
    with torch.no_grad():
        for part in module.parameters():
            part.copy_((torch.arange(part.numel()) * 7 % 11 - 5).reshape(part.shape) / 8)
    return module.train()


def frame(count: int = 80) -> pd.DataFrame:
    numbers = rows(count, 3, seed=5)
    numbers[::9, 0] = np.nan
    numbers[::11, 1] = -999.0
    return pd.DataFrame(
        {
            "age": 40 + 10 * numbers[:, 0],
            "income": numbers[:, 1],
            "visits": np.arange(count) % 13,
            "is_new": (np.arange(count) % 3 == 0).astype(float),
            "town": np.where(np.arange(count) % 2, "north", "south"),
        }
    )


def premium(table: pd.DataFrame) -> Any:
    return (table["age"].fillna(38.0) * table["is_new"] + 2 * table["visits"] + 3 * table["income"]).to_numpy()


def coin(generator: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return generator.choice([-1.0, 1.0], size=shape)


X = rows(96, 4)
CLASSES = np.argmax(scores(X), axis=1)
Numbers = Callable[[], Any]

ASSESSMENTS: dict[str, Numbers] = {
    "module, logits, targets": lambda: robmon.assess(
        network(), X.astype(np.float32), CLASSES, task="classification", seed=1, device="cpu"
    ),
    "values, input units, tolerance bound": lambda: robmon.assess(
        lambda x: x[:, :2] * x[:, 2:] + x[:, 1:3], X, scale=1.0, bound="tolerance", trials=59, seed=2, mse_limit=0.2
    ),
    "frame, missing, integers": lambda: robmon.assess(
        premium, frame(), noise="missing", levels=(0.1, 0.3), integers=["visits"], seed=3
    ),
    "labels, salt and pepper, targets": lambda: robmon.assess(
        lambda x: np.argmax(scores(x), axis=1), X, 2 - CLASSES, "salt_and_pepper", (0.1, 0.5), task="classification"
    ),
    "probabilities, uniform, one batch of 7 after another": lambda: robmon.assess(
        shares, X, CLASSES, "uniform", task="classification", max_batch_rows=7, seed=4, trials=9, confidence=0.9
    ),
    "values, laplace, targets, cantelli": lambda: robmon.assess(
        lambda x: scores(x)[:, 0], X, scores(X, 1.1)[:, 0], "laplace", bound="cantelli", trials=30, seed=5
    ),
    "sequences, student_t, student_t bound": lambda: robmon.assess(
        lambda x: x[:, 0, :] - 2 * x[:, 1, :], rows(64, 2, 5), noise="student_t", bound="student_t", scale_axis=1
    ),
    "images, common mode, float32": lambda: robmon.assess(
        lambda x: x[:, 0] * x[:, 1], rows(40, 2, 6, 6).astype(np.float32), noise="common_mode", seed=6
    ),
    "per column, one's own noise, clipped": lambda: robmon.assess(
        scores,
        X,
        noise=robmon.noise.PerColumn(
            {0: robmon.Noise("coin", coin), 1: robmon.noise.Gaussian(clip=(-1.0, 1.0)), 2: "multiplicative"}, "quantize"
        ),
        seed=7,
    ),
    "several labels at once, correlated": lambda: robmon.assess(
        lambda x: 1 / (1 + scores(x) ** 2), X, noise="correlated", task="classification", output="multilabel", seed=8
    ),
    "whole numbers, all of them": lambda: robmon.assess(
        lambda x: x[:, 0] * 2.0 - x[:, 1], (10 * X).astype(np.int64), integers="all", levels=(0.05, 0.2, 0.4), seed=9
    ),
    "not finite at the highest levels": lambda: robmon.assess(
        lambda x: np.where(x[:, 0] > 2.4, np.inf, x[:, 0]), X[X[:, 0] < 2.3], seed=10, levels=(0.1, 1.0)
    ),
    "random model": lambda: robmon.assess(unsteady(), X, seed=11, levels=(0.5, 1.0)),
    "one part of the outputs": lambda: robmon.assess(
        lambda x: {"sum": x.sum(axis=1), "scores": scores(x)}, X, output_column="scores", seed=12
    ),
}
COMPARISONS: dict[str, Numbers] = {
    "values": lambda: robmon.compare(lambda x: scores(x)[:, :2], lambda x: scores(x, 1.1, 0.05)[:, :2], X, seed=1),
    "logits": lambda: robmon.compare(
        scores, lambda x: scores(x, 1.4, 0.1), X, tolerance=0.1, task="classification", seed=2
    ),
    "probabilities of modules": lambda: robmon.compare(
        network(), network(24), X.astype(np.float32), task="classification", seed=3, device="cpu"
    ),
    "labels": lambda: robmon.compare(
        lambda x: CLASS_NAMES[np.argmax(scores(x), axis=1)],
        lambda x: CLASS_NAMES[np.argmax(scores(x, 1.0, 0.4), axis=1)],
        X,
        task="classification",
        levels=(0.2, 0.6),
    ),
    "not finite where the reference is": lambda: robmon.compare(
        lambda x: x[:, 0], lambda x: np.where(x[:, 1] > 2, np.nan, x[:, 0]), X, noise="uniform"
    ),
    "frames": lambda: robmon.compare(
        premium, lambda table: premium(table) + 0.9 * table["income"].abs(), frame(), seed=4, alpha=0.05
    ),
}
RANKINGS: dict[str, Numbers] = {
    "accuracy": lambda: robmon.rank(
        {"sharp": scores, "bent": lambda x: scores(x, 1.0, 0.5), "module": lambda x: shares(x[:, ::-1])},
        X,
        CLASSES,
        task="classification",
        seed=1,
    ),
    "mse": lambda: robmon.rank(
        {"steep": lambda x: 1.2 * x[:, 0], "flat": lambda x: 0.9 * x[:, 0]}, X, X[:, 0], levels=(0.1, 0.4, 0.8), seed=2
    ),
}
CLASS_NAMES = np.array(["bird", "cat", "dog"])


def unsteady() -> Callable[[Any], Any]:
    """A model that is itself random, by a generator of its own."""
    own = np.random.default_rng(1)
    return lambda x: x[:, 0] + 0.01 * own.normal(size=len(x))


def numbers_of(result: Any) -> dict[str, Any]:
    """Every number of a result by where it stands, those of its rows too."""
    content = {name: value for name, value in result.to_dict().items() if name not in WORDS}
    for name in ("row_errors", "normalised_row_errors", "row_agreement", "row_accuracy", "clean_outputs"):
        values = getattr(result, name, None)
        if values is not None and values.dtype.kind == "f":
            content[name] = [each if math.isfinite(each) else str(each) for each in values[:5].ravel().tolist()]
    return dict(leaves(content))


def leaves(content: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers and words, and lists of such, by where they stand."""
    if isinstance(content, list) and any(isinstance(each, dict | list) for each in content):
        content = dict(enumerate(content))
    if isinstance(content, dict):
        for key, value in content.items():
            yield from leaves(value, f"{place}/{key}")
    else:
        yield place, content


async def daemon_metrics(folder: Path) -> dict[str, Any]:
    """What a daemon measures and decides, by series, after two assessments of a version and one of the next.

    Its schedule, its ports and the order in which mirrored requests happen to be drawn are left out; all between the
    sample and /metrics is as it runs: the settings, the messages, a worker process that asks a real endpoint.
    """
    model = V2Model(lambda arrays: {"y": scores(arrays["x"])}, "triton", [("x", "FP64", [-1, 4])], "1")
    with serving(model) as server:
        settings = load(
            {
                "model.uri": f"{server.url}/v2/models/digits/infer",
                "model.rows_per_second": 1e6,
                "model.batch_rows": 64,
                "data_dir": folder,
                "http.port": 0,
                "inputs.port": 0,
                "inputs.sample_rows": 64,
                "assess.min_rows": 32,
                "assess.task": "classification",
                "assess.max_seconds": 600,
                "assess.trials": 9,
                "assess.confidence": 0.9,
                "assess.levels": "0.1 0.4",
                "assess.mse_limit": 0.5,
                "baseline.min_rows": 48,
            }
        ).settings
        daemon = Daemon(settings)
        daemon._sample._random = Random(0)
        try:
            await daemon._follow()
            for batch in range(2):
                offer(daemon, batch)
                await daemon._assess()
            published = [dict(series(daemon))]
            model.predict, model.version = lambda arrays: {"y": scores(arrays["x"], 1.3, 0.02)}, "2"
            for _ in range(2):  # at the first, the answer tells the version
                await daemon._assess()
            published.append(dict(series(daemon)))
        finally:
            await daemon._runner.close()
            await daemon._host.close()
            await daemon._writer.close()
    kept = daemon._chronicle._past.assessments()
    assert [line["specification"] for line in kept] == [settings.specification_digest] * 3
    return dict(leaves(published))


def offer(daemon: Daemon, batch: int) -> None:
    """Requests with one row each."""
    for row in rows(48, 4, seed=20 + batch).tolist():
        body = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": row}]}
        daemon._sample.offer(json.dumps(body).encode(), "v2", {"content-type": "application/json"}, clock.now())


def series(daemon: Daemon) -> Iterator[tuple[str, Any]]:
    """The measurements and verdicts; times, counts of requests and the process's own are another's."""
    prefixes = (
        *("robmon_noise", "robmon_request", "robmon_robustness", "robmon_prediction", "robmon_input_drift"),
        *("robmon_input_features", "robmon_version", "robmon_regression_detected", "robmon_assessment_rows"),
        *("robmon_assessment_trials", "robmon_clean", "robmon_labelled", "robmon_baseline_rows"),
    )
    for family in text_string_to_metric_families(generate_latest(daemon._metrics.registry).decode()):
        for sample in family.samples if family.name.startswith(prefixes) else ():
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            yield f"{sample.name}{{{labels}}}", sample.value if math.isfinite(sample.value) else str(sample.value)


def machine() -> dict[str, Any]:
    """What the last digits depend on besides robmon."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return {"processor": platform.machine(), "simd": found, "numpy": np.__version__, "torch": torch.__version__}


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return content


def check(found: dict[str, Any], wanted: dict[str, Any], is_same_machine: bool, digits: int = 9) -> None:
    """Hold all that was recorded; what is new beside it is not looked at."""
    now = {place: found.get(place, "(gone)") for place in wanted}
    apart = {place: (wanted[place], now[place]) for place in wanted if now[place] != wanted[place]}
    if not is_same_machine:
        apart = {place: pair for place, pair in apart.items() if not are_near(*pair, digits)}
    assert not apart, f"{len(apart)} of {len(wanted)} places, recorded and now: {dict(list(apart.items())[:5])}"


def are_near(wanted: Any, found: Any, digits: int) -> bool:
    """Whether numbers, or lists of them, agree in so many digits."""
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(are_near, wanted, found, [digits] * len(wanted)))
    if isinstance(wanted, float) and isinstance(found, float):
        return math.isclose(wanted, found, rel_tol=10.0**-digits, abs_tol=10.0 ** (-digits - 3))
    return bool(wanted == found)


@pytest.mark.parametrize("name", [*ASSESSMENTS])
def test_assessments(recorded: dict[str, Any], name: str) -> None:
    found, is_same_machine = as_written(numbers_of(ASSESSMENTS[name]())), recorded["machine"] == machine()
    # A module computes in single precision, and what does not fit a line is a small difference of large numbers.
    check(found, recorded["assessments"][name], is_same_machine, digits=4 if name.startswith("module") else 9)


@pytest.mark.parametrize("name", [*COMPARISONS])
def test_comparisons(recorded: dict[str, Any], name: str) -> None:
    check(as_written(numbers_of(COMPARISONS[name]())), recorded["comparisons"][name], recorded["machine"] == machine())


@pytest.mark.parametrize("name", [*RANKINGS])
def test_rankings(recorded: dict[str, Any], name: str) -> None:
    check(as_written(numbers_of(RANKINGS[name]())), recorded["rankings"][name], recorded["machine"] == machine())


def test_metrics_of_a_daemon(recorded: dict[str, Any], tmp_path: Path) -> None:
    check(as_written(asyncio.run(daemon_metrics(tmp_path))), recorded["daemon"], recorded["machine"] == machine())


def as_written(content: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it, which gives every float back to its last digit."""
    again: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False))
    return again


def record(folder: Path) -> None:
    """Write all numbers as they are now."""
    content = {
        "machine": machine(),
        "assessments": {name: numbers_of(each()) for name, each in ASSESSMENTS.items()},
        "comparisons": {name: numbers_of(each()) for name, each in COMPARISONS.items()},
        "rankings": {name: numbers_of(each()) for name, each in RANKINGS.items()},
        "daemon": asyncio.run(daemon_metrics(folder)),
    }
    lines = json.dumps(content, indent=1, allow_nan=False)
    RECORDED.write_text(re.sub(r"\[\s+([^]{}[]*?)\s+\]", _in_one_line, lines) + "\n", encoding="utf-8")


def _in_one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[1].split())}]"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        record(Path(temporary))
