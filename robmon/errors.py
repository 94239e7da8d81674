"""The exceptions a caller can catch.

Every exception that robmon raises on purpose derives from `RobmonError`, carries the data it speaks of as
attributes, and builds its own one-sentence message:

    RobmonError
    ├── SettingsError          a setting is unknown, missing or out of range
    ├── InvalidInputError      inputs, targets or an option of a library call cannot be used (also a ValueError)
    │   └── TooFewTrialsError  the confidence asked for needs more trials
    ├── TooFewRowsError        too few rows of a sample can be used
    ├── OverBudgetError        not even the fewest rows fit into the time budget
    ├── DeviceUnavailableError  others need the device
    ├── CodecError             a request's body is not what its format promises
    ├── RegistryError          the model registry did not answer, or refused
    ├── ModelError             the model version itself cannot be used
    │   ├── ModelNotFoundError it does not exist
    │   ├── ModelRefusedError  the settings do not allow it
    │   ├── ModelLoadError     it cannot be loaded
    │   └── PredictionError    it was called and raised, or returned what cannot be used
    │       ├── SingleRowError       memory ran out with a single row
    │       └── VersionChangedError  another version answered than the one that was asked
    └── ProtocolError          two robmon processes do not speak the same language

No message holds a production input.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR

from robmon.wording import duration

HOW_TO_CHOOSE = "output_column (flag --output-column, setting model.output_column)"
"""Which part of a model's outputs is assessed, as function, command and daemon are told it."""
HOW_TO_SAY = "output (flag --output, setting assess.output)"
"""What the outputs are, likewise."""
HOW_TO_SET_THRESHOLD = "threshold (flag --threshold, setting embedding.threshold)"
"""Which distance of two embeddings is one too many, likewise."""


class RobmonError(Exception):
    """Base class of everything robmon raises on purpose."""


class SettingsError(RobmonError):
    """A setting is unknown, missing, or has a value that is not allowed."""


class InvalidInputError(RobmonError, ValueError):
    """Inputs, targets or an option of a library call cannot be used."""


class TooFewTrialsError(InvalidInputError):
    """The bound asked for does not exist with so few trials.

    Attributes:
        trials: the number of trials given.
        needed: the smallest number of trials with which the bound exists.
        confidence: the confidence asked for.
    """

    def __init__(self, trials: int, needed: int, confidence: float, method: str) -> None:
        self.trials = trials
        self.needed = needed
        self.confidence = confidence
        super().__init__(
            f"{trials} trials are too few for a {confidence:.4g} bound by {method}: "
            f"at least {needed} are needed (or ask for less confidence)"
        )


class TooFewRowsError(RobmonError):
    """Too few rows of a sample can be used.

    Attributes:
        rows: how many can.
        why: the most frequent reasons; empty where none was refused.
    """

    def __init__(self, rows: int, needed: int, why: str) -> None:
        self.rows = rows
        self.why = why
        super().__init__(f"{rows} of the rows drawn can be used, {needed} are needed{why and f'; refused: {why}'}")


class OverBudgetError(RobmonError):
    """Not even the fewest rows fit into the time budget.

    What is needed is told rounded up, and the budget down: the one is more than the other, and enough as a budget.

    Attributes:
        needed_seconds: what the smallest assessment would take.
        budget_seconds: what is allowed.
        at_least: whether it may take longer: the budget was too short to time more than one small batch.
        what: what takes so long.
    """

    def __init__(
        self,
        needed_seconds: float,
        budget_seconds: float,
        advice: str = "",
        *,
        at_least: bool = False,
        what: str = "assessment",
    ) -> None:
        self.needed_seconds = needed_seconds
        self.budget_seconds = budget_seconds
        self.at_least = at_least
        self.what = what
        needed, budget = duration(needed_seconds, ROUND_CEILING), duration(budget_seconds, ROUND_FLOOR)
        super().__init__(
            f"the smallest {what} needs {'at least ' if at_least else ''}{needed}, the budget is {budget}"
            f"{advice and f': {advice}'}"
        )

    def advised(self, advice: str) -> OverBudgetError:
        """The same, with what to do about it, by the names that the reader sets things by."""
        return OverBudgetError(self.needed_seconds, self.budget_seconds, advice, at_least=self.at_least, what=self.what)


class DeviceUnavailableError(RobmonError):
    """Others need the device: a guest takes neither memory nor time from them.

    Attributes:
        reason: a short, bounded word for counters, `device_full` or `device_busy`.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class CodecError(RobmonError):
    """A request's body is not what its format promises.

    Attributes:
        reason: a short, bounded word for counters (`not_json`, `ragged`, `too_deep` ...).
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class RegistryError(RobmonError):
    """The model registry did not answer, or refused."""


class ModelError(RobmonError):
    """A model version cannot be used."""


class ModelNotFoundError(ModelError):
    """The model, version, alias or run does not exist."""


class ModelRefusedError(ModelError):
    """The settings do not allow this model version (flavour or tags)."""


class ModelLoadError(ModelError):
    """The model version is there and cannot be loaded.

    Attributes:
        device: where it was to lie, such as `cuda:0`; empty where that was not yet known.
    """

    def __init__(self, message: str, device: str = "") -> None:
        self.device = device
        super().__init__(message)


class PredictionError(ModelError):
    """The model raised, or returned what cannot be used as an output.

    Attributes:
        reason: a short, bounded word for counters (`model_raised`, `invalid_output` ...).
        is_unavailable: whether the model would not have taken other rows either: its server is busy, or refuses robmon.
    """

    is_unavailable = False

    def __init__(self, message: str, reason: str = "model_raised") -> None:
        self.reason = reason
        super().__init__(message)


class SingleRowError(PredictionError):
    """Memory ran out with a single row: there is no smaller batch.

    Attributes:
        device: where the model lies, such as `cpu` or `cuda:0`.
        retries: how often memory ran out, this last time included.
    """

    def __init__(self, device: str, retries: int, advice: str = "") -> None:
        self.device = device
        self.retries = retries
        what_to_do = advice and f": {advice}"
        super().__init__(f"the model cannot take a single row: out of memory{what_to_do}", "out_of_memory")

    def advised(self, advice: str) -> SingleRowError:
        """The same, with what to do about it, by the names that the reader sets things by."""
        return SingleRowError(self.device, self.retries, advice)


class VersionChangedError(PredictionError):
    """The endpoint answered as another version than the one that is assessed.

    Attributes:
        served_version: the version that answered.
    """

    def __init__(self, served_version: str, assessed_version: str) -> None:
        self.served_version = served_version
        super().__init__(
            f"the endpoint answered as version {served_version}, not {assessed_version}", "version_changed"
        )


class ProtocolError(RobmonError):
    """Two robmon processes do not speak the same language."""


_OUT_OF_MEMORY_WORDS = (
    *("out of memory", "ALLOC_FAILED", "DefaultCPUAllocator: ", "Failed to allocate memory", "RESOURCE_EXHAUSTED"),
)
"""How CUDA, cuBLAS and cuDNN, torch on the CPU, ONNX Runtime and XLA say it, where the error has no type of its own."""


def forget_frames(error: BaseException | None) -> None:
    """Let go of what the frames hold in which an error, and what caused it, was raised."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that memory ran out: in main memory or on a device.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    (True, True)
    >>> is_out_of_memory(RuntimeError("shapes differ"))
    False
    """
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
            return True
        if isinstance(error, PredictionError) and error.reason == "out_of_memory":
            return True
        if isinstance(error, RuntimeError) and any(word in str(error) for word in _OUT_OF_MEMORY_WORDS):
            return True
        error = error.__cause__
    return False
