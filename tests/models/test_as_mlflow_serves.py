"""The rows that MLflow's own server would serve are the rows that are assessed, with the same answers."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.pyfunc import scoring_server

from robmon.inputs.codecs import decode
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from tests.models.conftest import columns, named_tensors, save_pyfunc, tensor
from tests.patience import PATIENCE_SECONDS
from tests.servers import model_server

JSON = "application/json"
ROWS = [
    {"name": "ab", "x": 1, "age": 30, "y": 0.1, "member": True},
    {"name": "c", "x": 2.75, "age": 41, "y": 1, "member": False},
    {"name": "ünder", "x": -1e-3, "age": 2**40, "y": 3.5, "member": True},
]
SIGNATURE = columns(("x", "double"), ("name", "string"), ("age", "long"), ("y", "float"), ("member", "boolean"))
NAMES = ["age", "x", "member", "y", "name"]  # not in the signature's order
SHAPES = {
    "dataframe_split": {"columns": NAMES, "data": [[row[name] for name in NAMES] for row in ROWS]},
    "dataframe_records": ROWS,
    "instances": ROWS,
    "inputs": {name: [row[name] for row in ROWS] for name in NAMES},
}


def score(frame: pd.DataFrame) -> Any:
    """Depends on every column and its type."""
    kinds = sum(ord(dtype.kind) for dtype in frame.dtypes)
    return (
        frame["x"].to_numpy() / 3
        + frame["y"].to_numpy() / np.float32(3)
        + frame["age"].to_numpy()
        + frame["name"].str.len().to_numpy()
        + ~frame["member"].to_numpy() * 1000
        + kinds
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pyfunc(tmp_path_factory.mktemp("served") / "model", score, SIGNATURE)


@pytest.fixture(scope="module")
def invoke(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, bytes], Any]]:
    """A call of the real model server."""
    with model_server(folder, tmp_path_factory.mktemp("model-server")) as url:

        def post(content_type: str, body: bytes) -> Any:
            request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": content_type})
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
                return json.load(response)["predictions"]

        yield post


def assessed(model: ServedModel, content_type: str, body: bytes) -> Any:
    """The answers to all rows of a request."""
    inputs, kept, rejected = model.collect(decode("mlflow", {"content-type": content_type}, body))
    assert inputs is not None
    assert (kept, rejected) == (list(range(inputs.rows)), {})
    return model.predict(inputs.assemble(inputs.array, slice(0, inputs.rows))).tolist()


@pytest.mark.parametrize("shape", SHAPES)
def test_json(shape: str, folder: Path, invoke: Callable[[str, bytes], Any]) -> None:
    body = json.dumps({shape: SHAPES[shape]}).encode()
    assert assessed(load(folder), JSON, body) == invoke(JSON, body)


def test_csv(folder: Path, invoke: Callable[[str, bytes], Any]) -> None:
    body = pd.DataFrame(ROWS).to_csv(index=False).encode()
    assert assessed(load(folder), "text/csv", body) == invoke("text/csv", body)


def test_csv_is_read_as_the_types_of_the_signature(folder: Path, invoke: Callable[[str, bytes], Any]) -> None:
    """A text of digits stays one; the answer depends on its length."""
    body = b"name,x,age,y,member\n02139,1,7,2,true\n00501,2.5,8,1e2,False\n"
    answers = assessed(load(folder), "text/csv", body)
    assert answers == invoke("text/csv", body)
    assert answers != assessed(load(folder), "text/csv", body.replace(b"02139", b"2139"))


def test_parquet(folder: Path, invoke: Callable[[str, bytes], Any]) -> None:
    parquet = "application/vnd.apache.parquet"
    frame = pd.DataFrame(ROWS).astype({"y": "float32"})
    assert assessed(load(folder), parquet, frame.to_parquet()) == invoke(parquet, frame.to_parquet())


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b"name,x,age,y,member\nab,1,7.5,2,true\n"),
        ("text/csv", b"name,x,age,y,member\nab,1,,2,true\n"),
        ("application/vnd.apache.parquet", pd.DataFrame([ROWS[0] | {"age": 1.0}]).to_parquet()),
        ("application/vnd.apache.parquet", pd.DataFrame(ROWS).to_parquet()),  # y is double
    ],
)
def test_what_is_refused_of_other_formats(
    content_type: str, body: bytes, folder: Path, invoke: Callable[[str, bytes], Any]
) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        invoke(content_type, body)
    inputs, _, rejected = load(folder).collect(decode("mlflow", {"content-type": content_type}, body))
    assert inputs is None
    assert {reason.split()[0] for reason in rejected} <= {"wrong_type", "missing_value"}


def test_values_are_widened_alike(folder: Path, invoke: Callable[[str, bytes], Any]) -> None:
    rows = [
        {**ROWS[0], "age": 1.9, "extra": [1]},
        {**ROWS[0], "x": "1.5", "member": 1},
        {**ROWS[0], "x": None, "y": "2"},
    ]
    model = load(folder)
    for row in rows:
        body = json.dumps({"dataframe_records": [row]}).encode()
        np.testing.assert_array_equal(assessed(model, JSON, body), np.array(invoke(JSON, body), dtype=float))


@pytest.mark.parametrize("change", [{"age": None}, {"age": "many"}, {"x": "x"}, {"x": [1]}])
def test_what_is_refused_is_rejected(change: dict[str, Any], folder: Path, invoke: Callable[[str, bytes], Any]) -> None:
    body = json.dumps({"dataframe_records": [{**ROWS[0], **change}]}).encode()
    with pytest.raises(urllib.error.HTTPError, match="400"):
        invoke(JSON, body)
    assert load(folder).collect(decode("mlflow", {"content-type": JSON}, body)) == (
        None,
        [],
        {f"{'missing_value' if None in change.values() else 'wrong_type'} {next(iter(change))}": 1},
    )


@pytest.mark.parametrize(
    ("signature", "request_body"),
    [
        (tensor("float32", (-1, 2, 2)), {"inputs": [[[1, 2], [3, 4]], [[0.1, 0], [0, 0]]]}),
        (tensor("float32", (-1, 2)), {"instances": [[1, 2], [0.1, 4]]}),
        (tensor("float64", (-1, 2)), {"dataframe_split": {"columns": ["b", "a"], "data": [[1.5, 2], [3, 4]]}}),
        (tensor("float32", (-1,)), {"inputs": [0.1, 2]}),
        (named_tensors(("a", "float32", (-1, 2)), ("b", "float64", (-1,))), {"inputs": {"b": [1], "a": [[0.1, 2]]}}),
        (
            named_tensors(("a", "float32", (-1, 2)), ("b", "float64", (-1,))),
            {"instances": [{"b": 1, "a": [0.1, 2]}, {"a": [3, 4], "b": 2}]},
        ),
        (
            named_tensors(("a", "float32", (-1, 2, 2)), ("b", "float64", (-1, 1))),
            {"dataframe_split": {"columns": ["b", "a"], "data": [[1, [0.1, 2, 3, 4]]]}},
        ),
        (None, {"inputs": [[1.5, 2], [3, 4]]}),
        (columns(("only", "double")), {"inputs": [1.5, 2]}),
    ],
)
def test_tensors(signature: ModelSignature | None, request_body: dict[str, Any], tmp_path: Path) -> None:
    """By the server's own function, without the server around it."""

    def total(data: Any) -> Any:
        if isinstance(data, dict):
            return sum(value.reshape(len(value), -1).sum(axis=1) * (i + 1) for i, value in enumerate(data.values()))
        if hasattr(data, "to_numpy"):
            data = data.to_numpy()
        return (data.reshape(len(data), -1) / 3 * [1]).sum(axis=1)

    folder = save_pyfunc(tmp_path / "model", total, signature)
    body = json.dumps(request_body).encode()
    served = mlflow.pyfunc.load_model(str(folder))
    answer = scoring_server.invocations(body, JSON, served, served.metadata.get_input_schema())
    assert assessed(load(folder), JSON, body) == json.loads(answer.response)["predictions"]
