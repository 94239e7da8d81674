"""What attacks found: which rows keep their class at each radius, at most, and the witnesses of those that do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.jsonable import jsonable
from robmon.robustness.probes.attack.ball import Norm

Gradient = Literal["ok", "zero", "none"]


@dataclass(frozen=True, eq=False)
class Attack:
    """Witnesses: at most this share of the rows withstands. What no attack found may be there all the same.

    Attributes:
        norm: `inf` or `2`, of moves in units of the scale.
        radii: rising, shape `(radii,)`.
        agreement: share of the rows that kept the model's own class at each radius, whatever was tried.
        by_attack: the same of each attack alone, by its name.
        accuracy: share of rows of the right class that kept it; None without targets.
        flipped: which rows lost their class, shape `(n, radii)`; each was seen in a call of the model of its own.
        gradient: `ok`; `zero`, where over half of the rows have none; `none`: the model has none to ask for.
        masked: whether something says that the gradient hides how fragile the model is: it is zero, or attacks without
            it flip rows that it does not (Athalye, Carlini & Wagner, ICML 2018).
        queries: how often the model was asked about each row, shape `(n,)`.
        rows: how many were attacked.
        seed: fixes all that is drawn.
        cut: what a time budget left, in words; empty: all.
        notes: sentences on what was deduced, left alone or left out.
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

    def adversarial(self, radius: float) -> NDArray[Any]:
        """The inputs at one radius, those that flipped as their witnesses, shape `(n, *input_shape)`.

        They are made of the inputs: where those are secret, so are these.

        Raises:
            InvalidInputError: that radius was not attacked.
        """
        found = np.flatnonzero(self.radii == radius)
        if not found.size:
            known = ", ".join(f"{each:g}" for each in self.radii)
            raise InvalidInputError(f"radius {radius!r} was not attacked: it is one of {known}")
        return np.asarray(self.witnesses[int(found[0])])

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON has it; nothing that belongs to single rows is in it."""
        return {
            "norm": self.norm,
            "radii": jsonable(self.radii),
            "agreement": jsonable(self.agreement),
            "by_attack": {name: jsonable(share) for name, share in self.by_attack.items()},
            "accuracy": jsonable(self.accuracy),
            "gradient": self.gradient,
            "masked": self.masked,
            "queries": float(np.mean(self.queries)),
            "rows": self.rows,
            "seed": self.seed,
            "cut": self.cut,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from robmon.report.words import aligned, number

        lines = [_opening(self), *([self.cut] if self.cut else [])]
        columns = {"radius": self.radii, "agreement at most": self.agreement, **self.by_attack}
        columns |= {} if self.accuracy is None else {"accuracy at most": self.accuracy}
        rows = zip(*columns.values(), strict=True)
        lines += aligned([list(columns), *([number(each) for each in row] for row in rows)])
        if self.masked:
            lines.append("The gradient hides how fragile the model is: only attacks without it count here.")
        return "\n".join([*lines, *self.notes])


def _opening(attack: Attack) -> str:
    ball = "of each cell" if attack.norm == "inf" else "in all"
    return (
        f"At most {100 * attack.agreement[-1]:.3g} % of {attack.rows} rows keep their class where they may move by "
        f"{attack.radii[-1]:g} {ball}."
    )
