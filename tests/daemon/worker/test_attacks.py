"""When the version served is attacked, situation by situation, and what is asked then."""

from __future__ import annotations

from typing import Any

import pytest

from robmon.daemon.worker.attacks import (
    AttackState,
    attack_question,
    attack_refusal,
    attack_terms,
    begun,
    ended,
    is_due,
)
from robmon.history.attack import AttackRecord
from robmon.inputs.sample import Feedback, Item
from robmon.processes.messages.model import ModelVersion
from robmon.settings import Settings, load
from tests.export.published import attacked

ONE, TWO = (ModelVersion(name="m", version=version, run_id="run") for version in ("1", "2"))
LAST = AttackRecord(version="1", run_id="run", terms="now", began_at=100.0)
ON = {"model.uri": "models:/m/1", "attack.enabled": True, "assess.task": "classification"}


def settings(**more: Any) -> Settings:
    return load(ON | {name.replace("__", "."): value for name, value in more.items()}).settings


CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "its first assessment has just ended": ({"last": None}, True),
    "it was attacked within the interval": ({}, False),
    "the interval is over": ({"age_seconds": 60.0}, True),
    "nobody asks for attacks, or they are refused": ({"last": None, "is_allowed": False}, False),
    "it is to be compared first": ({"last": None, "is_verdict_due": True}, False),
    "another version is served by now": ({"last": None, "target": TWO}, False),
    "no version is served": ({"last": None, "target": None}, False),
    "the worker has died since": ({"last": None, "in_worker": None}, False),
    "the worker has another version": ({"last": None, "in_worker": "2"}, False),
    "another version was attacked last": ({"last": LAST.model_copy(update={"version": "2"})}, True),
    "its number belonged to another run": ({"last": LAST.model_copy(update={"run_id": "older"})}, True),
    "the settings were others": ({"last": LAST.model_copy(update={"terms": "then"})}, True),
    "the attack before came to nothing": ({"last": LAST.model_copy(update={"found": None})}, False),
}


@pytest.mark.parametrize("situation", CASES)
def test_when_an_attack_is_due(situation: str) -> None:
    changes, expected = CASES[situation]
    given: dict[str, Any] = {
        "is_allowed": True, "assessed": ONE, "target": ONE, "in_worker": "1", "is_verdict_due": False, "last": LAST,
        "terms": "now", "age_seconds": 59.0, "interval_seconds": 60.0,
    }  # fmt: skip
    assert is_due(AttackState(**given | changes)) == expected


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, ""),
        ({"attack__enabled": False, "assess__task": "regression"}, ""),
        ({"assess__task": "regression"}, "an attack changes classes, and assess.task is regression"),
        (
            {"model__uri": "http://127.0.0.1:1/v2/models/m/infer"},
            "the model is asked at its endpoint, and attack.allow_remote is false",
        ),
        ({"model__uri": "http://127.0.0.1:1/v2/models/m/infer", "attack__allow_remote": True}, ""),
    ],
)
def test_what_is_never_attacked_says_why(more: dict[str, Any], told: str) -> None:
    assert attack_refusal(settings(**more)) == told


def test_what_is_asked() -> None:
    """The rows that were just assessed, none of which is learnt from again, and neither labels nor answers."""
    told = Feedback(ids=("a",), target=b"1", answer=b"{}")
    items = [Item("mlflow", {}, 1.0, seed, str(seed).encode(), feedback=told) for seed in range(200)]
    given = settings(attack__rows=8, attack__radii="0.3 0.1", attack__max_seconds=3, inputs__rows_per_request=2)
    question, blobs = attack_question(given, ONE, items, number=7, baseline={"a": 1})
    sample = question.sample
    assert question.radii == [0.1, 0.3] and blobs == [str(seed).encode() for seed in range(16)]
    assert all(each.topped_up and each.target is None and each.answer is None for each in sample.requests)
    assert (sample.sample_rows, sample.min_rows, sample.max_seconds, sample.rows_per_request) == (8, 8, 3, 2)
    assert (sample.number, sample.baseline, sample.labelled, sample.comparison) == (7, {"a": 1}, [], None)
    again, _ = attack_question(given, ONE, items, number=7, baseline={"a": 1})
    other, _ = attack_question(given, ONE, items, number=8, baseline={"a": 1})
    assert again.sample.seed == sample.seed != other.sample.seed


def test_what_is_kept_of_an_attack() -> None:
    """What was found of the same version under the same settings stays until there is something newer."""
    first = ended(begun(ONE, "now", None, 5.0), attacked(), 6.0)
    assert (first.version, first.began_at, first.found_at, first.found) == ("1", 5.0, 6.0, attacked())
    again = begun(ONE, "now", first, 9.0)
    assert (again.began_at, again.found, again.found_at) == (9.0, attacked(), 6.0)
    assert begun(TWO, "now", first, 9.0).found is None and begun(ONE, "then", first, 9.0).found is None


def test_other_rows_radii_or_outputs_are_other_terms() -> None:
    now = attack_terms(settings())
    assert attack_terms(settings(attack__interval_seconds=5, compare__alpha=0.05)) == now
    for more in ({"attack__rows": 8}, {"attack__radii": 0.3}, {"assess__output": "logit"}):
        assert attack_terms(settings(**more)) != now
