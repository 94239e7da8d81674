"""The baseline of one model version: what its inputs, outputs and noise robustness curve normally look like.

It holds sums, counts, quantile edges, codes and the ranges of whole numbers that are perturbed, never a row of inputs,
so it can be logged beside the model and kept on disk. It is recorded by `robmon baseline`, or learnt from traffic until
enough rows are in it, and does not move afterwards: noise levels and drift are measured against it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from robmon.drift.features import feature_matrix
from robmon.drift.psi import Categories, Histograms
from robmon.errors import InvalidInputError
from robmon.history.canary import Canary
from robmon.history.checksum import is_intact, with_checksum
from robmon.robustness.features.channels import FeatureAxis, of_images
from robmon.robustness.features.columns import ColumnStatistics
from robmon.robustness.features.features import Features
from robmon.robustness.features.moments import Moments
from robmon.robustness.features.whole_numbers import Whole

Float64 = NDArray[np.float64]
Source = Literal["artifact", "local", "learning", "learnt"]
FORMAT = 2
READABLE_FORMATS = (1, FORMAT)
"""Format 1 has no checksum, and nothing of what came later."""


def check_readable(data: Mapping[str, Any]) -> None:
    """Look whether that is a whole baseline that can be read here.

    Raises:
        InvalidInputError: it is of another format, or not as it was written.
    """
    if data.get("format") not in READABLE_FORMATS:
        known = " or ".join(map(str, READABLE_FORMATS))
        raise InvalidInputError(f"the baseline is not of format {known}: record it again")
    if data["format"] != 1 and not is_intact(data):
        raise InvalidInputError("the baseline is damaged, its checksum does not fit: record it again")


@dataclass
class Baseline:
    """Scales, clean-output variances, curve and histograms of one model version, over `rows` rows."""

    levels: list[float]
    noise: str
    """Name of the noise of the curve."""
    inputs: ColumnStatistics
    """One column a feature, or a channel."""
    errors: Moments
    """Row errors, one column a level."""
    axis: FeatureAxis | None
    """Which axis of the inputs counts features; None where the baseline is older than that choice."""
    integers: list[str] = field(default_factory=list)
    """Columns of whole numbers that are measurements, by name, or `all`."""
    input_histograms: Histograms | None = None
    output: str | None = None
    outputs: Moments | None = None
    """Of clean outputs that are numbers."""
    prediction_histograms: Histograms | Categories | None = None
    rows: int = 0
    at: float = 0.0
    source: Source = "learning"
    canary: Canary | None = None
    """Drawn rows and the outputs for them; None before the baseline has settled."""

    @classmethod
    def empty(
        cls,
        levels: list[float],
        inputs: NDArray[Any],
        axis: FeatureAxis,
        noise: str = "gaussian",
        correlation: bool = False,
        whole: Whole | None = None,
        integers: Sequence[str] = (),
    ) -> Baseline:
        """A baseline that has learnt nothing yet, for inputs like these, shape `(n, *input_shape)`.

        Args:
            levels: of the curve.
            inputs: indicators and sentinels are looked for in features of one cell a row.
            axis: which axis of the inputs counts features.
            noise: name of the noise of the curve.
            correlation: whether to learn the correlation of the features, for noise that needs it.
            whole: which columns are whole numbers, of which the range is kept; None: none.
            integers: columns of whole numbers that are measurements, by name, or `all`.

        Raises:
            InvalidInputError: too many features to keep their correlation.
        """
        return cls(
            levels=list(levels),
            noise=noise,
            inputs=ColumnStatistics.of_columns(
                axis.columns(inputs.shape),
                set_apart=axis.is_single(inputs.shape),
                correlation=correlation,
                ranges=whole is not None,
            ),
            axis=axis,
            integers=list(integers),
            errors=Moments.of_columns(len(levels)),
        )

    @property
    def counts(self) -> bool:
        """Whether ratios and drift may be measured against it."""
        return self.source != "learning"

    def is_of_other_outputs(self, output: str) -> bool:
        """Whether its outputs were of another kind than these, so that its numbers mean something else.

        Raises:
            InvalidInputError: they were, and it was recorded, not learnt.
        """
        if self.output in (None, output):
            return False
        if self.source in ("artifact", "local"):
            raise InvalidInputError(
                f"the baseline was recorded of outputs that are {self.output}, and these are {output}: record a new "
                "baseline, or say what they are with assess.output (--output)"
            )
        return True

    def learn_inputs(self, inputs: NDArray[Any]) -> None:
        """Take more inputs, shape `(n, *input_shape)`, none of which was there before."""
        if not len(inputs):
            return
        axis = self.axis_of(inputs.shape)
        self.inputs.update(axis.as_columns(inputs))
        features, known = feature_matrix(inputs, axis), self.input_histograms
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

    def axis_of(self, shape: tuple[int, ...]) -> FeatureAxis:
        """Which axis counts features of inputs of `shape`, `(n, *input_shape)`."""
        if self.axis is not None:
            return self.axis
        return FeatureAxis(None if len(shape) < 2 else 1 if len(shape) == 2 else of_images(shape))

    def has_axis(self, axis: FeatureAxis, shape: tuple[int, ...]) -> bool:
        """Whether that is the axis which counts features here; of an older baseline also whether it has as many."""
        own = self.axis_of(shape)
        is_same = (own.axis, own.feature_of) == (axis.axis, axis.feature_of)
        return is_same and (self.axis is not None or len(self.inputs.zero_one) == axis.columns(shape))

    def features(self, inputs: NDArray[Any], whole: Whole | None = None) -> Features:
        """What noise must know of the features, or channels, of inputs `(n, *input_shape)`.

        Args:
            inputs: of which the range of whole numbers is taken, where the baseline has none.
            whole: which columns of them are whole numbers.

        Raises:
            InvalidInputError: the inputs have other features than the baseline.
        """
        axis = self.axis_of(inputs.shape)
        known, count = len(self.inputs.zero_one), axis.columns(inputs.shape)
        if count != known:
            raise InvalidInputError(
                f"the baseline has {known} features or channels, the inputs have {count}: record a new baseline"
                + (f", or give the same integers, {' '.join(self.integers)}" if self.integers else "")
            )
        known_inputs = self.inputs
        if whole is not None and known_inputs.low is None:
            ends = axis.as_columns(inputs)
            known_inputs = replace(known_inputs, low=np.fmin.reduce(ends), high=np.fmax.reduce(ends))
        return Features.of(known_inputs, inputs.shape, axis, whole)

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
        return self.input_histograms.psi(feature_matrix(inputs, self.axis_of(inputs.shape)))

    @property
    def features_watched(self) -> int:
        """Of how many features, or channels, drift is measured: of those that are perturbed."""
        return 0 if self.input_histograms is None else len(self.input_histograms.edges)

    def prediction_psi(self, clean_outputs: NDArray[Any]) -> float | None:
        """Mean population stability index of clean outputs `(n, outputs)`, or of the classes of labels `(n,)`."""
        if self.prediction_histograms is None:
            return None
        return float(np.mean(self.prediction_histograms.psi(clean_outputs)))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; holds no row of inputs."""
        content: dict[str, Any] = {
            "format": FORMAT,
            "source": self.source,
            "rows": self.rows,
            "at": self.at,
            "levels": self.levels,
            "noise": self.noise,
            "output": self.output,
            "integers": self.integers,
            "axis": None if self.axis is None else self.axis.to_dict(),
            "inputs": self.inputs.to_dict(),
            "errors": self.errors.to_dict(),
            "outputs": self.outputs.to_dict() if self.outputs is not None else None,
            "input_histograms": self.input_histograms.to_dict() if self.input_histograms else None,
            "prediction_histograms": self.prediction_histograms.to_dict() if self.prediction_histograms else None,
        }
        if self.canary is not None:
            content["canary"] = self.canary.to_dict()
        return with_checksum(content)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Baseline:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: this is no baseline, or one of another format.
        """
        check_readable(data)
        try:
            inputs, predictions = data["input_histograms"], data["prediction_histograms"]
            predictions_type = Categories if data["output"] == "label" else Histograms
            return cls(
                levels=[float(level) for level in data["levels"]],
                noise=str(data.get("noise", "gaussian")),  # the only one, before it was recorded
                inputs=ColumnStatistics.from_dict(data["inputs"]),
                integers=[str(name) for name in data.get("integers", [])],
                axis=None if data.get("axis") is None else FeatureAxis.from_dict(data["axis"]),
                errors=Moments.from_dict(data["errors"]),
                input_histograms=Histograms.from_dict(inputs) if inputs is not None else None,
                output=data["output"],
                outputs=Moments.from_dict(data["outputs"]) if data["outputs"] is not None else None,
                prediction_histograms=predictions_type.from_dict(predictions) if predictions is not None else None,
                rows=int(data["rows"]),
                at=float(data["at"]),
                source=cast(Source, data["source"]),
                canary=Canary.from_dict(data["canary"]) if data.get("canary") is not None else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InvalidInputError("the baseline is damaged: record it again") from None
