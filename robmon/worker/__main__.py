"""The heavy process: loads one model version and assesses it whenever it is asked (`python -m robmon.worker --fd N`).

It gets a local folder and no credentials; or, of a model at an endpoint, the URL and what opens it. It knows that it is
a guest: low priority, first to be killed when memory runs out, and gone as soon as the daemon is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from robmon.errors import ModelLoadError, is_out_of_memory
from robmon.models.threads import hold
from robmon.models.uri import parse_endpoint
from robmon.processes import heavy
from robmon.processes.channel import Channel, Frame
from robmon.processes.guest import behave_as_guest
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.attack import Attacked, AttackRows
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.model import Load, LoadedModel
from robmon.processes.messages.question import Assess
from robmon.worker.computed_by import library_versions, processor
from robmon.worker.device_guest import CudaDevice, DeviceGuest, open_device
from robmon.worker.failing import failure

if TYPE_CHECKING:
    from robmon.models.served import ServedModel


def main() -> None:
    """Serve the daemon at the other end of the socket until it goes away or says stop."""
    heavy.main("robmon.worker", "The process that loads the model.", behave_as_guest, _answer)


def _answer(channel: Channel) -> None:
    model: ServedModel | None = None
    guest: DeviceGuest | None = None
    while True:
        question, blobs = channel.receive()
        rejections = Rejections()
        try:
            if isinstance(question, Load):
                model, guest, answer = load_model(question)
                channel.send(answer)
            elif isinstance(question, Assess) and model is not None:
                channel.send(*assess(model, guest, question, blobs, rejections))
            elif isinstance(question, AttackRows) and model is not None:
                channel.send(attack(model, guest, question, blobs))
            else:
                return
        except BaseException as error:  # model code may raise anything, even SystemExit
            channel.send(failure(error, rejections))


def load_model(
    question: Load, open_device: Callable[[str], CudaDevice | None] = open_device
) -> tuple[ServedModel, DeviceGuest | None, LoadedModel]:
    """Load the model; of one on a CUDA device also what keeps this process to its share of that.

    Raises:
        DeviceUnavailableError: the share has no room for the model.
        ModelError: it cannot be loaded.
    """
    hold(question.threads)
    guest = None
    if question.model.endpoint is not None:
        from robmon.models import remote

        model = remote.load(
            parse_endpoint(question.model.endpoint),
            question.access,
            version=question.model.version,
            input_dtype=question.input_dtype,
            input_shape=question.input_shape,
            integers=question.integers,
        )
    else:
        model, guest = _load_as_guest(question, open_device)
    return (
        model,
        guest,
        LoadedModel(
            flavor=model.flavor,
            device=model.device,
            precision=model.use.precision,
            mismatches=model.mismatches,
            remarks=[*model.remarks, *(guest.remarks if guest is not None else ())],
            libraries=library_versions(),
            processor=processor(),
        ),
    )


def _load_as_guest(
    question: Load, open_device: Callable[[str], CudaDevice | None]
) -> tuple[ServedModel, DeviceGuest | None]:
    from robmon.models.loading import load

    guest: DeviceGuest | None = None

    def claim(name: str) -> int | None:
        nonlocal guest
        device = open_device(name)
        guest = DeviceGuest(device, question.device) if device is not None else None
        return guest.settle() if guest is not None else None

    try:
        model = load(
            question.model.path,
            device=question.device,
            input_dtype=question.input_dtype,
            input_shape=question.input_shape,
            integers=question.integers,
            claim=claim,
        )
    except ModelLoadError as error:
        if guest is not None and is_out_of_memory(error):
            raise guest.full("the model needs more") from None
        raise
    return model, guest


def assess(
    model: ServedModel, guest: DeviceGuest | None, question: Assess, blobs: Sequence[bytes], rejections: Rejections
) -> Frame:
    """The answer, as of `evaluation.evaluate`; on a CUDA device within this process's share of that.

    Raises:
        RobmonError: as there.
        DeviceUnavailableError: others need the device.
    """
    # Imported after the model, so that a broken environment is told as what it is.
    from robmon.worker.evaluation import evaluate

    with guest.assessing() if guest is not None else nullcontext():
        answer, kept = evaluate(model, question, blobs, rejections)
    if guest is not None and isinstance(answer, Assessed):
        answer.device_memory_bytes = guest.used_bytes
    return answer, kept


def attack(model: ServedModel, guest: DeviceGuest | None, question: AttackRows, blobs: Sequence[bytes]) -> Attacked:
    """The answer, as of `attacking.attack`; on a CUDA device within this process's share of that.

    Raises:
        RobmonError: as there.
        DeviceUnavailableError: others need the device.
    """
    from robmon.worker.attacking import attack

    with guest.assessing() if guest is not None else nullcontext():
        return attack(model, question, blobs)


if __name__ == "__main__":
    main()
