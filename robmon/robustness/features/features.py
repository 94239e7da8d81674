"""What noise must know of the features of inputs: scale, mean, what to leave alone; and how to measure it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import (
    Array,
    Float64,
    as_float64,
    is_floating,
    like,
    namespace,
    numbers,
    parts,
    to_numpy,
)
from robmon.robustness.features.channels import FeatureAxis, choose
from robmon.robustness.features.codes import codes_from, is_code
from robmon.robustness.features.columns import ColumnStatistics, nan_as_none
from robmon.robustness.features.moments import LARGEST
from robmon.robustness.features.whole_numbers import Whole


@dataclass(frozen=True, eq=False)
class Features:
    """The features of inputs, or the channels of inputs of rank 3 and more, as the baseline has them.

    Attributes:
        scale: what a relative level multiplies, float64, broadcasts to one input row; 0: not perturbed.
        mean: likewise.
        sentinels: values of each feature that stand for "not measured" and the like, shape `(codes, *scale shape)` with
            at least one row, NaN where a feature has fewer codes or none.
        axis: which axis of the inputs counts features, and why.
        correlation: shape `(features, features)`; None where it was not asked for.
        constant: features that are not perturbed because their scale is 0.
        indicator: features that are not perturbed because they hold 0 and 1 only.
        relative: whether `scale` holds the features' standard deviations; else levels count input units.
        names: of the columns, where they have any.
        limits: within what features of whole numbers stay, low and high, shape `(2, *scale shape)`, NaN for the others;
            None where there are none.
        sets_apart: whether indicators and sentinels were looked for: not beside an explicit scale.
    """

    scale: Array
    mean: Array
    sentinels: Array
    axis: FeatureAxis
    correlation: Float64 | None = None
    constant: int = 0
    indicator: int = 0
    relative: bool = True
    names: tuple[str, ...] | None = None
    limits: Array | None = None
    sets_apart: bool = True

    @classmethod
    def of(
        cls, statistics: ColumnStatistics, shape: tuple[int, ...], axis: FeatureAxis, whole: Whole | None = None
    ) -> Features:
        """Features from statistics of their columns, for inputs of `shape`, `(n, *input_shape)`.

        Args:
            statistics: of the columns that `axis` gives.
            shape: of the inputs.
            axis: which axis of them counts features.
            whole: which columns are whole numbers.
        """
        limits = None
        if whole is not None:
            nothing = np.full(len(statistics.zero_one), np.nan)
            own = (nothing if each is None else each for each in (statistics.low, statistics.high))
            limits = whole.within(*own).reshape(2, *axis.scale_shape(shape))
        one, indicators = axis.scale_shape(shape), statistics.indicators
        moments = statistics.moments if axis.feature_of is None else statistics.moments.pooled(axis.feature_of)
        deviation, products, codes = np.sqrt(moments.variance), statistics.products, statistics.codes
        return cls(
            scale=np.where(indicators, 0.0, deviation).reshape(one),
            mean=moments.mean.reshape(one),
            sentinels=codes.reshape(len(codes), *one),
            axis=axis,
            correlation=None if products is None else products.correlation,
            constant=axis.count_of(deviation == 0),
            indicator=int(np.sum(indicators)),
            limits=limits,
        )

    @cached_property
    def mixing(self) -> Float64:
        """The symmetric square root of the correlation, with rows of length 1: it makes independent draws correlated.

        The correlation may be singular.
        """
        if self.correlation is None:
            raise InvalidInputError("the correlation of the features was not measured")
        values, vectors = np.linalg.eigh(self.correlation)
        root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        return np.asarray(root / np.linalg.norm(root, axis=1, keepdims=True))

    def like(self, inputs: Array) -> Features:
        """The same, with arrays of the kind and on the device of the inputs."""
        return self if isinstance(inputs, np.ndarray) else self._mapped(lambda values: like(values, inputs))

    def each(self, columns: int) -> Features:
        """The same, with one number a column."""
        return self._mapped(lambda values: np.broadcast_to(values, (*values.shape[:-1], columns)).copy())

    def take(self, positions: Sequence[int]) -> Features:
        """Some of the features, where there is one number a column."""
        at, names = list(positions), self.names
        return replace(
            self._mapped(lambda values: values[..., at]),
            correlation=None if self.correlation is None else self.correlation[np.ix_(at, at)],
            names=None if names is None else tuple(names[position] for position in at),
        )

    def _mapped(self, function: Callable[[Array], Array]) -> Features:
        scale, mean, sentinels = map(function, (self.scale, self.mean, self.sentinels))
        limits = None if self.limits is None else function(self.limits)
        return replace(self, scale=scale, mean=mean, sentinels=sentinels, limits=limits)

    def position(self, feature: str | int, count: int) -> int:
        """The position of one of `count` features, given by name or position.

        Raises:
            InvalidInputError: there is none of this name, or at this position.
        """
        if self.names is not None and str(feature) in self.names:
            return self.names.index(str(feature))
        if isinstance(feature, int) and 0 <= feature < count:
            return feature
        known = ", ".join((self.names or ())[:10]) or f"positions 0 to {count - 1}"
        raise InvalidInputError(f"{feature!r} is not one of the floating features: those are {known}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "scale": self.scale.tolist(),
            "mean": self.mean.tolist(),
            "sentinels": nan_as_none(self.sentinels),
            "axis": self.axis.to_dict(),
            "correlation": None if self.correlation is None else self.correlation.tolist(),
            "constant": self.constant,
            "indicator": self.indicator,
            "relative": self.relative,
            "names": None if self.names is None else list(self.names),
            "sets_apart": self.sets_apart,
            "limits": None if self.limits is None else nan_as_none(self.limits),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Features:
        """Inverse of `to_dict`."""
        arrays = {name: np.array(data[name], dtype=np.float64) for name in ("scale", "mean")}
        correlation, names, limits = data["correlation"], data["names"], data["limits"]
        return cls(
            **arrays,
            sentinels=codes_from(data["sentinels"], arrays["scale"].shape),
            axis=FeatureAxis.from_dict(data["axis"]),
            correlation=None if correlation is None else np.array(correlation, dtype=np.float64),
            constant=int(data["constant"]),
            indicator=int(data["indicator"]),
            relative=bool(data["relative"]),
            names=None if names is None else tuple(names),
            sets_apart=bool(data["sets_apart"]),
            limits=None if limits is None else np.array(limits, dtype=np.float64),
        )


def measure(
    inputs: Array,
    scale: Array | float | None = None,
    *,
    correlation: bool = False,
    names: tuple[str, ...] | None = None,
    axis: FeatureAxis | None = None,
    whole: Whole | None = None,
) -> Features:
    """The features of inputs `(n, *input_shape)`, by their finite values.

    Without a scale, and for features of one cell a row, indicators and sentinels are set apart (`ColumnStatistics`):
    those features and cells are not perturbed, and sentinels count neither for scale nor mean.

    Args:
        inputs: floating, NumPy array or torch tensor on any device.
        scale: what levels multiply, broadcasts to one input row, or one number a channel; 1.0: levels are in input
            units. None: the standard deviation (divisor n) of each feature or channel.
        correlation: whether to measure it too.
        names: of the features, where they have any.
        axis: which axis counts features; None: by the rank of the inputs (`channels.choose`).
        whole: which columns are whole numbers, which are perturbed in whole steps within their own range; None: none.

    Raises:
        InvalidInputError: the inputs are not floating or empty, nothing decides which axis counts features, the scale
            does not fit, no feature can be perturbed, one holds numbers whose squares overflow beside others, or there
            are too many for their correlation.

    >>> features = measure(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> features.scale.tolist(), features.mean.tolist(), features.constant
    ([1.0, 0.0], [2.0, 5.0], 1)
    """
    shape = tuple(inputs.shape)
    if not is_floating(inputs):
        raise InvalidInputError(
            f"inputs of dtype {inputs.dtype} cannot be perturbed: floating-point numbers are needed"
        )
    if len(shape) == 0 or 0 in shape:
        raise InvalidInputError(
            f"inputs of shape {shape} hold nothing to perturb: rows and floating features are needed"
        )
    if axis is None:
        axis = choose(inputs, refuses=scale is None)
    given = None if scale is None else fitting(numbers(scale, "scale"), shape, "scale", axis)
    statistics = ColumnStatistics.of_columns(
        axis.columns(shape), set_apart=False if given is not None else axis.is_single(shape), correlation=correlation,
        ranges=whole is not None,
    )  # fmt: skip
    if statistics.sentinels is None:
        statistics.learn_sentinels(inputs if len(shape) == 2 else inputs[:, None])
    is_some_huge = np.zeros(axis.columns(shape), dtype=np.bool_)
    may_be_huge = float(namespace(inputs).finfo(inputs.dtype).max) > LARGEST
    for rows in parts(inputs):
        columns = axis.by_column(as_float64(inputs[rows]))
        statistics.update(columns)
        if may_be_huge:
            is_some_huge |= _are_huge(columns, statistics.codes)
    if given is None and shape[0] == 1 and len(shape) <= 2:
        raise InvalidInputError("one row has no standard deviation: give more rows, or a scale")
    mixed = np.flatnonzero(is_some_huge & (statistics.moments.count > 0))
    if given is None and mixed.size:
        name = names[mixed[0]] if names else mixed[0]
        raise InvalidInputError(
            f"feature {name} holds numbers beyond {LARGEST:g} beside others, so its standard deviation overflows: "
            "leave out those rows, divide the feature by a constant, or give a scale"
        )
    features = replace(Features.of(statistics, shape, axis, whole), names=names)
    if given is not None:
        absolute = given.ndim == 0 and float(given) == 1.0
        features = replace(features, scale=given, constant=int(np.sum(given == 0)), relative=not absolute)
        features = replace(features, sets_apart=False)
    return checked(features)


def _are_huge(columns: Array, codes: Float64) -> NDArray[np.bool_]:
    """Which columns hold a number beyond `LARGEST` that is no code."""
    xp = namespace(columns)
    is_huge = xp.isfinite(columns) & (xp.abs(columns) > LARGEST) & ~is_code(columns, like(codes, columns))
    return np.asarray(to_numpy(xp.any(is_huge, axis=0)))


def checked(features: Features) -> Features:
    """The features, refused where none of them can be perturbed."""
    if not np.all(np.isfinite(features.scale)) or np.any(features.scale < 0):
        raise InvalidInputError("scale must hold finite numbers of at least 0")
    if not np.any(features.scale > 0):
        raise InvalidInputError(
            "no feature can be perturbed: every scale is 0 (all floating features are constant"
            f", or beyond {LARGEST:g}: divide those by a constant)"
        )
    return features


def fitting(values: Float64, shape: tuple[int, ...], what: str, axis: FeatureAxis) -> Float64:
    """Numbers of features so that they broadcast to one row of inputs of `shape`, `(n, *input_shape)`.

    A list with one number a channel is understood for inputs of rank 3 and more where it does not broadcast by itself.

    Raises:
        InvalidInputError: they do not fit.
    """
    others = (FeatureAxis(index).scale_shape(shape) for index in range(1, len(shape)))
    for candidate in (values.shape, axis.scale_shape(shape), *others):
        if int(np.prod(candidate)) != values.size:
            continue
        try:
            if np.broadcast_shapes(candidate, shape[1:]) == shape[1:]:
                return values.reshape(candidate)
        except ValueError:
            continue
    raise InvalidInputError(f"{what} of shape {values.shape} does not broadcast to one input of shape {shape[1:]}")
