"""A torch module that is given in Python: as it is, where it is, and afterwards as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from robmon.errors import InvalidInputError
from robmon.models.devices.device import AUTO
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.served import ROWS_READ
from robmon.robustness.engine.predictor import FunctionPredictor, Predictor
from robmon.robustness.features.channels import Read


@contextmanager
def evaluating(module: Any, device: str) -> Iterator[Any]:
    """A torch module in eval mode on the device; afterwards every part has its mode and place back."""
    # Frozen TorchScript has no mode.
    modes = [(part, part.training) for part in module.modules() if hasattr(part, "training")]
    places = [part.device for part in (*module.parameters(), *module.buffers())]
    home = places[0] if places else None
    # Where all is there already nothing is moved: to ask each layer takes as long as some of them compute.
    moved = device != AUTO and any(str(place) != str(device) for place in places)
    try:
        if moved:
            _move(module, device)
        try:
            module.eval()
        except NotImplementedError:  # an exported program keeps the mode in which it was exported
            modes = []
        yield device if moved else home
    finally:
        for part, training in modes:
            part.training = training
        if moved:
            module.to(home)


def _move(module: Any, device: str) -> None:
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as error:  # torch raises either
        import torch

        from robmon.models.devices.torch_device import load_driver, why_no_cuda

        why, is_cuda = "give cpu, or cuda on a machine that has it", str(device).startswith("cuda")
        if is_cuda and torch.cuda.is_available():
            raise
        if is_cuda:
            why = why_no_cuda(torch.version.cuda, load_driver)
        raise InvalidInputError(f"device {device!r} cannot be used here: {why}") from error


def as_tensor(array: Any, module: Any, device: Any) -> Any:
    """An array as a tensor on the device, in the dtype of the module's parameters unless it is of whole numbers."""
    import torch

    dtype = next((part.dtype for part in module.parameters() if part.dtype.is_floating_point), None)
    if isinstance(array, torch.Tensor):
        array = array.detach().to(device)
        return array if dtype is None or not array.dtype.is_floating_point else array.to(dtype)
    if array.dtype.kind != "f":
        return torch.tensor(array, device=device)
    return torch.tensor(array, dtype=dtype, device=device)


def axes_reader(module: Any, array: Any) -> Read:
    """Finds out which axes of the tensor the module's first layer takes for features."""
    from robmon.models.flavours.first_layer import axes_read

    return lambda: axes_read(module, [array[:ROWS_READ]])


def predictor_without_gradients(module: Any, outputs: OutputReader, device: Any) -> Predictor:
    """The module as the numerics ask it."""
    import torch

    from robmon.models.devices.channels_last import with_channels_last

    place = str(device or "cpu")
    run = with_channels_last(module, torch.device(place))

    def predict(x: Any, rows: slice) -> Any:
        # Not inference_mode: some modules ask for gradients in their forward pass, and are trained on afterwards.
        with torch.no_grad():
            return outputs(run(x), len(x))

    return FunctionPredictor(predict, place, module=module)
