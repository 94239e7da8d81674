"""The heavy process: loads one model version and assesses it whenever it is asked (`python -m robmon.worker --fd N`).

It gets a local folder and no credentials; or, of a model at an endpoint, the URL and what opens it. It knows that it is
a guest: low priority, first to be killed when memory runs out, and gone as soon as the daemon is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from robmon.processes import heavy
from robmon.processes.channel import Channel, Frame
from robmon.processes.guest import behave_as_guest
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.attack import Attacked, AttackRows
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.model import Compile, Load
from robmon.processes.messages.question import Assess
from robmon.worker.compiling import compile_model
from robmon.worker.failing import failure
from robmon.worker.model_here import ModelHere


def main() -> None:
    """Serve the daemon at the other end of the socket until it goes away or says stop."""
    heavy.main("robmon.worker", "The process that loads the model.", behave_as_guest, _answer)


def _answer(channel: Channel) -> None:
    here: ModelHere | None = None
    while True:
        question, blobs = channel.receive()
        rejections = Rejections()
        try:
            if isinstance(question, Load):
                here = ModelHere(question)
                channel.send(here.loaded)
            elif isinstance(question, Assess) and here is not None:
                channel.send(*assess(here, question, blobs, rejections))
            elif isinstance(question, AttackRows) and here is not None:
                channel.send(attack(here, question, blobs))
            elif isinstance(question, Compile) and here is not None:
                channel.send(compile_model(here))
            else:
                return
        except BaseException as error:  # model code may raise anything, even SystemExit
            answer = failure(error, rejections)
            answer.loaded_again = None if here is None else here.take_news()
            channel.send(answer)


def assess(here: ModelHere, question: Assess, blobs: Sequence[bytes], rejections: Rejections) -> Frame:
    """The answer, as of `evaluation.evaluate`; on a CUDA device within this process's share of that.

    A model that `device.name: auto` has put on a device that is too small for it goes on on the CPU, in the time that
    is left.

    Raises:
        RobmonError: as there.
        DeviceUnavailableError: others need the device.
    """
    # Imported after the model, so that a broken environment is told as what it is.
    from robmon.worker.evaluation import evaluate

    began, calls_before = time.perf_counter(), here.model.compiled_calls
    try:
        with here.assessing():
            answer, kept = evaluate(here.model, question, blobs, rejections)
    except Exception as error:  # it is raised again unless it says that the device's memory ran out
        here.leave_device(error)
        answer, kept = evaluate(here.model, question, blobs, rejections, began)
    if isinstance(answer, Assessed):
        answer.device_memory_bytes = here.device_memory_bytes
        answer.out_of_memory_retries += here.take_retries()
        answer.loaded_again = here.take_news()
        answer.compiled = here.model.compiled_calls > calls_before
    return answer, kept


def attack(here: ModelHere, question: AttackRows, blobs: Sequence[bytes]) -> Attacked:
    """The answer, as of `attacking.attack`; on a CUDA device within this process's share of that.

    Raises:
        RobmonError: as there.
        DeviceUnavailableError: others need the device.
    """
    from robmon.worker.attacking import attack

    with here.assessing():
        return attack(here.model, question, blobs)


if __name__ == "__main__":
    main()
