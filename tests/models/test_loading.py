from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pytorch
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import ModelSignature
from sklearn.linear_model import LogisticRegression

from robmon.errors import InvalidInputError, ModelLoadError, PredictionError
from robmon.models.devices.device import DeviceUse, Precision
from robmon.models.devices.torch_device import load_driver, why_no_cuda
from robmon.models.loading import load
from robmon.models.requirements import mismatches
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import columns, named_tensors, save_pyfunc, tensor
from tests.patience import PATIENCE_SECONDS


@dataclass(frozen=True)
class Row:
    columns: dict[str, Any] | None = None
    tensor: Any | None = None
    reading: str = "frame"
    texts: None = None
    listed: bool = False


def module() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.ReLU(), torch.nn.Linear(8, 3))


def save_torch(folder: Path, form: str, signature: ModelSignature | None) -> torch.nn.Module:
    net = module().eval()
    example = np.zeros((2, 4), dtype=np.float32) if form == "pt2" else None
    saved = torch.jit.script(net) if form == "torchscript" else net
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            saved,
            folder,
            signature=signature,
            input_example=example,
            pip_requirements=["torch"],
            serialization_format="pt2" if form == "pt2" else "pickle",
        )
    return net


@pytest.mark.parametrize("form", ["pickle", "pt2", "torchscript"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torch(form: str, tmp_path: Path) -> None:
    net = save_torch(tmp_path / "model", form, tensor("float32", (-1, 4)))
    model = load(tmp_path / "model")
    assert (model.flavor, model.device) == ("torch", "cpu")

    values = np.random.default_rng(0).normal(size=(5, 4))
    inputs, kept, rejected = model.collect([Row(tensor=row.tolist()) for row in values])
    assert (kept, rejected) == ([0, 1, 2, 3, 4], {})
    assert inputs is not None
    assert inputs.array.dtype == np.float32

    put = model.put(inputs.array)
    assert put.data_ptr() == inputs.array.ctypes.data, "the same memory"
    outputs = model.predict(inputs.assemble(put, slice(0, 5)))
    assert isinstance(outputs, torch.Tensor)
    assert not outputs.requires_grad
    with torch.no_grad():
        expected = net(torch.from_numpy(values.astype(np.float32)))
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-6)
    assert torch.equal(outputs, model.predict(put)), "in eval mode the dropout does nothing"


def test_torch_without_a_signature(tmp_path: Path) -> None:
    save_torch(tmp_path / "model", "pickle", None)
    model = load(tmp_path / "model")
    inputs, kept, rejected = model.collect(
        [Row(tensor=[1, 2, 3, 4]), Row(tensor=[1, 2]), Row(columns={"b": 4, "a": 3, "c": 2, "d": 1}), Row(tensor=["x"])]
    )
    assert inputs is not None
    assert inputs.array.dtype == np.float32
    assert inputs.array.tolist() == [[1, 2, 3, 4], [4, 3, 2, 1]]
    assert (kept, rejected) == ([0, 2], {"other_shape": 1, "wrong_type": 1})
    assert model.predict(model.put(inputs.array)).shape == (2, 3)


def test_dtype_and_shape_of_the_settings(tmp_path: Path) -> None:
    save_torch(tmp_path / "model", "pickle", None)
    model = load(tmp_path / "model", input_dtype="float64", input_shape=(2, 2))
    inputs, kept, rejected = model.collect([Row(tensor=[1, 2, 3, 4]), Row(tensor=[[1, 2], [3, 4]]), Row(tensor=[1])])
    assert inputs is not None
    assert (inputs.array.dtype, inputs.array.shape) == (np.float64, (2, 2, 2))
    assert (kept, rejected) == ([0, 1], {"wrong_shape": 1})


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")  # of MLflow's own making
def test_torch_with_columns_is_called_as_the_server_does(tmp_path: Path) -> None:
    net = save_torch(tmp_path / "model", "pickle", columns(*((name, "double") for name in "abcd")))
    model = load(tmp_path / "model")
    assert (model.flavor, model.device) == ("pyfunc", "cpu")
    inputs, _, _ = model.collect([Row(columns={"d": 4, "c": 3, "b": 2.5, "a": 1, "extra": "x"})])
    assert inputs is not None
    outputs = model.predict(inputs.assemble(inputs.array, slice(0, 1)))
    with torch.no_grad():
        np.testing.assert_allclose(outputs, net(torch.tensor([[1, 2.5, 3, 4]])).numpy(), atol=1e-6)


def test_torch_with_named_tensors(tmp_path: Path) -> None:
    class Two(torch.nn.Module):
        def forward(self, position: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
            return position.sum(dim=(1, 2)) + 10 * kind

    with quiet_mlflow():
        mlflow.pytorch.save_model(
            Two(),
            tmp_path / "model",
            signature=named_tensors(("position", "float32", (-1, 2, 2)), ("kind", "int64", (-1,))),
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    model = load(tmp_path / "model")
    inputs, kept, rejected = model.collect(
        [
            Row(columns={"kind": 1, "position": [[1, 2], [3, 4]]}),
            Row(tensor=[[[1, 1], [1, 1]], 2]),
            Row(columns={"kind": 1}),
        ]
    )
    assert inputs is not None
    assert (kept, rejected) == ([0, 1], {"missing_column position": 1})
    assert inputs.array.shape == (2, 2, 2)
    assert inputs.feature_names == ("position.channel_0", "position.channel_1")
    outputs = model.predict(inputs.assemble(model.put(inputs.array), slice(0, 2)))
    assert outputs.tolist() == [20, 24]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("form", ["pickle", "pt2", "torchscript"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_precision(form: str, precision: Precision, tmp_path: Path) -> None:
    """It is what computes, and the model says so; without it nothing differs."""
    net = save_torch(tmp_path / "model", form, tensor("float32", (-1, 4)))
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32))
    with torch.no_grad():
        exact = net(inputs)
    whole, half = (load(tmp_path / "model", device=DeviceUse(precision=each)) for each in (None, precision))
    assert (whole.use.precision, whole.notes) == (None, ())
    assert torch.equal(whole.predict(inputs), exact)
    outputs = half.predict(inputs)
    assert outputs.dtype == getattr(torch, precision)
    error = (outputs.float() - exact).abs().max()
    assert 0 < error < 0.02
    assert half.notes == (f"the model computes in {precision} wherever autocast lets it (device.precision)",)


def test_precision_that_a_model_does_not_take_is_told(tmp_path: Path) -> None:
    with quiet_mlflow():
        given: dict[str, Any] = {"serialization_format": "pickle", "pip_requirements": ["torch"]}
        mlflow.pytorch.save_model(module().double().eval(), tmp_path / "double", **given)
        table = columns(*((name, "float") for name in "abcd"))
        mlflow.pytorch.save_model(module().eval(), tmp_path / "table", signature=table, **given)
    use = DeviceUse(precision="bfloat16", duty_cycle=0.5, memory_fraction=0.2, max_utilization=0.5)
    for folder, why in {
        "double": "device.precision is bfloat16, and autocast leaves a float64 model as it is",
        "table": "device.precision is bfloat16, which only torch models of tensors take",
    }.items():
        model = load(tmp_path / folder, device=use)
        assert (model.use.precision, model.notes, model.remarks) == (None, (), (why,))
        assert model.use == DeviceUse(), "what spares a GPU spares no processor"


def test_cuda_of_a_model_that_is_no_torch_model_is_told(tmp_path: Path) -> None:
    folder = save_pyfunc(tmp_path / "model", lambda inputs: inputs["a"].to_numpy(), columns(("a", "double")))
    (why,) = load(folder, device=DeviceUse(name="cuda:1")).remarks
    assert why == "device.name is cuda:1, which only torch and ONNX models take: MLflow runs this one where it chooses"
    assert load(folder, device=DeviceUse(name="auto")).remarks == ()


def test_no_such_device(tmp_path: Path) -> None:
    save_torch(tmp_path / "model", "pickle", None)
    count = torch.cuda.device_count()
    why = f", and there are {count} CUDA devices" if count else f", which cannot be used: {unusable()}"
    with pytest.raises(ModelLoadError, match=re.escape(f"device.name is cuda:99{why}")):
        load(tmp_path / "model", device=DeviceUse(name="cuda:99"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_auto_says_why_it_is_the_cpu(tmp_path: Path) -> None:
    save_torch(tmp_path / "model", "pickle", None)
    claimed: list[str] = []
    model = load(tmp_path / "model", device=DeviceUse(name="auto", duty_cycle=0.5), claim=claimed.append)
    assert (model.device, model.duty_cycle, claimed) == ("cpu", None, ["cpu"])
    assert model.remarks == (f"device.name is auto, and the model runs on the CPU: {unusable()}",)


def unusable() -> str:
    return why_no_cuda(torch.version.cuda, load_driver)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's own way: a DataFrame in, labels of text out."""
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(200, 2)), columns=["height", "weight"])
    labels = np.where(frame["height"] > frame["weight"], "tall", "heavy")
    folder = tmp_path_factory.mktemp("classifier") / "model"
    with quiet_mlflow():
        mlflow.sklearn.save_model(
            LogisticRegression().fit(frame, labels),
            folder,
            signature=columns(("height", "double"), ("weight", "double")),
            pip_requirements=["scikit-learn==1.0", "numpy", "no-such-package>=2"],
        )
    return folder


def test_classifier_that_returns_labels(classifier: Path) -> None:
    model = load(classifier)
    inputs, _, _ = model.collect([Row(tensor=[2.0, 1.0]), Row(columns={"weight": 3, "height": 1})])
    assert inputs is not None
    assert model.predict(inputs.assemble(inputs.array, slice(0, 2))).tolist() == ["tall", "heavy"]


def test_requirements_are_compared(classifier: Path) -> None:
    import sklearn

    assert load(classifier).mismatches == [
        f"scikit-learn {sklearn.__version__} is installed, the model wants ==1.0",
        "no-such-package is not installed, the model wants >=2",
    ]


def test_columns_of_many_types(tmp_path: Path) -> None:
    """Floating columns are perturbed; the model sees every column in the type and place that the signature says."""

    def describe(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        types = f"{list(frame.columns)} {[str(dtype) for dtype in frame.dtypes]}"
        return np.array([f"{types} {row.tolist()}" for row in frame.to_numpy(dtype=object)])

    signature = columns(
        ("name", "string"), ("x", "double"), ("age", "long"), ("y", "float"), ("member", "boolean"), ("note", "string"),
        optional=["note"],
    )  # fmt: skip
    model = load(save_pyfunc(tmp_path / "model", describe, signature))
    rows = [
        Row(columns={"name": "a", "x": 1, "age": 30, "y": 0.5, "member": True}),
        Row(columns={"name": "b", "x": None, "age": 2.9, "y": 1, "member": False, "note": "n", "extra": 1}),
        Row(columns={"name": "c", "x": 1, "age": None, "y": 1, "member": True}),
        Row(columns={"name": "d", "x": "many", "age": 1, "y": 1, "member": True}),
        Row(columns={"name": "e", "age": 1, "y": 1, "member": True}),
        Row(tensor=["f", 2, 9007199254740993, 4, False, "o"]),
        Row(tensor=["g", 2]),
    ]
    inputs, kept, rejected = model.collect(rows)
    assert inputs is not None
    assert kept == [0, 1, 5]
    assert rejected == {"missing_value age": 1, "wrong_type x": 1, "missing_column x": 1, "wrong_shape": 1}
    assert inputs.feature_names == ("x", "y")
    np.testing.assert_array_equal(inputs.array, [[1, 0.5], [np.nan, 1], [2, 4]])

    outputs = model.predict(inputs.assemble(inputs.array + 0.25, slice(0, 3)))
    assert outputs[0].startswith("['name', 'x', 'age', 'y', 'member'] ['str', 'float64', 'int64', 'float32', 'bool'] [")
    assert outputs[1].startswith(
        "['name', 'x', 'age', 'y', 'member', 'note'] ['str', 'float64', 'int64', 'float32', 'b"
    )
    assert outputs[1].endswith("['b', nan, 2, 1.25, False, 'n']")
    assert outputs[2].endswith("['f', 2.25, 9007199254740993, 4.25, False, 'o']")


def test_named_tensors(tmp_path: Path) -> None:
    def total(tensors: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        assert {name: (t.dtype.name, t.shape[1:]) for name, t in tensors.items()} == {
            "image": ("float32", (2, 2)),
            "kind": ("int64", ()),
        }
        return tensors["image"].sum(axis=(1, 2)) + tensors["kind"]

    signature = named_tensors(("image", "float32", (-1, 2, 2)), ("kind", "int64", (-1,)))
    model = load(save_pyfunc(tmp_path / "model", total, signature))
    inputs, kept, rejected = model.collect(
        [
            Row(columns={"kind": 5, "image": [[1, 2], [3, 4]]}),
            Row(columns={"kind": 5, "image": [1, 2, 3, 4]}),  # flat, as the cell of a table
            Row(columns={"kind": 5, "image": [[1, 2, 3], [3, 4, 5]]}),
            Row(columns={"kind": 5, "image": [[1, 2], [3, float("inf")]]}),
            Row(columns={"kind": "five", "image": [[1, 2], [3, 4]]}),
        ]
    )
    assert inputs is not None
    assert (kept, rejected) == ([0, 1, 3], {"wrong_shape": 1, "wrong_type": 1})
    assert model.predict(inputs.assemble(inputs.array[1:2], slice(1, 2))).tolist() == [15.0]


def test_pyfunc_without_a_signature(tmp_path: Path) -> None:
    def predict(data: Any) -> Any:
        return data["x"] + len(data["kind"][0]) if isinstance(data, pd.DataFrame) else data.sum(axis=1)

    model = load(save_pyfunc(tmp_path / "model", predict, None))
    inputs, kept, rejected = model.collect(
        [
            Row(columns={"x": 1, "kind": "abc"}),
            Row(columns={"kind": "de", "x": 2.5}),
            Row(columns={"x": "two", "kind": "f"}),
            Row(columns={"x": 1}),
            Row(tensor=[7, "g"]),
        ]
    )
    assert inputs is not None
    assert (kept, rejected) == ([0, 1, 4], {"wrong_type": 1, "missing_column": 1})
    assert inputs.feature_names == ("x",)
    assert model.predict(inputs.assemble(inputs.array, slice(0, 3))).tolist() == [4, 5.5, 10]

    inputs, _, _ = model.collect([Row(tensor=[1, 2, 3])])
    assert inputs is not None
    assert inputs.array.dtype == np.float64
    assert model.predict(inputs.array).tolist() == [6]


def test_no_row_fits(classifier: Path) -> None:
    model = load(classifier)
    assert model.collect([Row(tensor=[1])]) == (None, [], {"wrong_shape": 1})
    assert model.collect([Row(tensor=["a", "b"])]) == (None, [], {"wrong_type height": 1})
    assert model.collect([]) == (None, [], {})


@pytest.mark.parametrize(
    "signature",
    [columns(("a", "long"), ("b", "string")), tensor("int64", (-1, 3)), named_tensors(("a", "bool", (-1,)))],
    ids=["columns", "tensor", "named tensors"],
)
def test_nothing_to_perturb(signature: ModelSignature, tmp_path: Path) -> None:
    save_pyfunc(tmp_path / "model", len, signature)
    with pytest.raises(ModelLoadError, match="nothing can be perturbed"):
        load(tmp_path / "model")


def test_nothing_to_perturb_and_no_signature(tmp_path: Path) -> None:
    model = load(save_pyfunc(tmp_path / "model", len, None))
    with pytest.raises(InvalidInputError, match=r"no column has floating-point numbers \(a: text\)"):
        model.collect([Row(columns={"a": "text"})])


def test_numbers_of_rows_that_differ(tmp_path: Path) -> None:
    save_pyfunc(tmp_path / "model", len, named_tensors(("a", "float32", (8, 3)), ("b", "float32", (1, 3))))
    with pytest.raises(ModelLoadError, match=r"no common number of rows: their shapes are \(8, 3\), \(1, 3\)"):
        load(tmp_path / "model")


def test_a_model_that_raises(tmp_path: Path) -> None:
    def fail(data: Any) -> Any:
        raise KeyError(f"secret {data}")

    model = load(save_pyfunc(tmp_path / "model", fail, tensor("float64", (-1, 1))))
    with pytest.raises(PredictionError, match=r"^the model raised KeyError$") as raised:
        model.predict(np.array([[1.0]]))
    assert raised.value.reason == "model_raised"
    assert isinstance(raised.value.__cause__, KeyError)


def test_a_model_that_runs_out_of_memory(tmp_path: Path) -> None:
    model = load(save_pyfunc(tmp_path / "model", lambda data: np.zeros(2**50), tensor("float64", (-1, 1))))
    with pytest.raises(PredictionError) as raised:
        model.predict(np.array([[1.0]]))
    assert raised.value.reason == "out_of_memory"


def test_a_model_that_drops_rows(tmp_path: Path) -> None:
    model = load(save_pyfunc(tmp_path / "model", lambda data: data[1:], tensor("float64", (-1, 1))))
    with pytest.raises(PredictionError, match=r"shape \(1, 1\) for 2 rows") as raised:
        model.predict(np.array([[1.0], [2.0]]))
    assert raised.value.reason == "invalid_output"


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no readable MLmodel file"):
        load(tmp_path)
    (tmp_path / "MLmodel").write_text("flavors: [1, 2]")
    with pytest.raises(ModelLoadError, match="not what MLflow writes"):
        load(tmp_path)
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: no_such_module}}")
    with pytest.raises(ModelLoadError, match=r"the model needs the module no_such_module, which .* lacks"):
        load(tmp_path)


def test_of_requirements_that_are_not_met_a_bounded_number_is_told(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("".join(f"no-such-package-{n}>={'1' * 1000}\n" for n in range(500)))
    told = mismatches(tmp_path)
    assert (len(told), told[-1]) == (51, "450 more requirements are not met")
    assert max(map(len, told)) < 500


def test_requirements_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    deep = f"numpy; {'(' * 5000}python_version>'3'{')' * 5000}"
    (tmp_path / "requirements.txt").write_text(f"{deep}\nnumpy=={'1' * 5000}\nno-such-package\n")
    assert mismatches(tmp_path) == ["no-such-package is not installed, the model wants it"]


def test_needs_no_registry_and_leaves_nothing(tmp_path: Path) -> None:
    """In an empty home, where MLflow would make its database; torch comes only with torch models."""
    folder = save_pyfunc(tmp_path / "model", lambda data: data * 2, tensor("float64", (-1, 1)))
    before = sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    (tmp_path / "home").mkdir()
    program = (
        "import sys, numpy as np; from robmon.models.loading import load\n"
        "assert load(sys.argv[1]).predict(np.array([[2.0]])).tolist() == [[4.0]]\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = {
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        cwd=tmp_path / "home",
        env=environment,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    assert list((tmp_path / "home").rglob("*")) == []
    assert sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts) == before
