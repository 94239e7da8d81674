"""Modules of every form, logged by MLflow, on the device they are told to run on."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import mlflow.pytorch
import numpy as np
import pytest
import torch

import robmon
from robmon.errors import ModelLoadError
from robmon.models.devices.device import DeviceUse
from robmon.models.inputs.split import split
from robmon.models.loading import load
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.predictor import predictor_of
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import named_tensors, tensor
from tests.models.flavours.test_moved_modules import Positions

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


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


@pytest.mark.filterwarnings("ignore")  # what exporting says of itself
@pytest.mark.parametrize("example_rows", [1, 2])
def test_a_program_exported_with_an_example_of_one_row_is_asked_row_by_row(example_rows: int, tmp_path: Path) -> None:
    """MLflow's own way to log a module: of one row the exporter makes a fixed size, of two an open one."""
    torch.manual_seed(0)
    net, rows = torch.nn.Linear(4, 3).eval(), np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            net, tmp_path / "model", signature=tensor("float32", (-1, 4)), input_example=rows[:example_rows],
            pip_requirements=["torch"], serialization_format="pt2",
        )  # fmt: skip
    assert load(tmp_path / "model").fixed_rows == (1 if example_rows == 1 else None)
    result = robmon.assess(str(tmp_path / "model"), rows, levels=(0.1,), trials=19)
    np.testing.assert_allclose(result.clean_outputs, net(torch.from_numpy(rows)).detach().numpy(), rtol=1e-5)


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
