"""Whatever MLflow's server takes is assessed, and all rows in one go: each is given to the model as the server does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import scoring_server

from robmon.errors import CodecError
from robmon.inputs.codecs import decode
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import columns, named_tensors, save_pyfunc, tensor

JSON, CSV = "application/json", "text/csv"
Body = tuple[str, bytes]
KINDS = {"double": 1.5, "float": 0.5, "long": 3, "integer": 7, "boolean": True, "string": "x", "datetime": "2020-01-01"}


def describe(frame: Any) -> list[str]:
    """Of each row all that the model sees: columns, types, values. One missing text makes a column `object`."""
    if not isinstance(frame, pd.DataFrame):
        return [repr((str(row.dtype), row.tolist())) for row in np.asarray(frame)]
    types = [
        (str(name), type(name).__name__, str(kind).replace("object", "str")) for name, kind in frame.dtypes.items()
    ]
    return [repr((types, list(map(str, row)))) for row in frame.itertuples(index=False, name=None)]


def json_body(content: Any) -> Body:
    return JSON, json.dumps(content).encode()


def served(folder: Path, bodies: Sequence[Body]) -> list[list[str] | None]:
    """What the server answers to each body; None where it refuses."""
    model, answers = mlflow.pyfunc.load_model(str(folder)), []
    schema = model.metadata.get_input_schema()
    with quiet_mlflow():
        for content_type, body in bodies:
            try:
                answer = scoring_server.invocations(body.decode(), content_type, model, schema)
            except MlflowException:
                answers.append(None)
            else:
                answers.append(json.loads(answer.response)["predictions"])
    return answers


def assessed(model: ServedModel, bodies: Sequence[Body]) -> list[list[str] | None]:
    """What the model answers to all rows of all bodies, asked together; None for a body of which a row is refused."""
    rows: list[Any] = []
    of_body: list[int] = []
    for at, (content_type, body) in enumerate(bodies):
        try:
            decoded = list(decode("mlflow", {"content-type": content_type}, body))
        except CodecError:
            decoded = []
        rows += decoded
        of_body += [at] * len(decoded)
    inputs, kept, rejected = model.collect(rows)
    assert inputs is not None
    assert sorted([*kept, *rejected.by_row]) == list(range(len(rows)))
    outputs = model.predict(inputs.assemble(inputs.array, slice(0, inputs.rows)))
    answers: list[list[str] | None] = [[] if at in of_body else None for at in range(len(bodies))]
    for row in rejected.by_row:
        answers[of_body[row]] = None
    for row, output in zip(kept, outputs.tolist(), strict=True):
        answer = answers[of_body[row]]
        if answer is not None:
            answer.append(output)
    return answers


def bodies_of(rows: Sequence[dict[str, Any]]) -> list[Body]:
    """Each row alone in every form that has names."""
    bodies = []
    for row in rows:
        split = {"columns": list(row), "data": [list(row.values())]}
        bodies += [json_body({"dataframe_split": split}), json_body({"dataframe_records": [row]})]
        bodies += [json_body({"instances": [row]}), json_body({"inputs": {name: [row[name]] for name in row}})]
        bodies.append((CSV, pd.DataFrame([row]).to_csv(index=False).encode()))
    return bodies


@pytest.mark.parametrize("kind", KINDS)
def test_optional_columns(kind: str, tmp_path: Path) -> None:
    """Of every type, absent in some rows, null in others: a row has the columns that it came with."""
    signature = columns(("a", "double"), ("n", kind), ("z", "double"), optional=["n", "z"])
    folder = save_pyfunc(tmp_path / "model", describe, signature)
    rows = [{"a": 0.1}, {"a": 0.2, "n": KINDS[kind]}, {"n": KINDS[kind], "a": 1.5, "z": 2.5}, {"z": 0.5, "a": -1.5}]
    bodies = [*bodies_of(rows), *bodies_of([{"a": 0.5, "n": None}, {"a": 0.5, "z": None}])]
    theirs = served(folder, bodies)
    assert sum(answer is not None for answer in theirs) >= 20
    assert assessed(load(folder), bodies) == theirs


def test_one_body_with_rows_of_unlike_columns(tmp_path: Path) -> None:
    """A table has a missing cell where a record lacks a column."""
    signature = columns(("a", "double"), ("z", "double"), ("s", "string"), optional=["z", "s"])
    folder = save_pyfunc(tmp_path / "model", describe, signature)
    records = [{"a": 0.5}, {"a": 1.5, "z": 2.5}, {"s": "x", "a": 3.5}]
    bodies = [json_body({"dataframe_records": records}), json_body({"dataframe_records": records[:1]})]
    assert assessed(load(folder), bodies) == served(folder, bodies)


def test_what_is_perturbed_is_the_same_in_every_sample(tmp_path: Path) -> None:
    """A baseline has one scale a column, also of those that no row of a sample has."""
    signature = columns(("a", "double"), ("z", "float"), ("n", "long"), optional=["z", "n"])
    model = load(save_pyfunc(tmp_path / "model", describe, signature))
    for record in ({"a": 0.5}, {"a": 0.5, "z": 1.5}, {"a": 0.5, "n": 1}):
        inputs, _, _ = model.collect(decode("mlflow", {}, json_body({"dataframe_records": [record]})[1]))
        assert inputs is not None
        assert inputs.column_names == ("a", "z")


def test_perturbed_values_reach_the_rows_that_have_them(tmp_path: Path) -> None:
    """In batches that are cut anywhere, and of rows in any order."""
    signature = columns(("a", "double"), ("z", "double"), optional=["z"])

    def total(frame: pd.DataFrame) -> Any:
        return frame.sum(axis=1).to_numpy()

    model = load(save_pyfunc(tmp_path / "model", total, signature))
    records = [{"a": float(at), **({"z": 100.0 * at} if at % 3 else {})} for at in range(20)]
    rows = [row for record in records for row in decode("mlflow", {}, json_body({"dataframe_records": [record]})[1])]
    inputs, kept, _ = model.collect(rows)
    assert inputs is not None
    assert kept == list(range(20))
    expected = np.array([2 * record["a"] + 2 * record.get("z", 0) for record in records])
    for batch in (slice(0, 20), slice(0, 1), slice(3, 5), slice(6, 20)):
        np.testing.assert_allclose(model.predict(inputs.assemble(2 * inputs.array[batch], batch)), expected[batch])
    shuffled = inputs.take([5, 0, 3, 19])
    outputs = model.predict(shuffled.assemble(2 * shuffled.array, slice(0, 4)))
    np.testing.assert_allclose(outputs, expected[[5, 0, 3, 19]])


INTEGER_NAMED = pd.DataFrame(np.arange(6.0).reshape(3, 2))


@pytest.mark.parametrize("names", [[0, 1], [2, 1], [5, 7], ["0", "1"], None], ids=str)
def test_numbered_columns(names: Sequence[Any] | None, tmp_path: Path) -> None:
    signature: ModelSignature | None = None
    if names is not None:
        with quiet_mlflow():
            signature = mlflow.models.infer_signature(INTEGER_NAMED.set_axis(names, axis=1))
    folder = save_pyfunc(tmp_path / "model", describe, signature)
    model = load(folder)
    splits = [{"columns": each, "data": [[1.5, 2.5, 3.5][: len(each)]]} for each in ([0, 1], [1, 0], [0, 1, 2], [5, 7])]
    bodies = [json_body({"dataframe_split": split}) for split in [*splits, {"data": [[1.5, 2.5]]}]]
    bodies += [json_body({"dataframe_records": [{"0": 1.5, "1": 2.5}]}), json_body({"inputs": [[1.5, 2.5]]})]
    for body, theirs in zip(bodies, served(folder, bodies), strict=True):
        if theirs is not None:  # robmon also takes digits for numbers, which the server refuses
            assert assessed(model, [body]) == [theirs], body


def split(row: dict[str, Any], **others: Any) -> dict[str, Any]:
    """A table of one row."""
    return {"dataframe_split": {"columns": list(row), "data": [list(row.values())], **others}}


ROW = {"a": 0.5, "n": 3, "s": "x", "m": True}
TABLE = columns(("a", "double"), ("n", "long"), ("s", "string"), ("m", "boolean"))
BODIES: dict[str, tuple[ModelSignature | None, list[Any]]] = {
    "table": (
        TABLE,
        [
            *(split({**ROW, **change}) for change in (
                {}, {"a": 1}, {"a": "0.5"}, {"a": True}, {"a": None}, {"n": "3"}, {"n": 3.0}, {"n": 3.7}, {"n": True},
                {"n": None}, {"n": 2**63 - 1}, {"n": 2**70}, {"s": 5}, {"s": None}, {"m": 1}, {"m": 2}, {"m": "true"},
                {"m": ""}, {"m": None}, {"extra": [1]},
            )),
            split(ROW, index=[7]), {**split(ROW), "params": {"p": 1}}, {"dataframe_records": [ROW], "params": {}},
            {"dataframe_records": [ROW, {"m": False, "s": "y", "a": 1.5, "n": 4}]}, {"dataframe_records": ROW},
            {"dataframe_records": [ROW, {"a": 1.5, "n": 4, "s": "y"}]}, {"dataframe_records": []},
            {"dataframe_split": {"columns": [*ROW, "z", "z"], "data": [[*ROW.values(), 1, 2]]}},
            {"dataframe_split": {"columns": [*ROW, "s"], "data": [[*ROW.values(), "y"]]}},
            {"dataframe_split": {"columns": [*ROW], "data": [[*ROW.values()], [1, 2, "y"]]}},
            {"dataframe_split": {"columns": [*ROW], "data": [[1, 2, "y"]]}},
            {"inputs": ROW}, {"inputs": [ROW]}, {"inputs": {name: [cell] for name, cell in ROW.items()}},
            {"instances": [ROW, ROW]}, {"instances": ROW}, {"instances": [ROW], "inputs": [ROW]},
        ],
    ),
    "date": (
        columns(("a", "double"), ("t", "datetime")),
        [
            split({"a": 0.5, "t": time})
            for time in ("2020-01-01", "2020-01-01T10:00:00", "01/02/2020", 0, 1.5e9, None, "x")
        ],
    ),
    "tensor": (
        tensor("float32", (-1, 2)),
        [
            *({"inputs": data} for data in ([[1, 2]], [[1, "2"]], [[True, 2]], [1, 2], [[1, 2, 3]], [[[1, 2]]], [])),
            split({"p": 1.5, "q": 2}), split({"p": [1.5, 2]}), {"dataframe_records": [{"p": 1.5, "q": 2}]},
        ],
    ),
    "named tensors": (
        named_tensors(("x", "float32", (-1, 2)), ("k", "int64", (-1,))),
        [
            *({"inputs": {"x": [[1, 2]], **other}} for other in (
                {"k": [3]}, {}, {"k": [3], "z": [1]}, {"k": [3.0]}, {"k": [3.7]}, {"k": ["x"]},
            )),
            {"instances": [{"k": 3, "x": [1, 2]}]}, split({"x": [1, 2], "k": 3}),
        ],
    ),
    "none": (
        None,
        [{"inputs": [[1.5, 2]]}, {"inputs": [1.5]}, {"instances": [{"a": [1.5, 2]}]}, split({"a": 1.5, "s": "x"})],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_whatever_the_server_takes(name: str, tmp_path: Path) -> None:
    """And what it refuses here is refused."""

    def count(data: Any) -> Any:
        return np.zeros(len(next(iter(data.values())) if isinstance(data, dict) else data))

    signature, contents = BODIES[name]
    folder = save_pyfunc(tmp_path / "model", count, signature)
    model, bodies = load(folder), [json_body(content) for content in contents]
    for body, theirs in zip(bodies, served(folder, bodies), strict=True):
        try:
            rows = list(decode("mlflow", {"content-type": JSON}, body[1]))
        except CodecError:
            rows = []
        inputs, kept, _ = model.collect(rows)
        assert (len(kept) == len(rows) > 0) == (theirs is not None), body
        if theirs is not None and inputs is not None:
            assert len(model.predict(inputs.assemble(inputs.array, slice(0, inputs.rows)))) == len(theirs)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "signature",
    [None, tensor("float32", (-1, 3)), tensor("float64", (-1, 3)), named_tensors(("x", "float32", (-1, 3)))],
    ids=["none", "float32", "float64", "named"],
)
def test_what_is_no_number_in_tensors(signature: ModelSignature | None, tmp_path: Path) -> None:
    """NaN, null and infinities reach the model as they do from the server; noise leaves them alone."""

    def rows_of(data: Any) -> list[str]:
        array = np.asarray(data["x"] if isinstance(data, dict) else data)
        return [repr((array.dtype.name, row.tolist())) for row in array]

    folder = save_pyfunc(tmp_path / "model", rows_of, signature)
    rows = [[0.5, 1.5, 2.5], [0.5, NAN, 1.2], [NAN] * 3, [INF, 0.5, -INF], [1e39, 0.5, 0.5], [1, 2.5, NAN]]
    if signature is not None:  # without one the server makes objects of rows with null
        rows.append([0.5, None, 1.2])  # type: ignore[list-item]
    bodies = [json_body({key: [row]}) for row in rows for key in ("inputs", "instances")]
    model = load(folder)
    assert assessed(model, bodies) == served(folder, bodies)

    inputs, _, _ = model.collect(decode("mlflow", {}, json_body({"inputs": rows[:3]})[1]))
    assert inputs is not None
    noisy = model.predict(inputs.assemble(inputs.array + 1, slice(0, 3))).tolist()
    assert [("nan" in row, "1.5" in row) for row in noisy] == [(False, True), (True, True), (True, False)]
