"""The baseline of one model version: what its inputs, outputs and noise robustness curve normally look like.

It holds sums, counts of cells whose edges no row lies on, names of frequent categories, codes, the ranges of whole
numbers that are perturbed and distances between rows, never a row of inputs, so it can be logged beside the model and
kept on disk. It is recorded by `robmon baseline`, or learnt from traffic until enough rows are in it, and does not move
afterwards: noise levels and drift are measured against it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.drift.columns import Column
from robmon.drift.comparison import FeatureDrift
from robmon.drift.features import array_columns
from robmon.drift.names import Names
from robmon.drift.novel_rows import NovelRows, novel_rows
from robmon.drift.novelty import NoveltyReference
from robmon.drift.older import OlderSummaries
from robmon.drift.summaries import Summaries
from robmon.errors import InvalidInputError
from robmon.history.baseline.canary import Canary
from robmon.history.baseline.kept_shares import KeptShares
from robmon.robustness.arrays import Float64
from robmon.robustness.false_matches import PairDistances, Threshold
from robmon.robustness.features.channels import FeatureAxis, named, of_images
from robmon.robustness.features.columns import ColumnStatistics
from robmon.robustness.features.features import Features
from robmon.robustness.features.moments import Moments
from robmon.robustness.features.whole_numbers import Whole
from robmon.robustness.specification import Specification

Source = Literal["artifact", "local", "learning", "learnt"]
SALT_BYTES = 16
MOST_OUTPUTS = 1024
"""Outputs of which drift is measured."""


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
    inputs_seen: Summaries | OlderSummaries = field(default_factory=Summaries.none)
    """What every column of the inputs is like, whether noise perturbs it or not."""
    output: str | None = None
    outputs: Moments | None = None
    """Moments of the clean outputs, where they are numbers."""
    outputs_seen: Summaries | OlderSummaries = field(default_factory=Summaries.none)
    """What each clean output is like, or the labels."""
    rows: int = 0
    at: float = 0.0
    source: Source = "learning"
    hourly: dict[str, Any] | None = None
    """Row errors by hour, as `hours.BaselineHours` has them; None before enough of them are there."""
    canary: Canary | None = None
    """Drawn rows and the outputs for them; None before the baseline has settled."""
    shares: KeptShares | None = None
    """Which features carried the noise error; None before it has been measured."""
    pairs: PairDistances | None = None
    """For embeddings, the distances between its different rows, a quantile of which is the threshold."""
    salt: str = ""
    """Salt of the hashes that it holds instead of the names of categories; empty: it holds frequent names."""
    novelty: NoveltyReference | None = None
    """What is usual of its rows; None of a baseline from before that was kept."""

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
        hashes_names: bool = False,
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
            hashes_names: whether salted hashes are learnt in the place of the names of categories.

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
            salt=secrets.token_hex(SALT_BYTES) if hashes_names else "",
            novelty=NoveltyReference.none(),
        )

    @property
    def is_settled(self) -> bool:
        """Whether ratios and drift may be measured against it."""
        return self.source != "learning"

    @property
    def keeps_names(self) -> bool:
        """Whether names of categories in the inputs are in it, or will be."""
        features = self.inputs_seen.features.values() if isinstance(self.inputs_seen, Summaries) else ()
        has_names = any(isinstance(each, Names) and each.names for each in features)
        return not self.salt and (has_names or not self.is_settled)

    def is_of_other_outputs(self, output: str, distance: str | None = None) -> bool:
        """Whether its outputs were of another kind than these, or, as embeddings, another distance apart, so that its
        numbers mean something else.

        Raises:
            InvalidInputError: they were, and it was recorded, not learnt.
        """
        known = None if self.pairs is None else self.pairs.distance
        if self.output is None or (self.output, known) == (output, distance):
            return False
        if self.source in ("artifact", "local") and self.output == output:
            raise InvalidInputError(
                f"the baseline was recorded with distance {known} of embeddings, and it is {distance} now: record a "
                "new baseline, or set embedding.distance (--distance) as it was"
            )
        if self.source in ("artifact", "local"):
            raise InvalidInputError(
                f"the baseline was recorded of outputs that are {self.output}, and these are {output}: record a new "
                "baseline, or say what they are with assess.output (--output)"
            )
        return True

    def learn_inputs(
        self,
        inputs: NDArray[Any],
        columns: Mapping[str, Column] | None = None,
        alone: NDArray[np.intp] | None = None,
    ) -> None:
        """Take more inputs, none of which was there before.

        Args:
            inputs: what is perturbed of them, shape `(n, *input_shape)`.
            columns: all of their columns, by name; None: those that are perturbed.
            alone: rows each of a request of its own, since several of one are alike; None: all.
        """
        if not len(inputs):
            return
        axis = self.axis_of(inputs.shape)
        self.inputs.update(axis.as_columns(inputs))
        if isinstance(self.inputs_seen, Summaries):
            columns = array_columns(inputs, named(axis, inputs.shape, None), axis) if columns is None else columns
            self.inputs_seen = self.inputs_seen.added(columns)
            if self.novelty is not None:
                rows = self.rows_of(inputs, columns)
                self.novelty = self.novelty.added(rows if alone is None else rows.take(alone))
        self.rows += len(inputs)
        self.at = time.time()

    def rows_of(self, inputs: NDArray[Any], columns: Mapping[str, Column]) -> NovelRows:
        """The rows of inputs as distances between them are measured: see `learn_inputs`."""
        axis = self.axis_of(inputs.shape)
        return novel_rows(columns, inputs, is_table=inputs.ndim <= 2 and axis.feature_of is None)

    def learn_results(self, output: str, clean_outputs: NDArray[Any], row_errors: Float64) -> None:
        """Take the clean outputs `(n, outputs)`, or labels `(n,)`, and their errors `(requests, levels)`."""
        self.errors.update(row_errors)
        self.output = output
        if isinstance(self.outputs_seen, Summaries):
            self.outputs_seen = self.outputs_seen.added(output_columns(output, clean_outputs))
        if output != "label":
            self.outputs = self.outputs or Moments.of_columns(clean_outputs.shape[1])
            self.outputs.update(clean_outputs)

    def learn_pairs(self, pairs: Float64, distance: str) -> None:
        """Take distances between different rows, all of which are new."""
        new = PairDistances.of(pairs, distance)
        self.pairs = new if self.pairs is None else self.pairs.merged(new)

    def threshold(self, specification: Specification) -> Threshold | None:
        """The distance below which few pairs of its rows lie; None where it is still learning, or is of no embeddings
        of that distance."""
        if not self.is_settled or self.pairs is None or self.pairs.distance != specification.distance:
            return None
        return self.pairs.threshold(specification.false_match_rate, "the baseline's rows")

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
        seen: Any = self.outputs_seen
        labels = next(iter(seen.features.values()), None) if isinstance(seen, Summaries) else seen
        if not isinstance(labels, (Names, OlderSummaries)) or not labels.shares:
            return None
        shares = np.array(labels.shares)
        return np.asarray(shares * (1 - shares))

    def input_drift(self, columns: Mapping[str, Column], q: float) -> tuple[FeatureDrift, ...]:
        """Drift of the columns of current inputs, and which of them count as drifted at a rate `q` of mistakes."""
        return _compared(self.inputs_seen, columns, q)

    def prediction_drift(self, clean_outputs: NDArray[Any], q: float) -> tuple[FeatureDrift, ...]:
        """Drift of clean outputs `(n, outputs)`, or of the classes of labels `(n,)`; none before any is known."""
        return _compared(self.outputs_seen, output_columns(self.output or "value", clean_outputs), q)


def output_columns(output: str, clean_outputs: NDArray[Any]) -> dict[str, Column]:
    """Clean outputs `(n, outputs)`, or labels `(n,)`, as drift reads them."""
    if clean_outputs.ndim < 2 or output == "label":
        return array_columns(clean_outputs.reshape(len(clean_outputs), -1), ["output"], declared=output == "label")
    outputs = clean_outputs.reshape(len(clean_outputs), -1)[:, :MOST_OUTPUTS]
    names = [f"output[{index}]" for index in range(outputs.shape[1])] if outputs.shape[1] > 1 else ["output"]
    return array_columns(outputs, names)


def _compared(seen: Summaries | OlderSummaries, columns: Mapping[str, Column], q: float) -> tuple[FeatureDrift, ...]:
    return seen.compare(columns, q) if isinstance(seen, Summaries) else seen.compare(columns)
