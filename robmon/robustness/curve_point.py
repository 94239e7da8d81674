"""What one assessment found at one level."""

from __future__ import annotations

from dataclasses import dataclass, field

from robmon.robustness.arrays import Float64


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """The noise robustness curve at one level. MSEs are in squared output units; for labels they are shares of flips,
    for embeddings squared distances (with `cosine`, distances).

    Attributes:
        level: noise strength.
        mean_mse: mean of the trial MSEs; +Inf where an output was not finite, and so are the bounds.
        bound: the trial bound U: a further trial on the same rows stays below it with the stated confidence. None: the
            noise is deterministic, so all trials are alike.
        request_bound: the request bound V: the row error of a further prediction stays below it with that confidence.
            None: there are too few rows.
        mean_bound: the expected row error over inputs and noise lies below it with that confidence. None where the row
            error has no known maximum (only labels and probabilities have one).
        trial_mse: shape `(T,)`.
        median_row_error: median over rows of the row errors averaged over trials: what a typical row does, where a few
            rows may dominate the mean.
        worst_share: share of the error carried by the worst 5 % of rows (`ceil(0.05 n)` of them): 0.05 where all rows
            carry the same, 1 where no other row has any; infinite errors outweigh all others. None: there is no error.
        agreement: share of unchanged classes over rows and trials (for several labels at once: of unchanged sets); None
            where outputs are not classes, or all rows have the same one.
        accuracy: share of classes that are those of the targets; None without targets or classes.
        brier: Brier score against the targets: squared distances of probabilities, summed over classes (Brier 1950; 0
            is perfect, 2 the worst). A single column is the probability of the second of two classes, and both count.
            None unless outputs are probabilities of a classification, with targets.
        certified_radius: shape `(n,)`, L2 radius around each row, in units of the scale, within which the majority vote
            under this noise keeps the row's clean class; 0 where nothing is certified. See `certified_radii`, also for
            what it does not say. None without classes, and for noise other than plain Gaussian.
        nonfinite_outputs: number of rows whose output was not finite, over all trials.
        beyond_threshold: for embeddings, the share of rows, over trials, that moved beyond the threshold: how often
            noise makes a copy of a thing look like another thing. None for other outputs, and where no threshold is
            known.
        triplet_flips: for embeddings, the share of triplets of rows, over all trials, whose order changed, that is,
            which of the two others is nearer. The mean over rows of the share of their own triplets, which are not
            independent draws; ties are left out. None for other outputs, and where there are no triplets.
        self_nearest: for embeddings, the share of rows, over all trials, whose noisy embedding is nearer to their own
            clean one than to any other row's (precision at 1). None for other outputs, and where there are no other
            rows.
        move_quantiles: for embeddings, shape `(4,)`, the quantiles 0.5, 0.9, 0.95 and 0.99 over rows and trials of the
            distance by which noise moves them; None for other outputs.
        realised_level: root mean square of what was added to the perturbed cells, over all trials, in units of the
            scale, after clipping and rounding to the inputs' type; close to the level for additive noise without
            clipping.
    """

    level: float
    mean_mse: float
    bound: float | None
    request_bound: float | None
    mean_bound: float | None
    trial_mse: Float64
    median_row_error: float
    worst_share: float | None
    agreement: float | None
    accuracy: float | None
    brier: float | None
    certified_radius: Float64 | None = field(repr=False)
    nonfinite_outputs: int
    realised_level: float
    beyond_threshold: float | None = None
    triplet_flips: float | None = None
    self_nearest: float | None = None
    move_quantiles: Float64 | None = None

    @property
    def flip_rate(self) -> float | None:
        """Share of classes that the noise changed, `1 - agreement`; None where outputs are no classes."""
        return None if self.agreement is None else 1.0 - self.agreement
