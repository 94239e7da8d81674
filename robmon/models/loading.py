"""The served model, loaded: from a folder in the worker, from a URI in a library user's process."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
import traceback
import warnings
import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.errors import ModelLoadError, PredictionError, RobmonError
from robmon.extras import EXTRAS, check_installed, how_to_install
from robmon.messages import EndpointAccess
from robmon.model_uri import Endpoint, is_endpoint, parse_endpoint
from robmon.models import mlmodel, requirements, signature
from robmon.models.collected import Collected, Row
from robmon.models.forms import Parts
from robmon.models.inputs import ModelInputs, perturbing
from robmon.models.outputs import OutputReader
from robmon.strangers import is_raised_by_robmon, type_word
from robmon.threads import hold_loaded

ROWS_READ = 32
"""Rows with which a model is called to see how its first layer takes them."""


@dataclass
class Seen:
    """What assessments have found of a loaded model."""

    is_deterministic: bool | None = None
    """Whether the same rows gave the same outputs again; None before the first."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A loaded model.

    Attributes:
        flavor: how it is called: as a torch module, as MLflow's model server does, or at its own endpoint.
        device: the device it runs on, such as `cpu` or `cuda:0`; of an endpoint its host and port.
        mismatches: recorded requirements that this environment does not meet, a sentence each.
        access: how an endpoint is asked; None of a model that is loaded here.
    """

    flavor: Literal["torch", "pyfunc", "remote"]
    device: str
    mismatches: list[str]
    _signature: signature.Signature = field(repr=False)
    _call: Callable[[Any], Any] = field(repr=False)
    _put: Callable[[NDArray[Any]], Any] = field(repr=False)
    access: EndpointAccess | None = field(default=None, repr=False)
    _axes: Callable[[Any], list[int | None]] | None = field(default=None, repr=False)
    seen: Seen = field(default_factory=Seen, repr=False)
    module: Any | None = field(default=None, repr=False)
    """The torch module, of a torch model."""

    @property
    def max_batch_rows(self) -> int | None:
        """Most rows in one call, where that is known: those of one request to an endpoint."""
        return None if self.access is None else self.access.request_rows

    @property
    def rows_per_second(self) -> float | None:
        """Most rows in a second, where that is known: of an endpoint."""
        return None if self.access is None else self.access.rows_per_second

    def collect(self, rows: Sequence[Row], integers: Collection[str] = ()) -> Collected:
        """Decoded rows as model inputs (None where no row fits), the indices of those kept, and the rejected by reason.

        Args:
            rows: of requests.
            integers: names of columns of whole numbers that are measurements, see `models.inputs.split`.

        Raises:
            InvalidInputError: nothing in the inputs is perturbed, or a name is that of no column of numbers.
        """
        inputs, kept, rejected = self._signature.collect(rows)
        return (None if inputs is None else perturbing(inputs, integers)), kept, rejected

    def axes_read(self, inputs: ModelInputs) -> list[int | None]:
        """The axis that the model's first layer takes for features, of each perturbed tensor; None: not known."""
        count = len(inputs.tensors or (None,))
        if self._axes is None:
            return [None] * count
        rows = slice(0, min(inputs.rows, ROWS_READ))
        given = inputs.assemble(self.put(inputs.array[rows]), rows)
        if isinstance(given, Parts):
            given = given.inputs[0]
        found = self._axes(given)
        if not isinstance(given, dict):
            return found
        by_name = dict(zip(given, found, strict=True))
        return [by_name[tensor.name] for tensor in inputs.tensors or ()]

    def put(self, array: NDArray[Any]) -> Any:
        """An array where the model wants it: a torch model's as a tensor on its device, else the array itself."""
        return self._put(array)

    def predict(self, model_input: Any, read: OutputReader | None = None) -> Any:
        """Outputs as one array (or tensor, of a torch model), shape (rows, *output_shape).

        Raises:
            PredictionError: the model raised (reason `model_raised` or `out_of_memory`; the cause is kept, and its text
                may hold inputs), or returned what is no array with one entry a row (`invalid_output`), or did not
                answer (`endpoint_unreachable`, `endpoint_status`, `version_changed`).
        """
        if isinstance(model_input, Parts):
            return model_input.joined([self.predict(each) for each in model_input.inputs])
        rows = len(next(iter(model_input.values())) if isinstance(model_input, dict) else model_input)
        if self._signature.fixed_rows not in (None, rows):
            return self.predict(_in_calls_of(self._signature.fixed_rows or rows, model_input, rows))
        try:
            outputs = self._call(model_input)
        except Exception as error:  # model code may raise anything, also what is robmon's
            if isinstance(error, PredictionError) and is_raised_by_robmon(error):
                raise
            kind = type_word(type(error))
            reason = "out_of_memory" if isinstance(error, MemoryError) or kind == "OutOfMemoryError" else "model_raised"
            raise PredictionError(f"the model raised {kind}", reason) from error
        return (read or OutputReader())(outputs, rows, model_input)


def _in_calls_of(count: int, model_input: Any, rows: int) -> Parts:
    """Tensors in parts of so many rows each; the last row stands for those that the last part lacks."""
    positions = [np.arange(start, min(start + count, rows)) for start in range(0, rows, count)]
    filled = [np.minimum(np.arange(at[0], at[0] + count), rows - 1) for at in positions]
    if isinstance(model_input, dict):
        return Parts([{name: tensor[at] for name, tensor in model_input.items()} for at in filled], positions)
    return Parts([model_input[at] for at in filled], positions)


@dataclass(frozen=True)
class RemoteModel:
    """A model at its prediction URL, and how it may be asked. Nothing is asked before it is connected."""

    endpoint: Endpoint
    access: EndpointAccess

    def connect(self, integers: Collection[str] = ()) -> ServedModel:
        """The model as one that is loaded.

        Raises:
            ModelError: as `remote.load`.
        """
        from robmon.models import remote

        return remote.load(self.endpoint, self.access, integers=integers)

    def __str__(self) -> str:
        """The URL, without user and password."""
        return self.endpoint.url


def load(
    path: str | Path,
    *,
    device: str = "cpu",
    input_dtype: str | None = None,
    input_shape: Sequence[int] | None = None,
    integers: Collection[str] = (),
) -> ServedModel:
    """Load the model in a local folder. Needs no tracking server and no credentials.

    Args:
        path: the folder with the MLmodel file.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`: cuda where there is one.
        input_dtype: type of the inputs of a model without a signature.
        input_shape: shape of one input row of a model without a signature.
        integers: columns of whole numbers that are measurements.

    Raises:
        ModelLoadError: it cannot be loaded, or nothing in its inputs can be perturbed.
    """
    folder = Path(path).absolute()
    kind = mlmodel.read(folder).kind
    try:
        _import_mlflow()
        signed = signature.read(folder, kind, input_dtype=input_dtype, input_shape=input_shape, integers=integers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions: `requirements.mismatches` tells it
            used, call, put, axes, module = _load_predictor(kind, folder, device)
    except RobmonError:
        raise
    except ModuleNotFoundError as error:
        install = f": {how_to_install(error.name)}" if error.name in EXTRAS else ""
        raise ModelLoadError(
            f"the model needs the module {error.name}, which {sys.executable} lacks{install}"
        ) from error
    except Exception as error:  # loading a model runs its code
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        raise ModelLoadError(f"the model cannot be loaded: {type(error).__name__} at {where}") from error
    hold_loaded()  # what the model brought
    return ServedModel(kind, used, requirements.mismatches(folder), signed, call, put, _axes=axes, module=module)


def load_uri(
    uri: str, *, device: str = "auto", tracking_uri: str | None = None, integers: Collection[str] = ()
) -> ServedModel:
    """Load the model that a URI (or a local folder) stands for, into this process; an endpoint's is only asked.

    Raises:
        RegistryError: the registry did not answer, or refused the credentials.
        ModelNotFoundError: there is no such model.
        ModelError: it is no URI of a model, or it cannot be loaded.
    """
    if is_endpoint(uri):
        return RemoteModel(parse_endpoint(uri), EndpointAccess()).connect(integers)
    # A model that nobody needs any more, and that may hold itself in a cycle, goes first, with the code it brought.
    gc.collect()
    # Some models read their files when they are called, so the folder lives as long as the model.
    folder = None if Path(uri).is_dir() else tempfile.mkdtemp(prefix="robmon-model-")
    known = set(sys.path)
    try:
        model = load(_downloaded(uri, folder, tracking_uri) if folder else uri, device=device, integers=integers)
    except BaseException:
        _discard(folder, _code_paths(folder or uri, known))
        raise
    weakref.finalize(model, _discard, folder, _code_paths(folder or uri, known))
    return model


def _downloaded(uri: str, folder: str, tracking_uri: str | None) -> Path:
    check_installed("mlflow", "the model registry")
    _import_mlflow()
    from robmon.models.registry import Registry

    registry = Registry(tracking_uri)
    return registry.download(registry.resolve(uri), Path(folder))


def _code_paths(folder: str, known: set[str]) -> list[str]:
    """Folders of the model's own code, which MLflow puts on the path when it loads the model, and leaves there."""
    home = Path(folder).absolute()
    return [path for path in sys.path if path not in known and Path(path).is_relative_to(home)]


def _discard(folder: str | None, code_paths: list[str]) -> None:
    """Remove a model's files, and forget the code it brought: the next model may bring modules of the same names."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    sys.path[:] = [path for path in sys.path if path not in code_paths]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and any(Path(file).is_relative_to(path) for path in code_paths):
            del sys.modules[name]


def bound_waiting() -> None:
    """Let this process be told of an unreachable registry within seconds: MLflow's own retries take minutes."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")


def _import_mlflow() -> None:
    """Import MLflow, which reports to nobody then, and warns of its own type hints to nobody."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc  # noqa: F401


def _load_predictor(
    kind: str, folder: Path, device: str
) -> tuple[str, Callable[[Any], Any], Callable[[NDArray[Any]], Any], Callable[[Any], list[int | None]] | None, Any]:
    """Only the flavour that is loaded is imported."""
    if kind == "torch":
        from robmon.models import torch_predictor

        return torch_predictor.load(folder, device)
    from robmon.models import pyfunc_predictor

    used, call = pyfunc_predictor.load(folder, device)
    return used, call, lambda array: array, None, None
