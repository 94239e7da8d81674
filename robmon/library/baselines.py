"""Baselines from the command line: record one, assess a version on the one it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack, cast

import numpy as np

from robmon.errors import InvalidInputError, ModelError
from robmon.history.baseline.baseline import Baseline, Source
from robmon.history.baseline.files import BaselineFiles
from robmon.history.baseline.format import baseline_from_dict, baseline_to_dict
from robmon.library.attack import integers_of
from robmon.library.attacked_rows import attack_prepared
from robmon.library.compare import compare_on
from robmon.library.options import AssessOptions, RankOptions, specification_of, without_device
from robmon.library.place import Place, wherever_it_fits
from robmon.library.prepared_rows import PreparedRows, open_predictor
from robmon.models.access import EndpointAccess
from robmon.models.loading import RemoteModel
from robmon.models.served.watched import watched
from robmon.models.uri import UNKNOWN_VERSION, Endpoint, ModelUri, history_key, parse
from robmon.robustness.arrays import to_numpy
from robmon.robustness.comparison import Comparison
from robmon.robustness.false_matches import pairs_of
from robmon.robustness.features.features import Features
from robmon.robustness.noise.by_name import noise_model
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.probes.attack.result import Attack
from robmon.robustness.result import Assessment
from robmon.robustness.specification import Specification


def record(
    model: str | RemoteModel,
    inputs: Any,
    *,
    name: str | None = None,
    data_dir: Path | None,
    hashes_names: bool = False,
    **options: Unpack[RankOptions],
) -> str:
    """Assess a model version on inputs and keep the result as its baseline.

    Args:
        model: the version, as MLflow names it, or at its endpoint.
        inputs: as in `robmon.assess`.
        name: of a model at an endpoint whose URL has none.
        data_dir: the daemon's data folder; None: log the baseline to MLflow, as an artifact of the version's run.
        hashes_names: whether it holds salted hashes in the place of the names of categories.
        options: those of `robmon.compare`.

    Returns:
        where it was written.

    Raises:
        RobmonError: as `robmon.assess`; or the version was made without a run, which could hold the artifact.
    """
    parsed = model.endpoint if isinstance(model, RemoteModel) else parse(model)
    if isinstance(parsed, Endpoint) and data_dir is None:
        raise ModelError("a model at an endpoint has no run that could hold an artifact: keep its baseline in a folder")
    files = None if data_dir is None else BaselineFiles(data_dir, key_of(parsed, name))
    specification, run = specification_of(cast("AssessOptions", options))
    device, given = without_device(run)

    def at(place: Place) -> dict[str, Any]:
        with open_predictor(model, inputs, specification, place) as rows:
            return baseline_of(
                *(rows, rows.assess(specification, **given), specification),
                source="artifact" if files is None else "local",
                hashes_names=hashes_names,
            )

    baseline = wherever_it_fits(model, device, at)
    if files is None:
        from robmon.models.registry.baseline_artifact import log_baseline

        return log_baseline(parsed.text, None, baseline)
    version = version_of(parsed, model.access if isinstance(model, RemoteModel) else EndpointAccess())
    files.write(version, baseline)
    return str(files.path(version))


def baseline_of(
    rows: PreparedRows,
    result: Assessment,
    specification: Specification,
    *,
    source: Source,
    hashes_names: bool = False,
) -> dict[str, Any]:
    """What an assessment of these rows says a version normally looks like, as it is kept."""
    perturbed = to_numpy(rows.array)
    baseline = Baseline.empty(
        list(result.levels),
        perturbed,
        result.features.axis,
        result.noise,
        result.features.correlation is not None,
        whole=rows.whole,
        integers=list(specification.perturbed_integers),
        hashes_names=hashes_names,
    )
    counted = result.counted
    columns = (
        {}
        if rows.parts is None
        else watched(rows.parts.take(np.flatnonzero(counted)), result.features.axis, baseline.salt)
    )
    baseline.learn_inputs(perturbed[counted], columns)
    baseline.learn_results(result.output, result.clean_outputs[counted], result.row_errors[counted])
    if result.distance is not None:
        baseline.learn_pairs(pairs_of(perturbed, result.clean_outputs, counted, result.distance), result.distance)
    baseline.source = source
    return baseline_to_dict(baseline)


def assess(
    model: str | RemoteModel,
    inputs: Any,
    targets: Any = None,
    max_seconds: float | None = None,
    **options: Unpack[RankOptions],
) -> tuple[Assessment, dict[float, float]]:
    """Assess a model as the daemon does: levels are multiples of the scales in its recorded baseline, if it has one.

    Args:
        model: as in `robmon.assess`.
        inputs: as there.
        targets: as there.
        max_seconds: as there.
        options: those of `robmon.compare`; with a scale the baseline is not used.

    Returns:
        the result, and the baseline's mean MSE by level: empty without one, or where it was recorded under another
        noise, or is of another reference.

    Raises:
        RobmonError: as `robmon.assess`; or the baseline is of other inputs.
    """
    specification, run = specification_of({**options, "targets": targets})
    device, given = without_device(run)
    baseline = _recorded_baseline(model) if given.get("scale") is None else None

    def at(place: Place) -> Assessment:
        with open_predictor(model, inputs, specification, place) as rows:
            features = None if baseline is None else _features(baseline, rows, specification)
            known: dict[str, Any] = {}
            if baseline is not None and features is not None:
                known = {"features": features, "output_variance": baseline.output_variance}
                known |= {"threshold": baseline.threshold(specification)}
            return rows.assess(specification, max_seconds=max_seconds, **given | known)

    result = wherever_it_fits(model, device, at)
    if baseline is not None:
        baseline.is_of_other_outputs(result.output, result.distance)
    if baseline is None or baseline.noise != result.noise or result.reference != "prediction":
        return result, {}
    return result, dict(zip(baseline.levels, baseline.errors.mean.tolist(), strict=True))


def attack(
    model: str | RemoteModel, inputs: Any, *, device: str, integers: Any, layout: ImageLayout | None, **options: Any
) -> Attack:
    """Attack a model in units of its recorded baseline, if it has one, as `assess` has them.

    Args:
        model: as in `robmon.assess`; whoever calls this has looked whether an endpoint may be attacked.
        inputs: as there.
        device, integers, layout: as in `robmon.attack`.
        options: the others of `robmon.attack`.

    Raises:
        RobmonError: as `robmon.attack`; or the baseline is of other inputs.
    """
    said = {name: options.pop(name) for name in ("output", "output_column", "scale_axis") if name in options}
    whole = integers_of(integers, layout, inputs)
    specification = Specification(task="classification", layout=layout, integers=whole, **said)
    baseline = _recorded_baseline(model) if options.get("scale") is None else None

    def at(place: Place) -> Attack:
        with open_predictor(model, inputs, specification, place) as rows:
            features = None if baseline is None else _features(baseline, rows, specification)
            return attack_prepared(rows, specification, features=features, **options)

    return wherever_it_fits(model, device, at)


def compare(
    reference: str | RemoteModel,
    new: str | RemoteModel,
    inputs: Any,
    alpha: float,
    tolerance: float,
    **options: Unpack[RankOptions],
) -> tuple[Comparison, bool]:
    """Compare two models as the daemon does: levels are multiples of the scales in the reference's recorded baseline.

    Args:
        reference: the model, as in `robmon.compare`.
        new: as there.
        inputs: as there.
        alpha, tolerance: as there.
        options: those of `robmon.compare`; with a scale the baseline is not used.

    Returns:
        the result, and whether a baseline was used: not without one, or where it lacks what the noise needs.

    Raises:
        RobmonError: as `robmon.compare`; or the baseline is of other inputs.
    """
    baseline = _recorded_baseline(reference) if options.get("scale") is None else None
    specification, _ = specification_of(cast("AssessOptions", options))
    used = []

    def features_of(rows: PreparedRows) -> Features | None:
        features = None if baseline is None else _features(baseline, rows, specification)
        used.append(features is not None)
        return features

    result = compare_on(features_of, reference, new, inputs, alpha, tolerance, **options)
    return result, any(used)


def _features(baseline: Baseline, rows: PreparedRows, specification: Specification) -> Features | None:
    """What the baseline knows of these inputs; None where it lacks the correlation that the noise needs.

    Raises:
        InvalidInputError: the baseline is of other inputs, or of inputs that were read otherwise.
    """
    array, asked = to_numpy(rows.array), specification.feature_axis
    is_decided = array.ndim > 2 and (asked is not None or baseline.axis is None)
    if is_decided and not baseline.has_axis(rows.axis(asked), array.shape):
        raise InvalidInputError(
            f"the recorded baseline has its scales on axis {baseline.axis_of(array.shape).axis} of the inputs, and "
            "these are read otherwise: record a new baseline, or give another scale axis (--scale-axis)"
        )
    features = baseline.features(array, rows.whole)
    needs_correlation = noise_model(specification.noise).needs_correlation
    return None if features.correlation is None and needs_correlation else features


def _recorded_baseline(model: str | RemoteModel) -> Baseline | None:
    """The baseline recorded beside a version; None where there is none, or the model is in no registry."""
    if not isinstance(model, str) or not model.startswith(("models:/", "runs:/")):
        return None
    from robmon.models.registry.baseline_artifact import read_baseline
    from robmon.models.registry.registry import Registry

    registry = Registry()
    content = read_baseline(registry, registry.resolve(model))
    return None if content is None else baseline_from_dict(content)


def key_of(uri: ModelUri | Endpoint, name: str | None) -> str:
    """By what a daemon's data folder knows a model, see `history_key`; `name` is of one whose URL has none."""
    return history_key(uri, name or _name(uri))


def _name(uri: ModelUri | Endpoint) -> str:
    if not uri.name:
        raise ModelError("the URL names no model: give the name that the daemon has as model.name")
    return uri.name


def version_of(uri: ModelUri | Endpoint, access: EndpointAccess) -> str:
    """The version that a URI stands for."""
    if isinstance(uri, ModelUri):
        from robmon.models.registry.registry import Registry

        return Registry().resolve(uri.text).version
    if uri.version is not None:
        return uri.version
    from robmon.models.remote import served_versions

    versions = served_versions(uri, access)
    return versions[-1] if versions else UNKNOWN_VERSION
