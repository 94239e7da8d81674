"""Drift between two sets of inputs: the population stability index of each feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.drift.features import feature_matrix
from robmon.drift.psi import Categories, Histograms
from robmon.errors import InvalidInputError
from robmon.robustness.features.channels import choose, named


@dataclass(frozen=True)
class FeatureDrift:
    """Drift of one feature: its column's name, `input[i]`, or `channel_i`."""

    name: str
    psi: float


@dataclass(frozen=True)
class DriftResult:
    """Drift of all features.

    Attributes:
        features: in the order of the inputs.
        all: mean PSI over the features. It sees whatever a feature's own distribution shows; a change of nothing but
            the dependence between features it cannot see.
        baseline_rows, current_rows: rows compared.
    """

    features: tuple[FeatureDrift, ...]
    all: float
    baseline_rows: int
    current_rows: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "statistic": "psi",
            "features": {feature.name: feature.psi for feature in self.features},
            "all": self.all,
            "baseline_rows": self.baseline_rows,
            "current_rows": self.current_rows,
        }


def drift(baseline_inputs: Any, current_inputs: Any) -> DriftResult:
    """How far the distribution of current inputs is from that of the baseline's, feature by feature.

    The statistic is the population stability index, `sum (q - p) ln(q / p)` over the baseline's deciles, NaN a bin of
    its own (see `robmon.drift.psi` for smoothing, source and thresholds: 0.1 slight, 0.25 large; without any drift
    about `(B - 1) (1/n + 1/m)` is to be expected from B bins, n and m rows). Columns that are not numbers are compared
    by the shares of their categories.

    Args:
        baseline_inputs: an array `(n, *input_shape)`, of rank 3 and more one feature an entry of one axis: of rank 3
            the last, else the channels'; or a DataFrame.
        current_inputs: likewise `(m, *input_shape)`; of a DataFrame the same columns, in any order.

    Raises:
        InvalidInputError: features differ, there are no rows, or they are not numbers.

    >>> generator = np.random.default_rng(0)
    >>> result = drift(generator.normal(size=(500, 2)), generator.normal(size=(500, 2)) + [0.0, 2.0])
    >>> [(feature.name, feature.psi > 0.25) for feature in result.features]
    [('input[0]', False), ('input[1]', True)]
    """
    if hasattr(baseline_inputs, "columns") or hasattr(current_inputs, "columns"):
        features, sizes = _of_frames(baseline_inputs, current_inputs)
    else:
        features, sizes = _of_arrays(baseline_inputs, current_inputs)
    return DriftResult(features, float(np.mean([feature.psi for feature in features])), *sizes)


def _of_arrays(baseline: Any, current: Any) -> tuple[tuple[FeatureDrift, ...], tuple[int, int]]:
    for inputs in (baseline, current):
        if not hasattr(inputs, "shape"):
            raise InvalidInputError(f"inputs must be an array or a DataFrame, not {type(inputs).__name__}")
    if tuple(baseline.shape[1:]) != tuple(current.shape[1:]):
        raise InvalidInputError(
            f"inputs of shapes {tuple(baseline.shape)} and {tuple(current.shape)} differ in features"
        )
    axis = choose(baseline, refuses=False)
    first, second = feature_matrix(baseline, axis), feature_matrix(current, axis)
    _check(first.shape[1], len(first), len(second))
    names, psi = named(axis, tuple(baseline.shape), None), Histograms.fit(first).psi(second).tolist()
    return tuple(FeatureDrift(name, value) for name, value in zip(names, psi, strict=True)), (len(first), len(second))


def _of_frames(baseline: Any, current: Any) -> tuple[tuple[FeatureDrift, ...], tuple[int, int]]:
    if not (hasattr(baseline, "columns") and hasattr(current, "columns")):
        raise InvalidInputError("a DataFrame can only be compared with another DataFrame")
    names = list(baseline.columns)
    if set(names) != set(current.columns) or len(set(names)) != len(names):
        raise InvalidInputError("both DataFrames must have the same columns, each once")
    _check(len(names), len(baseline), len(current))
    features = tuple(FeatureDrift(str(name), _column_psi(baseline[name], current[name])) for name in names)
    return features, (len(baseline), len(current))


def _column_psi(baseline: Any, current: Any) -> float:
    first, second = _numbers(baseline), _numbers(current)
    if first is None or second is None:
        return Categories.fit(_objects(baseline)).psi(_objects(current))
    return float(Histograms.fit(first).psi(second)[0])


def _numbers(column: Any) -> NDArray[np.float64] | None:
    """A numeric column as `(n, 1)`, missing values as NaN; None for any other."""
    if getattr(column.dtype, "kind", "O") not in "fiub":
        return None
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan)).reshape(-1, 1)


def _objects(column: Any) -> list[Any]:
    return [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]


def _check(features: int, baseline_rows: int, current_rows: int) -> None:
    if not features or not baseline_rows or not current_rows:
        raise InvalidInputError("inputs without rows or without features cannot be compared")
