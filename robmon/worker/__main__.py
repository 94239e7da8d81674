"""The heavy process: loads one model version and assesses it whenever it is asked (`python -m robmon.worker --fd N`).

It gets a local folder and no credentials; or, of a model at an endpoint, the URL and what opens it. It knows that it is
a guest: low priority, first to be killed when memory runs out, and gone as soon as the daemon is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import TYPE_CHECKING

from robmon.errors import (
    InvalidInputError,
    ModelLoadError,
    OverBudgetError,
    PredictionError,
    RobmonError,
    TooFewRowsError,
    VersionChangedError,
)
from robmon.models.strangers import place_word, type_word
from robmon.models.threads import hold
from robmon.models.uri import parse_endpoint
from robmon.processes.channel import Channel
from robmon.processes.guest import behave_as_guest
from robmon.processes.messages import Assess, Failure, Hello, Load, LoadedModel, Rejections

if TYPE_CHECKING:
    from robmon.models.served import ServedModel


def main() -> None:
    """Serve the daemon at the other end of the socket until it goes away or says stop."""
    parser = argparse.ArgumentParser(prog="python -m robmon.worker", description="The process that loads the model.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the socket to the daemon")
    channel = Channel.from_fd(parser.parse_args().fd)
    behave_as_guest()
    with contextlib.suppress(EOFError, OSError):
        channel.send(Hello(pid=os.getpid()))
        _serve(channel)


def _serve(channel: Channel) -> None:
    model: ServedModel | None = None
    while True:
        question, blobs = channel.receive()
        rejections = Rejections()
        try:
            if isinstance(question, Load):
                model, answer = _load(question)
                channel.send(answer)
            elif isinstance(question, Assess) and model is not None:
                # Imported after the model, so that a broken environment is told as what it is.
                from robmon.worker.evaluation import evaluate

                channel.send(*evaluate(model, question, blobs, rejections))
            else:
                return
        except BaseException as error:  # model code may raise anything, even SystemExit
            channel.send(failure(error, rejections))


def _load(question: Load) -> tuple[ServedModel, LoadedModel]:
    hold(question.threads)
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
        from robmon.models.loading import load

        model = load(
            question.model.path,
            device=question.device,
            input_dtype=question.input_dtype,
            input_shape=question.input_shape,
            integers=question.integers,
        )
    return model, LoadedModel(
        flavor=model.flavor,
        device=model.device,
        precision=model.use.precision,
        mismatches=model.mismatches,
        remarks=list(model.remarks),
    )


def failure(error: BaseException, rejections: Rejections) -> Failure:
    """An exception in words that hold no production input, and what of the sample could not be used all the same.

    Texts are passed on only for robmon's own exceptions. Of any other, and of what stands behind a `PredictionError`,
    only type, module and line are told, as far as they are no names of the model's: MLflow's schema errors, for one,
    print the data.
    """
    cause = error.__cause__ if isinstance(error, PredictionError | ModelLoadError) and error.__cause__ else error
    is_ours = isinstance(cause, RobmonError)
    return Failure(
        reason=_reason(error, rejections),
        error=type_word(type(cause)),
        where="" if is_ours else place_word(cause.__traceback__),
        message=str(error) if isinstance(error, RobmonError) else "",
        rejections=rejections,
        served_version=error.served_version if isinstance(error, VersionChangedError) else None,
    )


def _reason(error: BaseException, rejections: Rejections) -> str:
    match error:
        case TooFewRowsError():
            return "invalid_input" if rejections.unusable else "too_few_inputs"
        case PredictionError():
            return error.reason
        case OverBudgetError():
            return "over_budget"
        case InvalidInputError():
            return "invalid_input"
        case ModelLoadError():
            return "not_loadable"
        case MemoryError():
            return "out_of_memory"
        case RobmonError():
            return "error"
        case _:
            return "model_raised"


if __name__ == "__main__":
    main()
