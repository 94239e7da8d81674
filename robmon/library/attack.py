"""Attack a predictor in the caller's process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from robmon.errors import InvalidInputError
from robmon.library.art_attacks import check_attacks
from robmon.library.attacked_rows import attack_prepared
from robmon.library.place import Place, wherever_it_fits
from robmon.library.prepared_rows import open_predictor
from robmon.models.loading import RemoteModel
from robmon.models.served.served import ServedModel
from robmon.models.uri import is_endpoint
from robmon.robustness.checks import check_above_zero
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.probes.attack.ball import Norm
from robmon.robustness.probes.attack.result import Attack
from robmon.robustness.specification import Specification
from robmon.vocabulary import ALL_INTEGERS


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
    integers: str | Sequence[str] | None = None,
    scale_axis: int | None = None,
    layout: ImageLayout | None = None,
    substitute: Any = None,
    allow_remote: bool = False,
    seed: int = 0,
    device: str = "auto",
    max_batch_rows: int | None = None,
    max_seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    expect: Callable[[float], None] | None = None,
) -> Attack:
    """Search for the worst case: perturbations within a radius that change the class the model gives a row.

    What is found are witnesses, so the result is an upper limit: at most this share of the rows withstands, and the
    true share may be smaller. Torch modules are attacked along their gradient as well; any other model is only queried.

    Args:
        predictor: as in `robmon.assess`.
        inputs: as in `robmon.assess`. In tables, floating-point columns move; indicators, sentinels and NaN do not, and
            integers only where `integers` names them.
        norm: `inf`: each cell moves by at most the radius; `2`: the root of the sum of the squared moves is at most the
            radius.
        radii: in units of the scale, as noise levels are.
        attacks: any of

            - `pgd`: projected gradient descent, on the margin and on the cross-entropy;
            - `fgsm`: a single step of it;
            - `minimal`: a descent to the nearest witness, whatever the radii;
            - `transfer`: witnesses of a substitute model;
            - `square`: squares of a picture, or several columns of a table, by queries alone;
            - `random`: corners of the ball, then one coordinate at a time, by queries alone;
            - `art:hop_skip_jump`: the nearest witness by decisions alone, of the Adversarial Robustness Toolbox
              (`robmon[attacks]`).
        targets: the true classes, as in `robmon.assess`; they add the accuracy.
        scale: as in `robmon.assess`; 1.0: radii are in input units.
        clip: the valid range `(low, high)` of the inputs, each one number, one per feature, or None. Pictures with a
            layout take that of the layout. Without one, integers stay within the range seen in the inputs.
        frozen: features that cannot be moved, by name or position.
        steps: of each descent of `pgd` and `transfer`.
        restarts: number of such descents, the first of which starts at the row itself; `minimal` takes
            `steps * restarts` steps.
        queries: per row, for each of `square`, `random` and `art:hop_skip_jump`.
        task: `classification`.
        output: as in `robmon.assess`.
        output_column: as in `robmon.assess`.
        integers: as in `robmon.assess`; they move by whole numbers.
        scale_axis: as in `robmon.assess`.
        layout: how inputs of rank 4 are pictures; integers are then pixels, and stay integers.
        substitute: for `transfer`, a torch module for the same task that takes the array of perturbed features, or the
            URI of an MLflow model that is one; its column i must be class i.
        allow_remote: whether a model at an endpoint may be attacked; refused otherwise.
        device: as in `robmon.assess`.
        max_batch_rows: as in `robmon.assess`.
        seed: fixes everything that is drawn: the same seed finds the same witnesses.
        max_seconds: time budget; `cut` says what was not tried.
        progress: called with the number of attacks done, one per radius, and the number planned.
        expect: called with the most seconds that the attacks will take, once that is known.

    Returns:
        `.agreement` over `.radii`, an upper limit; `.flipped` (n x radii), rows each seen to lose their class in a call
        of their own; `.minimal_distance`, from each row to its nearest witness; `.adversarial(radius)`; and whether the
        gradient can be trusted. See `Attack`.

    Raises:
        InvalidInputError: as `robmon.assess`; or nothing can be moved; or the outputs are not classes.
        PredictionError, RegistryError, ModelError: as `robmon.assess`.
        MissingPackageError: an `art:` attack is asked for and ART is not installed.

    >>> import numpy as np
    >>> inputs = np.array([[0.25, 0.0], [-2.0, 0.5], [0.05, 0.0]])
    >>> result = attack(lambda x: x @ np.array([[1.0], [2.0]]), inputs, scale=1.0, output="logit", attacks=("random",))
    >>> result.agreement.round(2).tolist(), result.flipped[:, 1].tolist()
    ([0.67, 0.33, 0.33], [True, False, True])
    """
    check_allowed(predictor, allow_remote)
    if max_seconds is not None:
        check_above_zero(max_seconds, "max_seconds")
    check_attacks(
        attacks, radii, norm,
        has_substitute=substitute is not None, steps=steps, restarts=restarts, queries=queries,
    )  # fmt: skip
    specification = Specification(
        task=task, output=output, output_column=output_column, scale_axis=scale_axis, layout=layout,
        integers=integers_of(integers, layout, inputs), max_batch_rows=max_batch_rows,
    )  # fmt: skip

    def at(place: Place) -> Attack:
        with open_predictor(predictor, inputs, specification, place) as rows:
            result = attack_prepared(
                rows, specification, scale=scale, targets=targets, clip=clip, substitute=substitute, norm=norm,
                radii=radii, attacks=attacks, frozen=frozen, steps=steps, restarts=restarts, queries=queries, seed=seed,
                max_seconds=max_seconds, progress=progress, expect=expect,
            )  # fmt: skip
            return _as_indexed(result, inputs, rows.kept)

    return wherever_it_fits(predictor, device, at)


def _as_indexed(result: Attack, inputs: Any, kept: Sequence[int] | None) -> Attack:
    """The result, whose tables have the index of the rows that were given and kept."""
    if not hasattr(inputs, "columns"):
        return result
    index = inputs.index if kept is None else inputs.index[list(kept)]
    return replace(result, made=lambda array: result.made(array).set_axis(index))


def check_allowed(model: Any, allow_remote: bool) -> None:
    """An attack on a model server is one, whoever runs it.

    Raises:
        InvalidInputError: the model is at an endpoint, and nobody has said that it may be attacked.
    """
    is_served = isinstance(model, ServedModel) and model.access is not None
    if not allow_remote and (is_served or isinstance(model, RemoteModel) or is_endpoint(str(model))):
        raise InvalidInputError(
            "an attack sends the model's server thousands of requests that are made to deceive, and may be taken for "
            "one: where you may do that, say so (allow_remote=True, --allow-remote)"
        )


def integers_of(integers: Any, layout: ImageLayout | None, inputs: Any) -> Any:
    """Which whole numbers move: of an array that is stated to be pictures they are pixels."""
    is_whole = "int" in str(getattr(inputs, "dtype", ""))
    return ALL_INTEGERS if integers is None and layout is not None and is_whole else integers or ()
