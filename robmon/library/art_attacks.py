"""Attacks of the Adversarial Robustness Toolbox on black boxes: each query is ours, so that budget and range are kept.

ART looks for moves, in units of the scale; whatever it asks for is a point within the valid range, and the nearest that
has lost its class is kept, wherever it breaks off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.extras import check_installed
from robmon.robustness.arrays import Float64
from robmon.robustness.probes.attack.ball import Ball, check_ball
from robmon.robustness.probes.attack.runs import NO_SUBSTITUTE, IsOver, Outside, check_runs
from robmon.robustness.probes.attack.target import Target

PREFIX: Final = "art:"
HOP_SKIP_JUMP: Final = f"{PREFIX}hop_skip_jump"
STARTS: Final = 0.1
"""Share of the queries that is spent on where to begin: at the nearest rows of another class, and beyond them."""
BEYOND: Final = (1.0, 2.0, 4.0)
"""So many times as far: where some cells are frozen, what is left of the way may not reach."""


def outside_attacks(attacks: Sequence[str]) -> dict[str, Outside]:
    """The attacks that are ART's, of those named.

    Raises:
        InvalidInputError: it is none that is known here.
        MissingPackageError: ART is not installed.
    """
    named = [name for name in attacks if str(name).startswith(PREFIX)]
    for name in named:
        if name != HOP_SKIP_JUMP:
            raise InvalidInputError(f"attack {name!r} is not known: the only one of ART is {HOP_SKIP_JUMP}")
        check_installed("art", HOP_SKIP_JUMP)
    return dict.fromkeys(named, hop_skip_jump)


def check_attacks(
    attacks: Sequence[str], radii: Sequence[float], norm: str, *, has_substitute: bool, **counts: int
) -> None:
    """Look at what is asked before a model is loaded.

    Args:
        attacks, radii, norm: as in `robmon.attack`.
        has_substitute: whether there is one.
        counts: steps, restarts and queries.

    Raises:
        InvalidInputError: one of these cannot be used.
        MissingPackageError: an attack is ART's, which is not installed.
    """
    outside = {} if isinstance(attacks, str) else outside_attacks(attacks)
    check_ball(radii, norm)
    check_runs(attacks, outside, **counts)
    if "transfer" in attacks and not has_substitute:
        raise InvalidInputError(NO_SUBSTITUTE)


def hop_skip_jump(
    ball: Ball,
    target: Target,
    rows: NDArray[np.int64],
    queries: int,
    generator: np.random.Generator,
    is_over: IsOver,
) -> Float64:
    """HopSkipJump (Chen, Jordan & Wainwright, IEEE S&P 2020), which asks for decisions alone, from the nearest row of
    another class; see `Outside`."""
    from art.attacks.evasion.hop_skip_jump import HopSkipJump

    found = np.zeros_like(ball.centre)
    with _seeded(generator):
        for index, row in enumerate(rows):
            hunt = _Hunt(ball.of(np.array([index])), target, int(row), queries, is_over)
            try:
                start = hunt.start(ball, rows)
                if start is not None:
                    search = HopSkipJump(
                        hunt.classifier(),
                        norm=2 if ball.norm == "2" else np.inf,
                        max_iter=queries,
                        max_eval=max(queries // 4, 2),
                        init_eval=max(queries // 20, 2),
                        verbose=False,
                    )
                    search.generate(np.zeros_like(start)[None], x_adv_init=start[None].copy())
            except _SpentError:
                pass
            found[index] = hunt.moves
    return found


class _SpentError(Exception):
    """Queries or time are used up."""


class _Hunt:
    """One row's budget, and the shortest moves that were seen to change its class."""

    def __init__(self, ball: Ball, target: Target, row: int, queries: int, is_over: IsOver) -> None:
        self._ball, self._target, self._row, self._left, self._is_over = ball, target, row, queries, is_over
        self._least = np.inf
        self.moves = np.zeros(ball.centre.shape[1])

    def start(self, others: Ball, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """The moves to the nearest row of another class whose class is lost there too; None: none of a few."""
        moves = self._ball.of(np.zeros(len(rows), dtype=np.int64)).moves_to(others.centre)
        moves = moves[self._target.is_of_another_class(rows, self._row) & np.isfinite(moves).all(axis=1)]
        moves = np.concatenate([times * moves for times in BEYOND])
        nearest = np.argsort(np.linalg.norm(moves, axis=1), kind="stable")[: math.ceil(STARTS * self._left)]
        if nearest.size:
            self.has_lost(moves[nearest].astype(np.float32))
        return self.moves.astype(np.float32) if np.isfinite(self._least) else None

    def has_lost(self, moves: NDArray[Any]) -> NDArray[np.bool_]:
        """Which moves change the class, shape `(m,)`.

        Raises:
            _SpentError: that is more than may be asked.
        """
        if self._is_over() or not self._left:
            raise _SpentError
        asked = moves[: self._left].astype(np.float64)
        ball = self._ball.of(np.zeros(len(asked), dtype=np.int64))
        points = ball.points(np.where(ball.movable, asked, 0.0))
        lost = self._target.margins(points, np.full(len(asked), self._row)) < 0
        self._left -= len(asked)
        distances = np.where(lost, ball.distances(points), np.inf)
        best = int(distances.argmin())
        if distances[best] < self._least:
            self._least, self.moves = float(distances[best]), asked[best]
        if len(asked) < len(moves):
            raise _SpentError
        return lost

    def classifier(self) -> Any:
        """The row's class, 0, and any other, 1, as ART asks for them."""
        from art.estimators.classification import BlackBoxClassifier

        reach = 2 * float(np.abs(self.moves).max())
        return BlackBoxClassifier(
            lambda moves: np.eye(2)[self.has_lost(moves).astype(int)],
            self.moves.shape,
            nb_classes=2,
            clip_values=(-reach, reach),
        )


@contextmanager
def _seeded(generator: np.random.Generator) -> Iterator[None]:
    """ART draws from NumPy's global state, which the caller gets back as it was."""
    state = np.random.get_state()
    np.random.seed(int(generator.integers(2**32)))
    try:
        yield
    finally:
        np.random.set_state(state)
