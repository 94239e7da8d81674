"""What attacks found: which rows keep their class at each radius, at most, and the witnesses of those that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.jsonable import jsonable
from robmon.robustness.probes.attack.ball import Norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTILES: Final = (0.1, 0.5, 0.9)
"""Of the distances of nearest witnesses."""

Gradient = Literal["ok", "zero", "none"]


@dataclass(frozen=True, eq=False)
class Attack:
    """What attacks found. At most this share of the rows withstands: a witness that no attack found may still exist.

    Attributes:
        norm: `inf` or `2`, of moves in units of the scale.
        radii: rising, shape `(radii,)`.
        agreement: share of the rows that kept the model's own class at each radius, whatever was tried.
        by_attack: the same for each attack alone, by name.
        accuracy: share of rows that had the right class and kept it; None without targets.
        flipped: which rows lost their class, shape `(n, radii)`; each was confirmed in a call of its own.
        gradient: `ok`; `zero` where more than half of the rows have none; `none` where the model has no gradient.
        masked: whether there are signs that the gradient hides how fragile the model is: it is zero, or attacks without
            it flip rows that it does not (Athalye, Carlini & Wagner, ICML 2018).
        queries: how often the model was queried for each row, shape `(n,)`.
        rows: number of rows attacked.
        seed: fixes everything that is drawn.
        cut: what a time budget left undone, in words; empty: everything was tried.
        notes: sentences on what was deduced, left alone or left out.
        minimal_distance: from each row to its nearest witness, in units of the scale and in this norm, shape `(n,)`:
            the true distance to another class is at most this. Infinite where no witness was found; `minimal` finds
            some beyond the largest radius.
        counted: which rows were attacked, shape `(n,)`: those with a finite clean output.
        unit: what radii and distances count.
        made: turns an array of perturbed features into inputs of the form in which they were given.
    """

    norm: Norm
    radii: Float64
    agreement: Float64
    by_attack: dict[str, Float64]
    accuracy: Float64 | None
    flipped: NDArray[np.bool_] = field(repr=False)
    gradient: Gradient
    masked: bool
    queries: NDArray[np.int64] = field(repr=False)
    rows: int
    seed: int
    witnesses: NDArray[Any] = field(repr=False)
    """Shape `(radii, n, *input_shape)`: rows that did not flip as they were."""
    cut: str = ""
    notes: tuple[str, ...] = ()
    minimal_distance: Float64 = field(default_factory=lambda: np.zeros(0), repr=False)
    counted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool), repr=False)
    unit: str = ""
    made: Callable[[NDArray[Any]], Any] = field(default=np.asarray, repr=False)

    def adversarial(self, radius: float) -> Any:
        """The inputs at one radius, with every row that flipped replaced by its witness: an array, or a table like the
        inputs.

        Rows that did not fit the model are left out. The witnesses are made from the inputs: where those are secret, so
        are these.

        Raises:
            InvalidInputError: that radius was not attacked.
        """
        found = np.flatnonzero(self.radii == radius)
        if not found.size:
            known = ", ".join(f"{each:g}" for each in self.radii)
            raise InvalidInputError(f"radius {radius!r} was not attacked: it is one of {known}")
        return self.made(self.witnesses[int(found[0])])

    @property
    def distance_quantiles(self) -> dict[float, float]:
        """The distances within which a share 0.1, 0.5 and 0.9 of the rows has a witness; infinite where fewer have one.

        >>> result = Attack("inf", np.ones(1), np.ones(1), {}, None, np.ones((2, 1), bool), "none", False, np.ones(2),
        ...     2, 0, np.ones((1, 2, 1)), minimal_distance=np.array([0.2, np.inf]), counted=np.ones(2, bool))
        >>> result.distance_quantiles
        {0.1: 0.2, 0.5: 0.2, 0.9: inf}
        """
        distances = self.minimal_distance[self.counted]
        found = np.quantile(distances, QUANTILES, method="inverted_cdf") if distances.size else np.full(3, np.inf)
        return dict(zip(QUANTILES, found.tolist(), strict=True))

    def plot(self) -> Figure:
        """Agreement against radius, by attack and for the worst, as a matplotlib figure; needs `robmon[plot]`."""
        from robmon.report.plot_attack import plot_attack

        return plot_attack(self)

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON. It holds nothing about single rows."""
        return {
            "norm": self.norm,
            "radii": jsonable(self.radii),
            "unit": self.unit,
            "agreement": jsonable(self.agreement),
            "by_attack": {name: jsonable(share) for name, share in self.by_attack.items()},
            "accuracy": jsonable(self.accuracy),
            "distance_quantiles": {
                f"{share:g}": jsonable(distance) for share, distance in self.distance_quantiles.items()
            },
            "gradient": self.gradient,
            "masked": self.masked,
            "queries": float(np.mean(self.queries)),
            "rows": self.rows,
            "seed": self.seed,
            "cut": self.cut,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from robmon.report.attack import text

        return text(self)
