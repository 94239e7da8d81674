"""A published object with everything in it, for tests of what is made from it."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from robmon.export.published import AttackView, BaselineInfo, Measurement, Published, ServedComparison, View
from robmon.history.attack import AttackFound
from robmon.history.detection import Detection, DetectionRecord
from robmon.history.memory import Entry, Key, merge
from robmon.history.scope import Judged
from robmon.history.standing import VersionState, version_state
from robmon.history.verdict import Causes, JudgedCurves, Part, Verdict
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.curve import LabelResult, LevelResult, SlopeResult
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.findings import (
    CanaryResult,
    DriftValue,
    NoveltyFound,
    QualityValue,
    ServedResult,
    SharesResult,
)
from robmon.processes.messages.model import LoadedModel, ModelVersion
from robmon.processes.messages.question import Plan

NOW = 1_000_000.0


def assessed() -> Assessed:
    """The result of one assessment of a classifier, with an infinite bound."""
    return Assessed(
        number=3,
        seed=5,
        plan=Plan(rows=256, trials=39, batch_rows=256, seconds=0.1, features={}, origins=list(range(256))),
        noise="gaussian",
        level_unit="standard deviations of each feature",
        masked="not perturbed: 2 indicator features",
        notes=["output is probability: one row of <shares> that sum to 1"],
        confidence=0.95,
        output="probability",
        levels=[
            LevelResult(level=0, mean_mse=0, bound=0, request_bound=0, agreement=1),
            LevelResult(
                level=0.05,
                mean_mse=0.25,
                bound=math.inf,
                request_bound=4.0,
                agreement=0.75,
                baseline_ratio=1.5,
                baseline_ratio_lower=math.nan,
            ),
        ],
        slopes={
            "mse": SlopeResult(value=2.0, lack_of_fit=0.01),
            "agreement": SlopeResult(value=-0.5, lack_of_fit=0.02),
        },
        area=0.1,
        index=0.9,
        noise_margin=0.05,
        labels=LabelResult(
            rows=100,
            trials=39,
            levels=[
                LevelResult(level=0, mean_mse=0.5, bound=0.5, request_bound=0.75, agreement=1),
                LevelResult(level=0.05, mean_mse=0.625, bound=0.875, request_bound=4.0, agreement=0.75),
            ],
            area=0.3,
            index=0.7,
            clean_mse=0.5,
            accuracy_slope=SlopeResult(value=-0.25, lack_of_fit=0.03),
        ),
        labelled_rows=120,
        clean_variance=[1.0],
        features_watched=2,
        drifted_features=1,
        input_quality=[
            QualityValue(feature="age", problem="missing", ratio=0.125),
            QualityValue(feature="age", problem="out_of_range", ratio=0.0),
        ],
        input_drift=[
            DriftValue(feature="age", statistic="psi", value=0.3),
            DriftValue(feature="age", statistic="js", value=0.25),
            DriftValue(feature="age", statistic="wasserstein", value=math.inf),
            DriftValue(feature="all", statistic="psi", value=0.2),
        ],
        prediction_drift=[DriftValue(feature="all", statistic="psi", value=0.1)],
        novelty=NoveltyFound(rows=250, ratio=0.024, pvalue=0.0625, near_duplicates=13, equal_rows=4, near_requests=[5]),
        baseline={},
        rejections=Rejections(rows=256),
        nonfinite_rows=[3, 7],
        phase_seconds={"assess": 2.0},
        batch_rows=512,
        draws="torch on cuda:0",
        device_memory_bytes=3 * 2**30,
    )


def attacked(**changes: Any) -> AttackFound:
    """What an attack found: queries more than the gradient."""
    given: dict[str, Any] = {
        "norm": "inf",
        "radii": [0.05, 0.1],
        "agreement": {"worst": [0.75, 0.25], "pgd": [0.875, 0.5], "square": [0.75, 0.375], "random": [1.0, 0.25]},
        "certified": {"lipschitz": [0.5, 0.125], "interval": [0.625, 0.0]},
        "gradient": "ok",
        "masked": True,
        "rows": 64,
        "queries": 812.5,
        "seconds": 3.25,
        "seed": 5,
        "notes": ["output is probability: its rows sum to 1"],
    }
    return AttackFound(**given | changes)


def detection(evidence: float = 12.5, since: float | None = None, **found: Any) -> DetectionRecord:
    """Where the detector over time stands on version 2: in its second week; the worst hour is thrice the median."""
    given: dict[str, Any] = {
        "detector": {},
        "basis": "week",
        "requests": 256,
        "evidence": evidence,
        "is_standing": since is not None,
        "tolerance": 0.1,
        "detectable_ratio": 1.375,
        "span_hours": 168,
        "worst_hour": 498_811,
        "worst_hour_ratio": 3.0,
    }
    identity = {"version": ["2", "abc"], "threshold": [43_200.0, 60.0]}
    return DetectionRecord(identity=identity, found=Detection(**given | found), since=since, number=3)


def state_of(served: Key, *told: tuple[str, bool], judged: Judged | None = None) -> VersionState:
    """Where a version stands after these were accepted or not, the last of them 100 s before `NOW`."""
    entries = [
        Entry(
            version=version,
            accepted=accepted,
            by="verdict" if index else "person",
            against=told[index - 1][0] if index else None,
            pooled_ratio=1.5,
            at=NOW - 100 - len(told) + index + 1,
        )
        for index, (version, accepted) in enumerate(told)
    ]
    return version_state(merge(entries), served, judged=judged)


def everything(model_name: str = "digits", inputs_problem: Callable[[], str] = lambda: "") -> Published:
    """Version 2 is assessed, stands as a regression against version 1, and was measured at `NOW`."""
    verdict = Verdict(
        reference_version="1",
        worse=True,
        pvalue=0.001,
        levels=[0.05],
        ratio=[1.5],
        detectable_ratio=1.1,
        pooled_ratio=1.4,
        pooled_low=1.25,
        pooled_high=1.75,
        confidence=0.98,
        score="probability",
        why="squared changes of the probabilities at a common confidence of 0.9",
        exponents=(0.5, 0.25),
        disagreement=0.0625,
        flip_ratio=[1.125],
        agreement_a=[0.75],
        agreement_b=[0.5],
        causes=Causes(
            model=Part(ratio=2.0, log_stderr=0.05, share=0.75, share_stderr=0.02),
            traffic=Part(ratio=1.25, log_stderr=0.1, share=0.25, share_stderr=0.02),
            cause="model",
        ),
        ratio_low=[1.25],
        ratio_high=[1.75],
        curves=JudgedCurves(
            space="verdict",
            noise="gaussian",
            confidence=0.95,
            levels=[0, 0.05],
            reference_mean=[0, 0.02],
            reference_bound=[0, 0.025],
            mean=[0, 0.03],
            bound=[0, 0.0375],
        ),
    )
    view = View(
        model=ModelVersion(name="digits", version="2", run_id="abc", path="/models/2", flavors=["pytorch"]),
        loaded=LoadedModel(flavor="torch", device="cpu"),
        baseline=BaselineInfo("learnt", 1024, NOW),
        detection=detection(),
        measurement=Measurement("2", assessed(), NOW, 2.0, ("order 7 <b>", "order 9"), ("order 3 <i>",)),
        canary=CanaryResult(rows=64, ratio=0.0),
        shares=SharesResult(
            groups=["age", "all others"], share=[0.5, 0.5], stderr=[0.125, 0.125], total=1.0, level=0.05
        ),
        alert_shares=SharesResult(
            groups=["age", "<size>"],
            share=[0.25, 0.75],
            stderr=[0.0625, 0.0625],
            total=2.0,
            level=0.05,
            is_now=True,
            rise_share=[0.0, 1.0],
            rise_stderr=[0.125, 0.125],
            largest="<size>",
        ),
        attack=AttackView("2", "abc", attacked(), NOW),
        served=(ServedComparison(ServedResult(compared=8, mismatched=2, not_comparable=1), NOW),),
        last_assessment_at=NOW,
        state=state_of(("2", None), ("1", True), ("2", False), judged=Judged(version="2", verdict=verdict)),
    )
    return Published(
        model_name,
        interval_seconds=60,
        max_age_seconds=3600,
        inputs_problem=inputs_problem,
        worker_memory_bytes=lambda: 350 * 2**20,
        alias="champion",
        attack_interval_seconds=86_400,
        view=view,
    )


def change(published: Published, **changes: Any) -> None:
    """Publish the same view, with some of it changed."""
    published.publish(replace(published.view, **changes))


def table_of(page: str, heading: str) -> list[list[str]]:
    """The text of the table below a heading."""
    table = page[page.index(f"<h2>{heading}</h2>") :].partition("<thead>")[2].partition("</table>")[0]
    rows = re.findall(r"<tr.*?</tr>", table)
    return [[html.unescape(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows]
