"""Targets and served answers against a model's outputs, on real models loaded by MLflow."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.question import Assess, SampledRequest
from robmon.worker.context import Evaluation
from robmon.worker.decoding import DecodedSample
from robmon.worker.labelled import assess_labelled
from robmon.worker.targets import fitting_targets
from tests.mlflow_client import quiet_mlflow
from tests.robustness.assessing import assess_rows
from tests.worker.test_evaluation import LEVELS, NAMES, assessed, bodies, body, question, saved


def rows_of(body: bytes) -> Any:
    return np.array(json.loads(body)["dataframe_split"]["data"])


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """`a - 2 b + c / 2`."""
    from sklearn.linear_model import LinearRegression

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=NAMES)
    return saved(tmp_path_factory.mktemp("linear") / "model", LinearRegression().fit(rows, truth(rows.to_numpy())))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """The sign of `a - 2 b + c / 2`, as text."""
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 3)), columns=NAMES)
    signs = np.where(truth(rows.to_numpy()) > 0, "up", "down")
    return saved(tmp_path_factory.mktemp("classes") / "model", LogisticRegression(C=1e6).fit(rows, signs))


def truth(rows: Any) -> Any:
    return rows @ np.array([1.0, -2.0, 0.5])


def labelled(sample: list[bytes], targets: list[Any], **changes: Any) -> tuple[Assess, list[bytes]]:
    """A question on a sample that has these labels, the first of each as given."""
    asked = question(len(sample), **changes)
    pairs = list(zip(asked.requests, sample, targets, strict=False))
    told = [request.model_copy(update={"target": json.dumps(target)}) for request, _, target in pairs]
    return asked.model_copy(update={"labelled": told}), [*sample, *(body for _, body, _ in pairs)]


def answered(asked: Assess, blobs: list[bytes], answers: list[Any]) -> tuple[Assess, list[bytes]]:
    """The same question, with answers to its first requests."""
    requests = list(asked.requests)
    blobs = list(blobs)
    for place, answer in enumerate(answers):
        requests[place] = requests[place].model_copy(update={"answer": len(blobs)})
        blobs.append(json.dumps({"predictions": answer}).encode())
    return asked.model_copy(update={"requests": requests}), blobs


# --- labels ----------------------------------------------------------------------------------------------------------


def test_errors_against_labels_that_are_off_by_a_known_amount(linear: ServedModel) -> None:
    sample = bodies(128)
    plain, errors = assessed(linear, question(128), sample)
    asked, blobs = labelled(sample, [truth(rows_of(body))[0] + 0.5 for body in sample])
    answer, same_errors = assessed(linear, asked, blobs)
    assert answer.labels is not None and (answer.labels.rows, answer.labelled_rows) == (128, 128)
    assert answer.labels.clean_mse == pytest.approx(0.25)
    assert [point.level for point in answer.labels.levels] == LEVELS
    for against, own in zip(answer.labels.levels, answer.levels, strict=True):
        assert against.mean_mse == pytest.approx(own.mean_mse + 0.25, rel=0.1)
        assert against.bound >= against.mean_mse * (1 - 1e-9)
    assert answer.labels.area is not None and answer.area is not None and answer.labels.area > answer.area
    assert answer.levels == plain.levels and np.array_equal(errors, same_errors), "the other result stays as it was"


def test_fewer_labels_than_are_needed_are_told(linear: ServedModel) -> None:
    sample = bodies(128)
    targets: list[Any] = [truth(rows_of(body))[0] for body in sample[:40]]
    targets[5:20] = ["text", [1, 2]] * 7 + [[[]]]
    answer, _ = assessed(linear, *labelled(sample, targets))
    assert answer.labels is None and answer.labelled_rows == 25
    assert answer.unfit_labels == list(range(5, 20))
    assert answer.label_problem == "25 labels fit the model, 32 are needed"
    answer, _ = assessed(linear, *labelled(sample, [*targets[:3], "text"]))
    assert answer.label_problem == "3 labels fit the model, 32 are needed" and answer.unfit_labels == [3]
    asked, blobs = labelled(sample, targets[:3])
    answer, _ = assessed(linear, asked, [*blobs[:128], *[b"garbage"] * 3])
    assert answer.label_problem == "no row with a label can be used: not_json (3)" and answer.unfit_labels == []
    assert answer.levels[-1].mean_mse > 0


def test_an_extreme_label_or_row_costs_only_itself(linear: ServedModel) -> None:
    sample = [body([1e308, 1e308, -1e308]), *bodies(64)]
    targets = [1.0, *(truth(rows_of(each))[0] + 0.5 for each in sample[1:])]
    targets[3] = 1e200
    answer, _ = assessed(linear, *labelled(sample, targets))
    assert answer.labels is not None and answer.labels.rows == answer.labelled_rows == 63
    assert answer.labels.clean_mse == pytest.approx(0.25) and answer.unfit_labels == [3]


def test_a_request_of_several_rows_has_a_list_of_targets(linear: ServedModel) -> None:
    sample = bodies(64, rows_each=3)
    answer, _ = assessed(linear, *labelled(sample, [truth(rows_of(body)).tolist() for body in sample]))
    assert answer.labels is not None and answer.labels.clean_mse == pytest.approx(0, abs=1e-20)
    assert answer.unfit_labels == []
    too_long = [truth(rows_of(body)).tolist() + [0.5] * (place < 10) for place, body in enumerate(sample)]
    answer, _ = assessed(linear, *labelled(sample, too_long))
    assert answer.labelled_rows == 54 and answer.unfit_labels == list(range(10))


def test_classes_as_text_have_a_slope_of_accuracy(classifier: ServedModel) -> None:
    sample = bodies(200)
    targets = ["up" if truth(rows_of(body))[0] > 0 else "down" for body in sample]
    answer, _ = assessed(classifier, *labelled(sample, targets, task="classification"))
    assert answer.output == "label" and answer.labels is not None
    assert answer.labels.clean_mse is not None and answer.labels.clean_mse < 0.05
    assert answer.labels.accuracy_slope is not None and answer.labels.accuracy_slope.value < 0
    assert "accuracy" not in answer.slopes


def test_labels_for_which_no_time_is_left_cost_nothing_else(linear: ServedModel) -> None:
    sample = bodies(64)
    asked, blobs = labelled(sample, [truth(rows_of(body))[0] for body in sample])
    inputs = np.array([rows_of(body)[0] for body in sample])
    own = assess_rows(lambda x, rows: truth(x), inputs)
    evaluation = Evaluation(linear, asked, blobs, time.perf_counter(), max_seconds=1000, min_usable_rows=32)
    against = assess_labelled(replace(evaluation.of_labels("value"), max_seconds=1e-6), own, None)
    assert against.result is None and against.rows == 64 and against.unfit == ()
    assert "the budget is 1e-06 s: raise assess.max_seconds, or lower " in against.problem


# --- targets ---------------------------------------------------------------------------------------------------------


def fit(targets: list[Any], clean: Any, output: Any, rows: int = 1) -> tuple[list[int], Any]:
    requests = [SampledRequest(format="v2", seed=0, target=json.dumps(target)) for target in targets]
    count = len(targets)
    sample = DecodedSample(None, list(range(count)), [(rows - 1, rows)] * count, Rejections())  # type: ignore[arg-type]
    kept, found = fitting_targets(requests, sample, np.asarray(clean), output)
    return kept, found.tolist()


def test_the_targets_that_fit() -> None:
    one, two = np.zeros((9, 1)), np.zeros((9, 2))
    assert fit([1, [2], [[3]], True, "x", [1, 2], 10**400], one, "value") == ([0, 1, 2, 3], [[1], [2], [3], [1]])
    assert fit([[1, 2], [[3, 4]], 1, [5]], two, "value") == ([0, 1], [[1, 2], [3, 4]])
    assert fit([[1, 2], [3, 4]], one, "value", rows=2) == ([0, 1], [[2], [4]])
    assert fit([[[1, 2], [3, 4]], [1, 2], 5], two, "value", rows=2) == ([0], [[3, 4]])
    assert fit([1, 0, 2, -1, 0.5, [0.2, 0.8], [0.2, 1.8]], two, "probability") == (
        [0, 1, 5],
        [[0, 1], [1, 0], [0.2, 0.8]],
    )
    assert fit([0.2, 1, 2], one, "probability") == ([0, 1], [[0.2], [1]])
    assert fit([1, 2.0, "1"], np.array([3, 4, 5]), "label") == ([0, 1], [1, 2])
    assert fit(["a", 1, ["b"], ["a", "b"]], np.array(["x"] * 4), "label") == ([0, 2], ["a", "b"])


# --- served answers --------------------------------------------------------------------------------------------------


def test_answers_of_this_version_of_another_and_of_another_form(linear: ServedModel) -> None:
    sample = bodies(64, rows_each=2)
    own = [truth(rows_of(body)) for body in sample]
    right = [each.astype(np.float32).tolist() for each in own[:10]]
    wrong = [(1.1 * each).tolist() for each in own[10:15]]
    other = [["cat", "dog"], [1.0], [[1.0, 2.0], [3.0, 4.0]], {"error": 1}]
    answer, _ = assessed(linear, *answered(question(64), sample, [*right, *wrong, *other]))
    assert answer.served is not None
    assert answer.served.model_dump() == {"compared": 15, "mismatched": 5, "not_comparable": 4}
    nothing, _ = assessed(linear, question(64), sample)
    assert nothing.served is None


def test_classes_served_are_compared_as_classes(classifier: ServedModel) -> None:
    sample = bodies(100)
    own = [["up" if truth(rows_of(body))[0] > 0 else "down"] for body in sample]
    sure = [place for place, body in enumerate(sample) if abs(truth(rows_of(body))[0]) > 0.5][:20]
    requests = [sample[place] for place in sure] + [body for place, body in enumerate(sample) if place not in sure]
    told: list[Any] = [own[place] for place in sure[:15]] + [["neither"]] * 3 + [[1], [None]]
    answer, _ = assessed(classifier, *answered(question(100, task="classification"), requests, told))
    assert answer.served is not None
    assert answer.served.model_dump() == {"compared": 18, "mismatched": 3, "not_comparable": 2}


def test_scores_and_the_classes_they_stand_for(tmp_path: Path) -> None:
    """A server may say the class where the model says a score each, and several outputs at once."""
    import mlflow.pyfunc

    with quiet_mlflow():

        class Scores(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                up = 1 / (1 + np.exp(-np.asarray(model_input, dtype=float).sum(axis=1)))
                return np.stack([1 - up, up], axis=1)

        mlflow.pyfunc.save_model(tmp_path / "scores", python_model=Scores(), pip_requirements=[])
    model = load(tmp_path / "scores")
    sample = bodies(64)
    sums = [float(rows_of(body).sum()) for body in sample]
    scores = [[1 / (1 + np.exp(total)), 1 / (1 + np.exp(-total))] for total in sums]
    classes = [int(total > 0) for total in sums]
    told: list[Any] = [[scores[0]], [classes[1]], [float(classes[2])], [1 - classes[3]], ["up"], [7], [0.5]]
    told += [{"class": [classes[7]], "scores": [scores[7]]}, {"class": [classes[8]], "scores": [scores[8][::-1]]}]
    answer, _ = assessed(model, *answered(question(64, task="classification"), sample, told))
    assert answer.output == "probability" and answer.served is not None
    assert answer.served.model_dump() == {"compared": 6, "mismatched": 2, "not_comparable": 3}
