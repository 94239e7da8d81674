"""The model version of this process, and where it lies: on its device, or on the CPU where that turns out too small.

A GPU that `device.name` names is a demand. One that `auto` has chosen is an offer, which a model may be too large for:
then it is loaded again on the CPU, and that is told. It is not, where others hold the memory that it would have: they
give it back, and until then assessments are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from robmon.errors import DeviceUnavailableError, ModelLoadError, SingleRowError, forget_frames, is_out_of_memory
from robmon.models.devices.device import AUTO
from robmon.models.devices.threads import hold
from robmon.models.uri import parse_endpoint
from robmon.processes.messages.model import Load, LoadedModel
from robmon.worker.computed_by import library_versions, processor
from robmon.worker.device_guest import CudaDevice, DeviceGuest, open_device

if TYPE_CHECKING:
    from robmon.models.served.served import ServedModel

ADVICE: Final = "raise device.memory_fraction, or let the model run on the CPU (device.name auto, or cpu)"


class ModelHere:
    """The model that this process was told to load.

    Args:
        question: what to load, and where.
        open_device: gives the device of a name, see `device_guest.open_device`.

    Raises:
        DeviceUnavailableError: the share of its device has no room for the model.
        ModelError: it cannot be loaded.
    """

    def __init__(self, question: Load, open_device: Callable[[str], CudaDevice | None] = open_device) -> None:
        self._news: LoadedModel | None = None
        self._retries = 0
        self._question = question
        self._open_device = open_device
        self._guest: DeviceGuest | None = None
        self._why_cpu = ""
        """Why it is on the CPU although `auto` chose another device."""
        hold(question.threads)
        self._model: ServedModel | None = self._load()

    @property
    def model(self) -> ServedModel:
        """The model. Nothing may hold it for longer than a question takes, or it cannot be taken from its device.

        Raises:
            ModelError: it is to be on the CPU, and cannot be loaded there.
        """
        if self._model is None:
            self._model = self._load_on_cpu()
            self._news = self.loaded
        return self._model

    @property
    def loaded(self) -> LoadedModel:
        """The model as it is loaded."""
        model, guest = self.model, self._guest if self._is_on_device else None
        return LoadedModel(
            flavor=model.flavor,
            device=model.device,
            precision=model.use.precision,
            may_compile=model.compilation is not None,
            mismatches=model.mismatches,
            remarks=[*model.remarks, *(guest.remarks if guest is not None else ())],
            libraries=library_versions(),
            processor=processor(),
        )

    @property
    def device_memory_bytes(self) -> int | None:
        """The most that this process held of a CUDA device in its last assessment; None where it has none."""
        return None if self._guest is None else self._guest.used_bytes

    def assessing(self) -> AbstractContextManager[None]:
        """In which the model is asked: on a CUDA device within this process's share of that.

        Raises:
            DeviceUnavailableError: others need the device.
        """
        if self._guest is None:
            return nullcontext()
        if not self._is_on_device:
            self._guest.look()
            return nullcontext()
        return self._guest.assessing()

    def leave_device(self, error: Exception) -> None:
        """Have the model loaded on the CPU when it is asked next, if it was memory of its device that ran out.

        Args:
            error: what was raised. Where the model stays it is raised again; else it has lost its frames, which hold
                what lies on the device.

        Raises:
            DeviceUnavailableError: it is for others that memory ran out.
            Exception: the error itself, where it says something else, or the device is the one that was asked for.
        """
        guest = self._guest
        if guest is None or not self._is_on_device or not _is_of_device(error):
            raise error
        what, retries = "the rows of the sample need more", 1
        if isinstance(error, SingleRowError):
            what, retries = "a single row needs more", error.retries
        if self._question.device.name != AUTO:
            raise (error.advised(ADVICE) if isinstance(error, SingleRowError) else error) from error.__cause__
        if guest.is_crowded_out:
            raise guest.full(what) from None
        self._why_cpu = f"{what} memory than {guest.share}"
        self._model = None
        self._retries += retries
        forget_frames(error)
        guest.leave()

    def take_retries(self) -> int:
        """How often memory ran out before the model left its device, where that has not been told."""
        retries, self._retries = self._retries, 0
        return retries

    def take_news(self) -> LoadedModel | None:
        """How the model is loaded, where that has not been told since it was loaded again."""
        news, self._news = self._news, None
        return news

    # --- loading -----------------------------------------------------------------------------------------------------

    @property
    def _is_on_device(self) -> bool:
        return self._guest is not None and not self._why_cpu

    def _load(self) -> ServedModel:
        question = self._question
        if question.model.endpoint is not None:
            from robmon.models import remote

            return remote.load(
                parse_endpoint(question.model.endpoint),
                question.access,
                version=question.model.version,
                input_dtype=question.input_dtype,
                input_shape=question.input_shape,
                integers=question.integers,
            )
        try:
            return self._load_on(question.device.name)
        except (DeviceUnavailableError, ModelLoadError) as error:
            self._give_up_device(error)
        return self._load_on_cpu()

    def _give_up_device(self, error: DeviceUnavailableError | ModelLoadError) -> None:
        """Note why the model cannot be loaded on the device that `auto` has chosen.

        Raises:
            DeviceUnavailableError: others need it, or it is the one that was asked for.
            ModelLoadError: it is no device that the model lacks.
        """
        guest, is_auto = self._guest, self._question.device.name == AUTO
        if guest is None:
            raise error
        if isinstance(error, DeviceUnavailableError):
            if not (is_auto and guest.is_too_small):
                raise error
            self._why_cpu = f"{error}"
        elif not is_out_of_memory(error):
            raise error
        elif not is_auto:
            raise guest.full(f"the model needs more: {ADVICE}") from None
        elif guest.is_crowded_out:
            raise guest.full("the model needs more") from None
        else:
            self._why_cpu = f"the model needs more memory than {guest.share}"
        forget_frames(error)
        guest.leave()

    def _load_on_cpu(self) -> ServedModel:
        model = self._load_on("cpu")
        remark = f"device.name is {AUTO}, and the model runs on the CPU: {self._why_cpu}"
        return replace(model, remarks=(remark, *model.remarks))

    def _load_on(self, name: str) -> ServedModel:
        from robmon.models.loading import load

        question = self._question
        return load(
            question.model.path,
            device=question.device.model_copy(update={"name": name}),
            input_dtype=question.input_dtype,
            input_shape=question.input_shape,
            integers=question.integers,
            claim=self._claim,
        )

    def _claim(self, name: str) -> int | None:
        if self._why_cpu:
            return None  # it remains a guest on the device that it has left, where it has CUDA's context
        device = self._open_device(name)
        self._guest = None
        if device is not None:
            self._guest = DeviceGuest(device, self._question.device, enough_bytes=self._question.enough_bytes)
        return self._guest.settle() if self._guest is not None else None


def _is_of_device(error: Exception) -> bool:
    """Whether memory ran out where the model lies, as far as the error tells: not in main memory, beside it."""
    return isinstance(error, SingleRowError) or type(error).__name__ == "OutOfMemoryError"  # torch's, of a device
