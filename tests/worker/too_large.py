"""A model that is too large for a device, which is the processor under another's name."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import mlflow.pytorch
import pytest
import torch
from mlflow.models import ModelSignature

from robmon.models.devices import torch_device
from robmon.models.flavours import torch_predictor
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import tensor

CUDA = "cuda:0"


class Place(str):
    """The processor, as torch reads it; by its own account a CUDA device."""

    type = "cpu"

    def __str__(self) -> str:
        return CUDA


class Large(torch.nn.Module):
    """A linear model that asks the device for more memory than it has."""

    most_rows: ClassVar[int] = 0
    """That the device has memory for."""
    can_be_loaded: ClassVar[set[str]] = {CUDA, "cpu"}
    called: ClassVar[list[tuple[str, int]]] = []
    alive: ClassVar[weakref.WeakSet[Large]] = weakref.WeakSet()
    when_full: ClassVar[Callable[[], object]] = staticmethod(lambda: None)

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.place = "cpu"

    def to(self, device: Any) -> Any:  # type: ignore[override]
        gc.collect()
        assert not Large.alive, "what lay on the device is gone before anything is loaded"
        if str(device) not in Large.can_be_loaded:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.place = str(device)
        Large.alive.add(self)
        return super().to(device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Large.called.append((self.place, len(x)))
        if self.place == CUDA and len(x) > Large.most_rows:
            Large.when_full()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        outputs: torch.Tensor = self.linear(x)
        return outputs


def save_large(folder: Path, signature: ModelSignature | None = None) -> Path:
    """The model in a folder, as MLflow writes it."""
    torch.manual_seed(0)
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            Large(),
            folder,
            signature=signature or tensor("float32", (-1, 3)),
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    return folder


def small_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the device found, and memory on it for no row."""
    resolve = torch_device.resolve
    found = lambda name: resolve(name) if name == "cpu" else (Place("cpu"), [])  # noqa: E731
    monkeypatch.setattr(torch_predictor, "resolve", found)
    state: dict[str, Any] = {"most_rows": 0, "can_be_loaded": {CUDA, "cpu"}, "called": [], "alive": weakref.WeakSet()}
    for name, value in state.items():
        monkeypatch.setattr(Large, name, value)
    monkeypatch.setattr(Large, "when_full", staticmethod(lambda: None))
