"""A model by its URI that is too large for the device that `auto` chose, in the caller's own process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import robmon
from robmon.errors import ModelLoadError, OverBudgetError, SingleRowError
from robmon.library import baselines
from tests.worker.too_large import CUDA, Large, save_large, small_device

INPUTS = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
GIVEN: dict[str, Any] = {"levels": (0.0, 0.1, 0.2), "trials": 19}
NOTE = "device is auto, and the model runs on the CPU: a single row needs more memory than there is on cuda:0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_large(tmp_path_factory.mktemp("large") / "model")


@pytest.fixture(autouse=True)
def on_a_small_device(monkeypatch: pytest.MonkeyPatch) -> None:
    small_device(monkeypatch)


def test_it_is_assessed_on_the_cpu(folder: Path) -> None:
    """By the same numbers as where that was asked for; what it tried in vain is counted."""
    result = robmon.assess(str(folder), INPUTS, **GIVEN)
    assert NOTE in result.notes and result.out_of_memory_retries > 1
    assert {rows for place, rows in Large.called if place == CUDA} >= {64, 1}
    plain = robmon.assess(str(folder), INPUTS, device="cpu", **GIVEN)
    np.testing.assert_array_equal(result.row_errors, plain.row_errors)
    assert set(result.notes) - set(plain.notes) == {NOTE} and plain.out_of_memory_retries == 0


def test_weights_that_do_not_fit(folder: Path) -> None:
    Large.can_be_loaded.discard(CUDA)
    result = robmon.assess(folder, INPUTS, **GIVEN)
    assert NOTE.replace("a single row", "the model") in result.notes
    assert result.out_of_memory_retries == 1


def test_a_device_that_was_asked_for_is_not_left(folder: Path) -> None:
    with pytest.raises(SingleRowError) as caught:
        robmon.assess(str(folder), INPUTS, device="cuda", **GIVEN)
    assert (caught.value.reason, caught.value.device) == ("out_of_memory", CUDA)
    Large.can_be_loaded.discard(CUDA)
    with pytest.raises(ModelLoadError):
        robmon.assess(str(folder), INPUTS, device="cuda", **GIVEN)


def test_a_module_stays_where_its_owner_has_put_it() -> None:
    module = Large()
    module.place = CUDA
    with pytest.raises(SingleRowError):
        robmon.assess(module, INPUTS, **GIVEN)
    assert {place for place, _ in Large.called} == {CUDA}


def test_main_memory_is_no_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into it on the CPU is not tried there again."""
    Large.can_be_loaded.clear()
    monkeypatch.setattr("robmon.models.flavours.torch_predictor.resolve", lambda name: (torch.device("cpu"), []))
    with pytest.raises(ModelLoadError):
        robmon.assess(str(folder), INPUTS, **GIVEN)


def test_it_has_what_is_left_of_the_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Large, "when_full", staticmethod(lambda: time.sleep(0.06)))
    with pytest.raises(OverBudgetError, match=r"the budget is 0\.5 s"):
        robmon.assess(str(folder), INPUTS, max_seconds=0.5, **GIVEN)
    assert robmon.assess(str(folder), INPUTS, device="cpu", max_seconds=60, **GIVEN).cut == ""


def test_whatever_else_assesses_a_model(folder: Path) -> None:
    other = save_large(folder.parent / "other")
    scale = np.ones(3)
    compared = robmon.compare(str(folder), str(other), INPUTS, scale=scale, **GIVEN)
    assert compared.pooled_ratio == pytest.approx(1.0)
    ranked = robmon.rank({"a": str(folder), "b": str(other)}, INPUTS, targets=INPUTS[:, :2], **GIVEN)
    assert NOTE in " ".join(ranked.notes)
    attributed = robmon.attribute(str(folder), INPUTS, level=0.2, pairs=1)
    assert NOTE in attributed.notes
    result, _ = baselines.assess(str(folder), INPUTS, None, 60.0, **GIVEN)
    assert NOTE in result.notes
    attacked = robmon.attack(str(folder), INPUTS, radii=(0.1,), attacks=("random",), scale=1.0, output="logit")
    assert NOTE in attacked.notes
