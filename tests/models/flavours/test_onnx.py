"""Models of MLflow's onnx flavour return what its pyfunc returns, with the threads and on the device they are told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow.onnx
import numpy as np
import onnxruntime
import pandas as pd
import psutil
import pytest
import torch
from mlflow.models import ModelSignature
from onnx import TensorProto, helper, numpy_helper

import robmon
from robmon.errors import ModelLoadError, PredictionError
from robmon.models.devices import threads
from robmon.models.devices.device import DeviceUse
from robmon.models.flavours.onnx_predictor import CPU, CUDA, Model, bound_to, cuda_options, session_options
from robmon.models.loading import load
from robmon.models.outputs.outputs import OutputReader
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import columns, named_tensors, tensor

needs_cuda = pytest.mark.skipif(
    CUDA not in onnxruntime.get_available_providers() or not torch.cuda.is_available(), reason="needs a CUDA device"
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 4)).astype(np.float32)
KIND = np.arange(7) % 3
Value = tuple[str, int, Sequence[str | int] | None]
X_INPUT: Value = ("x", TensorProto.FLOAT, ["n", 4])
LOGITS: Value = ("logits", TensorProto.FLOAT, ["n", 3])
LABEL: Value = ("label", TensorProto.INT64, ["n"])


def model_of(nodes: Sequence[Any], inputs: Sequence[Value], outputs: Sequence[Value], **constants: Any) -> Any:
    """A model of ONNX."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def linear(*outputs: Value) -> Any:
    """Logits of three classes, their label, and whether it is the first."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
        helper.make_node("Equal", ["label", "zero"], ["is_first"]),
    ]
    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    return model_of(nodes, [X_INPUT], outputs, w=weights, zero=np.int64(0))


def embedding() -> Any:
    """A number for each row, of its features and its kind."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "one"], ["sum"], keepdims=0),
        helper.make_node("Gather", ["table", "kind"], ["of_kind"]),
        helper.make_node("Add", ["sum", "of_kind"], ["y"]),
    ]
    kind: Value = ("kind", TensorProto.INT64, ["n"])
    table = np.array([0.5, 1.5, 2.5], dtype=np.float32)
    return model_of(nodes, [X_INPUT, kind], [("y", TensorProto.FLOAT, ["n"])], table=table, one=np.array([1]))


def sum_of_columns() -> Any:
    """Each column is an input of its own."""
    nodes = [helper.make_node("Sub", ["a", "b"], ["y"])]
    a, b, y = ((name, TensorProto.FLOAT, ["n"]) for name in ("a", "b", "y"))
    return model_of(nodes, [a, b], [y])


def score() -> Any:
    """One number a row, in a column of its own."""
    weights = np.random.default_rng(1).normal(size=(4, 1)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return model_of(nodes, [X_INPUT], [("y", TensorProto.FLOAT, ["n", 1])], w=weights)


def save(folder: Path, model: Any, signature: ModelSignature | None = None, **options: Any) -> Path:
    with quiet_mlflow():
        mlflow.onnx.save_model(model, folder, signature=signature, pip_requirements=["onnxruntime"], **options)
    return folder


def opened(proto: Any, options: onnxruntime.SessionOptions | None = None) -> Model:
    return Model.of(onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=[CPU]))


TABLE = pd.DataFrame(X.astype(np.float64), columns=list("abcd"))
CASES = {
    "a tensor": (linear(LOGITS), tensor("float32", (-1, 4)), X, None),
    "a tensor, two outputs": (linear(LOGITS, LABEL), tensor("float32", (-1, 4)), X, "label"),
    "a tensor of doubles": (linear(LOGITS), tensor("float64", (-1, 4)), X.astype(np.float64), None),
    "named tensors": (
        embedding(),
        named_tensors(("kind", "int64", (-1,)), ("x", "float32", (-1, 4))),
        {"kind": KIND, "x": X},
        None,
    ),
    "a table as one input": (score(), columns(*((name, "double") for name in "abcd")), TABLE, None),
    "a table, each column an input": (
        sum_of_columns(),
        columns(("b", "double"), ("a", "float")),
        TABLE[["b", "a"]].astype({"a": np.float32}),
        None,
    ),
    "no signature": (linear(LOGITS), None, X, None),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_pyfunc(case: str, tmp_path: Path) -> None:
    proto, signature, inputs, column = CASES[case]
    folder = save(tmp_path / "model", proto, signature)
    model = load(folder)
    assert (model.flavor, model.device, model.remarks) == ("pyfunc", "cpu", ())
    with quiet_mlflow():
        expected = OutputReader(column)(mlflow.pyfunc.load_model(str(folder)).predict(inputs), 7, inputs)
    outputs = model.predict(inputs, OutputReader(column))
    assert (outputs.shape, outputs.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(outputs, expected)


def test_outputs_of_several_numbers_a_row_of_a_table(tmp_path: Path) -> None:
    """MLflow flattens them into one column, which has more rows than the table."""
    model = load(save(tmp_path / "model", linear(LOGITS), columns(*((name, "double") for name in "abcd"))))
    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_allclose(model.predict(TABLE), X @ weights, rtol=1e-5)


def test_an_assessment_is_that_of_the_same_function(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", linear(LOGITS), tensor("float32", (-1, 4)))
    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    options: dict[str, Any] = {"task": "classification", "output": "logit", "levels": (0.1, 0.4), "trials": 19}
    mine = robmon.assess(str(folder), X, **options, device="cpu")
    other = robmon.assess(lambda x: x @ weights, X, **options)
    np.testing.assert_allclose(mine.row_errors, other.row_errors, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_threads_are_as_many_as_the_process_is_held_to(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(linear(LOGITS)).run(X)  # what is started once is started
    monkeypatch.setattr(threads, "_held", count)
    recorded = {"intra_op_num_threads": 5, "inter_op_num_threads": 5, "execution_mode": "parallel"}
    before = psutil.Process().num_threads()
    model = opened(linear(LOGITS), session_options(recorded))
    model.run(np.repeat(X, 1000, axis=0))
    assert psutil.Process().num_threads() - before == count - 1


def test_options_that_change_outputs_are_those_recorded() -> None:
    options = session_options({"graph_optimization_level": 1, "extra_session_config": {"session.use_fp16": "1"}})
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert options.get_session_config_entry("session.use_fp16") == "1"
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_without_cuda_auto_is_told_and_cuda_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "model", linear(LOGITS), tensor("float32", (-1, 4)))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    why = rf"onnxruntime {onnxruntime.__version__} was built without CUDA, unlike onnxruntime-gpu"
    model = load(folder, device=DeviceUse(name="auto", precision="float16"))
    assert model.device == "cpu"
    assert model.remarks == (
        f"device.name is auto, and the model runs on the CPU: {why}",
        "device.precision is float16, which only torch models of tensors take",
    )
    assert model.use.precision is None
    with pytest.raises(ModelLoadError, match=rf"device.name is cuda:1, which cannot be used: {why}"):
        load(folder, device=DeviceUse(name="cuda:1"))


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="needs an ONNX Runtime without CUDA")
def test_a_provider_that_cannot_be_loaded_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the libraries of CUDA are missing: the session has the CPU alone, and nothing is raised."""
    folder = save(tmp_path / "model", linear(LOGITS), tensor("float32", (-1, 4)))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    claimed: list[str] = []
    model = load(folder, device=DeviceUse(name="auto"), claim=claimed.append)
    assert model.device == "cpu"
    assert "does not find all libraries of CUDA" in model.remarks[0]
    assert claimed == ["cuda:0", "cpu"]
    with pytest.raises(ModelLoadError, match=r"device\.name is cuda, which cannot be used: ONNX Runtime does not find"):
        load(folder, device=DeviceUse(name="cuda"))


def test_the_arena_takes_what_it_needs_and_no_more_than_it_may() -> None:
    assert cuda_options("cuda:1", 2**30)["gpu_mem_limit"] == 2**30
    assert cuda_options("cuda:1", 2**30)["device_id"] == 1
    assert "gpu_mem_limit" not in cuda_options("cuda:0", None)
    assert cuda_options("cuda:0", None)["arena_extend_strategy"] == "kSameAsRequested"


def test_tensors_are_bound_where_they_lie() -> None:
    is_first: Value = ("is_first", TensorProto.BOOL, ["n"])
    model = opened(linear(LOGITS, LABEL, is_first))
    bound = bound_to(model, torch.device("cpu"))
    expected = model.run(X)
    for x in (X, torch.from_numpy(X), torch.from_numpy(X).double(), torch.from_numpy(np.ascontiguousarray(X.T)).T):
        outputs = bound(x)
        assert [each.dtype for each in outputs.values()] == [torch.float32, torch.int64, torch.bool]
        for name, output in outputs.items():
            np.testing.assert_array_equal(output.numpy(), expected[name])
    first = bound(torch.from_numpy(X))["logits"].clone()
    kept = bound(torch.from_numpy(X))["logits"]
    for _ in range(3):
        bound(torch.zeros(7, 4))
    assert torch.equal(kept, first), "outputs keep their memory"


def test_named_tensors_are_bound_by_name() -> None:
    model = opened(embedding())
    bound = bound_to(model, torch.device("cpu"))
    outputs = bound({"kind": torch.from_numpy(KIND), "x": torch.from_numpy(X)})
    np.testing.assert_array_equal(outputs["y"].numpy(), model.run({"kind": KIND, "x": X})["y"])


def test_only_tensors_of_numbers_can_be_bound() -> None:
    assert opened(linear(LOGITS)).is_of_tensors
    text = model_of([helper.make_node("Identity", ["x"], ["y"])], [("x", 8, ["n"])], [("y", 8, ["n"])])
    assert not opened(text).is_of_tensors


def test_memory_that_ran_out_is_told(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Expand", ["x", "huge"], ["wide"]),
        helper.make_node("ReduceMax", ["wide"], ["y"], axes=[0, 2], keepdims=0),
    ]
    proto = model_of(nodes, [X_INPUT], [("y", TensorProto.FLOAT, None)], huge=np.array([2**44, 1, 1]))
    model = load(save(tmp_path / "model", proto, tensor("float32", (-1, 4))))
    with pytest.raises(PredictionError) as caught:
        model.predict(X)
    assert caught.value.reason == "out_of_memory"


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "signature", [None, tensor("float32", (-1, 4)), columns(*((each, "float") for each in "abcd"))]
)
def test_a_graph_that_fixes_the_number_of_rows_is_asked_for_so_many(
    count: int, signature: ModelSignature | None, tmp_path: Path
) -> None:
    """As an export with one example has it, whatever the signature says; each output can be chosen."""
    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    inputs: list[Value] = [("x", TensorProto.FLOAT, [count, 4])]
    outputs: list[Value] = [("logits", TensorProto.FLOAT, [count, 3]), ("label", TensorProto.INT64, [count])]
    folder = save(tmp_path / "model", model_of(nodes, inputs, outputs, w=weights), signature)
    table = signature is not None and not signature.inputs.is_tensor_spec()
    rows = pd.DataFrame(X, columns=list("abcd")) if table else X
    result = robmon.assess(str(folder), rows, output_column="logits", levels=(0.1,), trials=19)
    np.testing.assert_allclose(result.clean_outputs, X @ weights, rtol=1e-5)
    labels = robmon.assess(str(folder), rows, output_column="label", task="classification", levels=(0.1,), trials=19)
    assert labels.clean_outputs.tolist() == (X @ weights).argmax(axis=1).tolist()


def test_named_arrays_need_no_signature(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", embedding())
    result = robmon.assess(str(folder), {"x": X, "kind": KIND}, levels=(0.1,), trials=19)
    np.testing.assert_allclose(result.clean_outputs[:, 0], X.sum(axis=1) + KIND + 0.5, rtol=1e-5)
    assert "left alone: kind (int64: a measurement? --integers kind)" in result.notes


def test_a_model_that_raises_is_told_without_its_inputs(tmp_path: Path) -> None:
    model = load(save(tmp_path / "model", linear(LOGITS)))
    with pytest.raises(PredictionError, match=r"^the model raised InvalidArgument$") as caught:
        model.predict(X[:, :3])
    assert caught.value.reason == "model_raised"


def test_without_onnx_runtime_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "model", linear(LOGITS), tensor("float32", (-1, 4)))
    monkeypatch.delitem(sys.modules, "robmon.models.flavours.onnx_predictor")
    monkeypatch.delattr(robmon.models.flavours, "onnx_predictor")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelLoadError, match=r"needs the module onnxruntime, .*pip install 'robmon\[onnx\]'"):
        load(folder)


@needs_cuda
@pytest.mark.parametrize("case", CASES)
def test_outputs_on_cuda_are_those_of_the_cpu(case: str, tmp_path: Path) -> None:
    proto, signature, inputs, column = CASES[case]
    folder = save(tmp_path / "model", proto, signature)
    model = load(folder, device=DeviceUse(name="cuda"))
    assert (model.device, model.remarks) == ("cuda:0", ())
    put = model.put(inputs) if isinstance(inputs, np.ndarray) else inputs
    outputs = model.predict(put, OutputReader(column))
    if isinstance(signature, ModelSignature) and signature.inputs.is_tensor_spec():
        assert outputs.device.type == "cuda"
    expected = load(folder).predict(inputs, OutputReader(column))
    np.testing.assert_allclose(torch.as_tensor(outputs).cpu().numpy(), expected, rtol=1e-2, atol=1e-2)  # TF32
