"""The served model, loaded: from a folder in the worker, from a URI in a library user's process."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys
import tempfile
import warnings
import weakref
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robmon.errors import ModelLoadError, RobmonError
from robmon.extras import EXTRAS, check_installed, how_to_install
from robmon.models import mlmodel, requirements
from robmon.models.access import EndpointAccess
from robmon.models.devices.device import AS_IT_IS, DeviceUse
from robmon.models.devices.threads import hold_loaded
from robmon.models.served.served import Claim, LoadedCode, ServedModel
from robmon.models.signature import signature
from robmon.models.strangers import is_raised_by_robmon, place_word, type_word
from robmon.models.uri import Endpoint, is_endpoint, parse_endpoint
from robmon.wording import printable


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
    device: DeviceUse = AS_IT_IS,
    input_dtype: str | None = None,
    input_shape: Sequence[int] | None = None,
    integers: Collection[str] = (),
    claim: Claim = lambda _device: None,
) -> ServedModel:
    """Load the model in a local folder. Needs no tracking server and no credentials.

    Args:
        path: the folder with the MLmodel file.
        device: which one, and how it is used.
        input_dtype: type of the inputs of a model without a signature.
        input_shape: shape of one input row of a model without a signature.
        integers: columns of whole numbers that are measurements.
        claim: see `served.Claim`.

    Raises:
        ModelLoadError: it cannot be loaded, or nothing in its inputs can be perturbed.
    """
    folder = Path(path).absolute()
    content = mlmodel.read(folder)
    kind = content.kind
    place = ""

    def claimed(name: str) -> int | None:
        nonlocal place
        place = name
        return claim(name)

    try:
        import_mlflow()
        signed = signature.read(folder, kind, input_dtype=input_dtype, input_shape=input_shape, integers=integers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions: `requirements.mismatches` tells it
            code = _load_predictor(kind, folder, device, claimed)
    except Exception as error:  # loading a model runs its code, which may raise anything, also what is robmon's
        if isinstance(error, RobmonError) and is_raised_by_robmon(error):
            raise
        raise ModelLoadError(_why_not_loaded(error), place) from error
    hold_loaded()  # what the model brought
    return ServedModel(
        kind,
        code.use.name,
        requirements.mismatches(folder),
        signed,
        code.call,
        code.put,
        _axes=code.axes,
        module=code.module,
        graph=code.graph,
        compilation=code.compilation,
        code_rows=code.fixed_rows,
        params=content.params,
        use=code.use,
        remarks=code.remarks,
    )


def _why_not_loaded(error: Exception) -> str:
    """In words: names are told as one short line, and those of files only where the code that raised is in them."""
    if isinstance(error, ModuleNotFoundError) and isinstance(error.name, str):
        install = f": {how_to_install(error.name)}" if error.name in EXTRAS else ""
        return f"the model needs the module {printable(error.name)}, which {sys.executable} lacks{install}"
    return f"the model cannot be loaded: {type_word(type(error))} at {place_word(error.__traceback__, of_model=True)}"


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
        path = _downloaded(uri, folder, tracking_uri) if folder else uri
        model = load(path, device=DeviceUse(name=device), integers=integers)
    except BaseException:
        _discard(folder, _code_paths(folder or uri, known))
        raise
    weakref.finalize(model, _discard, folder, _code_paths(folder or uri, known))
    return model


def _downloaded(uri: str, folder: str, tracking_uri: str | None) -> Path:
    check_installed("mlflow", "the model registry")
    import_mlflow()
    from robmon.models.registry.download import download_version
    from robmon.models.registry.registry import Registry

    registry = Registry(tracking_uri)
    return download_version(registry, registry.resolve(uri), Path(folder))


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


def import_mlflow() -> None:
    """Import MLflow, which reports to nobody then, and warns of its own type hints to nobody."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings(), _without_collection():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc  # noqa: F401


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Look for no garbage while modules are imported: they hold none, and to look took a fifth of MLflow's import."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load_predictor(kind: str, folder: Path, device: DeviceUse, claim: Claim) -> LoadedCode:
    """Only the flavour that is loaded is imported."""
    if kind == "torch":
        with _without_collection():
            from robmon.models.flavours import torch_predictor

        return torch_predictor.load(folder, device, claim)
    if mlmodel.read(folder).loaded_flavor == mlmodel.ONNX:
        from robmon.models.flavours import onnx_predictor

        return onnx_predictor.load(folder, device, claim)
    from robmon.models.flavours import pyfunc_predictor

    return pyfunc_predictor.load(folder, device, claim)
