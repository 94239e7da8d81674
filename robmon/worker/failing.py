"""What went wrong in the worker, in words that hold no production input."""

from __future__ import annotations

from robmon.errors import (
    DeviceUnavailableError,
    InvalidInputError,
    ModelLoadError,
    OverBudgetError,
    PredictionError,
    RobmonError,
    TooFewRowsError,
    VersionChangedError,
    is_out_of_memory,
)
from robmon.models.strangers import place_word, type_word
from robmon.processes.messages.every_process import Failure, Rejections


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
        case DeviceUnavailableError():
            return error.reason
        case RobmonError():
            return "error"
        case _:
            return "out_of_memory" if is_out_of_memory(error) else "model_raised"
