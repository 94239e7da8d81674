"""The baseline of one model version: what its inputs, outputs and noise robustness curve normally look like.

It holds sums, counts and quantile edges, never a row of inputs, so it can be logged beside the model and kept on disk.
It is recorded by `robmon baseline`, or learnt from traffic until enough rows are in it, and does not move afterwards:
noise levels and drift are measured against it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robmon.drift.features import feature_matrix
from robmon.drift.psi import Categories, Histograms
from robmon.errors import InvalidInputError
from robmon.robustness.noise import channel_axis, scale_shape

Float64 = NDArray[np.float64]
Source = Literal["artifact", "local", "learning", "learnt"]
FORMAT = 1


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of columns, merged batch by batch (Chan, Golub & LeVeque 1983).

    Numbers that are not finite are left out, column by column.

    >>> moments = Moments.of_columns(2)
    >>> moments.update([[1.0, 5.0], [3.0, float("nan")]])
    >>> moments.variance.tolist()
    [1.0, 0.0]
    """

    count: Float64
    mean: Float64
    squares: Float64

    @classmethod
    def of_columns(cls, columns: int) -> Moments:
        """Moments of nothing yet."""
        return cls(np.zeros(columns), np.zeros(columns), np.zeros(columns))

    def update(self, values: ArrayLike) -> None:
        """Merge more rows, shape `(n, columns)`."""
        rows = np.asarray(values, dtype=np.float64)
        finite = np.isfinite(rows)
        count = finite.sum(axis=0)
        safe = np.maximum(count, 1)
        mean = np.where(finite, rows, 0.0).sum(axis=0) / safe
        squares = (np.where(finite, rows - mean, 0.0) ** 2).sum(axis=0)
        total = np.maximum(self.count + count, 1)
        difference = np.where(count > 0, mean - self.mean, 0.0)
        self.squares += squares + difference**2 * self.count * count / total
        self.mean += difference * count / total
        self.count += count

    @property
    def variance(self) -> Float64:
        """Variance (divisor n) of each column; 0 where it is only rounding."""
        variance = self.squares / np.maximum(self.count, 1)
        return np.where(variance > (1e-14 * np.abs(self.mean)) ** 2, variance, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"count": self.count.tolist(), "mean": self.mean.tolist(), "squares": self.squares.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Moments:
        """Inverse of `to_dict`."""
        return cls(*(np.asarray(data[name], dtype=np.float64) for name in ("count", "mean", "squares")))


@dataclass
class Baseline:
    """Scales, clean-output variances, curve and histograms of one model version, over `rows` rows."""

    levels: list[float]
    inputs: Moments
    errors: Moments
    """Row errors, one column a level."""
    input_histograms: Histograms | None = None
    output: str | None = None
    outputs: Moments | None = None
    """Of clean outputs that are numbers."""
    prediction_histograms: Histograms | Categories | None = None
    rows: int = 0
    at: float = 0.0
    source: Source = "learning"

    @classmethod
    def empty(cls, levels: list[float], inputs: NDArray[Any]) -> Baseline:
        """A baseline that has learnt nothing yet, for inputs like these, shape `(n, *input_shape)`."""
        return cls(
            levels=list(levels),
            inputs=Moments.of_columns(int(np.prod(scale_shape(inputs.shape)))),
            errors=Moments.of_columns(len(levels)),
        )

    @property
    def counts(self) -> bool:
        """Whether ratios and drift may be measured against it."""
        return self.source != "learning"

    def learn_inputs(self, inputs: NDArray[Any]) -> None:
        """Take more inputs, shape `(n, *input_shape)`, none of which was there before."""
        if not len(inputs):
            return
        axis = channel_axis(inputs.shape)
        columns = (
            inputs.reshape(-1, 1) if axis is None else np.moveaxis(inputs, axis, -1).reshape(-1, inputs.shape[axis])
        )
        self.inputs.update(columns)
        features, known = feature_matrix(inputs), self.input_histograms
        self.input_histograms = Histograms.fit(features) if known is None else known.updated(features)
        self.rows += len(inputs)
        self.at = time.time()

    def learn_results(self, output: str, clean_outputs: NDArray[Any], row_errors: Float64) -> None:
        """Take the clean outputs `(n, outputs)`, or labels `(n,)`, and their errors `(requests, levels)`."""
        self.errors.update(row_errors)
        self.output = output
        known = self.prediction_histograms
        if known is not None:
            self.prediction_histograms = known.updated(clean_outputs)
        else:
            self.prediction_histograms = (Categories if output == "label" else Histograms).fit(clean_outputs)
        if output != "label":
            self.outputs = self.outputs or Moments.of_columns(clean_outputs.shape[1])
            self.outputs.update(clean_outputs)

    def settle(self, min_rows: int) -> None:
        """Stop learning once there are enough rows."""
        if self.source == "learning" and self.rows >= min_rows:
            self.source = "learnt"

    def scale(self, inputs: NDArray[Any]) -> Float64:
        """Standard deviation of each feature or channel, as it broadcasts to one row of `inputs`.

        Raises:
            InvalidInputError: the inputs have other features than the baseline.
        """
        shape = scale_shape(inputs.shape)
        if int(np.prod(shape)) != len(self.inputs.count):
            raise InvalidInputError(
                f"the baseline has {len(self.inputs.count)} features or channels, "
                f"the inputs have {int(np.prod(shape))}: record a new baseline"
            )
        return np.sqrt(self.inputs.variance).reshape(shape)

    @property
    def output_variance(self) -> Float64 | None:
        """Variance of each clean output, of labels `p (1 - p)` a class; None before any is known."""
        if self.outputs is not None:
            return self.outputs.variance
        if not isinstance(self.prediction_histograms, Categories):
            return None
        shares = np.array(list(self.prediction_histograms.counts.values())) / self.prediction_histograms.rows
        return np.asarray(shares * (1 - shares))

    def input_psi(self, inputs: NDArray[Any]) -> Float64:
        """Population stability index of each feature, or channel, of inputs `(n, *input_shape)`."""
        if self.input_histograms is None:
            raise InvalidInputError("the baseline has no inputs yet")
        return self.input_histograms.psi(feature_matrix(inputs))

    def prediction_psi(self, clean_outputs: NDArray[Any]) -> float | None:
        """Mean population stability index of clean outputs `(n, outputs)`, or of the classes of labels `(n,)`."""
        if self.prediction_histograms is None:
            return None
        return float(np.mean(self.prediction_histograms.psi(clean_outputs)))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; holds no row of inputs."""
        return {
            "format": FORMAT,
            "source": self.source,
            "rows": self.rows,
            "at": self.at,
            "levels": self.levels,
            "output": self.output,
            "inputs": self.inputs.to_dict(),
            "errors": self.errors.to_dict(),
            "outputs": self.outputs.to_dict() if self.outputs is not None else None,
            "input_histograms": self.input_histograms.to_dict() if self.input_histograms else None,
            "prediction_histograms": self.prediction_histograms.to_dict() if self.prediction_histograms else None,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Baseline:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: this is no baseline, or one of another format.
        """
        if data.get("format") != FORMAT:
            raise InvalidInputError(f"the baseline is not of format {FORMAT}: record it again")
        try:
            inputs, predictions = data["input_histograms"], data["prediction_histograms"]
            predictions_type = Categories if data["output"] == "label" else Histograms
            return cls(
                levels=[float(level) for level in data["levels"]],
                inputs=Moments.from_dict(data["inputs"]),
                errors=Moments.from_dict(data["errors"]),
                input_histograms=Histograms.from_dict(inputs) if inputs is not None else None,
                output=data["output"],
                outputs=Moments.from_dict(data["outputs"]) if data["outputs"] is not None else None,
                prediction_histograms=predictions_type.from_dict(predictions) if predictions is not None else None,
                rows=int(data["rows"]),
                at=float(data["at"]),
                source=cast(Source, data["source"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InvalidInputError("the baseline is damaged: record it again") from None
