from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from robmon.errors import PredictionError
from robmon.models.outputs import as_array, check_rows


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (np.array([[1.0, 2.0]]), [[1.0, 2.0]]),
        ([1, 2], [1, 2]),
        ([[0.5, None]], [[0.5, float("nan")]]),
        (np.array([True, False]), [1, 0]),
        (pd.Series([1.5, 2.5]), [1.5, 2.5]),
        (pd.DataFrame({"b": [1.0], "a": [2]}), [[1.0, 2.0]]),
        (pd.DataFrame({"label": ["x", "y"]}), [["x"], ["y"]]),
        ({"a": np.array([1.0, 2.0])}, [1.0, 2.0]),
        ({"z": [1.0, 2.0], "a": [[3.0, 4.0], [5.0, 6.0]]}, [[1.0, 3.0, 4.0], [2.0, 5.0, 6.0]]),
        (([1.0], "state"), [1.0]),
        (np.array(["cat", "dog"]), ["cat", "dog"]),
        (np.array(["cat", "dog"], dtype=object), ["cat", "dog"]),
        (pd.Series(["cat", "dog"]), ["cat", "dog"]),
        (pd.Series(["cat", "dog"], dtype="category"), ["cat", "dog"]),
        (["cat", "dog"], ["cat", "dog"]),
    ],
)
def test_one_array(outputs: Any, expected: list[Any]) -> None:
    np.testing.assert_array_equal(as_array(outputs), np.array(expected))


def test_tensors_stay_tensors() -> None:
    tensor = torch.ones(2, 3, requires_grad=True)
    outputs = as_array(tensor)
    assert isinstance(outputs, torch.Tensor)
    assert not outputs.requires_grad
    assert as_array(torch.tensor([True])).dtype == torch.int64
    both = as_array({"a": torch.ones(2), "b": torch.zeros(2, 2)})
    assert torch.equal(both, torch.tensor([[1.0, 0, 0], [1, 0, 0]]))


@pytest.mark.parametrize(
    "outputs",
    [
        None,
        "text",
        {},
        (),
        {1, 2},
        object(),
        [[1], [1, 2]],
        [{"a": 1.0}],
        ["cat", None],
        np.array([1j]),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        torch.tensor([1j]),
        {"a": [1.0], "b": [1.0, 2.0]},
        {"a": ["cat"], "b": [1.0]},
        pd.DataFrame({"label": ["cat"], "p": [0.5]}),
    ],
)
def test_what_is_no_output(outputs: Any) -> None:
    with pytest.raises(PredictionError, match="the model returned") as raised:
        as_array(outputs)
    assert raised.value.reason == "invalid_output"


@pytest.mark.parametrize("outputs", [np.array(1.0), np.ones((3, 2)), torch.ones(1)])
def test_one_output_a_row(outputs: Any) -> None:
    with pytest.raises(PredictionError, match="for 2 rows") as raised:
        check_rows(outputs, 2)
    assert raised.value.reason == "invalid_output"
    assert check_rows(np.ones(2), 2).tolist() == [1, 1]
