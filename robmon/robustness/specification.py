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
    check_jpeg,
    check_largest,
    check_levels,
    check_limit,
    check_limit_of_share,
    check_noise_name,
    check_threshold,
    check_whole,
    check_word,
    needed_trials,
    words,
)
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.vocabulary import (
    ALL_INTEGERS,
    BOUNDS,
    DISTANCES,
    FALSE_MATCH_RATE,
    FIXED_NOISES,
    IMAGE_NOISES,
    LARGEST_LEVELS,
    LEVEL_UNITS,
    LEVELS,
    NOISE_NAMES,
    OUTPUT_KINDS,
    TASKS,
    USUAL_LEVELS,
)

if TYPE_CHECKING:
    from robmon.robustness.noise.base import Noise

_LIMITS: Final = ("mse_limit", "agreement_limit", "accuracy_limit")
_NOT_JUDGING: Final = frozenset({"bound", "max_batch_rows", *_LIMITS})
"""On which no verdict between versions depends."""


@dataclass(frozen=True)
class Specification:
    """What an assessment does to whatever model and rows it is given; checked when it is made.

    Attributes:
        noise: name of a noise model, or a `Noise`.
        levels: noise strengths, rising from 0, which is always among them; the usual ones stand for those of the noise,
            where it counts otherwise (`jpeg`: 25 50 75 90).
        trials: independent draws of the noise for every row; 1 of a noise that has none, since all are alike.
        confidence: stated probability of all bounds.
        bound: method of the trial bound, see `upper_bound`.
        task: `regression`, `classification` or `embedding`.
        output: what the model's numbers are; None: see `resolve_output`.
        output_column: the part of the outputs that is assessed, or several, by name or position; None: all.
        integers: columns of whole numbers that are measurements, by name, or `all`.
        scale_axis: which axis of the inputs counts features; None: that of the layout's channels, where there is one,
            else see `channels.choose`.
        max_batch_rows: most rows given to the model at a time; None: by the size of a row.
        layout: how the inputs are pictures; None: they are not, or it is deduced.
        mse_limit: the owner's limit of the bound, in squared output units, for the noise margin.
        agreement_limit: the share of unchanged classes that the owner wants kept, for the level at which it is not.
        accuracy_limit: likewise that of right classes.
        distance: of two embeddings, `l2` or `cosine`, see `robmon.robustness.embeddings`.
        threshold: the distance from which on two embeddings are not taken for the same thing; None: the quantile
            `false_match_rate` of the distances between different rows.
        false_match_rate: share of pairs of different rows that may be nearer to one another than that.

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
    levels: tuple[float, ...] = LEVELS
    trials: int = 39
    confidence: float = 0.95
    bound: str = BOUNDS[0]
    task: str = TASKS[0]
    output: str | None = None
    output_column: str | int | Sequence[str | int] | None = None
    integers: tuple[str, ...] = ()
    scale_axis: int | None = None
    max_batch_rows: int | None = None
    layout: ImageLayout | None = None
    mse_limit: float | None = None
    agreement_limit: float | None = None
    accuracy_limit: float | None = None
    distance: str = DISTANCES[0]
    threshold: float | None = None
    false_match_rate: float = FALSE_MATCH_RATE

    def __post_init__(self) -> None:
        check_noise_name(self.noise)
        self._set("levels", check_levels(self.levels))
        if self.levels == LEVELS:
            of_noise = USUAL_LEVELS.get(self.noise) if isinstance(self.noise, str) else self.noise.usual_levels
            self._set("levels", of_noise or LEVELS)
        self._set("integers", words(self.integers))
        if isinstance(self.output_column, Sequence) and not isinstance(self.output_column, str):
            self._set("output_column", tuple(self.output_column))
        check_whole(self.trials, "trials")
        if self.trials < 1:
            raise InvalidInputError(f"at least 1 trial is needed, not {self.trials}")
        needed = needed_trials(self.confidence, self.bound)
        if not self.is_random:
            self._set("trials", 1)
        elif self.trials < needed:
            raise TooFewTrialsError(self.trials, needed, self.confidence, self.bound)
        if self.max_batch_rows is not None and self.max_batch_rows < 1:
            raise InvalidInputError(f"a batch needs at least 1 row, not {self.max_batch_rows}")
        if self.mse_limit is not None:
            check_limit(self.mse_limit)
        check_word("task", self.task, TASKS)
        if self.output is not None:
            check_word("output", self.output, OUTPUT_KINDS)
        self._check_shares()
        self._check_embedding()
        self._check_noise()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_shares(self) -> None:
        for name in ("agreement_limit", "accuracy_limit"):
            limit = getattr(self, name)
            if limit is None:
                continue
            check_limit_of_share(name, limit)
            if self.task != "classification" and self.output != "label":
                raise InvalidInputError(
                    f"{name} is a share of classes, and the task is {self.task}: set it to classification"
                )

    def _check_noise(self) -> None:
        if isinstance(self.noise, str):
            largest = LARGEST_LEVELS.get(self.noise, math.inf)
            check_largest(self.noise, self.levels, largest, LEVEL_UNITS.get(self.noise, ""))
            if self.noise == "jpeg":
                check_jpeg(self.levels)
            if self.acts_on_images and self.layout is not None:
                self.layout.check_range_of_normalised()
        else:
            self.noise.check(self.levels)

    def _check_embedding(self) -> None:
        check_word("distance", self.distance, DISTANCES)
        check_threshold(self.threshold, self.distance)
        if not 0.0 < self.false_match_rate < 1.0:
            raise InvalidInputError(f"the false match rate must lie between 0 and 1, not {self.false_match_rate!r}")
        is_embedding = self.task == "embedding"
        if self.output is not None and is_embedding != (self.output == "embedding"):
            raise InvalidInputError(
                f"task {self.task} and output {self.output} exclude one another: outputs are embedding where the task "
                "is, and nowhere else"
            )
        usual = (DISTANCES[0], None, FALSE_MATCH_RATE)
        if not is_embedding and (self.distance, self.threshold, self.false_match_rate) != usual:
            raise InvalidInputError(
                f"distance, threshold and false match rate are of embeddings, and the task is {self.task}: set it to "
                "embedding"
            )

    @property
    def is_random(self) -> bool:
        """Whether the noise draws; else all trials are alike, and there is no trial bound."""
        return self.noise not in FIXED_NOISES if isinstance(self.noise, str) else self.noise.is_random

    @property
    def acts_on_images(self) -> bool:
        """Whether the noise perturbs pictures."""
        return self.noise in IMAGE_NOISES if isinstance(self.noise, str) else self.noise.acts_on_images

    @property
    def perturbed_integers(self) -> tuple[str, ...]:
        """Columns of whole numbers that are perturbed, by name, or `all`: of pictures whole numbers are pixels."""
        return (ALL_INTEGERS,) if self.acts_on_images else self.integers

    @property
    def feature_axis(self) -> int | None:
        """Which axis of the inputs counts features, where that is stated."""
        return self.layout.axis if self.scale_axis is None and self.layout is not None else self.scale_axis

    @property
    def needed_trials(self) -> int:
        """The smallest number of trials with which the bound exists, where there is one."""
        return needed_trials(self.confidence, self.bound) if self.is_random else 1

    def limit_of(self, score: str) -> float | None:
        """The owner's limit of `mse`, `agreement` or `accuracy`, if any."""
        limit: float | None = getattr(self, f"{score}_limit")
        return limit

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
            raise InvalidInputError(f"noise is given by its name, not as {self.noise!r}")
        content = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return content | {"layout": None if self.layout is None else self.layout.to_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Specification:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: the content is none of a specification.
        """
        if not isinstance(content, Mapping) or set(content) - {field.name for field in fields(cls)}:
            raise InvalidInputError("that is no specification")
        layout = content.get("layout")
        return cls(**{**content, "layout": None if layout is None else ImageLayout.from_dict(layout)})

    def digest(self, **beside: Any) -> str:
        """A short word for what a verdict between versions depends on: this, and what stands beside it.

        >>> Specification().digest() == Specification(mse_limit=0.1).digest()
        True
        >>> Specification().digest() == Specification(noise="uniform").digest()
        False
        """
        judging = {name: value for name, value in self.to_dict().items() if name not in _NOT_JUDGING}
        if self.layout is None:
            del judging["layout"]  # as it was before there were layouts: verdicts of then still are of these terms
        if self.task != "embedding":
            for name in ("distance", "threshold", "false_match_rate"):
                del judging[name]  # likewise
        content = {"output_column": judging.pop("output_column"), "assess": judging} | beside
        return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=6).hexdigest()
