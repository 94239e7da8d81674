"""Attack a predictor in the caller's process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robmon.library.prepared_rows import open_predictor
from robmon.robustness.probes.attack.ball import Norm
from robmon.robustness.probes.attack.result import Attack
from robmon.robustness.specification import Specification


def attack(
    predictor: Any,
    inputs: Any,
    *,
    norm: Norm = "inf",
    radii: Sequence[float] = (0.05, 0.1, 0.2),
    attacks: Sequence[str] = ("pgd", "square", "random"),
    targets: Any = None,
    scale: Any = None,
    clip: tuple[Any, Any] | None = None,
    frozen: Sequence[str | int] = (),
    steps: int = 20,
    restarts: int = 3,
    queries: int = 500,
    task: str = "classification",
    output: str | None = None,
    output_column: str | int | Sequence[str | int] | None = None,
    scale_axis: int | None = None,
    seed: int = 0,
    device: str = "auto",
    max_batch_rows: int | None = None,
    max_seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Attack:
    """Look for the worst: moves within a radius that change the model's class of a row.

    What is found is a witness: at most so many rows withstand, and the true share may be less. Torch modules are
    attacked along their gradient too; whatever else is asked for its answers alone.

    Args:
        predictor: as in `robmon.assess`.
        inputs: as there. Of tables floating columns move; indicators, sentinels and NaN do not.
        norm: `inf`, each cell moves by at most the radius, or `2`, the root of the sum of squares does.
        radii: in units of the scale, as levels are.
        attacks: `pgd` (projected gradient descent, on margin and cross-entropy), `fgsm` (one step of it), `square`
            (squares of a picture, or some columns of a table), `random` (corners, then one coordinate at a time).
        targets: the true classes, as in `robmon.assess`: adds the accuracy.
        scale: as in `robmon.assess`; 1.0: radii are in input units.
        clip: the valid range, low and high, each one number, one a feature, or None.
        frozen: features that cannot be moved, by name or position.
        steps: of each descent of `pgd`.
        restarts: descents of `pgd`, the first from the row itself.
        queries: of each row, by `square` and `random` each.
        task: `classification`.
        output: as in `robmon.assess`.
        output_column: as in `robmon.assess`.
        scale_axis: as in `robmon.assess`.
        device: as in `robmon.assess`.
        max_batch_rows: as in `robmon.assess`.
        seed: fixes all that is drawn: the same seed, the same witnesses.
        max_seconds: time budget; what was not tried is told in `cut`.
        progress: called with the number of attacks done, one a radius, and of all.

    Returns:
        `.agreement` over `.radii`, at most; `.flipped` (n x radii), each row seen to lose its class in a call of its
        own; `.adversarial(radius)`; whether the gradient can be believed. See `Attack`.

    Raises:
        InvalidInputError: as `robmon.assess`; nothing can be moved; or the outputs are no classes.
        PredictionError, RegistryError, ModelError: as `robmon.assess`.

    >>> import numpy as np
    >>> inputs = np.array([[0.25, 0.0], [-2.0, 0.5], [0.05, 0.0]])
    >>> result = attack(lambda x: x @ np.array([[1.0], [2.0]]), inputs, scale=1.0, output="logit", attacks=("random",))
    >>> result.agreement.round(2).tolist(), result.flipped[:, 1].tolist()
    ([0.67, 0.33, 0.33], [True, False, True])
    """
    specification = Specification(
        task=task, output=output, output_column=output_column, scale_axis=scale_axis, max_batch_rows=max_batch_rows
    )
    with open_predictor(predictor, inputs, specification, device) as rows:
        return rows.attack(
            specification, scale=scale, norm=norm, radii=radii, attacks=attacks, targets=targets, clip=clip,
            frozen=frozen, steps=steps, restarts=restarts, queries=queries, seed=seed, max_seconds=max_seconds,
            progress=progress,
        )  # fmt: skip
