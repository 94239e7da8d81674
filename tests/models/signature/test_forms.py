"""Rows in several forms, cells that hold several numbers, and calls of a fixed number of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pydantic
import pytest
import torch
from mlflow.models import infer_signature
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import Array, DataType, Map, Object, Property

import robmon
from robmon.errors import PredictionError
from robmon.inputs.codecs import Row
from robmon.models.loading import load
from robmon.models.remote.as_sent import AsSent
from robmon.models.served.served import ServedModel
from robmon.models.signature.columns import Columns
from robmon.models.signature.signature import Signature
from robmon.models.signature.tensors import NamedTensors, Tensor, TensorSpec
from robmon.models.signature.unsigned import Unsigned
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import save_pyfunc

FLOAT = np.dtype(np.float32)


def served(signature: Signature, predict: Callable[[Any], Any], put: Callable[[Any], Any] = lambda x: x) -> ServedModel:
    """A model of this signature, without files."""
    return ServedModel("pyfunc", "cpu", [], signature, predict, put)


def of_lengths(lengths: Sequence[int], width: int = 16) -> list[Row]:
    random = np.random.default_rng(0)
    return [Row(tensor=random.normal(size=(length, width)).astype(np.float32)) for length in lengths]


LENGTHS = [5 + at % 7 for at in range(64)]


@pytest.mark.parametrize("kind", ["tensor", "named", "torch"])
def test_tensors_of_variable_length_are_assessed_together(kind: str) -> None:
    """The model gets rows of one length at a time, and none of what the array is filled up with."""
    seen: set[tuple[int, ...]] = set()

    def predict(data: Any) -> Any:
        tensor = data["x"] if isinstance(data, dict) else data
        seen.add(tuple(tensor.shape))
        if isinstance(tensor, torch.Tensor):
            assert tensor.is_contiguous()
            return tensor.mean(dim=(1, 2))
        assert np.isfinite(tensor).all()
        return tensor.mean(axis=(1, 2))

    spec = TensorSpec(FLOAT, (-1, -1, 16))
    signature: Signature = NamedTensors({"x": spec}) if kind == "named" else Tensor(spec)
    model = served(signature, predict, torch.from_numpy if kind == "torch" else lambda x: x)
    rows = of_lengths(LENGTHS)
    inputs, kept, rejected = model.collect(rows)
    assert inputs is not None
    assert (kept, rejected) == (list(range(64)), {})
    array = model.put(inputs.array)
    for batch in (slice(0, 64), slice(10, 17), slice(3, 4)):
        outputs = np.asarray(model.predict(inputs.assemble(array[batch] + 1, batch)))
        expected = [np.mean(row.tensor) + 1 for row in rows[batch]]
        np.testing.assert_allclose(outputs, expected, rtol=1e-5)
    assert {shape[1] for shape in seen} == set(range(5, 12))
    assert inputs.axis().scale_shape(inputs.array.shape) == (1, 16)
    assert "which alone has a fixed size" in inputs.axis().notes[0]
    assert min(shape[0] for shape in seen if shape[0]) == 1, "of one row alone, where there is no other"
    some = inputs.take([5, 60, 7])
    outputs = np.asarray(model.predict(some.assemble(model.put(some.array), slice(0, 3))))
    np.testing.assert_allclose(outputs, [np.mean(rows[at].tensor) for at in (5, 60, 7)], rtol=1e-5)


def test_sequences_of_single_values_share_a_scale() -> None:
    model = served(Tensor(TensorSpec(FLOAT, (-1, -1))), lambda x: x.sum(axis=1))
    rows = [Row(tensor=np.ones(3 + at % 5)) for at in range(20)]
    inputs, _, rejected = model.collect(rows)
    assert inputs is not None and not rejected
    assert inputs.array.shape == (20, 7, 1)
    assert inputs.axis().scale_shape(inputs.array.shape) == (1, 1)
    outputs = model.predict(inputs.assemble(inputs.array, slice(0, 20)))
    assert outputs.tolist() == [3 + at % 5 for at in range(20)]


def test_an_odd_length_is_a_row_of_another_shape() -> None:
    """Where nearly all have one shape the size does not vary, and what is perturbed is the same in every sample."""
    signature = Tensor(TensorSpec(FLOAT, (-1, -1)))
    rows = [Row(tensor=np.ones(12 if at == 7 else 13)) for at in range(40)]
    inputs, _, rejected = signature.collect(rows)
    assert inputs is not None
    assert inputs.array.shape == (39, 13)
    assert rejected == {"other_shape": 1} and rejected.by_row == {7: "other_shape"}


def test_lengths_that_are_far_apart_do_not_fill_the_memory() -> None:
    signature = Tensor(TensorSpec(FLOAT, (-1, -1, 16)))
    rows = [*of_lengths([4, 4, 5, 4] * 20), *of_lengths([100_000])]
    inputs, _, rejected = signature.collect(rows)
    assert inputs is not None
    assert inputs.array.shape == (60, 4, 16)
    assert rejected == {"other_shape": 21}


def test_other_tensors_beside_those_of_variable_length() -> None:
    specs = {"ids": TensorSpec(np.dtype(np.int64), (-1, -1)), "x": TensorSpec(FLOAT, (-1, -1, 2)),
             "k": TensorSpec(FLOAT, (-1, 3))}  # fmt: skip

    def predict(data: dict[str, Any]) -> Any:
        assert data["ids"].shape == data["x"].shape[:2]
        return data["ids"].sum(axis=1) + data["x"].sum(axis=(1, 2)) + data["k"].sum(axis=1)

    lengths = [2 + at % 3 for at in range(12)]
    rows = [
        Row(columns={"ids": np.full(n, 10), "x": np.full((n, 2), 0.5), "k": np.ones(3)}) for n in lengths
    ]  # fmt: skip
    model = served(NamedTensors(specs), predict)
    inputs, kept, _ = model.collect(rows)
    assert inputs is not None and len(kept) == 12
    outputs = model.predict(inputs.assemble(inputs.array, slice(0, 12)))
    np.testing.assert_allclose(outputs, [11 * n + 3 for n in lengths])


def test_outputs_of_another_shape_for_inputs_of_another_are_refused() -> None:
    model = served(Tensor(TensorSpec(FLOAT, (-1, -1, 16))), lambda x: x.sum(axis=2))
    inputs, _, _ = model.collect(of_lengths([5, 6, 7]))
    assert inputs is not None
    with pytest.raises(PredictionError, match="outputs differ in shape with the columns or the shape of its inputs"):
        model.predict(inputs.assemble(inputs.array, slice(0, 3)))


@pytest.mark.parametrize("signature", [Unsigned(FLOAT, None, as_matrix=True), AsSent()], ids=["unsigned", "endpoint"])
def test_without_a_signature_most_rows_tell_the_shape(signature: Signature) -> None:
    rows = of_lengths([5, 6, 6, 7, 6])
    inputs, kept, rejected = signature.collect(rows)
    assert inputs is not None
    assert (kept, rejected) == ([1, 2, 4], {"other_shape": 2})


# --- cells of several numbers -----------------------------------------------------------------------------------------


def test_lists_in_a_column_are_perturbed(tmp_path: Path) -> None:
    """Beside a floating column, and alone: a model that lives on the embedding is not index 1."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"embedding": random.normal(size=(60, 4)).tolist(), "x": random.normal(size=60)})

    def predict(data: pd.DataFrame) -> Any:
        assert all(type(cell) is list and type(cell[0]) is float for cell in data["embedding"])
        return np.array([3 * cell[0] + cell[3] for cell in data["embedding"]])

    with quiet_mlflow():
        both, alone = infer_signature(frame), infer_signature(frame[["embedding"]])
    beside = robmon.assess(load(save_pyfunc(tmp_path / "a", predict, both)), frame)
    only = robmon.assess(load(save_pyfunc(tmp_path / "b", predict, alone)), frame[["embedding"]])
    matrix = np.array(frame["embedding"].tolist())
    expected = robmon.assess(lambda x: 3 * x[:, 0] + x[:, 3], matrix)
    assert only.index == pytest.approx(expected.index)
    assert beside.index == pytest.approx(expected.index, abs=0.02)
    assert beside.index < 0.99


def test_every_floating_number_of_a_nested_cell_is_perturbed() -> None:
    kind = Object(
        [
            Property("width", DataType.double),
            Property("label", DataType.string),
            Property("depth", DataType.double, required=False),
            Property("points", Array(Array(DataType.double))),
            Property("weights", Map(DataType.double)),
        ]
    )
    schema = Schema([ColSpec(kind, "box"), ColSpec("long", "n"), ColSpec(Array(DataType.string), "tags")])
    cells = [
        {"width": 0.5 + at, "label": "a", "points": [[1.0, 2.0], [3.0, 4.0]], "weights": {"u": 1.5, "v": 2.5}}
        | ({"depth": 7.5} if at % 2 else {})
        for at in range(6)
    ]
    rows = [Row(columns={"n": 3, "box": cell, "tags": np.array(["p", "q"], dtype=object)}, reading="frame")
            for cell in cells]  # fmt: skip
    inputs, kept, rejected = Columns(schema).collect(rows)
    assert inputs is not None
    assert (kept, rejected) == (list(range(6)), {})
    points = [f"box.points[{row}][{column}]" for row in range(2) for column in range(2)]
    assert inputs.column_names == ("box.depth", "box.width", *points, "box.weights.u", "box.weights.v")
    frame = inputs.assemble(inputs.array[2:5] + 100, slice(2, 5))
    assert list(frame.columns) == ["box", "n", "tags"]
    assert frame["n"].tolist() == [3, 3, 3]
    for at, cell in zip(range(2, 5), frame["box"], strict=True):
        assert cell == {
            "width": 100.5 + at,
            "label": "a",
            "points": [[101.0, 102.0], [103.0, 104.0]],
            "weights": {"u": 101.5, "v": 102.5},
        } | ({"depth": 107.5} if at % 2 else {})
    assert inputs.take([5]).assemble(inputs.array[5:], slice(0, 1))["box"][0]["depth"] == 7.5


def test_lists_of_another_length_are_told() -> None:
    schema = Schema([ColSpec(Array(DataType.double), "e"), ColSpec("double", "x")])
    rows = [Row(columns={"e": np.ones(2 if at == 3 else 4), "x": 0.5}, reading="frame") for at in range(9)]
    inputs, _, rejected = Columns(schema).collect(rows)
    assert inputs is not None
    assert inputs.array.shape == (8, 5)
    assert rejected == {"other_shape e": 1}


def test_keys_that_strangers_choose_do_not_fill_the_memory() -> None:
    """Numbers under a key of a map that few rows have stay as they are."""
    schema = Schema([ColSpec(Map(DataType.double), "m")])
    rows = [Row(columns={"m": {"usual": 0.5, f"odd {at}": 1.5}}, reading="frame") for at in range(50)]
    inputs, kept, _ = Columns(schema).collect(rows)
    assert inputs is not None and len(kept) == 50
    assert inputs.column_names == ("m.usual",)
    frame = inputs.assemble(inputs.array[7:8] + 1, slice(7, 8))
    assert frame["m"].tolist() == [{"usual": 1.5, "odd 7": 1.5}]


# --- signatures from type hints ---------------------------------------------------------------------------------------


class Sensor(pydantic.BaseModel):
    a: float
    b: float | None = None
    k: int = 0
    v: list[float] = []


class OfNumbers(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, model_input: list[float]) -> list[float]:
        return [2 * x for x in model_input]


class OfLists(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, model_input: list[list[float]]) -> list[float]:
        return [sum(x) for x in model_input]


class OfMaps(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, model_input: list[dict[str, float]]) -> list[float]:
        return [sum(x.values()) for x in model_input]


class OfObjects(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, model_input: list[Sensor]) -> list[float]:
        return [x.a + (x.b or 0.0) + x.k + sum(x.v) for x in model_input]


@pytest.mark.parametrize(
    ("model", "elements", "total"),
    [
        (OfNumbers(), [0.5, 1.5, 2.5], [1.0, 3.0, 5.0]),
        (OfLists(), [[0.5, 1.5], [2.5, 0.5]], [2.0, 3.0]),
        (OfMaps(), [{"a": 0.5, "b": 1.5}, {"b": 0.5, "a": 0.25}], [2.0, 0.75]),
        (OfObjects(), [{"a": 0.5, "k": 2}, {"a": 1.5, "b": 0.25}, {"a": 0.5, "v": [1.5]}], [2.5, 1.75, 2.0]),
    ],
    ids=["float", "list", "dict", "pydantic"],
)
def test_signatures_from_type_hints(model: Any, elements: list[Any], total: list[float], tmp_path: Path) -> None:
    """The model gets a list of what its hint says, every floating number of which is perturbed."""
    with quiet_mlflow():
        mlflow.pyfunc.save_model(tmp_path / "model", python_model=model, pip_requirements=[])
    loaded = load(tmp_path / "model")
    rows = [
        Row(columns=element) if isinstance(element, dict) else Row(tensor=np.asarray(element)) for element in elements
    ]
    inputs, kept, rejected = loaded.collect(rows)
    assert inputs is not None
    assert (kept, rejected) == (list(range(len(elements))), {})
    outputs = loaded.predict(inputs.assemble(inputs.array, slice(0, inputs.rows)))
    assert outputs.tolist() == total
    moved = loaded.predict(inputs.assemble(inputs.array + 1, slice(0, inputs.rows)))
    assert (moved > outputs).all()


# --- calls of a fixed number of rows ----------------------------------------------------------------------------------


@dataclass
class Exact:
    """A model that takes so many rows, and no other number."""

    count: int
    calls: int = 0

    def __call__(self, data: Any) -> Any:
        tensor = data["x"] if isinstance(data, dict) else data
        assert len(tensor) == self.count
        self.calls += 1
        return tensor.sum(-1)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("kind", ["tensor", "named", "torch"])
def test_a_fixed_number_of_rows(count: int, kind: str) -> None:
    exact, spec = Exact(count), TensorSpec(FLOAT, (count, 3))
    signature: Signature = NamedTensors({"x": spec}, count) if kind == "named" else Tensor(spec, count)
    model = served(signature, exact, torch.from_numpy if kind == "torch" else lambda x: x)
    rows = [Row(tensor=np.arange(3) + at) for at in range(10)]
    inputs, kept, _ = model.collect(rows)
    assert inputs is not None and kept == list(range(10))
    outputs = model.predict(inputs.assemble(model.put(inputs.array), slice(0, 10)))
    assert outputs.tolist() == [3.0 + 3 * at for at in range(10)]
    assert exact.calls == (10 if count == 1 else 3)
