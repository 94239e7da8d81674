"""Inputs and outputs as columns, one a feature; of images three a channel: mean, standard deviation and contrast."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.drift.columns import Column, column_of
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64, parts
from robmon.robustness.features.channels import FeatureAxis, choose

STATISTICS = ("mean", "std", "contrast")
"""Of the cells of one channel of one row; contrast is the root mean square of the differences between neighbours, which
falls where images are blurred and rises where they are noisy."""


def plain(inputs: Any) -> NDArray[Any]:
    """An array or tensor as NumPy has it, bfloat16 and the like in float32.

    Raises:
        InvalidInputError: it has no rows that could be compared.
    """
    if hasattr(inputs, "detach"):
        inputs = inputs.detach().cpu()
        inputs = inputs.float() if inputs.is_floating_point() and inputs.element_size() < 4 else inputs
    if isinstance(inputs, np.ma.MaskedArray) and inputs.dtype.kind in "fiub":
        inputs = np.ma.filled(inputs.astype(np.float64), np.nan)
    array = np.asarray(inputs)
    if array.ndim == 0 or array.dtype.kind not in "fiubOUSM" or (array.ndim > 2 and array.dtype.kind not in "fiub"):
        raise InvalidInputError(f"inputs of type {array.dtype} and shape {array.shape} are not rows of numbers")
    return array


def array_columns(
    inputs: Any, names: Sequence[str], axis: FeatureAxis | None = None, declared: bool = False
) -> dict[str, Column]:
    """The columns of inputs of any rank, by name.

    Rank 1 is one column; rank 2 as it is. Of rank 3 and more each feature, or channel, of a row has three: see
    `STATISTICS`; they are of its finite cells, and missing where it has none.

    Args:
        inputs: shape `(n, *input_shape)`, NumPy array or torch tensor.
        names: of the features, or channels.
        axis: which axis of the inputs counts features; None: by their rank.
        declared: whether the cells are categories, as classes are.

    Raises:
        InvalidInputError: they have no axis of rows, or are neither numbers nor columns of names.

    >>> list(array_columns(np.zeros((8, 3, 2, 2)), ["red", "green", "blue"]))[:3]
    ['red.mean', 'red.std', 'red.contrast']
    """
    array = plain(inputs)
    axis = axis or choose(array, refuses=False)
    if axis.feature_of is not None:
        return _side_by_side(array, names, axis.feature_of)
    if array.ndim > 2 and axis.axis is not None:
        columns = np.concatenate([_of_channels(array[rows], axis.axis) for rows in parts(array)])
        names = [f"{name}.{statistic}" for name in names for statistic in STATISTICS]
    else:
        columns = array[:, None] if array.ndim == 1 else array
    return {name: column_of(columns[:, at], declared) for at, name in enumerate(unique(names))}


def unique(names: Sequence[Any], taken: Collection[str] = ()) -> list[str]:
    """Names as text, each once, and none of those taken: columns called 1 and "1" are two.

    >>> unique([1, "1", "a"])
    ['1', '1 (2)', 'a']
    """
    told: dict[str, None] = {}
    for name in map(str, names):
        shown, number = name, 2
        while shown in told or shown in taken:
            shown, number = f"{name} ({number})", number + 1
        told[shown] = None
    return list(told)


def _of_channels(inputs: NDArray[Any], axis: int) -> Float64:
    values = np.moveaxis(inputs, axis, 1).astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    cells = tuple(range(2, values.ndim))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = _mean(values, cells)
        deviation = np.sqrt(_mean((values - mean.reshape(*mean.shape, *[1] * len(cells))) ** 2, cells))
        steps = [_mean(np.diff(values, axis=each) ** 2, cells) for each in cells if values.shape[each] > 1]
        contrast = np.sqrt(sum(steps) / len(steps)) if steps else np.zeros_like(mean)
    return np.stack([mean, deviation, contrast], axis=-1).reshape(len(values), -1)


def _side_by_side(array: NDArray[Any], names: Sequence[str], feature_of: Sequence[int]) -> dict[str, Column]:
    """Of named tensors: a feature of several cells has mean and standard deviation; neighbours are not known."""
    columns: dict[str, Column] = {}
    starts = np.argsort(feature_of, kind="stable")
    cells = np.split(starts, np.flatnonzero(np.diff(np.array(feature_of)[starts])) + 1)
    for name, at in zip(unique(names), cells, strict=True):
        if len(at) == 1:
            columns[name] = column_of(array[:, at[0]])
            continue
        found = _of_channels(array[:, at][:, None], 1)
        columns |= {f"{name}.{STATISTICS[index]}": column_of(found[:, index]) for index in (0, 1)}
    return columns


def _mean(values: Float64, cells: tuple[int, ...]) -> Float64:
    """Means over some axes of what is there, NaN where nothing is."""
    there = ~np.isnan(values)
    if there.all():
        return np.asarray(values.mean(axis=cells))
    count = there.sum(axis=cells)
    total = np.where(there, values, 0.0).sum(axis=cells)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
