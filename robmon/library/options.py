"""The options of the public functions, and the specification that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, cast

from robmon.models.devices.device import AUTO
from robmon.robustness.engine.trials import part_of
from robmon.robustness.noise.base import Noise
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.specification import Specification


class RankOptions(TypedDict, total=False):
    """The options of `assess`, targets aside, which `rank` takes too."""

    noise: str | Noise
    levels: Sequence[float]
    scale: Any
    trials: int
    confidence: float
    bound: str
    task: str
    output: str | None
    output_column: str | int | Sequence[str | int] | None
    integers: str | Sequence[str] | None
    scale_axis: int | None
    layout: ImageLayout | None
    seed: int
    device: str
    max_batch_rows: int | None
    mse_limit: float | None
    agreement_limit: float | None
    accuracy_limit: float | None
    distance: str
    threshold: float | None
    false_match_rate: float
    progress: Callable[[int, int], None] | None
    expect: Callable[[float], None] | None


class AssessOptions(RankOptions, total=False):
    """The options of `assess`, which `compare` takes too."""

    targets: Any


class RunOptions(TypedDict, total=False):
    """The options that belong to the rows and the moment, not to the specification."""

    targets: Any
    scale: Any
    seed: int
    device: str
    progress: Callable[[int, int], None] | None
    expect: Callable[[float], None] | None


def specification_of(options: AssessOptions) -> tuple[Specification, RunOptions]:
    """The specification that options make, and the rest of them.

    Raises:
        InvalidInputError: it cannot be.
        TooFewTrialsError: the confidence needs more trials.
    """
    content: dict[str, Any] = dict(options)
    run = {name: content.pop(name) for name in RunOptions.__annotations__ if name in content}
    return Specification(**content), cast("RunOptions", run)


def without_device(run: RunOptions) -> tuple[str, dict[str, Any]]:
    """The device on which an assessment runs, and the other options, as `PreparedRows.assess` takes them."""
    options: dict[str, Any] = dict(run)
    return options.pop("device", AUTO), options


def one_of(run: RunOptions, index: int, count: int) -> RunOptions:
    """The options of one of several assessments, which tells of itself as of its part of all."""
    expect = run.get("expect")
    part = run.copy()
    part["progress"] = part_of(run.get("progress"), index, count)
    part["expect"] = None if expect is None else lambda seconds: expect(seconds * (count - index))
    return part
