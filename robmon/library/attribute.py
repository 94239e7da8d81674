"""Share the noise error of a predictor out between groups of features, in the caller's process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robmon.library.place import Place, wherever_it_fits
from robmon.library.prepared_rows import open_predictor
from robmon.robustness.checks import words
from robmon.robustness.noise.base import Noise
from robmon.robustness.probes.attribution import PAIRS, check_level
from robmon.robustness.probes.shares import Attribution
from robmon.robustness.specification import Specification


def attribute(
    predictor: Any,
    inputs: Any,
    *,
    level: float = 0.2,
    groups: Mapping[str, Sequence[str | int]] | None = None,
    pairs: int = PAIRS,
    seed: int = 0,
    noise: str | Noise = Specification.noise,
    scale: Any = None,
    task: str = Specification.task,
    output: str | None = None,
    output_column: str | int | Sequence[str | int] | None = None,
    integers: str | Sequence[str] | None = None,
    scale_axis: int | None = None,
    device: str = "auto",
    max_batch_rows: int | None = None,
    max_seconds: float | None = None,
) -> Attribution:
    """Share the noise error out between groups of features: Shapley shares that add up to 1, with standard errors.

    The share of a group is the row error gained when noise is switched on for it, averaged over all orders in which the
    groups can be switched on, divided by the whole noise error. Row errors are those of `robmon.assess`: squared
    changes of the outputs in their own units, mean over outputs; for labels, 1 where the class changed.

    Args:
        predictor: as in `robmon.assess`.
        inputs: as in `robmon.assess`.
        level: the noise level, above 0.
        groups: the features of each group, by name (columns; `input[0]` in arrays; `channel_0` in images) or position;
            features in no group form one called `all others`. None: each feature by itself; of more than eight, the
            seven that move the outputs most when noise is on them alone (in a draw of its own), and `all others`.
        pairs: number of random orders run per row, each with its reverse: `2 groups - 1` predictions of all rows per
            pair.
        seed: fixes noise and orders.
        noise: as in `robmon.assess`.
        scale: as in `robmon.assess`.
        task: as in `robmon.assess`.
        output: as in `robmon.assess`.
        output_column: as in `robmon.assess`.
        integers: as in `robmon.assess`.
        scale_axis: as in `robmon.assess`.
        device: as in `robmon.assess`.
        max_batch_rows: as in `robmon.assess`.
        max_seconds: time budget: where everything would take longer, fewer pairs are run, and then on the first rows
            only (at least 32); the result's `cut` says so. None: no budget.

    Returns:
        `.groups` and, over them, the arrays `.share` and `.stderr` (standard errors over rows); `.total`, the noise
        error in squared output units. See `Attribution`.

    Raises:
        InvalidInputError: as `robmon.assess`; or a group names no feature that noise can move; or noise at this level
            changes no output, or makes outputs non-finite, so that there is nothing to share out.
        OverBudgetError: not even the fewest rows with one pair fit into `max_seconds`.
        PredictionError, RegistryError, ModelError: as `robmon.assess`.

    >>> import numpy as np
    >>> inputs = np.random.default_rng(0).normal(size=(256, 3))
    >>> result = attribute(lambda x: x @ np.array([3.0, 1.0, 0.0]), inputs, groups={"left": [0], "right": [1, 2]})
    >>> result.groups, result.share.round(1).tolist()
    (('left', 'right'), [0.9, 0.1])
    """
    specification = Specification(
        noise=noise,
        levels=(check_level(level),),
        task=task,
        output=output,
        output_column=output_column,
        integers=words(integers),
        scale_axis=scale_axis,
        max_batch_rows=max_batch_rows,
    )

    def at(place: Place) -> Attribution:
        with open_predictor(predictor, inputs, specification, place) as rows:
            return rows.attribute(
                specification, level=level, groups=groups, pairs=pairs, seed=seed, scale=scale, max_seconds=max_seconds
            )

    return wherever_it_fits(predictor, device, at)
