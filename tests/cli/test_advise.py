"""`robmon advise` on models in folders and in a registry: what is read, what is not, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.onnx
import mlflow.pytorch
import mlflow.sklearn
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from robmon.cli.main import main
from robmon.library.advise import advise
from robmon.models.loading import load_uri
from tests.mlflow_client import quiet_mlflow, tracking
from tests.servers import local_registry

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("no_settings")]
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
SIDE = 16


class Net(nn.Module):
    """Normalises, convolves, takes maxima, leaves pixels out and makes the rest smaller, all of it by functions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.register_buffer("std", torch.tensor(STD).reshape(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(self.conv((x - 0.5) / self.std), 2)
        x = functional.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
        return x[:, :, ::2, ::2].flatten(1)


def signature(*shape: int) -> ModelSignature:
    return ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))]))


def graph_of(module: Net) -> onnx.ModelProto:
    """The same as a graph; its constants come by way of nodes."""

    def constant(name: str, value: Any) -> Any:
        return numpy_helper.from_array(np.asarray(value), name)

    nodes = [
        helper.make_node("Unsqueeze", ["std", "ends"], ["spread"]),
        helper.make_node("Sub", ["x", "half"], ["centred"]),
        helper.make_node("Div", ["centred", "spread"], ["normalised"]),
        helper.make_node("Conv", ["normalised", "w", "b"], ["c"], name="conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["p", "", "scales"], ["r"], mode="linear"),
        helper.make_node("Slice", ["r", "zero", "most", "two", "step"], ["s1"]),
        helper.make_node("Slice", ["s1", "zero", "most", "three", "step"], ["s2"]),
        helper.make_node("Flatten", ["s2"], ["y"]),
    ]
    constants = {
        "std": STD.reshape(3, 1), "ends": np.array([0, 3]), "half": np.float32(0.5),
        "w": module.conv.weight.detach().numpy(), "b": module.conv.bias.detach().numpy(),  # type: ignore[union-attr]
        "scales": np.array([1, 1, 0.5, 0.5], dtype=np.float32), "zero": np.array([0]), "most": np.array([99]),
        "two": np.array([2]), "three": np.array([3]), "step": np.array([2]),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [constant(name, value) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.linear_model import LinearRegression

    root, module = tmp_path_factory.mktemp("models"), Net().eval()
    images = np.random.default_rng(0).random((40, 3, SIDE, SIDE), dtype=np.float32)
    np.save(root / "images.npy", images)
    given: dict[str, Any] = {"signature": signature(3, SIDE, SIDE), "pip_requirements": []}
    with quiet_mlflow():
        mlflow.pytorch.save_model(module, root / "pickle", serialization_format="pickle", **given)
        mlflow.pytorch.save_model(
            module, root / "pt2", serialization_format="pt2", input_example=images[:2] * 0, **given
        )
        scripted = torch.jit.script(module)
        mlflow.pytorch.save_model(scripted, root / "script", serialization_format="pickle", **given)
        frozen = torch.jit.freeze(torch.jit.script(module))
        mlflow.pytorch.save_model(frozen, root / "frozen", serialization_format="pickle", **given)
        mlflow.onnx.save_model(graph_of(module), root / "onnx", **given)
        open_size = {"signature": signature(3, -1, -1), "pip_requirements": []}
        mlflow.pytorch.save_model(module, root / "open", serialization_format="pickle", **open_size)
        flat = LinearRegression().fit(images[:, 0, 0, :2], images[:, 0, 0, 0])
        mlflow.sklearn.save_model(
            flat, root / "sklearn", signature=signature(2), pip_requirements=[], serialization_format="cloudpickle"
        )
    return root


@pytest.fixture
def here(no_settings: None) -> Iterator[Path]:
    yield Path.cwd()


def run(*words: str | Path) -> Result:
    with quiet_mlflow():
        return CliRunner().invoke(main, ["advise", *map(str, words)])


def written() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path("advice.json").read_text())
    return content


@pytest.mark.parametrize("form", ["pickle", "pt2", "script", "frozen", "onnx"])
def test_every_form_of_a_model_gets_the_same_advice(form: str, here: Path, folder: Path) -> None:
    done = run(folder / form)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Advice, not a verdict: the measured curve decides.\n")
    items = {item["rule"] + str(place): item for place, item in enumerate(written()["items"])}
    assert [item["rule"] for item in items.values()] == [
        "normalisation", "stem_noise", "downsampling", "pooling", "downsampling", "downsampling",
    ]  # fmt: skip
    module = Net()
    weight = module.conv.weight.detach().double().numpy()
    stem = ((weight / STD.astype(np.float64)[None, :, None, None]) ** 2).sum(axis=(1, 2, 3)).mean()
    gains = [item["gain"] for item in items.values()]
    own = (weight**2).sum(axis=(1, 2, 3)).mean()
    assert gains == pytest.approx([0.5 / 0.224, stem, own, 1.551, 0.25, 1.0], rel=1e-3)
    assert all(item["measured"] is None for item in items.values())


@pytest.mark.parametrize("form", ["pickle", "pt2", "frozen", "onnx"])
def test_with_inputs_it_is_measured_alike(form: str, here: Path, folder: Path) -> None:
    done = run(folder / form, "--inputs", folder / "images.npy", "--json", "own.json")
    assert done.exit_code == 0, done.output
    assert "written: own.json" in done.output and "noise/signal before" in done.output
    items = json.loads(Path("own.json").read_text())["items"]
    growth = [item["measured"]["after"] / item["measured"]["before"] for item in items]
    assert growth == sorted(growth, reverse=True)
    eager = advise(Net().eval(), inputs=np.load(folder / "images.npy"))
    assert sorted(growth) == pytest.approx(sorted(item.growth for item in eager.items), rel=1e-3)
    (normalised,) = [item for item in items if item["rule"] == "normalisation"]
    assert normalised["measured"]["before"] == pytest.approx(0.01, rel=0.05)


def test_what_is_not_readable_is_one_sentence_and_status_0(here: Path, folder: Path) -> None:
    done = run(folder / "sklearn")
    assert done.exit_code == 0
    sentence, where = done.output.splitlines()
    assert sentence == (
        "Advice, not a verdict: not readable, the model is no torch module of tensors, and no graph of ONNX."
    )
    assert where == "written: advice.json"
    assert written()["items"] == [] and written()["reason"]
    done = run("http://127.0.0.1:1/invocations")
    assert done.exit_code == 0 and "a model at its endpoint shows no operators" in done.output


def test_onnx_that_is_not_installed_is_told(here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, find=sys.modules.get: None if name == "onnx" else find)
    done = run(folder / "onnx")
    assert done.exit_code == 0, done.output
    assert "read by onnx, which is not installed: pip install 'robmon[advise]'" in done.output


def test_a_client_that_normalises_is_said(here: Path, folder: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval()
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            module, "plain", signature=signature(3, 8, 8), pip_requirements=[], serialization_format="pickle"
        )
    done = run("plain", "--image-std", "0.26862954 0.26130258 0.27577711", "--image-range", "0 1")
    assert done.exit_code == 0, done.output
    assert [round(item["gain"], 3) for item in written()["items"] if item["rule"] == "normalisation"] == [1.913]


def test_bad_input_is_one_sentence_and_status_2(here: Path, folder: Path) -> None:
    def told(*words: str | Path) -> str:
        done = run(*words)
        assert done.exit_code == 2, done.output
        return done.output

    assert "nothing says the shape of the model's inputs: give rows that it takes (--inputs" in told(folder / "open")
    assert run(folder / "open", "--inputs", folder / "images.npy").exit_code == 0
    np.save("wrong.npy", np.zeros((4, 5), dtype=np.float32))
    assert "do not fit the model" in told(folder / "pickle", "--inputs", "wrong.npy")
    assert "cannot be written" in told(folder / "pickle", "--json", "/nowhere/advice.json")


def test_versions_of_another_resolution_are_told(here: Path, tmp_path: Path, mlflow_template: Path) -> None:
    uri = local_registry(tmp_path / "registry", mlflow_template)
    with quiet_mlflow(), tracking(uri):
        for side in (16, 8, 32):
            module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()).eval()
            mlflow.pytorch.log_model(
                module, name="model", signature=signature(3, side, side), pip_requirements=[],
                serialization_format="pickle", registered_model_name="pictures",
            )  # fmt: skip
    done = run("models:/pictures/1", "--tracking-uri", uri)
    assert done.exit_code == 0, done.output
    found = [item for item in written()["items"] if item["rule"] == "resolution"]
    assert [(item["gain"], item["read"]["version"]) for item in found] == [(4.0, "3"), (0.25, "2")]
    assert written()["model"] == "models:/pictures/1"


def test_what_a_model_takes_may_be_whole_numbers() -> None:
    class Bytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv((x.float() / 255 - 0.5) / torch.tensor(STD).reshape(1, 3, 1, 1)).flatten(1)  # type: ignore[no-any-return]

    pixels = np.random.default_rng(0).integers(0, 256, size=(20, 3, 8, 8)).astype(np.uint8)
    items = advise(Bytes(), inputs=pixels).items
    assert [item.rule for item in items if item.rule != "downsampling"]
    (normalised,) = [item for item in items if item.rule == "normalisation"]
    assert normalised.gain == pytest.approx(0.5 / 0.224, rel=1e-4) and normalised.measured is not None


def test_named_tensors_are_given_by_name(tmp_path: Path) -> None:
    module = Net().eval()
    named = ModelSignature(Schema([TensorSpec(np.dtype(np.float32), (-1, 3, SIDE, SIDE), name="picture")]))
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            module, tmp_path / "named", signature=named, pip_requirements=[], serialization_format="pickle"
        )
        found = advise(load_uri(str(tmp_path / "named")))
    assert [item.rule for item in found.items][:2] == ["normalisation", "stem_noise"]
