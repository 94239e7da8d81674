"""Shares of the noise error in the worker: once for a settled baseline, and when a version is worse."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from robmon.daemon.results.kept import Kept
from robmon.history.baseline.format import baseline_from_dict
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.findings import SharesResult
from robmon.processes.messages.question import AttributionQuestion
from robmon.worker.evaluation import evaluate
from tests.worker.test_evaluation import bodies, linear, question  # noqa: F401

ROWS = 256


def run(model: ServedModel, baseline: dict[str, Any] | None, **asked: Any) -> tuple[Assessed, dict[str, Any]]:
    changes = {"attribution": AttributionQuestion(**asked), "baseline": baseline, "baseline_min_rows": ROWS}
    answer, _ = evaluate(model, question(ROWS, **changes), bodies(ROWS))
    assert isinstance(answer, Assessed)
    return answer, json.loads(json.dumps(answer.baseline))


def fresh(model: ServedModel) -> ServedModel:
    return replace(model, seen=replace(model.seen, shares_refusal=""))


def test_a_settled_baseline_gets_its_shares_once(linear: list[ServedModel]) -> None:  # noqa: F811
    first, baseline = run(linear[0], None)
    assert first.shares is not None and first.shares.groups == ["a", "b", "c"] and not first.shares.is_now
    assert first.shares.share == pytest.approx([1 / 5.25, 4 / 5.25, 0.25 / 5.25], abs=0.05)
    assert first.shares.largest == "b" and first.shares.rise_share is None
    kept = baseline_from_dict(baseline).shares
    assert kept is not None and kept.members == {"a": ["a"], "b": ["b"], "c": ["c"]}
    again, after = run(linear[0], baseline)
    assert after == baseline and again.shares is not None
    assert again.shares.share == first.shares.share and again.shares.stderr == first.shares.stderr
    nothing, _ = evaluate(linear[0], question(ROWS), bodies(ROWS))
    assert isinstance(nothing, Assessed) and nothing.shares is None


def test_while_the_baseline_is_learnt_there_are_none(linear: list[ServedModel]) -> None:  # noqa: F811
    answer, _ = evaluate(linear[0], question(ROWS, attribution=AttributionQuestion()), bodies(ROWS))
    assert isinstance(answer, Assessed) and answer.shares is None and "shares" not in answer.baseline


def test_the_owners_groups_are_used_and_wrong_ones_told(linear: list[ServedModel]) -> None:  # noqa: F811
    answer, baseline = run(linear[0], None, groups={"pair": ["a", "c"]})
    assert answer.shares is not None and answer.shares.groups == ["pair", "all others"]
    other, after = run(linear[0], baseline, groups={"alone": ["b"]})
    assert other.shares is not None and other.shares.groups == ["alone", "all others"]
    assert baseline_from_dict(after).shares is not None
    model = fresh(linear[0])
    wrong, after = run(model, None, groups={"alone": ["d"]})
    told = "'d' is not one of the features that noise can move: those are a, b, c"
    assert wrong.shares == SharesResult(reason=told) and "shares" not in after
    calls = model.seen.shares_refusal
    assert calls == told and run(model, after, groups={"alone": ["d"]})[0].shares == SharesResult(reason=told)


def test_a_worse_version_names_the_features_that_did_it(linear: list[ServedModel]) -> None:  # noqa: F811
    old, (learnt, baseline) = linear[0], run(linear[0], None)
    assert learnt.shares is not None
    new = replace(old, _call=lambda x: old._call(x) + 1.5 * x["c"].to_numpy())  # c counts 2, not 0.5
    asked = question(ROWS, baseline=baseline, attribution=AttributionQuestion())
    first, blobs = evaluate(old, asked, bodies(ROWS))
    assert isinstance(first, Assessed)
    kept = Kept.of("1", [], asked.seed, first, blobs[-1])
    terms = {"plan": kept.plan, "comparison": kept.comparison(0.01, 0.1), "baseline": None}
    terms["attribution"] = AttributionQuestion(before=baseline["shares"])
    answer, _ = evaluate(new, asked.model_copy(update=terms), [*bodies(ROWS), kept.blob])
    assert isinstance(answer, Assessed) and answer.verdict is not None and answer.verdict.worse
    assert answer.shares is not None and answer.shares.is_now and answer.shares.largest == "c"
    assert answer.shares.rise_share == pytest.approx([0, 0, 1], abs=4 * max(answer.shares.rise_stderr or [0]))
    same, _ = evaluate(old, asked.model_copy(update=terms), [*bodies(ROWS), kept.blob])
    assert isinstance(same, Assessed) and same.shares is None, "nobody asks what is not worse"


def test_asked_for_it_is_measured_now(linear: list[ServedModel]) -> None:  # noqa: F811
    _, baseline = run(linear[0], None)
    answer, after = run(linear[0], baseline, now=True)
    assert after == baseline and answer.shares is not None and answer.shares.is_now
    assert answer.shares.rise_share is None, "nothing has risen"


def test_without_time_it_says_so_and_the_assessment_stands(
    linear: list[ServedModel],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, baseline = run(linear[0], None)
    monkeypatch.setattr("robmon.worker.attribution.time", SimpleNamespace(perf_counter=lambda: 1e18))
    answer, after = run(linear[0], baseline, now=True)
    assert after == baseline and answer.shares is not None and answer.shares.is_now and not answer.shares.groups
    assert "the budget is 0 s: raise assess.max_seconds" in answer.shares.reason
    model = fresh(linear[0])
    answer, after = run(model, None)
    assert answer.shares is not None and "assess.max_seconds" in answer.shares.reason and "shares" not in after
