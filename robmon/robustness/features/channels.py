"""Which cells of an input share a scale: the axis of the inputs that counts features, or channels, and why that one.

The one place that knows it: noise, baselines, drift and the names of features all ask here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64, as_float64, namespace, parts, to_numpy
from robmon.robustness.features.moments import Moments

FEW_CHANNELS = 4
"""An axis this long at most may hold colours: images as `(n, h, w, c)` are told by it."""
PICTURES_LOOKED_AT = 64
"""Rows by which axes are told that have scales far apart."""
APART = 10.0
"""Two readings of inputs of rank 3 whose scales differ by more than this factor are not one as good as the other."""
Read = Callable[[], Sequence[int | None]]
"""Gives, for each tensor of the inputs, the axis that the model's first layer takes for features; None: not known."""
SETTING = "assess.scale_axis (scale_axis= in Python, --scale-axis)"


@dataclass(frozen=True)
class NamedTensor:
    """One of several named tensors that stand side by side, flattened: its columns, and the shape of one row of it."""

    name: str
    columns: slice
    shape: tuple[int, ...]


@dataclass(frozen=True)
class FeatureAxis:
    """The axis of inputs `(n, *input_shape)` that counts features, or channels. Build it with `choose`.

    Attributes:
        axis: None for inputs of rank 1.
        word: what one of them is called.
        notes: which axis was taken and why, a sentence each; none where there is only one.
        feature_of: of named tensors side by side, the feature of each column where several columns share one.
    """

    axis: int | None
    word: Literal["feature", "channel"] = "feature"
    notes: tuple[str, ...] = field(default=(), compare=False)
    feature_of: tuple[int, ...] | None = None

    def count(self, shape: tuple[int, ...]) -> int:
        """How many features inputs of `shape`, `(n, *input_shape)`, have."""
        return max(self.feature_of) + 1 if self.feature_of is not None else self.columns(shape)

    def columns(self, shape: tuple[int, ...]) -> int:
        """How many columns `as_columns` gives: one a feature, but for named tensors one a cell."""
        return 1 if self.axis is None else int(shape[self.axis])

    def scale_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the scale for inputs of `shape`: one number a column, and it broadcasts to one row.

        >>> FeatureAxis(1).scale_shape((256, 3, 32, 32)), FeatureAxis(1).scale_shape((256, 10))
        ((3, 1, 1), (10,))
        """
        return tuple(length if index == self.axis else 1 for index, length in enumerate(shape) if index > 0)

    def as_columns(self, inputs: Array) -> Float64:
        """Inputs in main memory, in float64, as `by_column` gives them.

        >>> FeatureAxis(1).as_columns(np.zeros((8, 3, 2, 2))).shape, FeatureAxis(None).as_columns(np.zeros(8)).shape
        ((32, 3), (8, 1))
        """
        columns: Float64 = self.by_column(to_numpy(as_float64(inputs)))
        return columns

    def by_column(self, inputs: Array) -> Array:
        """Inputs as one column a feature (see `columns`), all cells of a row together, where they are."""
        xp = namespace(inputs)
        if self.axis is None:
            return xp.reshape(inputs, (-1, 1))
        return xp.reshape(xp.moveaxis(inputs, self.axis, -1), (-1, inputs.shape[self.axis]))

    def is_single(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which columns are features of one cell a row, as the columns of a table are: others have no codes."""
        if self.feature_of is None:
            return np.full(self.columns(shape), len(shape) <= 2)
        return np.asarray(np.bincount(self.feature_of)[list(self.feature_of)] == 1)

    def count_of(self, columns: NDArray[np.bool_]) -> int:
        """How many features these columns are."""
        return (
            int(np.sum(columns)) if self.feature_of is None else len(set(np.array(self.feature_of)[columns].tolist()))
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        of = None if self.feature_of is None else list(self.feature_of)
        return {"axis": self.axis, "word": self.word, "notes": list(self.notes), "feature_of": of}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FeatureAxis:
        """Inverse of `to_dict`."""
        axis, of = data["axis"], data["feature_of"]
        return cls(
            axis=None if axis is None else int(axis),
            word="channel" if data["word"] == "channel" else "feature",
            notes=tuple(map(str, data["notes"])),
            feature_of=None if of is None else tuple(map(int, of)),
        )


def of_images(shape: tuple[int, ...]) -> int:
    """The channel axis of inputs of rank 4 and more, by their shape `(n, ...)`.

    Axis 1, or the last one where it is at most 4 long and axis 1 is not (images as `(n, h, w, c)`).

    >>> of_images((256, 3, 32, 32)), of_images((256, 32, 32, 3)), of_images((256, 8, 32, 32, 3))
    (1, 3, 4)
    """
    return len(shape) - 1 if shape[-1] <= FEW_CHANNELS < shape[1] else 1


def of_fixed_size(shape: tuple[int, ...], axis: int) -> FeatureAxis:
    """The axis that counts features of inputs whose other sizes vary from row to row.

    >>> of_fixed_size((64, 11, 16), 2).notes[0]
    'the inputs, of shape (rows, any, 16): one scale for each of 16 features on axis 2, which alone has a fixed size'
    """
    word: Literal["feature", "channel"] = "feature" if len(shape) == 3 and axis == 2 else "channel"
    sizes = ", ".join(["rows", *(str(size) if at == axis else "any" for at, size in enumerate(shape) if at)])
    each = f"each of {shape[axis]} {word}s" if shape[axis] > 1 else "all numbers"
    return FeatureAxis(
        axis,
        word,
        (f"the inputs, of shape ({sizes}): one scale for {each} on axis {axis}, which alone has a fixed size",),
    )


def choose(
    inputs: Array,
    *,
    tensors: Sequence[NamedTensor] | None = None,
    asked: int | None = None,
    read: Read | None = None,
    refuses: bool = True,
) -> FeatureAxis:
    """The axis that counts features.

    Rank 1 and 2: there is only one. Rank 3: axis 1 where the model's first layer takes it for channels, as a Conv1d
    does, else the last one, as in `(rows, steps, features)`. Rank 4 and more: as the first layer takes it, else
    `of_images`.

    Args:
        inputs: `(n, *input_shape)`.
        tensors: the named tensors that they are made of, where there are several, side by side.
        asked: the axis by the settings, counted in `(n, *input_shape)`, or from behind as -1 is; of named tensors each
            of rank 3 and more.
        read: asked only where there is a choice.
        refuses: whether to refuse where nothing decides; not where a scale is given anyway.

    Raises:
        InvalidInputError: there is no such axis; or nothing decides between two readings of inputs of rank 3, and some
            scale differs by more than 10 times between them; or of rank 4 and more, where neither axis 1 nor the last
            is at most 4 long, the scales along the last one alone differ so.

    >>> sensors = np.random.default_rng(0).normal(size=(64, 30, 5))
    >>> choose(sensors).axis, choose(sensors, asked=1).axis, choose(sensors[:, :, 0]).axis
    (2, 1, 1)
    """
    shape = tuple(int(length) for length in inputs.shape)
    if tensors is None or len(tensors) == 1 or all(len(tensor.shape) < 2 for tensor in tensors):
        _check_exists(asked, [len(shape)])
        known = _lazily(read, 1)
        return _of_tensor("the inputs", inputs, asked, lambda: known()[0], refuses)
    _check_exists(asked, [1 + len(tensor.shape) for tensor in tensors])
    return _side_by_side(inputs, tensors, asked, _lazily(read, len(tensors)), refuses)


def _lazily(read: Read | None, count: int) -> Read:
    found: list[int | None] = []

    def once() -> Sequence[int | None]:
        if not found:
            found.extend([None] * count if read is None else read())
        return found

    return once


def _check_exists(asked: int | None, ranks: Sequence[int]) -> None:
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, Integral)):
        raise InvalidInputError(f"{SETTING} is the number of an axis, such as 1 or -1, not {asked!r}")
    highest = max(ranks) - 1
    if asked is None or 1 <= asked <= highest or -highest <= asked <= -1:
        return
    axes = "no axis besides that of the rows" if highest < 1 else f"axes 1 to {highest}, and axis 0 are the rows"
    raise InvalidInputError(f"{SETTING} is {asked}, and the inputs have {axes}")


def _of_tensor(
    what: str, inputs: Array, asked: int | None, read: Callable[[], int | None], refuses: bool
) -> FeatureAxis:
    shape = tuple(int(length) for length in inputs.shape)
    rank = len(shape)
    if rank <= 2:
        return FeatureAxis(None if rank < 2 else 1)
    if asked is not None and -rank < asked < rank:
        axis, why = asked % rank, "as assess.scale_axis says"
    elif (told := read()) is not None:
        axis, why = told, "as the model's first layer reads them"
    elif rank == 3:
        axis, why = 2, "by default: (rows, steps, features); assess.scale_axis = 1 reads (rows, channels, steps)"
        if refuses:
            _check_alike(what, inputs)
    else:
        axis = of_images(shape)
        why = (
            f"by the rule for images: axis 1, or the last one where it is at most {FEW_CHANNELS} long and axis 1 is not"
        )
        if refuses and axis == 1 and shape[1] > FEW_CHANNELS:
            _check_channels_first(what, inputs)
    word: Literal["feature", "channel"] = "feature" if rank == 3 and axis == 2 else "channel"
    of_each = ", ".join(map(str, ("rows", *shape[1:])))
    each = f"each {word}" if shape[axis] == 1 else f"each of {shape[axis]} {word}s"
    note = f"{what}, of shape ({of_each}): one scale for {each} on axis {axis}, {why}"
    return FeatureAxis(axis, word, (note,))


def _check_alike(what: str, inputs: Array) -> None:
    """Refuse inputs of rank 3 whose scales depend on how they are read."""
    steps, features = (_deviation(inputs, axis) for axis in (1, 2))
    low, high = (np.minimum.outer(steps, features), np.maximum.outer(steps, features))
    if not np.any(high > APART * low):
        return
    with np.errstate(divide="ignore"):
        factor = float(np.max(np.divide(high, low, where=high > 0, out=np.ones_like(high))))
    apart = f"by up to {factor:.3g} times" if math.isfinite(factor) else "without end, since some do not vary"
    raise InvalidInputError(
        f"{what}, of shape (rows, {inputs.shape[1]}, {inputs.shape[2]}), may be (rows, steps, features) or (rows, "
        f"channels, steps), and scales of the two differ {apart}: set {SETTING} to 2 for the former, to 1 for "
        "the latter"
    )


def _check_channels_first(what: str, inputs: Array) -> None:
    """Refuse pictures of more channels than a few whose last axis alone has scales far apart, as channels have.

    So do bands of a satellite and variables of a weather map that stand last; edges of pictures are dark on all sides.
    """
    rank, seen = len(inputs.shape), inputs[:PICTURES_LOOKED_AT]
    spreads = []
    for axis in range(1, rank):
        deviation = _deviation(seen, axis)
        varying = deviation[deviation > 0]
        spreads.append(float(varying.max() / varying.min()) if len(varying) else 1.0)
    if spreads[-1] <= APART * max(*spreads[:-1], 1.0):
        return
    shape = ", ".join(map(str, ("rows", *inputs.shape[1:])))
    raise InvalidInputError(
        f"{what}, of shape ({shape}), may have channels first or last, and scales along the last axis differ by up to "
        f"{spreads[-1]:.3g} times: set {SETTING} to {rank - 1} where that is the channels, else to 1"
    )


def _deviation(inputs: Array, axis: int) -> Float64:
    moments, columns = Moments.of_columns(int(inputs.shape[axis])), FeatureAxis(axis)
    for rows in parts(inputs):
        moments.update(columns.by_column(as_float64(inputs[rows])))
    return np.sqrt(moments.variance)


def _side_by_side(
    inputs: Array, tensors: Sequence[NamedTensor], asked: int | None, read: Read, refuses: bool
) -> FeatureAxis:
    """The axis of named tensors: each by the same rule, and their features one behind another."""
    feature_of: list[int] = []
    notes: list[str] = []
    words: set[Literal["feature", "channel"]] = set()
    for index, tensor in enumerate(tensors):
        own = inputs[:, tensor.columns].reshape(int(inputs.shape[0]), *tensor.shape)
        chosen = _of_tensor(tensor.name, own, asked, lambda index=index: read()[index], refuses)  # type: ignore[misc]
        count = chosen.columns((1, *tensor.shape))
        first = max(feature_of, default=-1) + 1
        numbers = np.arange(first, first + count).reshape(chosen.scale_shape((1, *tensor.shape)))
        feature_of += np.broadcast_to(numbers, tensor.shape).ravel().tolist()
        notes += chosen.notes
        words.add(chosen.word)
    return FeatureAxis(1, words.pop() if len(words) == 1 else "feature", tuple(notes), tuple(feature_of))


def named(axis: FeatureAxis, shape: tuple[int, ...], tensors: Sequence[NamedTensor] | None) -> tuple[str, ...]:
    """Names of the features of inputs of `shape` without names of their own.

    `input`, `input[i]`; of arrays of rank 3 and more `channel_i`; of a named tensor with its name instead of `input`.

    >>> named(FeatureAxis(1), (8, 2), None), named(FeatureAxis(3), (8, 32, 32, 3), None)
    (('input[0]', 'input[1]'), ('channel_0', 'channel_1', 'channel_2'))
    """
    if tensors is None:
        return _names(None, len(shape), axis.columns(shape))
    if len(tensors) == 1:
        return _names(tensors[0].name, len(shape), axis.columns(shape))
    names: list[str] = []
    of = np.arange(axis.columns(shape)) if axis.feature_of is None else np.array(axis.feature_of)
    for tensor in tensors:
        features = np.unique(of[tensor.columns])
        names += _names(tensor.name, 1 + len(tensor.shape), len(features))
    return tuple(names)


def _names(name: str | None, rank: int, count: int) -> tuple[str, ...]:
    if rank < 2:
        return (name or "input",)
    if rank > 2:
        return tuple(f"{name}.channel_{index}" if name else f"channel_{index}" for index in range(count))
    return tuple(f"{name or 'input'}[{index}]" for index in range(count))
