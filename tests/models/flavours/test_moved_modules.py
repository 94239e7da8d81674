"""Exported programs and traced code on another device: CUDA, or `meta`, which is there everywhere. Needs no MLflow."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from robmon.errors import ModelLoadError
from robmon.models.flavours.torch_module import moved_program, place_constants

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
DEVICES = ["meta", pytest.param("cuda:0", marks=needs_cuda)]


class Positions(torch.nn.Module):
    """Makes a tensor on the device of its inputs, which tracing and exporting write down."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.register_buffer("offset", torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(4, device=x.device, dtype=x.dtype)
        return self.layer(x + places.to(x.device)) + self.offset


def positions() -> torch.nn.Module:
    torch.manual_seed(0)
    return Positions().eval()


def exported() -> torch.export.ExportedProgram:
    shapes = ({0: torch.export.Dim.AUTO},)
    return torch.export.export(positions(), (torch.zeros(2, 4),), dynamic_shapes=shapes)


def check(module: torch.nn.Module, device: torch.device) -> None:
    """It computes there, and what it computed before where `meta` has numbers at all."""
    assert {each.device for each in (*module.parameters(), *module.buffers())} == {device}
    torch.manual_seed(0)
    rows = torch.rand(5, 4)
    outputs = module(rows.to(device))
    assert outputs.device == device
    if device.type != "meta":
        torch.testing.assert_close(outputs.cpu(), positions()(rows), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_an_exported_program_moves_with_the_devices_in_its_graph(device: str) -> None:
    check(moved_program(exported(), torch.device(device)).module(), torch.device(device))


def test_an_exported_program_that_this_torch_cannot_move_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.export.passes", None)
    with pytest.raises(ModelLoadError, match=r"exported program \(pt2\), and torch .* cannot move it to meta: install"):
        moved_program(exported(), torch.device("meta"))


@pytest.mark.parametrize("device", DEVICES)
def test_traced_code_moves_with_the_devices_in_it(device: str, tmp_path: Path) -> None:
    place = torch.device(device)
    torch.jit.trace(positions(), torch.zeros(2, 4)).save(tmp_path / "model.pt")
    left, moved = (torch.jit.load(tmp_path / "model.pt", map_location=place) for _ in range(2))
    with pytest.raises(RuntimeError, match=r"not on the expected device|same device"):
        left(torch.zeros(5, 4, device=place))
    place_constants(moved, place)
    check(moved, place)
