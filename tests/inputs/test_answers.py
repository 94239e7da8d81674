"""Answers as real model servers write them: MLflow's own serialisation, V2 in JSON and binary, compressed."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.pyfunc.scoring_server import predictions_to_json

from robmon.errors import CodecError
from robmon.inputs.codecs import answers


def mlflow_answer(predictions: Any) -> bytes:
    output = io.StringIO()
    predictions_to_json(predictions, output)
    return output.getvalue().encode()


def cells(body: bytes) -> list[Any]:
    """Each row as the list of its outputs."""
    return [
        [np.asarray(cell).tolist() for cell in (row.columns.values() if row.columns is not None else [row.tensor])]
        for row in answers.decode(body)
    ]


@pytest.mark.parametrize(
    ("predictions", "rows"),
    [
        (np.array([1.5, 2.5]), [[1.5], [2.5]]),
        (np.array([[1.5, 2.5], [3.5, 4.5]]), [[[1.5, 2.5]], [[3.5, 4.5]]]),
        (np.array(["cat", "dog"]), [["cat"], ["dog"]]),
        (pd.Series([1.5, 2.5]), [[1.5], [2.5]]),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), [[1, "x"], [2, "y"]]),
        ({"a": np.array([1.5, 2.5])}, [[1.5], [2.5]]),
    ],
)
def test_mlflow(predictions: Any, rows: list[Any]) -> None:
    assert cells(mlflow_answer(predictions)) == rows


def test_v2_in_json_and_binary() -> None:
    described = {"name": "y", "datatype": "FP32", "shape": [2, 2]}
    values = np.array([[1.5, 2.5], [3.5, 4.5]], dtype="<f4")
    as_json = json.dumps({"id": "1", "outputs": [described | {"data": values.ravel().tolist()}]}).encode()
    head = json.dumps({"outputs": [described | {"parameters": {"binary_data_size": 16}}]}).encode()
    for body in (as_json, head + values.tobytes(), gzip.compress(as_json)):
        assert cells(body) == [[[1.5, 2.5]], [[3.5, 4.5]]]


def test_a_bare_list() -> None:
    assert cells(b"[0.5, 1]") == [[0.5], [1]]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"oops", b'{"error": "no"}', b'{"predictions": 1}', b'{"predictions": [1, [2]]}', b"1"]
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(CodecError):
        list(answers.decode(body))


HEADS = st.sampled_from([b"", b'{"predictions": ', b'{"outputs": [{"datatype": '])


@given(HEADS, st.binary())
def test_any_bytes_are_rows_or_refused(head: bytes, tail: bytes) -> None:
    with contextlib.suppress(CodecError):
        list(answers.decode(head + tail))
