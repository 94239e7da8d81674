"""The verdict on classifiers as the worker takes it: MLflow's models, real requests, messages that cross a pipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robmon.export.page.verdict import verdict_details
from robmon.history.verdict import Verdict
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.processes.channel import decode, encode
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.comparison import ComparisonTerms
from robmon.processes.messages.question import Assess
from robmon.worker.evaluation import evaluate
from tests.mlflow_client import quiet_mlflow
from tests.worker.test_evaluation import question

Array = np.ndarray[Any, Any]
NAMES = ["a", "b", "c"]
FEATURES, CLASSES = 3, 3


def logits_of(frame: Any, noise: float = 0.0) -> Array:
    """What all versions are made of; with noise, a version that reacts to every small change of its inputs."""
    x = np.asarray(frame, dtype=np.float64)
    first = np.random.default_rng(1).normal(size=(FEATURES, 8))
    second = np.random.default_rng(2).normal(size=(8, CLASSES))
    return np.asarray(1.5 * np.tanh(x @ first) @ second + noise * np.sin(12 * x))


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


VERSIONS: dict[str, Callable[[Any], Any]] = {
    "logits": lambda frame: logits_of(frame),
    "logits x 1.5": lambda frame: 1.5 * logits_of(frame),
    "float32 softmax of temperature 2": lambda frame: softmax(logits_of(frame) / 2).astype(np.float32),
    "overconfident float32": lambda frame: softmax(40 * logits_of(frame)).astype(np.float32),
    "class weights": lambda frame: logits_of(frame) + np.log([1.0, 1.0, 9.0]),
    "labels": lambda frame: logits_of(frame).argmax(axis=1),
    "fragile, logits halved": lambda frame: 0.4 * logits_of(frame, noise=0.8),
    "fragile labels": lambda frame: logits_of(frame, noise=0.8).argmax(axis=1),
    "one class": lambda frame: logits_of(frame) + np.array([100.0, 0.0, 0.0]),
    "jagged": lambda frame: logits_of(frame, noise=0.4),
    "restless": lambda frame: np.exp(2 * np.sin(6 * np.asarray(frame)[:, :1])) * logits_of(frame),
    "constant": lambda frame: 0 * logits_of(frame) + np.array([1.5, 2.5, 0.5]),
    "not finite": lambda frame: np.where(np.arange(len(frame))[:, None] == 5, np.nan, logits_of(frame)),
    "two classes": lambda frame: logits_of(frame)[:, :2],
}


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ServedModel]:
    """A version by its name, saved and loaded as MLflow does when it is first asked for."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    folder, loaded = tmp_path_factory.mktemp("versions"), dict[str, ServedModel]()

    def version(name: str) -> ServedModel:
        if name not in loaded:
            with quiet_mlflow():

                class Model(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
                    answers = staticmethod(VERSIONS[name])

                    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                        return type(self).answers(model_input)

                path = folder / str(len(loaded))
                signature = ModelSignature(Schema([ColSpec("double", column) for column in NAMES]))
                mlflow.pyfunc.save_model(path, python_model=Model(), signature=signature, pip_requirements=[])
            loaded[name] = load(Path(path))
        return loaded[name]

    return version


def bodies(count: int, rows_each: int = 1) -> list[bytes]:
    rows = np.random.default_rng(3).normal(size=(count, rows_each, FEATURES))
    return [json.dumps({"dataframe_split": {"columns": NAMES, "data": each.tolist()}}).encode() for each in rows]


def crossed(message: Any, blobs: list[bytes]) -> tuple[Any, list[bytes]]:
    """What is left of a message when it has crossed the pipe between two processes."""
    data = memoryview(b"".join(encode(message, blobs)))
    parser = decode()
    needed = next(parser)
    while True:
        piece, data = bytes(data[:needed]), data[needed:]
        try:
            needed = parser.send(piece)
        except StopIteration as stop:
            return stop.value[0], stop.value[1]


def asked(model: ServedModel, question: Assess, blobs: list[bytes]) -> tuple[Assessed, list[bytes]]:
    answer, kept = evaluate(model, *crossed(question, blobs))
    assert isinstance(answer, Assessed)
    return crossed(answer, kept)


def judged(a: ServedModel, b: ServedModel, count: int = 160, rows_each: int = 1, rows: int | None = None) -> Assessed:
    """Version b judged against version a as the daemon does it: one after the other, on the same requests."""
    sample = bodies(count, rows_each)
    options: dict[str, Any] = {"task": "classification", "rows_per_request": rows_each, "sample_rows": 10_000}
    reference, kept = asked(a, question(count, **options), sample)
    assert reference.is_reference
    comparison = ComparisonTerms(
        version="1",
        alpha=0.01,
        tolerance=0.1,
        output=reference.output,
        clean_variance=reference.clean_variance,
        origins=reference.plan.origins,
        nonfinite_rows=reference.nonfinite_rows,
        classes=reference.kept_classes,
        curves=reference.kept_curves,
    )
    plan = reference.plan.model_copy(update={"rows": rows} if rows is not None else {})
    answer, _ = asked(b, question(count, plan=plan, comparison=comparison, **options), [*sample, kept[-1]])
    return answer


def verdict(a: ServedModel, b: ServedModel, **options: Any) -> Verdict:
    result = judged(a, b, **options)
    assert result.verdict is not None, result.not_compared
    check_curves(result.verdict)
    return result.verdict


def check_curves(told: Verdict) -> None:
    """One curve over the other is what the verdict says, level by level."""
    curves = told.curves
    assert curves is not None and curves.space == "verdict" and curves.levels == [0, *told.levels]
    at_zero = float("inf") if told.pooled_ratio == float("inf") else 0  # what is not finite is so without noise too
    assert (curves.reference_mean[0], curves.mean[0], curves.bound[0]) == (0, at_zero, at_zero)
    for mean, reference, ratio in zip(curves.mean[1:], curves.reference_mean[1:], told.ratio, strict=True):
        assert mean == pytest.approx(ratio * reference)
    assert all(bound >= mean for mean, bound in zip(curves.mean, curves.bound, strict=True))
    for mean, bound in zip(curves.reference_mean, curves.reference_bound or curves.reference_mean, strict=True):
        assert bound >= mean


@pytest.mark.parametrize(
    ("version", "score", "reason"),
    [
        ("logits x 1.5", "probability", None),
        ("float32 softmax of temperature 2", "probability", None),
        ("overconfident float32", "flips", "saturated"),
        ("labels", "flips", "labels"),
    ],
)
def test_the_same_classifier_in_other_words_is_not_worse(versions: Any, version: str, score: str, reason: Any) -> None:
    for a, b in (("logits", version), (version, "logits")):
        told = verdict(versions(a), versions(b))
        assert (told.score, told.reason, told.worse, told.disagreement) == (score, reason, False, 0)
        assert told.pooled_ratio == pytest.approx(1, abs=1e-4)
        assert told.pooled_low is not None and told.pooled_low <= 1 + 1e-4 and told.confidence == 0.98
        assert (told.exponents is None) == (score == "flips") and told.why
        assert told.agreement_a == pytest.approx(told.agreement_b) and told.flip_ratio == pytest.approx([1, 1])


def test_a_more_fragile_classifier_is_found_though_it_speaks_lower(versions: Any) -> None:
    told = verdict(versions("logits"), versions("fragile, logits halved"))
    assert told.worse and told.pooled_ratio is not None and told.pooled_ratio > 1.5
    assert told.pooled_low is not None and told.pooled_low > 1.1
    assert told.agreement_a is not None and told.agreement_b is not None
    assert told.agreement_b[-1] < told.agreement_a[-1]
    assert not verdict(versions("fragile, logits halved"), versions("logits")).worse
    assert verdict(versions("labels"), versions("fragile labels")).worse


def test_a_verdict_that_flips_contradict_carries_a_sentence_on_it(versions: Any) -> None:
    told = verdict(versions("jagged"), versions("restless"))
    assert told.worse and told.score == "probability" and told.flip_ratio is not None and max(told.flip_ratio) < 1
    assert told.flip_note.startswith("The classes themselves change less often")
    assert told.flip_note in verdict_details(told)
    assert verdict(versions("logits"), versions("fragile, logits halved")).flip_note == ""


def test_another_prior_is_told_and_flips_decide(versions: Any) -> None:
    told = verdict(versions("logits"), versions("class weights"))
    assert (told.score, told.reason) == ("flips", "other_classes")
    assert told.disagreement is not None and told.disagreement > 0.1 and "prior" in told.why


def test_a_classifier_that_is_not_finite_where_its_reference_was_is_worse(versions: Any) -> None:
    told = verdict(versions("logits"), versions("not finite"))
    assert told.worse and told.pooled_ratio == float("inf") and told.pvalue == 0
    healed = verdict(versions("not finite"), versions("logits"))
    assert not healed.worse and healed.pooled_ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("version", "reason", "why"),
    [
        ("one class", "failed", "gives every row the same class, where version 1 gives several"),
        ("constant", "failed", "do not vary any more"),
        ("two classes", "other_units", "other numbers of classes"),
    ],
)
def test_what_cannot_be_compared_says_why(versions: Any, version: str, reason: str, why: str) -> None:
    result = judged(versions("logits"), versions(version))
    assert result.verdict is None and result.not_compared is not None
    assert result.not_compared.reason == reason and why in result.not_compared.why


def test_a_constant_classifier_is_no_reference(versions: Any) -> None:
    answer, _ = asked(versions("constant"), question(64, task="classification"), bodies(64))
    assert not answer.is_reference


def test_rows_of_one_request_count_together_and_fewer_rows_than_the_reference_had(versions: Any) -> None:
    several = verdict(versions("logits"), versions("logits x 1.5"), count=60, rows_each=3)
    assert several.score == "probability" and several.pooled_ratio == pytest.approx(1, abs=1e-6)
    fewer = verdict(versions("logits x 1.5"), versions("logits"), rows=100)
    assert fewer.score == "probability" and fewer.pooled_ratio == pytest.approx(1, abs=1e-6)
    assert several.curves is not None and several.curves.reference_bound is not None and fewer.curves is not None
    assert several.curves.reference_bound == pytest.approx(several.curves.bound)
    assert fewer.curves.reference_bound is None  # those trials were of other rows
