"""Models of MLflow's onnx flavour, by ONNX Runtime itself: given what MLflow's pyfunc gives them, they return the same.

MLflow would open a session with as many threads as the machine has, on the device that was recorded with the model.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime

from robmon.errors import ModelLoadError, RobmonError
from robmon.models import mlmodel
from robmon.models.devices.device import AUTO, DeviceUse
from robmon.models.devices.threads import default_threads, held
from robmon.models.served.served import Claim, LoadedCode
from robmon.models.strangers import type_word

if TYPE_CHECKING:
    import torch

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
ERRORS: Final = 3
"""The least severe that ONNX Runtime prints."""
OUT_OF_MEMORY: Final = re.compile(
    r"failed to allocate memory|out of memory|smaller than requested bytes|bad[ _]alloc", re.IGNORECASE
)
"""What its errors say then: they have no type of their own for it."""


def load(folder: Path, use: DeviceUse, claim: Claim) -> LoadedCode:
    """Load the model of a folder.

    The predictor takes a DataFrame, array or dict of arrays, and returns outputs by name. On a CUDA device a model of
    tensors takes and returns those of torch, where torch has CUDA too.

    Raises:
        ModelLoadError: the device is not there.
    """
    content = mlmodel.read(folder)
    flavor = content.flavors[mlmodel.ONNX]
    options = session_options(flavor.get("onnx_session_options") or {})
    graph = folder / flavor.get("data", "model.onnx")
    session, device, remarks = _open(graph, use, options, claim)
    if use.precision is not None:
        remarks = [*remarks, f"device.precision is {use.precision}, which only torch models of tensors take"]
    model, rows = Model.of(session), fixed_rows(session)
    if device != "cpu" and content.takes_tensors and model.is_of_tensors and _is_shared_with_torch():
        import torch

        from robmon.models.devices.torch_device import tensor_on

        place = torch.device(device)
        bound, put = bound_to(model, place), lambda array: tensor_on(place, array)
        return LoadedCode(use.on(device), bound, put, remarks=tuple(remarks), graph=graph, fixed_rows=rows)
    return LoadedCode(
        use.on(device), model.run, lambda array: array, remarks=tuple(remarks), graph=graph, fixed_rows=rows
    )


def fixed_rows(session: onnxruntime.InferenceSession) -> int | None:
    """The number of rows that every call has, where the graph fixes it: exported with an example and no more."""
    firsts = [each.shape[0] if each.shape else None for each in session.get_inputs()]
    known = {first for first in firsts if isinstance(first, int) and first > 0}
    return known.pop() if len(known) == 1 and all(isinstance(first, int) for first in firsts) else None


@dataclass(frozen=True)
class Model:
    """A session, with the types of its inputs and outputs by name, such as `tensor(float)`."""

    session: onnxruntime.InferenceSession
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @classmethod
    def of(cls, session: onnxruntime.InferenceSession) -> Model:
        """The model of a session."""
        inputs = {each.name: each.type for each in session.get_inputs()}
        return cls(session, inputs, {each.name: each.type for each in session.get_outputs()})

    @property
    def is_of_tensors(self) -> bool:
        """Whether it takes and returns tensors of numbers alone."""
        types = (*self.inputs.values(), *self.outputs.values())
        return all(each.startswith("tensor(") and each != "tensor(string)" for each in types)

    def by_name(self, model_input: Any) -> dict[str, Any]:
        """Inputs by name. A DataFrame is the matrix of a model of one input, of another one each column is an input."""
        if isinstance(model_input, Mapping):
            return dict(model_input)
        if hasattr(model_input, "iloc") and len(self.inputs) > 1:
            return {name: model_input[name].to_numpy() for name in self.inputs}
        whole = model_input.to_numpy() if hasattr(model_input, "iloc") else model_input
        return {next(iter(self.inputs)): whole}

    def is_widened(self, name: str, dtype: str) -> bool:
        """Whether numbers of that dtype are too wide for an input: JSON has one kind of them."""
        return self.inputs.get(name) == "tensor(float)" and dtype == "float64"

    def fed(self, model_input: Any) -> dict[str, Any]:
        """Inputs by name in the types that it takes."""
        return {
            name: value.astype(np.float32, order="C") if self.is_widened(name, str(value.dtype)) else value
            for name, value in self.by_name(model_input).items()
        }

    def run(self, model_input: Any) -> dict[str, Any]:
        """Outputs by name, for inputs in main memory."""
        given = self.fed(model_input)
        with _telling_memory():
            outputs = self.session.run(list(self.outputs), given)
        if hasattr(model_input, "iloc"):  # MLflow returns a DataFrame then
            outputs = [_as_column(np.asarray(each), len(model_input)) for each in outputs]
        return dict(zip(self.outputs, outputs, strict=True))


def _as_column(output: Any, rows: int) -> Any:
    return output.reshape(rows) if output.size == rows else output


def bound_to(model: Model, device: torch.device) -> Callable[[Any], dict[str, torch.Tensor]]:
    """The model as a function of tensors on a device: neither they nor the outputs leave it."""
    import torch

    from robmon.models.devices.torch_device import tensor_on

    at = (device.type, device.index or 0)

    def as_taken(name: str, value: Any) -> torch.Tensor:
        tensor = value if isinstance(value, torch.Tensor) else tensor_on(device, np.asarray(value))
        dtype = str(tensor.dtype).removeprefix("torch.")
        return (tensor.float() if model.is_widened(name, dtype) else tensor).to(device).contiguous()

    def call(model_input: Any) -> dict[str, torch.Tensor]:
        given = {name: as_taken(name, value) for name, value in model.by_name(model_input).items()}
        binding = model.session.io_binding()
        for name, tensor in given.items():
            dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))
            binding.bind_input(name, *at, dtype, tuple(tensor.shape), tensor.data_ptr())
        for name in model.outputs:
            binding.bind_output(name, *at)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()  # ONNX Runtime computes on a stream of its own
        with _telling_memory():
            model.session.run_with_iobinding(binding)
        outputs = zip(model.outputs.items(), binding.get_outputs(), strict=True)
        return {name: _as_tensor(value, kind) for (name, kind), value in outputs}

    return call


def _as_tensor(value: Any, kind: str) -> torch.Tensor:
    """The same memory as a tensor, which keeps it."""
    from torch.utils.dlpack import from_dlpack

    tensor: torch.Tensor = from_dlpack(value)
    return tensor.bool() if kind == "tensor(bool)" else tensor  # which comes as bytes


def session_options(recorded: Mapping[str, Any]) -> onnxruntime.SessionOptions:
    """The options recorded with the model that change its outputs; threads are as many as this process is held to."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS
    options.intra_op_num_threads = held() or default_threads()
    options.inter_op_num_threads = 1
    if level := recorded.get("graph_optimization_level"):
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel(level)
    for key, value in (recorded.get("extra_session_config") or {}).items():
        if not key.startswith(("session.intra_op", "session.inter_op")):
            options.add_session_config_entry(key, value)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait take no processor
    return options


def _open(
    file: Path, use: DeviceUse, options: onnxruntime.SessionOptions, claim: Claim
) -> tuple[onnxruntime.InferenceSession, str, list[str]]:
    """A session, the device that it has in fact, and why that is not the one asked for."""
    why, cause = "", None
    if use.name != "cpu" and CUDA not in onnxruntime.get_available_providers():
        why = f"onnxruntime {onnxruntime.__version__} was built without CUDA, unlike onnxruntime-gpu"
    elif use.name != "cpu":
        device = f"cuda:{0 if use.name == 'auto' else int(use.name.partition(':')[2] or 0)}"
        try:
            session = _session(file, options, [(CUDA, cuda_options(device, claim(device))), CPU])
            if CUDA in session.get_providers():
                return session, device, []
            why = f"ONNX Runtime does not find all libraries of CUDA and cuDNN that {CUDA} needs"
        except (MemoryError, RobmonError):
            raise
        except Exception as error:  # it has many types for what it cannot do
            why, cause = f"ONNX Runtime cannot use {device} ({type_word(type(error))})", error
    claim("cpu")
    session = _session(file, options, [CPU])  # raises where it is the model that is to blame
    if why and use.name != AUTO:
        raise ModelLoadError(f"device.name is {use.name}, which cannot be used: {why}") from cause
    return session, "cpu", [f"device.name is auto, and the model runs on the CPU: {why}"] if why else []


def cuda_options(device: str, most_bytes: int | None) -> dict[str, Any]:
    """Options of the CUDA provider.

    Args:
        device: such as `cuda:0`.
        most_bytes: that its arena may hold; None: any.
    """
    return {
        "device_id": int(device.partition(":")[2]),
        "arena_extend_strategy": "kSameAsRequested",  # else it doubles, beyond what is needed
        "cudnn_conv_algo_search": "HEURISTIC",  # else chosen by timing, and outputs differ from load to load
        **({} if most_bytes is None else {"gpu_mem_limit": most_bytes}),
    }


def _session(
    file: Path | bytes, options: onnxruntime.SessionOptions, providers: list[Any]
) -> onnxruntime.InferenceSession:
    """A session, or what ONNX Runtime raised: it would print that, and try again without the device."""
    if providers[0] != CPU and _torch_has_cuda():
        import torch  # noqa: F401 - loads the libraries of CUDA that it brings, which the provider then finds
    with _telling_memory():
        return onnxruntime.InferenceSession(file, sess_options=options, providers=providers, enable_fallback=0)


def _is_shared_with_torch() -> bool:
    """Whether torch can take memory of ONNX Runtime on a CUDA device as its own."""
    return hasattr(onnxruntime.OrtValue, "__dlpack__") and _torch_has_cuda()


def _torch_has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def opened(content: bytes) -> Callable[[Any, Sequence[str]], dict[str, Any]]:
    """A serialised model on the CPU: a function of a model input, and names of inputs and outputs, that gives those."""
    model = Model.of(_session(content, session_options({}), [CPU]))

    def run(model_input: Any, names: Sequence[str]) -> dict[str, Any]:
        given = model.fed(model_input)
        asked = [name for name in names if name not in given]
        found = given | dict(zip(asked, model.session.run(asked, given) if asked else [], strict=True))
        return {name: found[name] for name in names}

    return run


@contextlib.contextmanager
def _telling_memory() -> Iterator[None]:
    """Raise MemoryError where memory ran out.

    Raises:
        MemoryError: it did.
    """
    try:
        yield
    except Exception as error:
        if OUT_OF_MEMORY.search(str(error)):
            raise MemoryError from error
        raise
