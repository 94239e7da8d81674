"""The baseline of a version, as it is written and read again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from robmon.drift.features import array_columns
from robmon.drift.summaries import Summaries
from robmon.errors import InvalidInputError
from robmon.history.baseline.baseline import Baseline
from robmon.history.baseline.checksum import is_intact, with_checksum
from robmon.history.baseline.format import baseline_from_dict, baseline_to_dict
from robmon.robustness.features.channels import FeatureAxis


def learnt() -> dict[str, Any]:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(50, 3))
    baseline = Baseline.empty([0.0, 0.1], inputs, FeatureAxis(1))
    baseline.learn_inputs(inputs)
    baseline.learn_results("value", inputs.sum(axis=1)[:, None], random.random((50, 2)))
    return baseline_to_dict(baseline)


def test_what_is_written_is_read_to_the_bit() -> None:
    written = json.loads(json.dumps(learnt(), indent=2))
    assert written["format"] == 2 and is_intact(written)
    assert baseline_to_dict(baseline_from_dict(written)) == written


def test_any_number_that_differs_is_found() -> None:
    damaged = learnt()
    damaged["rows"] += 1
    with pytest.raises(InvalidInputError, match="checksum does not fit"):
        baseline_from_dict(damaged)
    del damaged["checksum"]
    with pytest.raises(InvalidInputError, match="checksum does not fit"):
        baseline_from_dict(damaged)


def test_one_of_format_1_is_read_where_it_suffices() -> None:
    older = {**learnt(), "format": 1, "source": "learnt"}
    for key in ("checksum", "inputs_seen", "outputs_seen"):
        del older[key]
    bins = {"edges": [[-1.0, 0.0, 1.0]] * 3, "counts": [[8, 17, 17, 8, 0]] * 3}
    older |= {"input_histograms": bins, "prediction_histograms": {"edges": [[0.0]], "counts": [[25, 25, 0]]}}
    read = baseline_from_dict(json.loads(json.dumps(older)))
    assert read.rows == 50 and baseline_to_dict(baseline_from_dict(baseline_to_dict(read))) == baseline_to_dict(read)
    rows = np.random.default_rng(1).normal(2.0, size=(60, 3))
    features = read.input_drift(array_columns(rows, ["a", "b", "c"]), q=0.01)
    assert [(each.name, each.measured) for each in features] == [("a", False), ("b", False), ("c", False)]
    assert all(each.psi is not None and each.psi > 1 and each.ks is None for each in features)
    (output,) = read.prediction_drift(rows[:, :1], q=0.01)
    assert output.psi is not None and output.psi > 0.25
    learning = baseline_from_dict({**older, "source": "learning"})
    assert isinstance(learning.inputs_seen, Summaries) and not learning.inputs_seen.features, "it is learnt anew"


@pytest.mark.parametrize("content", [{"format": 3}, {"format": "2"}, {}, with_checksum({"format": 99})])
def test_one_of_another_format_is_refused_by_name(content: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="not of format 1 or 2"):
        baseline_from_dict(content)


def test_a_number_too_large_for_a_float_is_damage() -> None:
    with pytest.raises(InvalidInputError, match="damaged"):
        baseline_from_dict({"format": 1, "levels": [10**400]})


def test_nesting_too_deep_for_a_checksum_is_damage() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    try:
        with pytest.raises(InvalidInputError, match="damaged"):
            baseline_from_dict({"format": 2, "levels": deep, "checksum": ""})
    finally:
        while deep:  # else the interpreter unwinds it by itself, as deep
            deep = deep[0]
