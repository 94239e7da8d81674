"""The torch module of a model folder, on the device it is to run on: pickled, TorchScript, or an exported program."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import torch

from robmon.errors import ModelLoadError
from robmon.models import mlmodel


def load_module(folder: Path, device: torch.device) -> torch.nn.Module:
    """Load it.

    Raises:
        ModelLoadError: it is bound to a device, and cannot be moved here.
    """
    from mlflow import pytorch as mlflow_pytorch

    data = folder / mlmodel.read(folder).flavors[mlmodel.TORCH].get("model_data", "data")
    if not (data / "model.pth").exists():
        return _load_program(folder, data / "model.pt2", device)
    # This is `torch.jit.load` of a file of TorchScript.
    module: torch.nn.Module = mlflow_pytorch.load_model(str(folder), map_location=device, weights_only=False)
    module = module.to(device).eval()
    if isinstance(module, torch.jit.ScriptModule):
        place_constants(module, device)
    return module


def place_constants(module: torch.jit.ScriptModule, device: torch.device) -> None:
    """Put the device in the place of any other in the code of TorchScript: tracing writes down those on which it ran.

    It must not have been called before: what runs is made of the code at the first call.
    """
    for part in module.modules():
        code: Any = part._c  # the part in C++, of which torch tells no types
        for name in code._method_names():
            for node in code._get_method(name).graph.findAllNodes("prim::Constant"):
                is_device = isinstance(node.output().type(), torch._C.DeviceObjType) and node.hasAttribute("value")
                if is_device and torch.device(node.s("value")).type != device.type:
                    node.s_("value", str(device))


def _load_program(folder: Path, file: Path, device: torch.device) -> torch.nn.Module:
    """The module of an exported program. It keeps the mode in which it was exported, and refuses to be told another."""
    from mlflow import pytorch as mlflow_pytorch

    try:
        # MLflow checks the file; of a device it is not told, because it refuses all but the one of the export.
        module: torch.nn.Module = mlflow_pytorch.load_model(str(folder))
    except (RuntimeError, AssertionError) as error:  # torch raises either
        if torch.cuda.is_available() or not ("CUDA" in str(error) or "NVIDIA" in str(error)):
            raise
        raise ModelLoadError(
            "the model was exported (pt2) on a CUDA device, and torch loads it on no machine without one: export it on "
            "the CPU, from where it can be moved"
        ) from error
    if device.type == "cpu" and all(tensor.is_cpu for tensor in chain(module.parameters(), module.buffers())):
        return module
    del module  # not twice in memory
    moved: torch.nn.Module = moved_program(torch.export.load(file), device).module()
    return moved


def moved_program(program: torch.export.ExportedProgram, device: torch.device) -> torch.export.ExportedProgram:
    """An exported program on a device: its parameters, and the devices that its graph names.

    Raises:
        ModelLoadError: this torch cannot move it.
    """
    try:
        from torch.export.passes import move_to_device_pass
    except ImportError:
        raise ModelLoadError(
            f"the model is an exported program (pt2), and torch {torch.__version__} cannot move it to {device}: "
            "install torch 2.5 or newer, or export it there"
        ) from None
    return move_to_device_pass(program, device)
