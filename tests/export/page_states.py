"""What the status page may have to show, one state each: numbers of a made-up model, the same every time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from robmon.export.published import AttackView, BaselineInfo, FurtherMeasurement, Measurement, Published, View
from robmon.export.recent import Recent
from robmon.history.attack import AttackFound
from robmon.history.detection import Detection, DetectionRecord
from robmon.history.memory import Entry, Key, merge
from robmon.history.scope import Judged
from robmon.history.standing import Pending, VersionState, version_state
from robmon.history.verdict import Causes, JudgedCurves, Part, Verdict
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.curve import FurtherNoise, LevelResult
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.findings import CanaryResult, DriftValue, SharesResult
from robmon.processes.messages.model import LoadedModel, ModelVersion
from robmon.processes.messages.question import Plan

NOW: Final = 1_795_721_500.0
"""2026-11-26 19:31:40 UTC."""
LEVELS: Final = (0.0, 0.05, 0.1, 0.2, 0.4)
FEATURES: Final = ("temperature", "pressure", "vibration_rms", "flow", "humidity", "current", "speed", "torque")


def assessed(slope: float, **changes: Any) -> Assessed:
    """A regressor whose noise MSE rises by `slope` with the square of the level."""
    rng = np.random.default_rng(1)
    levels = []
    for level in LEVELS:
        mean = slope * level**2
        noisy = level > 0
        levels.append(
            LevelResult(
                level=level,
                mean_mse=mean,
                bound=mean * 1.11,
                request_bound=mean * 3.9,
                agreement=None,
                baseline_ratio=1.0 + 0.05 * rng.normal() if noisy else None,
            )
        )
    given: dict[str, Any] = {
        "number": 1200,
        "seed": 5,
        "plan": Plan(rows=256, trials=39, batch_rows=256, seconds=0.4, features={}, origins=list(range(256))),
        "noise": "gaussian",
        "level_unit": "standard deviations of each feature",
        "masked": "not perturbed: 2 indicator features",
        "notes": ["output is value: one number a row"],
        "confidence": 0.95,
        "output": "value",
        "levels": levels,
        "area": 0.08,
        "index": 0.92,
        "noise_margin": 0.2,
        "clean_variance": [1.0],
        "features_watched": 24,
        "drifted_features": 0,
        "input_drift": drift(0.04),
        "prediction_drift": [DriftValue(feature="all", statistic="js", value=0.031)],
        "baseline": {},
        "rejections": Rejections(rows=256),
        "batch_rows": 256,
        "draws": "numpy",
    }
    return Assessed(**given | changes)


def drift(largest: float) -> list[DriftValue]:
    """Of eight features, the first of which has moved most."""
    found = []
    for place, name in enumerate(FEATURES):
        distance = largest / (1 + place)
        values = {"js": distance, "psi": 8 * distance**2, "ks": 0.8 * distance, "wasserstein": 2 * distance}
        found += [DriftValue(feature=name, statistic=statistic, value=value) for statistic, value in values.items()]
    return [*found, DriftValue(feature="all", statistic="psi", value=8 * largest**2 / 5)]


def verdict(ratio: float, worse: bool, **changes: Any) -> Verdict:
    """Version 2 against version 1, whose slope is 8."""
    curves = JudgedCurves(
        space="output",
        noise="gaussian",
        confidence=0.95,
        levels=list(LEVELS),
        reference_mean=[8 * level**2 for level in LEVELS],
        reference_bound=[8.9 * level**2 for level in LEVELS],
        mean=[8 * ratio * level**2 for level in LEVELS],
        bound=[8.9 * ratio * level**2 for level in LEVELS],
    )
    noisy = list(LEVELS[1:])
    given: dict[str, Any] = {
        "reference_version": "1",
        "worse": worse,
        "pvalue": 0.00021 if worse else 0.41,
        "levels": noisy,
        "ratio": [ratio * (1 + 0.01 * place) for place in range(4)],
        "ratio_low": [ratio * 0.88] * 4,
        "ratio_high": [ratio * 1.14] * 4,
        "detectable_ratio": 1.24,
        "pooled_ratio": ratio,
        "pooled_low": ratio * 0.9,
        "pooled_high": ratio * 1.12,
        "confidence": 0.98,
        "score": "mse",
        "why": "squared changes of the outputs over twice the variance of those of version 1",
        "curves": curves,
        "causes": Causes(
            model=Part(ratio=ratio, log_stderr=0.05, share=0.93, share_stderr=0.02),
            traffic=Part(ratio=1.06, log_stderr=0.03, share=0.07, share_stderr=0.02),
            cause="model",
        )
        if worse
        else None,
    }
    return Verdict(**given | changes)


def state(served: Key, *told: tuple[str, bool], judged: Verdict | None = None) -> VersionState:
    """Where a version stands after these were accepted or not, the last of them an hour ago."""
    entries = [
        Entry(
            version=version,
            accepted=accepted,
            by="verdict" if index else "person",
            against=told[index - 1][0] if index else None,
            pooled_ratio=1.04,
            at=NOW - 3600 * (len(told) - index),
        )
        for index, (version, accepted) in enumerate(told)
    ]
    return version_state(merge(entries), served, judged=Judged(version="2", verdict=judged) if judged else None)


def detection(evidence: float, since: float | None = None) -> DetectionRecord:
    """Where the detector over time stands on version 2."""
    found = Detection(
        detector={}, basis="week", requests=256, evidence=evidence, is_standing=since is not None, tolerance=0.1,
        detectable_ratio=1.31, span_hours=168, worst_hour=498_811, worst_hour_ratio=1.4,
    )  # fmt: skip
    return DetectionRecord(
        identity={"version": ["2", "abc"], "threshold": [43_200.0, 60.0]}, found=found, since=since, number=3
    )


def attack() -> AttackFound:
    """Queries find no more than the gradient."""
    shares = {"worst": [0.91, 0.72, 0.28], "pgd": [0.91, 0.72, 0.28], "square": [0.95, 0.8, 0.41]}
    return AttackFound(
        norm="inf", radii=[0.05, 0.1, 0.2], agreement={**shares, "random": [0.94, 0.78, 0.36]}, gradient="ok",
        masked=False, rows=64, queries=1311.0, seconds=4.1, seed=5,
    )  # fmt: skip


def recent(slopes: tuple[float, float], *, began: bool = False, rise: float = 0.0) -> Recent:
    """A day, in whose last hour version 2 was loaded; with `rise`, one that is worse in the end."""
    rng, day = np.random.default_rng(2), Recent()
    for minute in range(0, 1440, 5):
        is_new = minute >= 1380
        slope = slopes[is_new] * (1 + 0.04 * rng.normal()) * (1 + rise * max(minute - 1000, 0) / 440)
        mse = slope * LEVELS[-1] ** 2
        evidence = min(math.exp(max(minute - 1000, 0) / 37), 9e4) if rise else float(rng.exponential(2.0))
        day.add_assessment(
            {
                "at": NOW - 86_400 + 60 * minute,
                "version": "2" if is_new or rise else "1",
                "levels": [{"level": LEVELS[-1], "mse": mse, "bound": 1.11 * mse}],
                "evidence": evidence,
                "evidence_threshold": 43_200.0,
            }
        )
    loaded = {"version": "2", "before": "1", "flavor": "pytorch", "device": "cpu"}
    day.add_events([
        {"at": NOW - 3610, "kind": "alias_moved", "alias": "champion", "before": "1", "version": "2"},
        {"at": NOW - 3604, "kind": "version_loaded", **loaded},
    ])  # fmt: skip
    if began:
        facts = {"regression": "version", "version": "2", "against": "1", "ratio": 4.26}
        day.add_events([{"at": NOW - 3600, "kind": "regression_began", **facts}])
    return day


def published(**changes: Any) -> Published:
    """Version 2 is assessed, and is as good as version 1."""
    view = View(
        model=ModelVersion(name="pump-failure", version="2", run_id="abc", path="/models/2", flavors=["pytorch"]),
        loaded=LoadedModel(flavor="pytorch", device="cpu"),
        baseline=BaselineInfo("learnt", 1024, NOW),
        detection=detection(3.1),
        measurement=Measurement("2", assessed(8.3), NOW - 12, 0.4, ("order-71823", "order-70114")),
        canary=CanaryResult(rows=64, ratio=0.0),
        shares=SharesResult(
            groups=["vibration_rms", "pressure", "temperature", "all others"],
            share=[0.52, 0.23, 0.14, 0.11],
            stderr=[0.03, 0.02, 0.02, 0.02],
            total=1.3,
            level=0.4,
        ),
        last_assessment_at=NOW - 12,
        state=state(("2", None), ("1", True), ("2", True), judged=verdict(1.04, worse=False)),
    )
    view = replace(view, **{name: changes.pop(name) for name in list(changes) if hasattr(view, name)})
    given: dict[str, Any] = {"alias": "champion", "mse_limit": 1.2, "recent": recent((8.0, 8.3)), "view": view}
    return Published("pump-failure", 60, 3600, **given | changes)


def regressed(**changes: Any) -> Published:
    """Version 2 is fragile."""
    shares = SharesResult(
        groups=["vibration_rms", "pressure", "temperature", "all others"],
        share=[0.71, 0.13, 0.09, 0.07],
        stderr=[0.02, 0.02, 0.01, 0.01],
        total=5.5,
        level=0.4,
        is_now=True,
        rise_share=[0.83, 0.08, 0.05, 0.04],
        rise_stderr=[0.03, 0.02, 0.02, 0.02],
        largest="vibration_rms",
    )
    given: dict[str, Any] = {
        "state": state(("2", None), ("1", True), ("2", False), judged=verdict(4.26, worse=True)),
        "measurement": Measurement("2", assessed(34.1, noise_margin=0.1), NOW - 12, 0.4, ("order-71823",)),
        "recent": recent((8.0, 34.1), began=True),
        "alert_shares": shares,
    }
    return published(**given | changes)


def regressed_over_time() -> Published:
    """Version 2 is worse than it was, since its inputs have drifted."""
    result = assessed(17.0, drifted_features=3, input_drift=drift(0.42))
    for point in result.levels[1:]:
        point.baseline_ratio = 2.04
    return published(
        detection=detection(88_000.0, NOW - 1800),
        measurement=Measurement("2", result, NOW - 12, 0.4),
        recent=recent((8.0, 8.0), rise=1.1),
    )


def waiting() -> Published:
    """A model is loaded, and inputs have not come yet."""
    view = View(
        model=ModelVersion(name="pump-failure", version="2", run_id="abc", path="/models/2", flavors=["pytorch"]),
        loaded=LoadedModel(flavor="pytorch", device="cpu"),
        state=state(("2", None)),
    )
    told = view.with_outcome("skipped", "too_few_inputs", "12 of the 64 rows that an assessment needs have arrived")
    return Published("pump-failure", 60, 3600, alias="champion", view=told)


def starting() -> Published:
    """No model is loaded, because the registry does not answer."""
    told = View().with_outcome("skipped", "model_not_ready", "the registry at mlflow:5000 did not answer")
    return Published("pump-failure", 60, 3600, alias="champion", view=told)


def without_verdict(reason: Any, sentence: str) -> Published:
    """Version 2 is assessed, and nobody can rely on a verdict on it."""
    return published(state=replace(state(("2", None), ("1", True)), pending=(Pending(reason, sentence),)))


def at_endpoint() -> Published:
    """The model is asked where it is served."""
    url = "http://models:8080/v2/models/pump-failure/infer"
    model = ModelVersion(name="pump-failure", version="2", run_id=None, path="", flavors=[], endpoint=url)
    return regressed(model=model, loaded=LoadedModel(flavor="remote", device="remote"), alias=None)


def many_classes() -> Published:
    """A classifier with long names, many features, and a reference that is compared by probabilities."""
    names = [f"embedding_dimension_{index:04d}_of_the_title_and_description" for index in range(31)]
    found = [
        DriftValue(feature=name, statistic=statistic, value=0.5 / (1 + place))
        for place, name in enumerate(names)
        for statistic in ("js", "psi")
    ]
    levels = [
        LevelResult(
            level=level, mean_mse=0.002 * level**2, bound=0.0023 * level**2, request_bound=0.01 * level**2,
            agreement=1 - level**2, baseline_ratio=1.02 if level else None,
        )
        for level in LEVELS
    ]  # fmt: skip
    result = assessed(
        1.0, levels=levels, output="probability", input_drift=found, drifted_features=12, features_watched=4096,
        prediction_drift=[DriftValue(feature=f"class {index}", statistic="js", value=0.2) for index in range(1000)],
    )  # fmt: skip
    noisy = list(LEVELS[1:])
    told = verdict(
        1.4, worse=True, score="probability", why="squared changes of the probabilities at a common confidence of 0.83",
        exponents=(1.0, 0.71), disagreement=0.083, flip_ratio=[1.31, 1.35, 1.38, 1.41],
        agreement_a=[1 - 0.3 * level for level in noisy], agreement_b=[1 - 0.42 * level for level in noisy],
        curves=JudgedCurves(
            space="verdict", noise="gaussian", confidence=0.95, levels=list(LEVELS),
            reference_mean=[0.0021 * level**2 for level in LEVELS], reference_bound=None,
            mean=[0.00294 * level**2 for level in LEVELS], bound=[0.0032 * level**2 for level in LEVELS],
        ),
    )  # fmt: skip
    return published(
        state=state(("2", None), ("1", True), ("2", False), judged=told),
        measurement=Measurement("2", result, NOW - 12, 0.4),
        attack=AttackView("2", "abc", attack(), NOW - 3000),
        attack_interval_seconds=86_400,
        mse_limit=None,
    )


def deterministic() -> Published:
    """A perturbation without a draw, which is run once and has no trial bound."""
    shown = regressed()
    view = shown.view
    assert view.measurement is not None and view.state.verdict is not None and view.state.verdict.curves is not None
    levels = [point.model_copy(update={"bound": None}) for point in view.measurement.result.levels]
    result = view.measurement.result.model_copy(
        update={"levels": levels, "noise": "jpeg", "level_unit": "quality lost"}
    )
    without = {"bound": None, "reference_bound": None, "noise": "jpeg"}
    curves = view.state.verdict.curves.model_copy(update=without)
    told = view.state.verdict.model_copy(update={"curves": curves})
    change = replace(
        view, measurement=replace(view.measurement, result=result), state=replace(view.state, verdict=told)
    )
    shown.publish(change)
    shown.recent = Recent()
    for minute in range(0, 60, 5):
        row = {"version": "2", "levels": [{"level": 0.4, "mse": 5.4}]}
        shown.recent.add_assessment({"at": NOW + 60 * minute, **row})
    return shown


def further() -> Published:
    """Beside the noise that decides three others take turns; one of them has never been run."""

    def result(noise: str, unit: str, levels: tuple[float, ...], **changes: Any) -> FurtherNoise:
        points = [
            LevelResult(
                level=level, mean_mse=0.02 * place**2, bound=None, request_bound=0.09 * place**2, agreement=None
            )
            for place, level in enumerate((0.0, *levels))
        ]
        given: dict[str, Any] = {"levels": points, "rows": 256, "trials": 1, "index": 0.97}
        return FurtherNoise(
            noise=noise, level_unit=unit, **given | changes, confidence=0.95, output="value", notes=["as <pictures>"]
        )

    jpeg = result("jpeg", "steps of quality below 100", (25, 50, 75, 90))
    blur = result("gaussian_blur", "pixels", (0.5, 1, 2), cut="64 of 256 rows fit into the time")
    why = {"reason": "over_budget", "why": "an assessment needs 14 s, the budget is 9 s"}
    missed, never = FurtherNoise(noise="gaussian_blur", **why), FurtherNoise(noise="uniform", **why)
    told = (
        FurtherMeasurement("2", jpeg, NOW, 0.4),
        FurtherMeasurement("2", blur, NOW - 60, 0.4, missed),
        FurtherMeasurement("2", never, NOW - 120, 0.4),
    )
    return published(further=told, further_noises=3, only_too_few_inputs_since=False)


def long_names() -> Published:
    """Names as long as strangers may choose them, without a place to break them."""
    name = "x" * 200
    shown = many_classes()
    view = shown.view
    assert view.model is not None and view.measurement is not None and view.state.verdict is not None
    told = view.state.verdict.model_copy(update={"reference_version": f"0{name}"})
    entries = (
        Entry(version=f"0{name}", accepted=True, by="person", at=NOW - 7200),
        Entry(version=name, accepted=False, by="verdict", against=f"0{name}", pooled_ratio=1.4, at=NOW - 3600),
    )
    result = view.measurement.result.model_copy(
        update={"input_drift": [DriftValue(feature=name, statistic="js", value=0.5)], "notes": [name]}
    )
    shares = SharesResult(groups=[name, f"{name}2"], share=[0.6, 0.4], stderr=[0.1, 0.1], total=1.0, level=0.4)
    day = recent((8.0, 8.3))
    day.add_events([{"at": NOW, "kind": "version_accepted", "version": name, "by": "person"}])
    return replace_view(
        shown,
        replace(
            view,
            model=view.model.model_copy(update={"name": name, "version": name}),
            state=version_state(merge(entries), (name, None), judged=Judged(version=name, verdict=told)),
            measurement=Measurement(name, result, NOW - 12, 0.4, (name, name)),
            shares=shares,
            problem=name,
        ),
        name,
        day,
    )


def replace_view(shown: Published, view: View, name: str, day: Recent) -> Published:
    """The same, of another model."""
    shown.publish(view)
    shown.model_name, shown.alias, shown.recent = name, name, day
    return shown


STATES: Final[dict[str, Callable[[], Published]]] = {
    "starting": starting,
    "waiting": waiting,
    "good": published,
    "regressed": regressed,
    "over-time": regressed_over_time,
    "cannot-compare": lambda: without_verdict(
        "other_units",
        "Version 2 is not judged: the variance of its outputs differs by more than 10 times from that of version 1, "
        "as in other units.",
    ),
    "pending": lambda: without_verdict(
        "too_few_rows",
        "Version 2 is not judged yet: it waits for the 64 rows of assess.min_rows to be compared with version 1; "
        "mirror requests to inputs.port, raise inputs.max_age_seconds, or lower assess.min_rows.",
    ),
    "endpoint": at_endpoint,
    "many-classes": many_classes,
    "deterministic": deterministic,
    "further": further,
    "long-names": long_names,
}
