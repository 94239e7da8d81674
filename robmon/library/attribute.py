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
    """Which features carry the noise error, and how sure that is: Shapley shares, which add up to 1.

    The share of a group is what the row error gains when noise is switched on for it, averaged over all orders in which
    groups can be switched on, over the whole noise error. Row errors are those of `robmon.assess`: squared changes of
    the outputs as they are, mean over outputs; of labels 1 where the class changed.

    Args:
        predictor: as in `robmon.assess`.
        inputs: as there.
        level: the noise level, above 0.
        groups: features of each group by name (columns; of arrays `input[0]`; of images `channel_0`) or position;
            features in none are together `all others`. None: each feature alone; of more than eight the seven that move
            outputs most when noise is on them alone (in one draw of its own), and `all others`.
        pairs: random orders a row is run in, each with its reverse: `2 groups - 1` predictions of all rows a pair.
        seed: fixes noise and orders.
        noise: as in `robmon.assess`.
        scale: as there.
        task: as there.
        output: as there.
        output_column: as there.
        integers: as there.
        scale_axis: as there.
        device: as there.
        max_batch_rows: as there.
        max_seconds: time budget: fewer pairs, and then only the first rows (at least 32), are run where all would take
            longer; the result's `cut` says so. None: all are.

    Returns:
        `.groups`, and over them arrays `.share` and `.stderr` (standard errors over rows); `.total`, the noise error in
        squared output units. See `Attribution`.

    Raises:
        InvalidInputError: as `robmon.assess`; a group names no feature that noise can move; or noise at this level
            changes no output, or makes outputs that are not finite, so that there is nothing to share out.
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
