"""What a certificate says: which rows keep their class wherever they move within a radius, at least."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.robustness.arrays import Float64
from robmon.robustness.jsonable import jsonable
from robmon.robustness.probes.attack.ball import Norm


@dataclass(frozen=True, eq=False)
class Certificate:
    """A statement about these rows and the module itself: at least this share of them withstands every move.

    It is exact up to floating-point rounding: where two classes' outputs are closer than the module rounds, they cannot
    be told apart.

    Attributes:
        method: `lipschitz`, `interval` or `crown`.
        norm: `inf` or `2`, of moves in units of the scale.
        radii: rising, shape `(radii,)`.
        share: share of the rows certified at each radius; None: there is no certificate.
        certified: which rows are certified, shape `(n, radii)`, or None.
        lipschitz: how far the outputs, before a final softmax or sigmoid, move at most where the input moves by 1, both
            in this norm; None with other methods.
        reason: why there is no certificate; empty where there is one.
        rows: number of rows that count: those whose output is finite.
        notes: sentences on what was deduced, left alone or left out.
    """

    method: str
    norm: Norm
    radii: Float64
    share: Float64 | None = None
    certified: NDArray[np.bool_] | None = field(default=None, repr=False)
    lipschitz: float | None = None
    reason: str = ""
    rows: int = 0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON. It holds nothing about single rows."""
        return {
            "method": self.method,
            "norm": self.norm,
            "radii": jsonable(self.radii),
            "share": jsonable(self.share),
            "lipschitz": jsonable(self.lipschitz),
            "reason": self.reason,
            "rows": self.rows,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from robmon.report.words import aligned, number

        if self.share is None:
            return "\n".join([f"No certificate by {self.method}: {self.reason}.", *self.notes])
        ball = "of each cell" if self.norm == "inf" else "in all"
        lines = [
            f"At least {100 * self.share[-1]:.3g} % of {self.rows} rows keep their class wherever they move by "
            f"{self.radii[-1]:g} {ball} ({self.method})."
        ]
        rows = zip(self.radii, self.share, strict=True)
        lines += aligned([["radius", "agreement at least"], *([number(each) for each in row] for row in rows)])
        if self.lipschitz is not None:
            lines.append(f"The outputs move by at most {number(self.lipschitz)} where the input moves by 1.")
        return "\n".join([*lines, *self.notes])
