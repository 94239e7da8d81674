"""What a verdict says of the causes: the model, or the traffic; with real models, from two assessments."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robmon.daemon.results.kept import Kept
from robmon.history.verdict import Causes, Verdict
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.comparison import ComparisonTerms
from robmon.worker.blaming import causes
from robmon.worker.evaluation import evaluate
from tests.worker.test_evaluation import NAMES, linear, question  # noqa: F401

ROWS = 256


def sample(scale: float, seed: int) -> list[bytes]:
    rows = scale * np.random.default_rng(seed).normal(size=(ROWS, 3))
    return [json.dumps({"dataframe_split": {"columns": NAMES, "data": [row.tolist()]}}).encode() for row in rows]


def version(model: ServedModel, call: Callable[[pd.DataFrame], Any]) -> ServedModel:
    return replace(model, _call=call)


def verdict(old: ServedModel, new: ServedModel, traffic: float, **options: Any) -> Verdict:
    """A baseline of the old version on rows of scale 1, then the verdict on the new one on rows of another scale."""
    asked = question(ROWS, baseline_min_rows=ROWS, **options)
    learnt, _ = evaluate(old, asked, sample(1.0, seed=1))
    assert isinstance(learnt, Assessed)
    asked = asked.model_copy(update={"baseline": learnt.baseline})
    bodies = sample(traffic, seed=2)
    first, blobs = evaluate(old, asked, bodies)
    assert isinstance(first, Assessed)
    kept = Kept.of("1", [], asked.seed, first, blobs[-1])
    asked = asked.model_copy(update={"plan": kept.plan, "comparison": kept.comparison(0.01, 0.1), "baseline": None})
    answer, _ = evaluate(new, asked, [*bodies, kept.blob])
    assert isinstance(answer, Assessed) and answer.verdict is not None, answer
    return answer.verdict


def square(x: pd.DataFrame) -> pd.Series:
    return x["a"] ** 2


def test_a_worse_model_and_harder_traffic_are_told_apart(linear: list[ServedModel]) -> None:  # noqa: F811
    old, new = version(linear[0], square), version(linear[0], lambda x: 1.5 * square(x))
    by_model = verdict(old, new, traffic=1.0)
    assert by_model.worse and by_model.causes is not None and by_model.causes.cause == "model"
    assert by_model.causes.model is not None and by_model.causes.traffic is not None
    assert by_model.causes.model.ratio == pytest.approx(2.25, rel=1e-6)
    assert abs(math.log(by_model.causes.traffic.ratio)) < 3 * by_model.causes.traffic.log_stderr
    assert by_model.causes.model.share == pytest.approx(1.0, abs=4 * (by_model.causes.model.share_stderr or 0))
    both = verdict(old, new, traffic=1.4)
    assert both.causes is not None and both.causes.cause == "model"
    assert both.causes.traffic is not None and both.causes.model is not None
    assert both.causes.traffic.ratio == pytest.approx(1.96, rel=0.35)
    shares = both.causes.model.share, both.causes.traffic.share
    assert None not in shares and sum(shares) == pytest.approx(1.0)  # type: ignore[arg-type]
    harder = verdict(old, version(linear[0], lambda x: 1.1 * square(x)), traffic=1.6)
    assert harder.worse and harder.causes is not None and harder.causes.cause == "traffic"


def test_nothing_changed_has_no_cause(linear: list[ServedModel]) -> None:  # noqa: F811
    old = version(linear[0], square)
    same = verdict(old, old, traffic=1.0)
    assert not same.worse and same.causes is not None and same.causes.cause is None
    assert same.causes.model is not None and same.causes.model.ratio == 1.0 and same.causes.model.share is None


def test_classifiers_are_taken_apart_as_they_are_judged(linear: list[ServedModel]) -> None:  # noqa: F811
    def scores(x: pd.DataFrame, bend: float) -> np.ndarray:
        score = x["a"].to_numpy() + 0.5 * x["b"].to_numpy() + bend * np.sin(8 * x["c"].to_numpy())
        return np.stack([np.zeros_like(score), 2.0 * score], axis=1)

    old, new = (version(linear[0], lambda x, bend=bend: scores(x, bend)) for bend in (0.05, 0.6))
    found = verdict(old, new, traffic=1.0, task="classification", output="logit")
    assert found.worse and found.score == "probability" and found.causes is not None
    assert found.causes.cause == "model" and found.causes.traffic is not None
    hotter = verdict(
        old, version(linear[0], lambda x: 1.5 * scores(x, 0.05)), 1.0, task="classification", output="logit"
    )
    assert hotter.causes is not None and hotter.causes.cause is None


def terms(**changes: Any) -> ComparisonTerms:
    given = {"version": "1", "alpha": 0.01, "tolerance": 0.1, "output": "value", "clean_variance": [1.0], "origins": []}
    return ComparisonTerms(**given | changes)


def test_without_a_settled_baseline_only_the_model_is_known() -> None:
    old = np.random.default_rng(0).chisquare(3, size=100)
    found = causes(terms(), old, 2 * old)
    assert found is not None and found.cause == "model" and found.traffic is None
    assert found.model is not None and found.model.ratio == pytest.approx(2.0) and found.model.share is None


def test_outputs_that_are_not_finite_are_the_models_doing() -> None:
    old = np.ones(10)
    assert causes(terms(), old, np.append(old[:-1], np.inf)) == Causes(cause="model")
    assert causes(terms(), np.zeros(10), np.ones(10)) is None
