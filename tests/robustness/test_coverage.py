"""The coverage simulation of `tests/benchmarks/coverage.py`, in small, and its committed result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import coverage

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "coverage.json"
REPETITIONS = 60


@pytest.fixture(scope="module")
def figures():
    return list(coverage.simulate(REPETITIONS))


def test_every_bound_keeps_its_promise_on_every_law(figures):
    ratios = coverage.confseq_ratios(coverage.BOUNDED_LAWS[:1], [39], sets=1)
    judged = list(coverage.requirements(figures, ratios, REPETITIONS))
    assert len(judged) == 6
    assert all(each.met for each in judged), judged


def test_a_bound_that_covers_less_than_it_states_is_noticed(monkeypatch):
    law = coverage.LAWS[1]
    monkeypatch.setattr(coverage, "upper_bound", lambda trials, *_: float(np.partition(trials, -2)[-2]))
    lowered = list(coverage.trial_bounds(law, 1000, [19]))
    assert {each.bound: each.is_due(1000) for each in lowered}["order_statistic"] is False
    judged = coverage.Requirement("", False, "")
    assert json.loads(coverage.as_json(lowered, [judged], 1000))["requirements"][0]["met"] is False


def test_pooled_trials_and_fresh_rows_are_shown_to_cover_less():
    means = next(law for law in coverage.BOUNDED_LAWS if law.name == "flips of rows")
    (pooled,) = coverage.pooled_trials(means, 300, rows=39)
    (fresh,) = coverage.fresh_rows(coverage.LAWS[1], 1000, [39])
    assert pooled.held < 0.85
    assert fresh.held < 0.93


def test_the_committed_result_is_of_this_program_and_meets_every_requirement(figures):
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert committed["repetitions"] == coverage.REPETITIONS
    assert [requirement["met"] for requirement in committed["requirements"]] == [True] * 6
    kept = [coverage.Figure(**figure) for figure in committed["figures"]]
    assert [cell(each) for each in kept] == [cell(each) for each in figures]
    assert all(each.is_due(coverage.REPETITIONS) for each in kept if each.bound in coverage.REQUIRED)


def cell(figure):
    return figure.bound, figure.law, figure.count
