"""An assessment as strict JSON: numbers, text, lists; nothing about single rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from robmon.robustness.jsonable import jsonable

if TYPE_CHECKING:
    from robmon.robustness.result import Assessment


def assessment_json(result: Assessment) -> dict[str, Any]:
    """What `Assessment.to_dict` returns; the keys are described in docs/reference/result-json.md."""
    margin, crossed = result.noise_margin(), {each.score: vars(each) for each in result.crossings}
    content = {
        "noise": result.noise,
        "levels": list(result.levels),
        "scale": result.scale.ravel(),
        "relative": result.relative,
        "level_unit": result.level_unit,
        "masked": vars(result.masked),
        "rows": result.rows,
        "clean_nonfinite_rows": int(np.sum(~result.finite)),
        "trials": result.trials,
        "cut": result.cut,
        "notes": list(result.notes),
        "confidence": result.confidence,
        "bound_method": result.bound_method,
        "no_bound": result.no_bound,
        "task": result.task,
        "output": result.output,
        "distance": result.distance,
        "threshold": result.threshold,
        "reference": result.reference,
        "seed": result.seed,
        "curve": [_without(vars(point), "certified_radius") for point in result.curve],
        "slope": result.slope and vars(result.slope),
        "agreement_slope": result.agreement_slope and vars(result.agreement_slope),
        "accuracy_slope": result.accuracy_slope and vars(result.accuracy_slope),
        "area": result.area,
        "index": result.index,
        "clean_mse": result.clean_mse,
        "own_mse": result.own_mse,
        "label_ceiling": result.label_ceiling,
        "band": result.band,
        "mse_limit": result.mse_limit,
        "noise_margin": margin and vars(margin) | {"crossed": margin.crossed},
        "crossing": crossed.get("mse"),
        "agreement_limit": result.specification.agreement_limit,
        "agreement_crossing": crossed.get("agreement"),
        "accuracy_limit": result.specification.accuracy_limit,
        "accuracy_crossing": crossed.get("accuracy"),
        "output_variance": result.output_variance,
        "outputs_without_variance": result.outputs_without_variance,
        "draws": result.draws,
        "batch_rows": result.batch_rows,
        "out_of_memory_retries": result.out_of_memory_retries,
    }
    return {key: jsonable(value) for key, value in content.items()}


def _without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}
