"""Embeddings in the worker: mirrored requests of an MLflow model, numbers that the library gives, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist

import robmon
from robmon.errors import InvalidInputError
from robmon.history.baseline.format import baseline_from_dict, baseline_to_dict
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.comparison import ComparisonTerms
from robmon.robustness.specification import Specification
from robmon.worker.evaluation import evaluate
from tests.models.conftest import columns, save_pyfunc
from tests.worker.test_evaluation import NAMES, bodies, question

FIRST, SECOND = (np.random.default_rng(seed).normal(size=shape) for seed, shape in ((1, (3, 6)), (2, (3, 4))))
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))[0][:10]
ROWS = 96
OPTIONS: dict[str, Any] = {"task": "embedding", "baseline_min_rows": ROWS}


def embed(frame: Any) -> np.ndarray[Any, Any]:
    x = np.asarray(frame, dtype=np.float64)
    return np.asarray(np.hstack([np.tanh(x @ FIRST), 0.5 * x @ SECOND]))


VERSIONS: dict[str, Callable[[Any], Any]] = {
    "smooth": embed,
    "turned": lambda frame: 5.0 * embed(frame) @ TURN,
    "rough": lambda frame: np.hstack([embed(frame), np.sin(9.0 * np.asarray(frame, dtype=np.float64))]),
    "alike": lambda frame: 0.0 * embed(frame),
}


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ServedModel]:
    folder, loaded = tmp_path_factory.mktemp("embeddings"), dict[str, ServedModel]()

    def of_name(name: str) -> ServedModel:
        if name not in loaded:
            loaded[name] = load(
                save_pyfunc(folder / name, VERSIONS[name], columns(*((name, "double") for name in NAMES)))
            )
        return loaded[name]

    return of_name


def rows_of(seed: int = 1) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(ROWS, 1, 3))[:, 0], columns=NAMES)


def assessed(model: ServedModel, sent: Sequence[bytes], **changes: Any) -> tuple[Assessed, list[bytes]]:
    blobs = [*sent, *changes.pop("kept", [])]
    answer, kept = evaluate(model, question(ROWS, **OPTIONS, **changes), blobs)
    assert isinstance(answer, Assessed)
    return answer, kept


@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_mirrored_requests_give_the_numbers_of_the_library(version: Any, distance: str) -> None:
    answer, _ = assessed(version("smooth"), bodies(ROWS), distance=distance)
    expected = robmon.assess(
        embed, rows_of(), task="embedding", distance=distance, levels=[0.1, 0.4], trials=19, seed=7
    )
    assert (answer.output, answer.distance, answer.threshold) == ("embedding", distance, expected.threshold)
    for own, point in zip(answer.levels, expected.curve, strict=True):
        assert own.mean_mse == pytest.approx(point.mean_mse, rel=1e-12)
        assert (own.beyond_threshold, own.self_nearest) == (point.beyond_threshold, point.self_nearest)
        assert own.triplet_flips == pytest.approx(point.triplet_flips, rel=1e-12)
        assert own.median_move == pytest.approx(point.move_quantiles[0], rel=1e-12)
    assert 0 < answer.levels[-1].beyond_threshold < 1


def test_the_threshold_is_frozen_with_the_baseline(version: Any) -> None:
    """Later traffic moves it no more."""
    model = version("smooth")
    learning, _ = assessed(model, bodies(ROWS))
    baseline = baseline_from_dict(learning.baseline)
    assert baseline.is_settled and baseline.pairs is not None and baseline.pairs.pairs == ROWS * (ROWS - 1) // 2
    later, _ = assessed(model, bodies(ROWS, seed=5), baseline=learning.baseline)
    own = np.quantile(pdist(embed(rows_of())), 0.001)
    assert later.threshold == pytest.approx(own, rel=0.012)
    assert later.threshold != pytest.approx(np.quantile(pdist(embed(rows_of(5))), 0.001), rel=0.02)
    assert any("pairs of the baseline's rows" in note for note in later.notes)
    assert baseline_from_dict(later.baseline).pairs.to_dict() == baseline.pairs.to_dict()
    given, _ = assessed(model, bodies(ROWS, seed=5), baseline=learning.baseline, threshold=0.5)
    assert given.threshold == 0.5 and "threshold 0.5: as given" in given.notes


def test_another_distance_makes_a_learnt_baseline_anew_and_refuses_a_recorded_one(version: Any) -> None:
    model = version("smooth")
    learnt = assessed(model, bodies(ROWS))[0].baseline
    anew, _ = assessed(model, bodies(ROWS), baseline=learnt, distance="cosine")
    assert baseline_from_dict(anew.baseline).pairs.distance == "cosine"
    recorded = baseline_from_dict(learnt)
    recorded.source = "local"
    with pytest.raises(InvalidInputError, match="recorded with distance l2 of embeddings, and it is cosine now"):
        assessed(model, bodies(ROWS), baseline=baseline_to_dict(recorded), distance="cosine")
    assert recorded.threshold(Specification(task="embedding", distance="cosine")) is None


def judged(a: ServedModel, b: ServedModel, rows: int = ROWS) -> Assessed:
    """Version b judged against version a, one after the other on the same requests, or on the first of them."""
    sent = bodies(ROWS)
    reference, kept = assessed(a, sent)
    assert reference.is_reference
    comparison = ComparisonTerms(
        version="1",
        alpha=0.01,
        tolerance=0.1,
        output=reference.output,
        clean_variance=reference.clean_variance,
        origins=reference.plan.origins,
        nonfinite_rows=reference.nonfinite_rows,
        curves=reference.kept_curves,
        draws=reference.draws,
    )
    plan = reference.plan.model_copy(update={"rows": rows})
    return assessed(b, sent, plan=plan, comparison=comparison, kept=kept)[0]


def test_a_version_that_is_turned_and_longer_is_not_worse(version: Any) -> None:
    told = judged(version("smooth"), version("turned")).verdict
    assert told is not None and (told.score, told.worse) == ("triplets", False)
    assert told.pooled_ratio == pytest.approx(1.0, abs=1e-3)
    library = robmon.compare(
        embed, VERSIONS["turned"], rows_of(), task="embedding", levels=[0.1, 0.4], trials=19, seed=7, tolerance=0.1
    )
    assert told.ratio == pytest.approx(library.ratio)


@pytest.mark.parametrize(("name", "is_worse"), [("turned", False), ("rough", True)])
def test_a_version_whose_rows_the_time_has_cut_is_judged_on_those(version: Any, name: str, is_worse: bool) -> None:
    """Their triplets are others than those of all rows, so that the interval is a wider one."""
    answer = judged(version("smooth"), version(name), rows=48)
    told = answer.verdict
    assert answer.plan.rows == 48 and told is not None and told.worse is is_worse
    assert told.pooled_low < (2.0 if is_worse else 1.0) < told.pooled_high


def test_a_version_that_reacts_more_is_found_with_both_curves(version: Any) -> None:
    told = judged(version("smooth"), version("rough")).verdict
    assert told is not None and told.worse and told.pooled_low > 1.1
    library = robmon.compare(
        embed, VERSIONS["rough"], rows_of(), task="embedding", levels=[0.1, 0.4], trials=19, seed=7, tolerance=0.1
    )
    assert (told.pooled_ratio, told.pvalue) == pytest.approx((library.pooled_ratio, library.pvalue))
    curves = told.curves
    assert curves is not None and curves.space == "verdict" and curves.mean[0] == 0
    assert [b / a for a, b in zip(curves.reference_mean[1:], curves.mean[1:], strict=True)] == pytest.approx(told.ratio)
    assert all(bound >= mean for mean, bound in zip(curves.mean, curves.bound, strict=True))


def test_a_version_whose_embeddings_are_all_alike_gets_no_verdict(version: Any) -> None:
    answer = judged(version("smooth"), version("alike"))
    assert answer.not_compared is not None and "do not vary any more" in answer.not_compared.why
    assert not assessed(version("alike"), bodies(ROWS))[0].is_reference


def test_labels_of_embeddings_are_refused_and_cost_nothing_else(version: Any) -> None:
    asked = question(ROWS, **OPTIONS)
    target = "[" + ", ".join(["0.5"] * 10) + "]"
    labelled = [request.model_copy(update={"target": target}) for request in asked.requests]
    sent = bodies(ROWS)
    answer, _ = evaluate(version("smooth"), asked.model_copy(update={"labelled": labelled}), [*sent, *sent])
    assert answer.labels is None and "embeddings have no targets" in answer.label_problem
    assert answer.levels[-1].triplet_flips > 0
