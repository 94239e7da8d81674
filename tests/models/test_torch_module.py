"""Modules of every form on the device they are told to run on. Without CUDA `meta` stands for another device."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import mlflow.pytorch
import numpy as np
import pytest
import torch

from robmon.errors import ModelLoadError
from robmon.models.channels_last import ChannelsLast, gains
from robmon.models.device import DeviceUse
from robmon.models.inputs import split
from robmon.models.loading import load
from robmon.models.outputs import OutputReader
from robmon.models.predictor import predictor_of
from robmon.models.torch_module import moved_program, place_constants
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import named_tensors, tensor

META = torch.device("meta")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


class Positions(torch.nn.Module):
    """Makes a tensor on the device of its inputs, which tracing and exporting write down."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.register_buffer("offset", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(4, device=x.device, dtype=x.dtype)
        return self.layer(x + places.to(x.device)) + self.offset


def exported() -> torch.export.ExportedProgram:
    shapes = ({0: torch.export.Dim.AUTO},)
    return torch.export.export(Positions().eval(), (torch.zeros(2, 4),), dynamic_shapes=shapes)


def save(folder: Path, form: str) -> Path:
    torch.manual_seed(0)
    net = Positions().eval()
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            torch.jit.trace(net, torch.zeros(2, 4)) if form == "traced" else net,
            folder,
            signature=tensor("float32", (-1, 4)),
            input_example=np.zeros((2, 4), dtype=np.float32) if form == "pt2" else None,
            pip_requirements=["torch"],
            serialization_format="pt2" if form == "pt2" else "pickle",
        )
    return folder


def test_an_exported_program_moves_with_the_devices_in_its_graph() -> None:
    module = moved_program(exported(), META).module()
    assert {each.device for each in (*module.parameters(), *module.buffers())} == {META}
    assert module(torch.zeros(5, 4, device=META)).device == META


def test_an_exported_program_that_this_torch_cannot_move_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.export.passes", None)
    with pytest.raises(ModelLoadError, match=r"exported program \(pt2\), and torch .* cannot move it to meta: install"):
        moved_program(exported(), META)


def test_traced_code_moves_with_the_devices_in_it(tmp_path: Path) -> None:
    torch.jit.trace(Positions().eval(), torch.zeros(2, 4)).save(tmp_path / "model.pt")
    left, moved = (torch.jit.load(tmp_path / "model.pt", map_location=META) for _ in range(2))
    with pytest.raises(RuntimeError, match="Tensor on device cpu is not on the expected device meta"):
        left(torch.zeros(5, 4, device=META))
    place_constants(moved, META)
    assert moved(torch.zeros(5, 4, device=META)).device == META


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_program_exported_on_cuda_is_refused_where_there_is_none(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", "pt2")
    file = folder / "data" / "model.pt2"
    with zipfile.ZipFile(file) as archive:
        records = {each.filename: archive.read(each) for each in archive.infolist()}
    on_cpu, on_cuda = json.dumps({"type": "cpu", "index": None})[1:-1], json.dumps({"type": "cuda", "index": 0})[1:-1]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            is_json = name.endswith(".json")
            archive.writestr(name, content.replace(on_cpu.encode(), on_cuda.encode()) if is_json else content)
    with pytest.raises(ModelLoadError, match=r"exported \(pt2\) on a CUDA device, and torch loads it on no machine"):
        load(folder)


@needs_cuda
@pytest.mark.parametrize("form", ["pickle", "traced", "pt2"])
def test_every_form_runs_on_cuda(form: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "model", form)
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    outputs = {}
    for device in ("cpu", "cuda"):
        model = load(folder, device=DeviceUse(name=device))
        put = model.put(rows)
        assert put.device.type == device
        outputs[device] = model.predict(put)
        assert outputs[device].device.type == device
    torch.testing.assert_close(outputs["cuda"].cpu(), outputs["cpu"], rtol=1e-5, atol=1e-5)


def convolutions(flatten: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), flatten, torch.nn.Linear(8 * 16, 5)
    return torch.nn.Sequential(*layers).eval()


class View(torch.nn.Module):
    """Flattens as old code does, which wants channels first in memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0], -1)


class Strides(torch.nn.Module):
    """Reads memory in its order, whatever that is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_strided(x, (x.shape[0], x[0].numel()), (x[0].numel(), 1))


@pytest.mark.parametrize(("flatten", "is_on"), [(torch.nn.Flatten(), True), (View(), False), (Strides(), False)])
@pytest.mark.parametrize("is_scripted", [False, True])
def test_channels_are_last_only_where_outputs_stay_the_same(
    flatten: torch.nn.Module, is_on: bool, is_scripted: bool
) -> None:
    module = convolutions(flatten)
    x = torch.rand(6, 3, 8, 8)
    with torch.inference_mode():
        expected = module(x)
        own = torch.jit.script(module) if is_scripted else module
        run = ChannelsLast(own)
        torch.testing.assert_close(run(x), expected)
        assert run.is_on is is_on
        torch.testing.assert_close(run(x), expected)
    layout = torch.channels_last if is_on else torch.contiguous_format
    assert all(each.is_contiguous(memory_format=layout) for each in own.parameters() if each.ndim == 4)


def test_channels_last_are_tried_on_a_cuda_device_alone() -> None:
    assert not gains(convolutions(torch.nn.Flatten()), torch.device("cpu"))


@needs_cuda
def test_channels_last_are_tried_where_images_are_convolved() -> None:
    device = torch.device("cuda", 0)
    new = torch.cuda.get_device_capability(device) >= (8, 0)
    assert gains(convolutions(torch.nn.Flatten()).to(device), device) is new
    assert not gains(torch.nn.Linear(3, 3).to(device), device)


class Two(torch.nn.Module):
    """Adds a number for each kind, and writes into what it is given."""

    def forward(self, x: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        result = x.sum(dim=1) + kind
        kind += 1
        return result


def test_tensors_that_pass_through_are_put_once(tmp_path: Path) -> None:
    with quiet_mlflow():
        signature = named_tensors(("x", "float32", (-1, 2)), ("kind", "int64", (-1,)))
        mlflow.pytorch.save_model(
            Two(), tmp_path / "model", signature=signature, pip_requirements=["torch"], serialization_format="pickle"
        )
    model = load(tmp_path / "model")
    given = {"x": np.ones((4, 2), dtype=np.float32), "kind": np.arange(4)}
    inputs = split(given)
    puts = []

    def put(array: np.ndarray) -> torch.Tensor:
        puts.append(array.shape)
        return model.put(array)

    resident = inputs.resident(put)
    batches = [resident.assemble(torch.ones(2, 2), slice(at, at + 2)) for at in (0, 2, 0)]
    assert puts == [(4,)]
    assert all(isinstance(each["kind"], torch.Tensor) for each in batches)
    predictor = predictor_of(model, inputs, OutputReader())
    for _ in range(2):
        assert predictor.predict(torch.ones(4, 2), slice(0, 4)).tolist() == [2, 3, 4, 5]
        assert predictor.predict(torch.ones(4, 2), slice(1, 3)).tolist() == [3, 4, 3, 4], "of two copies"
    assert given["kind"].tolist() == [0, 1, 2, 3]


def test_text_that_passes_through_stays_where_it_is() -> None:
    inputs = split({"x": np.ones((2, 3)), "city": np.array(["Rome", "Oslo"])})
    assert inputs.resident(torch.from_numpy).assemble(torch.ones(2, 3), slice(0, 2))["city"].tolist() == [
        "Rome",
        "Oslo",
    ]
