"""What an assessment does, as one value, whoever asks for it: library, command line or daemon. Needs no NumPy."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from robmon.errors import InvalidInputError, TooFewTrialsError
from robmon.robustness.checks import (
    check_largest,
    check_levels,
    check_limit,
    check_noise_name,
    check_whole,
    check_word,
    needed_trials,
    words,
)
from robmon.vocabulary import BOUNDS, CELLS, LARGEST_LEVELS, NOISE_NAMES, OUTPUT_KINDS, TASKS

if TYPE_CHECKING:
    from robmon.robustness.noise.base import Noise

_NOT_JUDGING: Final = frozenset({"bound", "max_batch_rows", "mse_limit"})
"""On which no verdict between versions depends."""


@dataclass(frozen=True)
class Specification:
    """What an assessment does to whatever model and rows it is given; checked when it is made.

    Attributes:
        noise: name of a noise model, or a `Noise`.
        levels: noise strengths, rising from 0, which is always among them.
        trials: independent draws of the noise for every row.
        confidence: stated probability of all bounds.
        bound: method of the trial bound, see `upper_bound`.
        task: `regression` or `classification`.
        output: what the model's numbers are; None: see `resolve_output`.
        output_column: the part of the outputs that is assessed, or several, by name or position; None: all.
        integers: columns of whole numbers that are measurements, by name, or `all`.
        scale_axis: which axis of the inputs counts features; None: see `channels.choose`.
        max_batch_rows: most rows given to the model at a time; None: by the size of a row.
        mse_limit: the owner's limit of the bound, in squared output units, for the noise margin.

    Raises:
        InvalidInputError: one of them cannot be used, by itself or together with another.
        TooFewTrialsError: the confidence needs more trials; names the number.

    >>> Specification(levels=(0.2, 0.1)).levels
    (0.0, 0.1, 0.2)
    >>> Specification(trials=9)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    robmon.errors.TooFewTrialsError: 9 trials are too few for a 0.95 bound by order_statistic: at least 19 are needed...
    """

    noise: str | Noise = NOISE_NAMES[0]
    levels: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4)
    trials: int = 39
    confidence: float = 0.95
    bound: str = BOUNDS[0]
    task: str = TASKS[0]
    output: str | None = None
    output_column: str | int | Sequence[str | int] | None = None
    integers: tuple[str, ...] = ()
    scale_axis: int | None = None
    max_batch_rows: int | None = None
    mse_limit: float | None = None

    def __post_init__(self) -> None:
        self._set("levels", check_levels(self.levels))
        self._set("integers", words(self.integers))
        if isinstance(self.output_column, Sequence) and not isinstance(self.output_column, str):
            self._set("output_column", tuple(self.output_column))
        check_whole(self.trials, "trials")
        if self.trials < 1:
            raise InvalidInputError(f"at least 1 trial is needed, not {self.trials}")
        needed = needed_trials(self.confidence, self.bound)
        if self.trials < needed:
            raise TooFewTrialsError(self.trials, needed, self.confidence, self.bound)
        if self.max_batch_rows is not None and self.max_batch_rows < 1:
            raise InvalidInputError(f"a batch needs at least 1 row, not {self.max_batch_rows}")
        if self.mse_limit is not None:
            check_limit(self.mse_limit)
        check_word("task", self.task, TASKS)
        if self.output is not None:
            check_word("output", self.output, OUTPUT_KINDS)
        self._check_noise()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_noise(self) -> None:
        check_noise_name(self.noise)
        if isinstance(self.noise, str):
            check_largest(self.noise, self.levels, LARGEST_LEVELS.get(self.noise, math.inf), CELLS)
        else:
            self.noise.check(self.levels)

    @property
    def needed_trials(self) -> int:
        """The smallest number of trials with which the bound exists."""
        return needed_trials(self.confidence, self.bound)

    @property
    def noisy_levels(self) -> int:
        """How many levels are above 0."""
        return len(self.levels) - 1

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of it: the inverse of `from_dict`.

        Raises:
            InvalidInputError: the noise is one of a user's own, which only its own process knows.
        """
        if not isinstance(self.noise, str):
            raise InvalidInputError(f"noise is told by its name, and {self.noise!r} is none")
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Specification:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: the content is none of a specification.
        """
        if not isinstance(content, Mapping) or set(content) - {field.name for field in fields(cls)}:
            raise InvalidInputError("that is no specification")
        return cls(**content)

    def digest(self, **beside: Any) -> str:
        """A short word for what a verdict between versions depends on: this, and what stands beside it.

        >>> Specification().digest() == Specification(mse_limit=0.1).digest()
        True
        >>> Specification().digest() == Specification(noise="uniform").digest()
        False
        """
        judging = {name: value for name, value in self.to_dict().items() if name not in _NOT_JUDGING}
        content = {"output_column": judging.pop("output_column"), "assess": judging} | beside
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=6).hexdigest()
