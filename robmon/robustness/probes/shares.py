"""Shares of a noise error: what each group of features carries of it, and of its rise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.jsonable import jsonable
from robmon.robustness.probes.groups import FeatureGroups
from robmon.vocabulary import OutputKind

BEYOND: Final = 3.0
"""Standard errors by which an error must have risen before its rise is shared out."""


@dataclass(frozen=True, eq=False)
class GroupMoments:
    """Gains of groups over rows, as far as shares and their errors need them: what is kept of an attribution.

    Attributes:
        mean: shape `(groups,)`, mean gain of each, in squared output units.
        variance: shape `(groups,)`, of the gains over rows, divisor n - 1.
        covariance: shape `(groups,)`, of the gain of each with the row's whole error.
        total_variance: of the rows' whole errors.
        rows: over how many rows, or requests where several rows came from one.
    """

    mean: Float64
    variance: Float64
    covariance: Float64
    total_variance: float
    rows: int

    @classmethod
    def of(cls, gains: Float64) -> GroupMoments:
        """Moments of gains, shape `(rows, groups)`.

        Raises:
            InvalidInputError: fewer than 2 rows.
        """
        if len(gains) < 2:
            raise InvalidInputError(f"at least 2 rows are needed to share an error out, not {len(gains)}")
        off, total = gains - gains.mean(axis=0), gains.sum(axis=1)
        off_total = total - total.mean()
        return cls(
            mean=gains.mean(axis=0),
            variance=(off**2).sum(axis=0) / (len(gains) - 1),
            covariance=(off * off_total[:, None]).sum(axis=0) / (len(gains) - 1),
            total_variance=float(off_total @ off_total) / (len(gains) - 1),
            rows=len(gains),
        )

    @property
    def total(self) -> float:
        """The whole error."""
        return float(self.mean.sum())

    def variance_of_rest(self, share: Float64) -> Float64:
        """Variance of the mean of `gain - share * whole error`, for each group; shape `(groups,)`."""
        spread = self.variance - 2.0 * share * self.covariance + share**2 * self.total_variance
        return np.asarray(np.maximum(spread, 0.0) / self.rows)

    def shares(self) -> tuple[Float64, Float64]:
        """Each group's share of the whole error, and the standard errors by the delta method; shapes `(groups,)`."""
        share = self.mean / self.total
        return share, np.sqrt(self.variance_of_rest(share)) / self.total

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: jsonable(value) for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GroupMoments:
        """Inverse of `to_dict`."""
        mean, variance, covariance = (
            np.asarray(data[name], dtype=np.float64) for name in ("mean", "variance", "covariance")
        )
        return cls(mean, variance, covariance, total_variance=float(data["total_variance"]), rows=int(data["rows"]))


@dataclass(frozen=True, eq=False)
class Attribution:
    """The noise error at one level, shared out between groups of features.

    Attributes:
        groups: names of the groups.
        members: the features of each.
        share: shape `(groups,)`, shares of the noise error, which add up to 1. Below 0 where noise on a group offsets
            that on others.
        stderr: shape `(groups,)`, standard errors of the shares over rows (requests), by the delta method.
        total: the noise error, in squared output units (for labels, the share of flips): a mean MSE over rows and
            draws.
        level: of the noise.
        noise: its name.
        output: what the outputs are.
        rows: number of rows that counted.
        pairs: number of orders run per row, each with its reverse.
        seed: as given.
        moments: what `rise_shares` needs.
        cut: how many of the rows and pairs a time budget left, in words; empty: all.
        notes: sentences on what was deduced or left out.
    """

    groups: tuple[str, ...]
    members: dict[str, tuple[str, ...]]
    share: Float64
    stderr: Float64
    total: float
    level: float
    noise: str
    output: OutputKind
    rows: int
    pairs: int
    seed: int
    moments: GroupMoments
    cut: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, moments: GroupMoments, groups: FeatureGroups, **found: Any) -> Attribution:
        """Shares by the gains of groups.

        Raises:
            InvalidInputError: there is no error to share out.
        """
        total, level = moments.total, found["level"]
        if total <= 0:
            raise InvalidInputError(
                f"noise at level {level:g} changes no output: there is no error to share out, give a higher level"
            )
        share, stderr = moments.shares()
        return cls(groups.names, groups.members, share, stderr, total, moments=moments, **found)

    @property
    def mse(self) -> Float64:
        """What each group contributes, in squared output units, shape `(groups,)`; adds up to `total`."""
        return self.moments.mean

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON. It holds nothing about single rows."""
        return {name: jsonable(value) for name, value in vars(self).items() if name != "moments"} | {
            "members": {name: list(names) for name, names in self.members.items()}
        }

    def __str__(self) -> str:
        from robmon.report.attribution import text

        return text(self)


def rise_shares(before: GroupMoments, now: GroupMoments) -> tuple[Float64, Float64] | None:
    """Which share of a rise of the noise error each group carries, and its standard error; shapes `(groups,)`.

    `(gain now - gain before) / (total now - total before)`, the rows of both being independent, by the delta method.

    Args:
        before: moments in the baseline.
        now: moments of the same groups, noise and level now.

    Returns:
        None where the whole error has not risen by more than three standard errors.

    Raises:
        InvalidInputError: the numbers of groups differ.

    >>> gains = np.random.default_rng(0).chisquare(3, size=(2, 500, 2))
    >>> gains[1, :, 0] *= 3.0
    >>> share, stderr = rise_shares(*map(GroupMoments.of, gains))
    >>> share.round(1).tolist()
    [1.0, -0.0]
    """
    if before.mean.shape != now.mean.shape:
        raise InvalidInputError(f"{before.mean.size} groups of features and {now.mean.size} are not the same")
    rise = now.total - before.total
    if rise <= BEYOND * math.sqrt(before.total_variance / before.rows + now.total_variance / now.rows):
        return None
    share = (now.mean - before.mean) / rise
    return share, np.sqrt(before.variance_of_rest(share) + now.variance_of_rest(share)) / rise


def largest_beyond(names: Sequence[str], share: Float64, stderr: Float64) -> tuple[str, float] | None:
    """The group that carries most, and its share, where that exceeds an equal share by over three standard errors."""
    index = int(np.argmax(share))
    if len(names) < 2 or share[index] - 1.0 / len(names) <= BEYOND * stderr[index]:
        return None
    return names[index], float(share[index])
