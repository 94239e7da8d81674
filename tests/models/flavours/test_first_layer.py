"""The first layer is seen in modules of every form: as they are, as TorchScript, exported."""

from __future__ import annotations

import pytest
import torch

from robmon.models.flavours.first_layer import axes_read


def forms(module: torch.nn.Module, x: torch.Tensor) -> list[torch.nn.Module]:
    shapes = ({0: torch.export.Dim.AUTO},)
    return [module, torch.jit.trace(module, x), torch.export.export(module, (x,), dynamic_shapes=shapes).module()]


@pytest.mark.filterwarnings("ignore")  # what tracing and exporting say of themselves
@pytest.mark.parametrize(
    ("module", "axis"),
    [
        (torch.nn.Conv1d(6, 2, 3), 1),
        (torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv1d(6, 2, 3)), 1),
        (torch.nn.GRU(4, 2, batch_first=True), 2),
        (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24, 1)), None),
        (torch.nn.Sequential(torch.nn.Unflatten(1, (1, 6)), torch.nn.Conv2d(1, 2, 3)), None),
    ],
)
def test_in_every_form(module: torch.nn.Module, axis: int | None) -> None:
    x = torch.zeros(8, 6, 4)
    for form in forms(module.eval(), x):
        assert axes_read(form, [x]) == [axis]


def test_several_inputs_and_a_module_that_raises() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = torch.nn.Conv1d(6, 2, 3), torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.conv(x).mean(dim=2) + self.head(y)

    assert axes_read(Two().eval(), [torch.zeros(8, 6, 4), torch.zeros(8, 3)]) == [1, 1]
    assert axes_read(torch.nn.Conv1d(5, 2, 3), [torch.zeros(8, 6, 4)]) == [None]
