"""A loaded model: what it takes, how it is called, and what it returned, as one array."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robmon.errors import PredictionError, is_out_of_memory
from robmon.models.access import EndpointAccess
from robmon.models.devices.device import AS_IT_IS, DeviceUse
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.inputs.split import perturbing
from robmon.models.outputs.outputs import OutputReader
from robmon.models.signature import signature
from robmon.models.signature.collected import Collected, Row
from robmon.models.signature.forms import Parts
from robmon.models.strangers import is_raised_by_robmon, type_word
from robmon.wording import printable

if TYPE_CHECKING:
    from robmon.models.devices.compilation import Compilation

FITTING_SECONDS: Final = 3600.0
ROWS_READ = 32
"""Rows with which a model is called to see how its first layer takes them."""
MOST_PARAMS = 10
"""Of a signature that are named."""
Claim = Callable[[str], int | None]
"""Told of the device that a model will run on, such as `cuda:0`, before anything of it lies there; returns how many
bytes of it the model may take at most, None: any. Torch's own allocator is bounded without that."""


class LoadedCode(NamedTuple):
    """A model of a folder, as it was loaded.

    Attributes:
        use: how it uses its device in fact.
        call: takes what the model takes, and returns its own output.
        put: an array where the model wants it.
        axes: which axis its first layer takes for features, of each tensor, where that can be seen.
        module: the torch module, of a torch model.
        graph: the file of the graph, of an ONNX model; it lies there as long as the folder does.
        compilation: what may compile the module, of a torch model.
        fixed_rows: how many rows every call has, where the code itself fixes it.
        remarks: what of `use` is not as it was asked for, and why, a sentence each.
    """

    use: DeviceUse
    call: Callable[[Any], Any]
    put: Callable[[NDArray[Any]], Any]
    axes: Callable[[Any], list[int | None]] | None = None
    module: Any | None = None
    remarks: tuple[str, ...] = ()
    graph: Path | None = None
    compilation: Compilation | None = None
    fixed_rows: int | None = None


@dataclass
class Seen:
    """What assessments have found of a loaded model."""

    is_deterministic: bool | None = None
    """Whether the same rows gave the same outputs again; None before the first."""
    shares_refusal: str = ""
    """Why the baseline's shares of the noise error cannot be measured: it is not tried again."""
    _fitting_rows: int | None = None
    _fitting_until: float = 0.0

    def memory_ran_out(self, fitting_rows: int) -> None:
        """Remember the rows of a call for which there was memory in the end: for an hour, as others may free some."""
        self._fitting_rows, self._fitting_until = fitting_rows, time.monotonic() + FITTING_SECONDS

    @property
    def fitting_rows(self) -> int | None:
        """Most rows of a call for which there is memory; None: it has not run out."""
        return self._fitting_rows if time.monotonic() < self._fitting_until else None


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
    graph: Path | None = field(default=None, repr=False)
    """The file of the graph, of an ONNX model."""
    compilation: Compilation | None = field(default=None, repr=False)
    """What may compile the module, of a torch model."""
    code_rows: int | None = field(default=None, repr=False)
    """How many rows every call has, where its code fixes it."""
    params: tuple[str, ...] = field(default=(), repr=False)
    """Names of what requests may set beside the rows."""
    use: DeviceUse = field(default=AS_IT_IS, repr=False)
    """How it uses its device in fact."""
    remarks: tuple[str, ...] = field(default=(), repr=False)
    """What of that is not as it was asked for, and why, a sentence each."""

    @property
    def duty_cycle(self) -> float | None:
        """Share of the time in which it may keep its device busy; None: all of it, as on a CPU or at an endpoint."""
        return self.use.duty_cycle

    @property
    def notes(self) -> tuple[str, ...]:
        """What a result of this model has to say of how it was computed."""
        notes = []
        if self.use.precision is not None:
            notes.append(f"the model computes in {self.use.precision} wherever autocast lets it (device.precision)")
        if self.compilation is not None and self.compilation.is_on:
            notes.append("the model is compiled for its device (device.compile)")
        if self.params:
            told = ", ".join(printable(name) for name in self.params[:MOST_PARAMS])
            notes.append(f"the model is asked with the defaults of its params ({told}): what requests set is not used")
        return tuple(notes)

    @property
    def compiled_calls(self) -> int:
        """How often what was compiled of it has been called."""
        return 0 if self.compilation is None else self.compilation.calls

    def as_it_is(self) -> AbstractContextManager[None]:
        """In which it is not called as compiled."""
        return nullcontext() if self.compilation is None else self.compilation.aside()

    @property
    def max_batch_rows(self) -> int | None:
        """Most rows in one call, where that is known: those of one request to an endpoint."""
        return None if self.access is None else self.access.request_rows

    @property
    def rows_per_second(self) -> float | None:
        """Most rows in a second, where that is known: of an endpoint."""
        return None if self.access is None else self.access.rows_per_second

    @property
    def takes(self) -> str:
        """What one row of its inputs is, in words; empty where nothing fixes it."""
        return self._signature.takes

    @property
    def fixed_rows(self) -> int | None:
        """How many rows every call has, where signature or code fixes that."""
        return self._signature.fixed_rows or self.code_rows

    def blank_rows(self, count: int) -> Any | None:
        """So many rows of zeros in the form that it takes: an array, or arrays by name; None where the signature leaves
        that open."""
        return signature.blank_rows(self._signature, count)

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
            return model_input.joined([self.predict(each, read) for each in model_input.inputs])
        rows = len(next(iter(model_input.values())) if isinstance(model_input, dict) else model_input)
        if self.fixed_rows not in (None, rows):
            return self.predict(_in_calls_of(self.fixed_rows or rows, model_input, rows), read)
        try:
            outputs = self._call(model_input)
        except Exception as error:  # model code may raise anything, also what is robmon's
            if isinstance(error, PredictionError) and is_raised_by_robmon(error):
                raise
            reason = "out_of_memory" if is_out_of_memory(error) else "model_raised"
            raise PredictionError(f"the model raised {type_word(type(error))}", reason) from error
        return (read or OutputReader())(outputs, rows, model_input)


def _in_calls_of(count: int, model_input: Any, rows: int) -> Parts:
    """Tensors, or a table, in parts of so many rows each; the last row stands for those that the last part lacks."""
    positions = [np.arange(start, min(start + count, rows)) for start in range(0, rows, count)]
    filled = [np.minimum(np.arange(at[0], at[0] + count), rows - 1) for at in positions]
    if isinstance(model_input, dict):
        return Parts([{name: tensor[at] for name, tensor in model_input.items()} for at in filled], positions)
    if hasattr(model_input, "iloc"):
        return Parts([model_input.iloc[at].reset_index(drop=True) for at in filled], positions)
    return Parts([model_input[at] for at in filled], positions)
