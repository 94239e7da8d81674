"""Attacks by name: what each needs, and how it is run on rows within their ball."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.checks import check_whole, check_word
from robmon.robustness.probes.attack.ball import Ball
from robmon.robustness.probes.attack.black import coordinates, search, squares
from robmon.robustness.probes.attack.minimal import nearest
from robmon.robustness.probes.attack.target import Slope, Target
from robmon.robustness.probes.attack.transfer import transferred
from robmon.robustness.probes.attack.white import descend

ATTACKS: Final = ("pgd", "fgsm", "minimal", "transfer", "square", "random")
WHITE: Final = frozenset({"pgd", "fgsm", "minimal"})
"""Those that follow the gradient."""
NO_GRADIENT: Final = "the model has no gradient"
NO_SUBSTITUTE: Final = "transfer needs another model, whose gradient is followed: give substitute"
IsOver = Callable[[], bool]
Outside = Callable[[Ball, Target, NDArray[np.int64], int, np.random.Generator, IsOver], Float64]
"""`attack(ball, target, rows, queries, generator, is_over)`: the shortest moves that another library's attack found,
0 where it found none, shape `(m, cells)`; the radius of the ball is infinite."""


@dataclass
class Runs:
    """Runs attacks by name.

    Attributes:
        target: the model.
        slope: its gradient, where it has one.
        substitute: that of another model, for `transfer`.
        picture: the shape of a row, and the axis of its channels where it is a picture.
        steps, restarts, queries: as in `attack_rows`.
        reach: the largest radius.
        outside: attacks of other libraries, by name.
        has_slope: which rows were seen to have a gradient.
    """

    target: Target
    slope: Slope | None
    substitute: Slope | None
    picture: tuple[tuple[int, ...], int | None]
    steps: int
    restarts: int
    queries: int
    reach: float
    outside: Mapping[str, Outside]
    has_slope: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.has_slope = np.zeros(len(self.target.queries), dtype=bool)

    def chosen(self, attacks: Sequence[str]) -> list[str]:
        """Those of the attacks that this model can be attacked by.

        Raises:
            InvalidInputError: none can, or `transfer` has no substitute.
        """
        if "transfer" in attacks and self.substitute is None:
            raise InvalidInputError(NO_SUBSTITUTE)
        chosen = [name for name in attacks if self.slope is not None or name not in WHITE]
        if not chosen:
            raise InvalidInputError(f"{NO_GRADIENT}: choose square or random")
        return chosen

    def has_no_radius(self, name: str) -> bool:
        """Whether an attack looks for the nearest witness, wherever that is: once for all radii."""
        return name == "minimal" or name in self.outside

    def passes(self, name: str) -> int:
        """How many passes over all rows an attack costs at most, in forward passes: one back costs two."""
        if name in WHITE:
            steps, restarts = (1, 1) if name == "fgsm" else (self.steps, self.restarts)
            descents = 1 if name == "minimal" else 2
            return 3 * descents * (steps * restarts + 1) + 1
        return 6 * self.steps * self.restarts + 2 if name == "transfer" else self.queries + 1

    def moves(
        self, name: str, ball: Ball, rows: NDArray[np.int64], generator: np.random.Generator, is_over: IsOver
    ) -> Float64:
        """What one attack found of rows within their ball."""
        if name in self.outside:
            return self.outside[name](ball, self.target, rows, self.queries, generator, is_over)
        if name in WHITE and self.slope is not None:
            moves, has_slope = self._along_gradient(name, self.slope, ball, rows, generator, is_over)
            self.has_slope[rows] |= has_slope
            return moves
        if name == "transfer" and self.substitute is not None:
            return transferred(
                ball, self.target, self.substitute, rows,
                steps=self.steps, restarts=self.restarts, generator=generator, is_over=is_over,
            )  # fmt: skip
        propose = coordinates(ball, self.target.has_scores) if name == "random" else squares(ball, *self.picture)
        return search(ball, self.target, rows, propose, queries=self.queries, generator=generator, is_over=is_over)

    def _along_gradient(
        self,
        name: str,
        slope: Slope,
        ball: Ball,
        rows: NDArray[np.int64],
        generator: np.random.Generator,
        is_over: IsOver,
    ) -> tuple[Float64, NDArray[np.bool_]]:
        if name == "minimal":
            steps = self.steps * self.restarts
            return nearest(ball, self.target, slope, rows, steps=steps, reach=self.reach, is_over=is_over)
        steps, restarts = (self.steps, self.restarts) if name == "pgd" else (1, 1)
        return descend(
            ball, self.target, slope, rows, steps=steps, restarts=restarts, generator=generator, is_over=is_over
        )


def check_runs(attacks: Sequence[str], outside: Mapping[str, Outside], **counts: int) -> None:
    """Refuse attacks that are not known, and counts that are no whole numbers above 0.

    Raises:
        InvalidInputError: an option cannot be used.
    """
    if isinstance(attacks, str) or not attacks:
        raise InvalidInputError(f"attacks are some of {', '.join(ATTACKS)}")
    for name in attacks:
        check_word("attack", name, (*ATTACKS, *outside))
    for name, count in counts.items():
        check_whole(count, name)
        if count < 1:
            raise InvalidInputError(f"{name} must be at least 1, not {count}")
