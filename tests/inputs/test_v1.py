"""KServe's V1 protocol: rows of lists, objects and text, and the tables that KServe's own predictors read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robmon.errors import CodecError
from robmon.inputs.codecs import Row, decode


def rows_of(content: Any) -> list[Row]:
    return list(decode("v1", {}, json.dumps(content).encode()))


def table_of(content: Any) -> list[dict[str, Any] | None]:
    return [row.columns for row in rows_of(content)]


@given(
    hnp.arrays(st.sampled_from([np.dtype("i8"), np.dtype("f8"), np.dtype("?")]), hnp.array_shapes(max_dims=4)),
    st.sampled_from(["instances", "inputs"]),
)
def test_tensors_round_trip_to_the_last_bit(array: np.ndarray[Any, Any], key: str) -> None:
    array = np.where(np.isnan(array), np.nan, array) if array.dtype.kind == "f" else array
    rows = np.stack([row.tensor for row in rows_of({key: array.tolist(), "signature_name": "x"})])  # type: ignore[misc]
    assert (rows.dtype, rows.tobytes()) == (array.dtype, array.tobytes())


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_texts(key: str) -> None:
    assert [np.asarray(row.tensor).item() for row in rows_of({key: ["a", "ü"]})] == ["a", "ü"]


@pytest.mark.parametrize(
    "instance",
    [
        {"a": 1.5, "b": "x"},
        {"a": [1.5], "b": ["x"]},
        {"a": {"0": 1.5}, "b": {"0": "x"}},
        [{"a": 1.5, "b": "x"}],
    ],
)
def test_an_instance_as_pandas_would_read_it(instance: Any) -> None:
    """KServe's predictors hand each instance to `pandas.DataFrame`; plain objects are TensorFlow Serving's rows."""
    assert table_of({"instances": [instance, instance]}) == [{"a": 1.5, "b": "x"}] * 2
    if isinstance(instance, list) or not isinstance(instance["a"], float):
        assert pd.DataFrame(instance).to_dict("records") == [{"a": 1.5, "b": "x"}]


def test_an_instance_of_several_rows() -> None:
    assert table_of({"instances": [[{"a": 1}, {"a": 2}], [{"a": 3}]]}) == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_named_tensors_stay_tensors() -> None:
    (row,) = rows_of({"instances": [{"image": [[1, 2]], "mask": [1]}]})
    assert row.columns is not None
    assert {name: cell.tolist() for name, cell in row.columns.items()} == {"image": [[1, 2]], "mask": [1]}


def test_columns() -> None:
    assert table_of({"inputs": {"a": [1, 2], "b": [3, 4]}}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"instances": []}, "empty"),
        ({"instances": [], "inputs": []}, "ambiguous"),
        ({"instances": "x"}, "no_inputs"),
        ({"instances": [{"a": 1}, 2]}, "no_inputs"),
        ({"instances": [[1], 2]}, "ragged"),
        ({"instances": [[{"a": 1}], [1]]}, "no_inputs"),
        ({}, "no_inputs"),
        ([1], "not_an_object"),
        ({"instances": [[1]], "prompt": "x"}, "unsupported_llm"),
        ({"messages": []}, "unsupported_llm"),
        ({"input": "x"}, "unsupported_llm"),
        ({"text_input": "x"}, "unsupported_llm"),
    ],
)
def test_malformed(content: Any, reason: str) -> None:
    with pytest.raises(CodecError) as caught:
        rows_of(content)
    assert caught.value.reason == reason
