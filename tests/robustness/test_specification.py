"""What an assessment does, as one value: what it refuses, how it travels, and that all who build one build the same."""

from __future__ import annotations

import inspect
import json
import math
from typing import Any

import pytest

import robmon
from robmon.errors import InvalidInputError, ProtocolError, TooFewTrialsError
from robmon.processes.channel import decode, encode
from robmon.processes.messages.every_process import Stop
from robmon.processes.messages.question import Assess
from robmon.robustness.specification import Specification
from robmon.settings import load

MODEL = {"model.uri": "models:/m/1"}
OTHER = Specification(
    noise="missing",
    levels=(0.1, 0.5),
    trials=99,
    confidence=0.99,
    bound="order_statistic",
    task="classification",
    output="logit",
    output_column=("a", 1),
    integers=("visits",),
    scale_axis=-1,
    max_batch_rows=7,
    mse_limit=0.25,
    agreement_limit=0.9,
    accuracy_limit=1.0,
)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"levels": ()}, "at least one level must be above 0"),
        ({"levels": (0.1, 0.1)}, "levels must differ"),
        ({"levels": (0.1, math.nan)}, "levels must be finite"),
        ({"levels": "0.1"}, "not text"),
        ({"trials": 0}, "at least 1 trial"),
        ({"trials": 19.0}, "trials must be a whole number, not float"),
        ({"confidence": 1.0}, "confidence must lie between 0 and 1"),
        ({"bound": "best"}, "bound 'best' is not known: it is one of order_statistic, tolerance"),
        ({"task": "ranking"}, "task 'ranking' is not known: it is one of regression, classification"),
        ({"output": "score"}, "output 'score' is not known: it is one of value, probability"),
        ({"noise": "rain"}, "noise 'rain' is not known"),
        ({"noise": 3}, "noise 3 is not known"),
        ({"noise": "missing", "levels": (2,)}, "level 2 of missing noise has no meaning: .* at most 1"),
        ({"noise": robmon.noise.Missing(), "levels": (2,)}, "level 2 of missing noise has no meaning: .* at most 1"),
        ({"noise": robmon.noise.Gaussian(clip=(1, 0))}, "clip of gaussian noise is empty"),
        ({"max_batch_rows": 0}, "at least 1 row"),
        ({"mse_limit": -1}, "at least 0"),
        ({"agreement_limit": 0}, "agreement_limit is a share of the rows, above 0 and at most 1, not 0"),
        ({"accuracy_limit": 1.1}, "accuracy_limit is a share of the rows, above 0 and at most 1, not 1.1"),
        ({"agreement_limit": 0.9}, "agreement_limit is a share of classes, and the task is regression"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_when_it_is_said(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        Specification(**options)


def test_too_few_trials_are_told_with_how_many_are_needed() -> None:
    for options in ({"trials": 18}, {"trials": 58, "bound": "tolerance"}, {"confidence": 0.999}):
        with pytest.raises(TooFewTrialsError) as caught:
            Specification(**options)  # type: ignore[arg-type]
        assert Specification(**options | {"trials": caught.value.needed}).trials == caught.value.needed  # type: ignore[arg-type]


def test_an_option_is_refused_before_any_model_is_asked() -> None:
    def never(x: Any) -> Any:
        raise AssertionError("asked")

    for options in ({"task": "ranking"}, {"output": "score"}, {"trials": 3}):
        with pytest.raises(InvalidInputError):
            robmon.assess(never, [[1.0], [2.0]], **options)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError):
            robmon.compare(never, never, [[1.0], [2.0]], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("specification", [Specification(), OTHER])
def test_it_travels_as_json(specification: Specification) -> None:
    assert Specification.from_dict(json.loads(json.dumps(specification.to_dict()))) == specification
    asked = Assess(
        number=1,
        seed=2,
        requests=[],
        rows_per_request=1,
        sample_rows=8,
        specification=specification,
        min_rows=4,
        max_seconds=1,
        max_features=2,
        baseline=None,
        baseline_min_rows=9,
    )
    assert received(b"".join(encode(asked))) == asked
    with pytest.raises(InvalidInputError, match="given by its name"):
        Specification(noise=robmon.noise.Missing(fill=0)).to_dict()


def received(frame: bytes) -> Any:
    parser, at = decode(), 0
    needed = next(parser)
    while True:
        at, piece = at + needed, frame[at : at + needed]
        try:
            needed = parser.send(piece)
        except StopIteration as stop:
            return stop.value[0]


@pytest.mark.parametrize("content", [{"trials": 1}, {"trails": 39}, [], None, "gaussian"], ids=str)
def test_a_message_with_none_is_a_protocol_error(content: Any) -> None:
    header = json.dumps({"type": "assess", "specification": content}).encode()
    (frame,) = [each for each in encode(Stop()) if each]
    prefix = len(header).to_bytes(4) + frame[4:8]
    with pytest.raises(ProtocolError, match="specification"):
        received(prefix + header)


def test_settings_and_library_do_the_same_unless_told_otherwise() -> None:
    assert load(MODEL).settings.specification == Specification()
    signature = inspect.signature(robmon.assess).parameters
    for name in ("noise", "levels", "trials", "confidence", "bound", "task", "output", "output_column", "mse_limit"):
        assert signature[name].default == getattr(Specification(), name), name


@pytest.mark.parametrize(
    ("flags", "digest"),
    [
        ({}, "5f210861a34b"),
        (
            {
                "assess.noise": "missing",
                "assess.levels": "0.1 0.5",
                "assess.integers": "a b",
                "assess.scale_axis": "-1",
                "assess.task": "classification",
                "assess.output": "logit",
                "model.output_column": "y",
                "inputs.rows_per_request": 3,
            },
            "b4b458c4b566",
        ),
    ],
    ids=["defaults", "others"],
)
def test_verdicts_are_remembered_under_the_same_digest_as_ever(flags: dict[str, Any], digest: str) -> None:
    """Another digest for the same settings would have every daemon say that it was judged under other ones."""
    assert load({**MODEL, **flags}).settings.specification_digest == digest
    for limit in ("mse_limit", *(("agreement_limit", "accuracy_limit") if flags else ())):
        assert load({**MODEL, **flags, f"assess.{limit}": 0.9}).settings.specification_digest == digest
    assert load({**MODEL, **flags, "compare.alpha": 0.02}).settings.specification_digest != digest
