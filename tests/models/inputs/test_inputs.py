from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robmon.errors import InvalidInputError
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.inputs.split import split

DTYPES = ["float64", "float32", "Float64", "int64", "bool", "str", "category", "datetime64[ns]"]


def column(dtype: str, rows: int) -> pd.Series:
    if dtype.startswith(("float", "Float")):
        values = pd.Series(np.arange(rows) + 0.5)
        values.iloc[:1] = np.nan
        return values.astype(dtype)
    if dtype == "datetime64[ns]":
        return pd.Series(pd.date_range("2026-01-01", periods=rows, unit="ns"))
    return pd.Series(np.arange(rows)).astype(str if dtype == "category" else "int64").astype(dtype)


@given(
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=8).filter(
        lambda dtypes: any(dtype.lower().startswith("float") for dtype in dtypes)
    ),
    rows=st.integers(1, 5),
    start=st.integers(0, 4),
)
@settings(max_examples=50, deadline=None)
def test_a_frame_is_put_together_as_it_was(dtypes: list[str], rows: int, start: int) -> None:
    frame = pd.DataFrame({f"{i} {dtype}": column(dtype, rows) for i, dtype in enumerate(dtypes)})
    inputs = split(frame.set_axis(range(7, 7 + rows)))
    assert inputs.array.dtype == np.float64
    assert inputs.feature_names == tuple(name for name in frame if "loat" in name)
    batch = slice(min(start, rows - 1), rows)
    assembled = inputs.assemble(inputs.array[batch], batch)
    pd.testing.assert_frame_equal(assembled.reset_index(drop=True), frame[batch].reset_index(drop=True))


def test_only_floating_columns_change() -> None:
    frame = pd.DataFrame(
        {
            "a": ["x", "y"],
            "b": np.array([1, 2], np.float32),
            "c": [3, 4],
            "d": [5.0, np.nan],
            "e": np.array([7, 8], np.float32),
        }
    )
    inputs = split(frame)
    noisy = inputs.assemble(inputs.array + 0.25, slice(0, 2))
    assert noisy.dtypes.equals(frame.dtypes)
    assert noisy.columns.equals(frame.columns)
    assert noisy["b"].tolist() == [1.25, 2.25]
    assert noisy["e"].tolist() == [7.25, 8.25]
    assert noisy["d"].iloc[0] == 5.25
    assert np.isnan(noisy["d"].iloc[1]), "what is missing stays missing"
    assert noisy[["a", "c"]].equals(frame[["a", "c"]])


def test_columns_with_the_same_name() -> None:
    frame = pd.DataFrame([[1, 2.0, 3.0]], columns=["a", "a", "a"])
    inputs = split(frame)
    pd.testing.assert_frame_equal(inputs.assemble(inputs.array, slice(0, 1)), frame)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arrays_are_taken_as_they_are(dtype: str) -> None:
    array = np.ones((3, 2, 4, 4), dtype=dtype)
    inputs = split(array)
    assert inputs.array is array
    assert inputs.assemble(array[1:], slice(1, 3)).shape == (2, 2, 4, 4)
    assert inputs.feature_names == ("channel_0", "channel_1")
    assert split(np.ones((3, 2))).feature_names == ("input[0]", "input[1]")
    assert split(np.ones(3)).feature_names == ("input",)


def test_tensors_of_torch() -> None:
    inputs = split(torch.ones((3, 2)))
    assert inputs.array.dtype == np.float32
    tensor = torch.zeros((1, 2))
    assert inputs.assemble(tensor, slice(0, 1)) is tensor


def test_named_tensors() -> None:
    tensors = {
        "image": np.arange(8, dtype=np.float32).reshape(2, 2, 2),
        "kind": np.array([[1], [2]]),
        "weight": np.array([0.5, 0.25]),
    }
    inputs = split(tensors)
    assert inputs.array.shape == (2, 5)
    assert inputs.column_names == ("image[0]", "image[1]", "image[2]", "image[3]", "weight")
    assert inputs.feature_names == ("image.channel_0", "image.channel_1", "weight")
    assembled = inputs.assemble(inputs.array[1:], slice(1, 2))
    assert list(assembled) == list(tensors)
    for name, tensor in tensors.items():
        assert assembled[name].dtype == tensor.dtype
        np.testing.assert_array_equal(assembled[name], tensor[1:])

    of_torch = inputs.assemble(torch.from_numpy(inputs.array), slice(0, 2))
    assert (of_torch["image"].dtype, of_torch["weight"].dtype) == (torch.float32, torch.float64)
    assert torch.equal(of_torch["image"], torch.from_numpy(tensors["image"]))


def test_take() -> None:
    frame = pd.DataFrame({"k": ["a", "b", "c"], "x": [1.0, 2.0, 3.0]})
    for inputs in (split(frame), split(frame).take([0, 1, 2])):
        taken = inputs.take([2, 0])
        assembled = taken.assemble(taken.array[1:], slice(1, 2))
        assert assembled.to_dict("records") == [{"k": "a", "x": 1.0}]
    tensors = split({"x": np.array([[1.0], [2.0]]), "k": np.array([1, 2])}).take(np.array([1]))
    assert {name: value.tolist() for name, value in tensors.assemble(tensors.array, slice(0, 1)).items()} == {
        "x": [[2.0]],
        "k": [2],
    }


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (np.ones((2, 2), dtype=np.int64), "the inputs are int64, not floating-point numbers"),
        (np.array([["a"]]), "the inputs are <U1, not"),
        (pd.DataFrame({"a": [1], "b": ["x"]}), r"no column has floating-point numbers \(a: int64, b: text\)"),
        (pd.DataFrame({str(i): [1] for i in range(12)}), "9: int64 and 2 more"),
        ({"a": np.array([1])}, r"no tensor has floating-point numbers \(a: int64\)"),
        ({"a": np.array([1.0]), "b": np.array([1.0, 2.0])}, "differ in rows: a has 1, b has 2"),
        ({"a": np.array(1.0)}, "needs a first axis of rows"),
        (np.float64(1), "not float64"),
        (np.array(1.0), "no rows"),
        (np.ones((0, 2)), "no rows"),
        (pd.DataFrame({"a": np.array([], dtype=float)}), "no rows"),
        ({}, "not dict"),
        ("text", "not str"),
    ],
)
def test_what_cannot_be_used(inputs: object, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        split(inputs)


def test_is_frozen() -> None:
    inputs = split(np.ones((1, 1)))
    assert isinstance(inputs, ModelInputs)
    with pytest.raises(AttributeError):
        inputs.array = np.zeros((1, 1))  # type: ignore[misc]


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))],
)
def test_tensors_are_taken_apart_wherever_they_lie(device: str) -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], device=device, requires_grad=True)
    assert split(x).array.tolist() == split({"x": x, "kind": torch.arange(2, device=device)}).array.tolist()
    assert split({"x": x.to(torch.bfloat16)}).array.dtype == np.float32
