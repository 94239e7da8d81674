"""What the worker does with one question, on real models loaded by MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import robmon
from robmon.errors import InvalidInputError, OverBudgetError, PredictionError, TooFewRowsError
from robmon.history.baseline.checksum import with_checksum
from robmon.models.devices.device import DeviceUse
from robmon.models.loading import load
from robmon.models.served import served
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.comparison import ComparisonTerms
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.question import Assess, SampledRequest
from robmon.worker.evaluation import evaluate
from robmon.worker.failing import failure
from robmon.worker.judging import ROW_ERRORS_DTYPE
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import columns, save_pyfunc, tensor
from tests.robustness.assessing import specified

LEVELS = [0.0, 0.1, 0.4]
NAMES = ["a", "b", "c"]


def saved(folder: Path, estimator: Any) -> ServedModel:
    """A scikit-learn estimator with a column signature, saved and loaded as MLflow does."""
    import mlflow.sklearn
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    mlflow.sklearn.save_model(
        estimator,
        folder,
        signature=ModelSignature(Schema([ColSpec("double", name) for name in NAMES]), Schema([ColSpec("double")])),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    return load(folder)


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> list[ServedModel]:
    """Two linear models, the second with weights 1.5 times the first's."""
    from sklearn.linear_model import LinearRegression

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=NAMES)
    target = rows @ np.array([1.0, -2.0, 0.5])
    folder = tmp_path_factory.mktemp("linear")
    return [saved(folder / str(factor), LinearRegression().fit(rows, factor * target)) for factor in (1.0, 1.5)]


def bodies(count: int, rows_each: int = 1, seed: int = 1) -> list[bytes]:
    rows = np.random.default_rng(seed).normal(size=(count, rows_each, 3))
    return [json.dumps({"dataframe_split": {"columns": NAMES, "data": each.tolist()}}).encode() for each in rows]


def question(count: int, **changes: Any) -> Assess:
    requests = [
        SampledRequest(format="mlflow", headers={"content-type": "application/json"}, seed=index)
        for index in range(count)
    ]
    given: dict[str, Any] = {
        "number": 1,
        "seed": 7,
        "requests": requests,
        "rows_per_request": 1,
        "sample_rows": 1000,
        "min_rows": 32,
        "max_seconds": 300,
        "max_features": 2,
        "baseline": None,
        "baseline_min_rows": 1000,
    }
    specification, rest = specified({"levels": LEVELS, "trials": 19} | changes)
    return Assess(specification=specification, **given | rest)


def assessed(model: ServedModel, asked: Assess, sample: list[bytes]) -> tuple[Assessed, np.ndarray[Any, Any]]:
    answer, blobs = evaluate(model, asked, sample)
    assert isinstance(answer, Assessed)
    kept = np.frombuffer(blobs[-1], ROW_ERRORS_DTYPE) if answer.kept_classes is None else np.empty(0)
    return answer, kept.reshape(-1, len(LEVELS))


def test_a_linear_model_has_the_slope_of_its_weights(linear: list[ServedModel]) -> None:
    answer, errors = assessed(linear[0], question(256), bodies(256))
    assert answer.output == "value" and answer.plan.rows == 256
    assert answer.slopes["mse"].value == pytest.approx(1 + 4 + 0.25, rel=0.2)
    assert answer.levels[0].bound == 0
    assert errors.shape == (256, 3)
    again, _ = assessed(linear[0], question(256), bodies(256))
    assert again.model_copy(update={"phase_seconds": {}, "baseline": {}, "plan": answer.plan}) == (
        answer.model_copy(update={"phase_seconds": {}, "baseline": {}})
    )


def test_a_result_says_in_which_precision_it_was_computed(tmp_path: Path) -> None:
    import mlflow.pytorch
    import torch

    torch.manual_seed(0)
    signature = tensor("float32", (-1, 3))
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)),
            tmp_path / "model",
            signature=signature,
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    rows = np.random.default_rng(1).normal(size=(64, 3)).round(3)
    sample = [json.dumps({"inputs": [row.tolist()]}).encode() for row in rows]
    exact, _ = assessed(load(tmp_path / "model"), question(64), sample)
    rounded, _ = assessed(load(tmp_path / "model", device=DeviceUse(precision="bfloat16")), question(64), sample)
    (note,) = set(rounded.notes) - set(exact.notes)
    assert note == "the model computes in bfloat16 wherever autocast lets it (device.precision)"
    assert rounded.levels[0].mean_mse == 0
    assert rounded.levels[-1].mean_mse == pytest.approx(exact.levels[-1].mean_mse, rel=0.02)
    assert rounded.levels[-1].mean_mse != exact.levels[-1].mean_mse


def test_every_scalar_that_is_measured_is_told(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=NAMES)
    model = saved(tmp_path / "classifier", LogisticRegression().fit(rows, rows["a"] > 0))
    limits = {"mse_limit": 0.1, "agreement_limit": 0.95}
    answer, _ = assessed(model, question(200, task="classification", **limits), bodies(200))
    assert set(answer.slopes) == {"mse", "agreement"}
    assert answer.slopes["agreement"].value < 0 < answer.slopes["mse"].value
    assert all(slope.lack_of_fit is not None for slope in answer.slopes.values())
    assert [point.bound <= 0.1 for point in answer.levels] == [True, True, False]
    assert answer.noise_margin == 0.1
    mean, kept = answer.crossings
    assert (mean.score, mean.limit, kept.score, kept.limit) == ("mse", 0.1, "agreement", 0.95)
    assert mean.level is not None and answer.levels[1].level < mean.level < answer.levels[2].level
    assert mean.low is not None and mean.low < mean.level and mean.high is None and "beyond" in mean.text
    assert answer.levels[1].agreement > 0.95 > answer.levels[2].agreement
    assert kept.low is not None and kept.high is not None and kept.low < kept.level < kept.high
    assert answer.area is not None and answer.index == 1 - answer.area


def test_the_requests_with_the_largest_errors_are_told_by_their_place(linear: list[ServedModel]) -> None:
    sample = bodies(60, rows_each=2)
    sample[3] = b"{"
    answer, errors = assessed(linear[0], question(60, rows_per_request=2), sample)
    places = sorted(set(answer.plan.origins))
    assert len(places) == 59 and 3 not in places
    largest = np.argsort(-errors[:, -1])[:3]  # 5 % of 59 requests, rounded up
    assert answer.worst_requests == [places[index] for index in largest]


def test_a_baseline_is_learnt_from_new_rows_only_and_counts_when_there_are_enough(linear: list[ServedModel]) -> None:
    first, _ = assessed(linear[0], question(64, baseline_min_rows=100), bodies(64))
    assert (first.baseline["source"], first.baseline["rows"]) == ("learning", 64)
    assert first.input_drift == [] and first.levels[1].baseline_ratio is None
    asked = question(64, baseline=first.baseline, baseline_min_rows=100)
    old = [request.model_copy(update={"topped_up": True}) for request in asked.requests]
    same, _ = assessed(linear[0], asked.model_copy(update={"requests": old}), bodies(64))
    assert same.baseline["rows"] == 64
    second, _ = assessed(linear[0], asked, bodies(64, seed=2))
    assert (second.baseline["source"], second.baseline["rows"]) == ("learnt", 128)
    third, _ = assessed(linear[0], question(64, baseline=second.baseline), bodies(64, seed=3))
    assert third.baseline == second.baseline
    assert [(drift.feature, drift.statistic) for drift in third.input_drift][-1] == ("all", "psi")
    assert len(third.input_drift) == 2 * 4 + 1, "of the two features that drifted most"
    assert (third.drifted_features, third.features_watched) == (0, 3) and first.drifted_features is None
    ratio, lower = third.levels[1].baseline_ratio, third.levels[1].baseline_ratio_lower
    assert ratio is not None and lower is not None
    assert 0.7 < ratio < 1.4 and lower < ratio


def test_a_version_is_compared_on_the_same_rows_and_noise(linear: list[ServedModel]) -> None:
    sample = bodies(128)
    reference, errors = assessed(linear[0], question(128), sample)
    comparison = ComparisonTerms(
        version="1",
        alpha=0.01,
        tolerance=0.1,
        output=reference.output,
        clean_variance=reference.clean_variance,
        origins=reference.plan.origins,
        curves=reference.kept_curves,
    )
    asked = question(128, plan=reference.plan, comparison=comparison)
    blob = errors.astype(ROW_ERRORS_DTYPE).tobytes()
    worse, _ = assessed(linear[1], asked, [*sample, blob])
    assert worse.verdict is not None and worse.verdict.worse
    assert worse.verdict.ratio == pytest.approx([2.25, 2.25], rel=1e-6)
    assert worse.verdict.pooled_ratio == pytest.approx(2.25) and worse.verdict.score == "mse"
    curves = worse.verdict.curves
    assert curves is not None and curves.space == "output"
    assert curves.reference_mean == pytest.approx([point.mean_mse for point in reference.levels])
    assert curves.reference_bound == pytest.approx([point.bound for point in reference.levels])
    assert curves.mean == pytest.approx([point.mean_mse for point in worse.levels])
    assert curves.bound == pytest.approx([point.bound for point in worse.levels])
    same, _ = assessed(linear[0], asked, [*sample, blob])
    assert same.verdict is not None and not same.verdict.worse
    assert same.verdict.ratio == pytest.approx([1, 1])
    of_tensors = comparison.model_copy(update={"draws": "torch cpu float64"})
    drawn, _ = assessed(linear[0], asked.model_copy(update={"comparison": of_tensors}), [*sample, blob])
    elsewhere = comparison.model_copy(update={"draws": "torch cuda:99 float32"})
    own, _ = assessed(linear[0], asked.model_copy(update={"comparison": elsewhere}), [*sample, blob])
    assert drawn.draws == "torch cpu float64" and drawn.levels[-1].mean_mse != same.levels[-1].mean_mse
    assert own.draws == same.draws == "numpy" and own.levels[-1].mean_mse == same.levels[-1].mean_mse
    other_units = comparison.model_copy(update={"clean_variance": [reference.clean_variance[0] / 100]})
    refused, _ = assessed(linear[1], asked.model_copy(update={"comparison": other_units}), [*sample, blob])
    assert refused.verdict is None and refused.not_compared is not None
    assert refused.not_compared.reason == "other_units" and "more than 10 times" in refused.not_compared.why
    fewer, _ = assessed(linear[1], asked, [b"{", *sample[1:], blob])
    assert fewer.verdict is None


@pytest.mark.parametrize("noise", ["gaussian", "missing", "correlated"])
def test_the_daemon_measures_what_the_library_does_from_the_same_baseline(
    linear: list[ServedModel], noise: str
) -> None:
    """To the last bit, while the baseline is learnt and afterwards."""
    sample = bodies(96)
    inputs = np.array([json.loads(body)["dataframe_split"]["data"][0] for body in sample])
    first, _ = assessed(linear[0], question(96, noise=noise, baseline_min_rows=64), sample)
    assert first.baseline["source"] == "learnt" and first.baseline["noise"] == noise
    for asked in (question(96, noise=noise), question(96, noise=noise, baseline=first.baseline)):
        answer, _ = assessed(linear[0], asked, sample)
        result = robmon.assess(
            linear[0], pd.DataFrame(inputs, columns=NAMES), noise=noise, levels=LEVELS, trials=19, seed=7
        )
        assert [point.mean_mse for point in answer.levels] == [point.mean_mse for point in result.curve]
        assert [point.bound for point in answer.levels] == [point.bound for point in result.curve]
        assert [point.realised_level for point in answer.levels] == [point.realised_level for point in result.curve]
        assert answer.plan.features == result.features.to_dict()
        assert answer.level_unit == result.level_unit
    assert answer.levels[1].baseline_ratio == pytest.approx(1, rel=0.1)


def test_correlated_noise_follows_the_correlation_of_the_baseline(linear: list[ServedModel]) -> None:
    g = np.random.default_rng(0)
    shared = g.normal(size=(256, 1))
    rows = np.hstack([shared, -shared, shared]) + 0.01 * g.normal(size=(256, 3))
    sample = [json.dumps({"dataframe_split": {"columns": NAMES, "data": [row.tolist()]}}).encode() for row in rows]
    weights = np.array([1.0, -2.0, 0.5])
    answer, _ = assessed(linear[0], question(256, noise="correlated"), sample)
    expected = 0.01 * float(np.cov(rows.T, ddof=0) @ weights @ weights)
    assert answer.levels[1].mean_mse == pytest.approx(expected, rel=0.1)
    gaussian, _ = assessed(linear[0], question(256), sample)
    assert gaussian.levels[1].mean_mse < expected / 2
    recorded = with_checksum(gaussian.baseline | {"source": "local"})
    with pytest.raises(InvalidInputError, match="record a baseline with this noise"):
        evaluate(linear[0], question(256, noise="correlated", baseline=recorded), sample)
    again, _ = assessed(linear[0], question(256, noise="correlated", baseline=gaussian.baseline), sample)
    assert again.baseline["inputs"]["products"] is not None, "a baseline of another noise is learnt anew"


def test_a_baseline_of_another_noise_has_scale_and_drift_but_no_ratio(linear: list[ServedModel]) -> None:
    learnt, _ = assessed(linear[0], question(96, baseline_min_rows=64), bodies(96))
    answer, _ = assessed(linear[0], question(96, noise="uniform", baseline=learnt.baseline), bodies(96, seed=2))
    assert answer.levels[1].baseline_ratio is None
    assert len(answer.input_drift) == 9 and answer.baseline == learnt.baseline


def test_a_version_is_compared_with_sentinels_and_indicators_left_alone(linear: list[ServedModel]) -> None:
    rows = np.random.default_rng(1).normal(size=(200, 3))
    rows[::20, 0], rows[:, 1] = -999.0, rows[:, 1] > 0
    sample = [json.dumps({"dataframe_split": {"columns": NAMES, "data": [row.tolist()]}}).encode() for row in rows]
    answer, _ = assessed(linear[0], question(200), sample)
    assert answer.masked == "not perturbed: 1 indicator feature, 10 sentinel cells"
    scale = [rows[rows[:, 0] > -999, 0].std(), 0, rows[:, 2].std()]
    assert answer.plan.features["scale"] == pytest.approx(scale)
    assert answer.levels[1].realised_level == pytest.approx(0.1, rel=0.05)
    other, _ = assessed(linear[0], question(100, plan=answer.plan), sample[1:101])
    assert other.plan.features == answer.plan.features, "a plan that is followed brings its features"


def test_the_reference_s_scale_is_for_a_version_with_the_same_features(linear: list[ServedModel]) -> None:
    reference, _ = assessed(linear[0], question(64), bodies(64))
    theirs = reference.plan.features | {"scale": [2.0, 2.0, 2.0]}
    assert theirs["names"] == NAMES
    for names, expected in ((NAMES, theirs["scale"]), (["a", "b", "x"], reference.plan.features["scale"])):
        plan = reference.plan.model_copy(update={"features": theirs | {"names": names}})
        answer, _ = assessed(linear[1], question(64, plan=plan), bodies(64))
        assert answer.plan.features["scale"] == pytest.approx(expected)


def test_requests_are_what_counts_where_several_rows_come_from_one(linear: list[ServedModel]) -> None:
    answer, errors = assessed(linear[0], question(40, rows_per_request=4), bodies(40, rows_each=10))
    assert answer.plan.rows == 160
    assert errors.shape == (40, 3)
    cut, _ = assessed(linear[0], question(40, rows_per_request=4, sample_rows=100), bodies(40, rows_each=10))
    assert (cut.plan.rows, cut.rejections.rows) == (100, 160)
    few, _ = assessed(linear[0], question(16, rows_per_request=4), bodies(16, rows_each=10))
    assert few.levels[1].request_bound is None, "16 requests are too few for 95 %, though there are 64 rows"


def test_what_cannot_be_decoded_is_counted_and_costs_nothing_else(linear: list[ServedModel]) -> None:
    asked = question(66)
    sample = [*bodies(63), b'{"dataframe_split": {"columns": ["a"], "data": [[1.0]]}}', b"{", b"{"]
    answer, _ = assessed(linear[0], asked, sample)
    assert answer.plan.rows == answer.rejections.rows == 63
    assert answer.rejections.counts == {"mlflow": {"does_not_fit_model": 1, "not_json": 2}}
    assert answer.rejections.unusable == [63, 64, 65]


def test_too_few_rows_and_too_little_time(linear: list[ServedModel]) -> None:
    lacking = b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2.0]]}}'
    found = Rejections()
    with pytest.raises(TooFewRowsError, match=r"20 of the rows .* missing_column c \(15\), not_json \(5\)") as caught:
        evaluate(linear[0], question(40), [b"{"] * 5 + [lacking] * 15 + bodies(20), found)
    assert found.counts == {"mlflow": {"not_json": 5, "does_not_fit_model": 15}}
    assert (found.unusable, found.rows) == (list(range(20)), 20)
    told = failure(caught.value, found)
    assert (told.reason, told.rejections) == ("invalid_input", found)
    with pytest.raises(OverBudgetError, match=r"raise assess\.max_seconds"):
        evaluate(linear[0], question(64, max_seconds=1e-6), bodies(64))


def test_rows_that_are_refused_are_found_in_as_much_memory_as_there_is(tmp_path: Path) -> None:
    """A call with the whole sample would need more than those of an assessment."""

    class Tight:
        def predict(self, x: pd.DataFrame) -> Any:
            if len(x) > 16:
                raise MemoryError
            if x.isna().to_numpy().any():
                raise ValueError("NaN")
            return x["a"].to_numpy()

    model = saved(tmp_path / "tight", Tight())
    bad = b'{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[NaN, 1.0, 2.0]]}}'
    answer, _ = assessed(model, question(65), [*bodies(40), bad, *bodies(24)])
    assert answer.plan.rows == 64 and answer.out_of_memory_retries > 0
    assert (answer.rejections.counts, answer.rejections.unusable) == ({"mlflow": {"refused_by_model": 1}}, [40])


def test_the_rows_for_which_there_is_memory_are_remembered_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else memory, which others may need, runs out in every assessment anew."""

    class Tight:
        def predict(self, x: pd.DataFrame) -> Any:
            if len(x) > 16:
                raise MemoryError
            return x["a"].to_numpy()

    model = saved(tmp_path / "tight", Tight())
    first, again = (assessed(model, question(64), bodies(64))[0] for _ in range(2))
    assert first.out_of_memory_retries > 0 == again.out_of_memory_retries
    assert (again.batch_rows, again.levels) == (first.batch_rows, first.levels)
    monkeypatch.setattr(served, "FITTING_SECONDS", 0.0)
    model.seen.memory_ran_out(first.batch_rows)
    later, _ = assessed(model, question(64), bodies(64))
    assert later.out_of_memory_retries == first.out_of_memory_retries, "others may have freed some"


def test_rows_that_the_model_refuses_do_not_cost_the_assessment(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=NAMES)
    model = saved(tmp_path / "classifier", LogisticRegression().fit(rows, rows["a"] > 0))
    bad = b'{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[NaN, 1.0, 2.0]]}}'
    asked = question(65, task="classification", max_features=32)
    answer, _ = assessed(model, asked, [bad, *bodies(64)])
    assert answer.output == "label" and answer.plan.rows == 64
    assert answer.plan.origins == list(range(1, 65))
    assert (answer.rejections.counts, answer.rejections.unusable) == ({"mlflow": {"refused_by_model": 1}}, [0])
    found = Rejections()
    with pytest.raises(TooFewRowsError, match=r"24 of the rows .* refused_by_model \(40\)"):
        evaluate(model, question(64, task="classification"), [bad] * 40 + bodies(24), found)
    assert found == Rejections(counts={"mlflow": {"refused_by_model": 40}}, unusable=list(range(40)), rows=24)
    each_bad = [
        b'{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[NaN, %d, 2.0]]}}' % number for number in range(64)
    ]
    found = Rejections()
    with pytest.raises(PredictionError):
        evaluate(model, question(65, task="classification"), [b"{", *each_bad], found)
    told = Rejections(counts={"mlflow": {"not_json": 1}}, unusable=[0], rows=64)
    assert found == told, "it takes nothing at all"


def body(row: list[float]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": NAMES, "data": [row]}}).encode()


@pytest.mark.parametrize("row", [[1e308, 1e308, -1e308], [1.0, 1e160, 2.0], [1.0, 2.0, 1e38]], ids=str)
def test_a_row_with_an_extreme_value_is_left_out_and_never_learnt(linear: list[ServedModel], row: list[float]) -> None:
    def told(answer: Assessed) -> list[float]:
        learnt = answer.baseline
        moments = [learnt[what][name] for what in ("inputs", "outputs", "errors") for name in ("mean", "squares")]
        seen = [summary for what in ("inputs", "outputs") for summary in learnt[f"{what}_seen"].values()]
        cells = [column for summary in seen for column in (*summary["cells"], *summary["low"], *summary["high"])]
        return [*np.concatenate([*moments, *cells]), learnt["rows"], *(point.bound for point in answer.levels)]

    plain, _ = assessed(linear[0], question(64, baseline_min_rows=32), bodies(64))
    answer, _ = assessed(linear[0], question(65, baseline_min_rows=32), [body(row), *bodies(64)])
    assert (answer.rejections.counts, answer.rejections.unusable) == ({"mlflow": {"extreme_value": 1}}, [0])
    assert told(answer) == pytest.approx(told(plain)), "the rest is assessed as if the row had never been there"

    learnt = question(70, baseline=plain.baseline)
    answer, _ = assessed(linear[0], learnt, [*bodies(64, seed=2), *[body(row)] * 6])
    assert (answer.rejections.counts, answer.rejections.unusable) == (
        {"mlflow": {"extreme_value": 6}},
        list(range(64, 70)),
    )
    found = Rejections()
    with pytest.raises(TooFewRowsError, match=r"31 of the rows .* extreme_value \(4\)"):
        evaluate(linear[0], question(35), [*[body(row)] * 4, *bodies(31)], found)
    assert found == Rejections(counts={"mlflow": {"extreme_value": 4}}, unusable=list(range(4)), rows=31)


def test_inputs_that_are_all_huge_are_assessed_or_refused_in_true_words(linear: list[ServedModel]) -> None:
    rows = np.random.default_rng(3).normal(size=(64, 3))
    answer, _ = assessed(linear[0], question(64), [body(row) for row in (1e40 + 1e39 * rows).tolist()])
    assert answer.plan.rows == 64 and answer.rejections.counts == {}
    assert answer.slopes["mse"].value == pytest.approx(5.25e78, rel=0.4)
    with pytest.raises(InvalidInputError, match=r"constant, or beyond 1e\+140: divide those by a constant"):
        evaluate(linear[0], question(64), [body(row) for row in (1e200 + 1e199 * rows).tolist()])


def test_a_customary_sentinel_is_not_extreme(linear: list[ServedModel]) -> None:
    """The largest single-precision number, as rasters have it."""
    rows = np.random.default_rng(1).normal(size=(200, 3))
    rows[::20, 0] = -3.4028234663852886e38
    sample = [body(row) for row in rows.tolist()]
    answer, _ = assessed(linear[0], question(200, baseline_min_rows=100), sample)
    assert answer.rejections.counts == {} and answer.masked == "not perturbed: 10 sentinel cells"
    again, _ = assessed(linear[0], question(40, baseline=answer.baseline), sample[:40])
    assert again.rejections.counts == {}, "two are enough once it is known"


def test_names_of_strangers_are_cut_and_halves_of_characters_refused(tmp_path: Path) -> None:
    """Without a signature, columns are called whatever the requests say."""
    import mlflow.pyfunc

    with quiet_mlflow():

        class Sum(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
                return np.asarray(model_input, dtype=float).sum(axis=1)

        mlflow.pyfunc.save_model(tmp_path / "sum", python_model=Sum(), pip_requirements=[])
    model = load(tmp_path / "sum")

    def named(names: list[str], count: int, value: object = 1.5) -> list[bytes]:
        rows = np.random.default_rng(count).normal(size=(count, 2)).tolist()
        return [json.dumps({"dataframe_split": {"columns": names, "data": [[*row, value]]}}).encode() for row in rows]

    names = ["<script>", 'quote"\n', "x" * 1_000_000]
    learnt, _ = assessed(model, question(64, baseline_min_rows=32), named(names, 64))
    answer, _ = assessed(model, question(64, baseline=learnt.baseline, max_features=3), named(names, 64))
    found = {drift.feature for drift in answer.input_drift}
    assert found == {"<script>", 'quote"?', "x" * 64, "all"}

    halves = [*named(["\ud800", "b", "c"], 1), *named(["a", "b", "c"], 1, "\udfff")]
    raw = named(["a", "b", "HALF"], 1)[0].replace(b"HALF", b"\xed\xa0\x80")
    sixteen = json.dumps({"inputs": "\ud800"}, ensure_ascii=False).encode("utf-16", "surrogatepass")
    whole = named(["a", "b", "\U0001f600"], 64)
    answer, _ = assessed(model, question(68), [*halves, raw, sixteen, *whole])
    assert answer.plan.rows == 64 and answer.rejections.counts == {"mlflow": {"not_utf8": 4}}


def test_a_version_that_squeezes_is_judged_and_never_asked_for_one_row(
    linear: list[ServedModel], tmp_path: Path
) -> None:
    """Not by the check of its outputs, not by a rest of one row, not while the rows that it refuses are looked for."""
    from sklearn.linear_model import LinearRegression

    class Squeezing(LinearRegression):  # type: ignore[misc]
        def predict(self, x: Any) -> Any:
            outputs = np.squeeze(super().predict(x)[:, None])
            assert outputs.shape == (len(x),)
            assert x.index.equals(pd.RangeIndex(len(x)))
            return outputs

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=NAMES)
    model = saved(tmp_path / "squeezing", Squeezing().fit(rows, 3.0 * (rows @ np.array([1.0, -2.0, 0.5]))))
    bad = b'{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[NaN, 1.0, 2.0]]}}'
    sample = [bad, *bodies(1025)]
    asked = question(1026, sample_rows=2000, max_seconds=60)
    reference, errors = assessed(linear[0], asked, sample)
    comparison = ComparisonTerms(
        version="1", alpha=0.01, tolerance=0.1, output="value", clean_variance=reference.clean_variance,
        origins=reference.plan.origins,
    )  # fmt: skip
    against = asked.model_copy(update={"plan": reference.plan, "comparison": comparison})
    answer, _ = evaluate(model, against, [*sample, errors.tobytes()])
    assert isinstance(answer, Assessed) and answer.verdict is not None
    assert answer.plan.rows == 1025 and answer.rejections.counts == {"mlflow": {"refused_by_model": 1}}
    assert answer.verdict.worse and answer.verdict.ratio == pytest.approx([9.0, 9.0])


def compared(model: ServedModel, asked: Assess, sample: list[bytes], reference: ServedModel) -> Assessed:
    """The model against a reference on the same requests, as the daemon asks."""
    first, errors = assessed(reference, asked, sample)
    comparison = ComparisonTerms(
        version="1", alpha=0.01, tolerance=0.1, output=first.output, clean_variance=first.clean_variance,
        origins=first.plan.origins, nonfinite_rows=first.nonfinite_rows, output_names=first.output_names,
    )  # fmt: skip
    against = asked.model_copy(update={"plan": first.plan, "comparison": comparison})
    answer, _ = evaluate(model, against, [*sample, errors.tobytes()])
    assert isinstance(answer, Assessed)
    return answer


@pytest.fixture(scope="module")
def losing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ServedModel]:
    """The first linear model, without an output where a column is 9: never, for `a`, for `a` and `b`, for every row."""
    from sklearn.linear_model import LinearRegression

    class Losing(LinearRegression):  # type: ignore[misc]
        lost: tuple[str, ...] | None = ()

        def predict(self, x: Any) -> Any:
            is_lost = (x[list(self.lost)].round() == 9).any(axis=1) if self.lost is not None else True
            return np.where(is_lost, np.nan, super().predict(x))

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=NAMES)
    folder, models = tmp_path_factory.mktemp("losing"), {}
    for name, lost in {"none": (), "a": ("a",), "ab": ("a", "b"), "all": None}.items():
        fitted = Losing().fit(rows, rows @ np.array([1.0, -2.0, 0.5]))
        fitted.lost = lost
        models[name] = saved(folder / name, fitted)
    return models


def test_requests_without_a_finite_output_are_left_out_and_told(losing: dict[str, ServedModel]) -> None:
    sample = [body([9.0, 0.1, 0.2]), *bodies(120), body([9.0, 0.3, 0.1]), body([0.5, 9.0, 0.2])]
    asked = question(len(sample), levels=[0.0, 0.1, 0.2], max_features=32)
    answer, errors = assessed(losing["a"], asked, sample)
    assert answer.nonfinite_rows == [0, 121] and (answer.plan.rows, answer.rejections.rows) == (123, 123)
    assert errors.shape == (121, 3) and np.isfinite(errors).all()
    assert all(np.isfinite(point.bound) for point in answer.levels) and answer.index is not None
    assert answer.notes[1] == "2 of 123 rows are left out: without noise the output is not finite there"
    assert (answer.baseline["rows"], len(set(answer.plan.origins))) == (121, 123)
    rest = [each for index, each in enumerate(sample) if index not in answer.nonfinite_rows]
    alone, _ = assessed(losing["none"], question(len(rest), levels=[0.0, 0.1, 0.2], max_features=32), rest)
    for part in ("inputs", "outputs"):  # nothing was learnt from them
        assert answer.baseline[part]["mean"] == pytest.approx(alone.baseline[part]["mean"], rel=1e-9)
    assert answer.worst_requests and not {0, 121} & set(answer.worst_requests)


def test_several_rows_of_a_request_are_counted_without_those_that_are_lost(losing: dict[str, ServedModel]) -> None:
    rows = np.random.default_rng(1).normal(size=(60, 3, 3))
    rows[4, 1, 0] = rows[7, :, 0] = 9.0
    sample = [json.dumps({"dataframe_split": {"columns": NAMES, "data": each.tolist()}}).encode() for each in rows]
    asked = question(60, rows_per_request=3, levels=[0.0, 0.1, 0.2])
    answer, errors = assessed(losing["a"], asked, sample)
    assert len(answer.nonfinite_rows) == 4 and {answer.plan.origins[row] for row in answer.nonfinite_rows} == {4, 7}
    assert errors.shape == (59, 3) and np.isfinite(errors).all()
    same = compared(losing["a"], asked, sample, losing["a"])
    assert same.verdict is not None and same.verdict.ratio == pytest.approx([1, 1]) and not same.verdict.worse


def test_a_version_without_outputs_where_its_reference_had_some_is_worse(losing: dict[str, ServedModel]) -> None:
    sample = [body([9.0, 0.1, 0.2]), *bodies(120), body([0.5, 9.0, 0.2])]
    asked = question(len(sample), levels=[0.0, 0.1, 0.2])
    for name, is_worse in {"a": False, "none": False, "ab": True, "all": True}.items():
        answer = compared(losing[name], asked, sample, losing["a"])
        assert answer.verdict is not None and answer.verdict.worse == is_worse, name
        assert (answer.verdict.pvalue == 0) == is_worse
    assert "not finite for any of the 122 rows" in answer.notes[1]
    with pytest.raises(PredictionError, match="not finite for any of the 122 rows"):
        evaluate(losing["all"], asked, sample)


def test_what_cannot_be_decoded_is_told_whatever_the_model_raises(tmp_path: Path) -> None:
    def end(_: Any) -> None:
        raise SystemExit

    model = load(save_pyfunc(tmp_path / "model", end, columns(*((name, "double") for name in NAMES))))
    found = Rejections()
    with pytest.raises(SystemExit) as raised:
        evaluate(model, question(65), [b"{", *bodies(64)], found)
    told = failure(raised.value, found)
    expected = Rejections(counts={"mlflow": {"not_json": 1}}, unusable=[0], rows=64)
    assert (told.reason, told.rejections) == ("model_raised", expected)


def test_of_several_outputs_the_one_that_is_chosen_is_assessed_and_told(tmp_path: Path) -> None:
    def predict(rows: Any) -> pd.DataFrame:
        sums = rows.to_numpy().sum(axis=1)
        return pd.DataFrame({"label": (sums > 0) + 1.0, "score": 1 / (1 + np.exp(-sums)), "row": np.arange(len(rows))})

    model = load(save_pyfunc(tmp_path / "model", predict, columns(*((name, "double") for name in NAMES))))
    sample = bodies(64)
    told = r"label \(numbers\), score \(numbers\), row \((whole|running) numbers\). Choose .* model.output_column"
    with pytest.raises(PredictionError, match=told) as raised:
        evaluate(model, question(64, task="classification"), sample)
    assert failure(raised.value, Rejections()).reason == "invalid_output"
    by_label, _ = assessed(model, question(64, task="classification", output_column="label"), sample)
    by_score, _ = assessed(model, question(64, task="classification", output_column="score"), sample)
    assert (by_label.output, by_score.output) == ("label", "probability")
    assert [point.agreement for point in by_label.levels] == [point.agreement for point in by_score.levels]
    assert by_label.notes[:2] == [
        "of the outputs label, score, row what is assessed is label, as chosen",
        "output is label: one column of whole numbers under classification",
    ]


def test_outputs_of_the_same_names_in_another_order_are_not_compared(tmp_path: Path) -> None:
    """Each would be judged in the units of another one: this model, which is the same, would be 2.3 times worse."""

    def named(order: list[str]) -> ServedModel:
        def predict(rows: Any) -> pd.DataFrame:
            return pd.DataFrame({"small": np.tanh(4 * rows["a"]), "large": 2 * rows["b"]})[order]

        return load(save_pyfunc(tmp_path / order[0], predict, columns(*((name, "double") for name in NAMES))))

    known, sample = named(["small", "large"]), bodies(64)
    answer = compared(named(["large", "small"]), question(64), sample, known)
    assert answer.verdict is None and answer.not_compared is not None
    assert answer.not_compared.reason == "other_units"
    assert "returns large, small, and version 1 small, large: the same outputs in another" in answer.not_compared.why
    assert compared(known, question(64), sample, known).verdict is not None


def test_a_baseline_of_outputs_that_were_taken_for_something_else_is_learnt_anew(linear: list[ServedModel]) -> None:
    before, _ = assessed(linear[0], question(64, baseline_min_rows=32), bodies(64))
    asked = question(64, baseline_min_rows=32, task="classification", baseline=before.baseline)
    after, _ = assessed(linear[0], asked, bodies(64))
    assert (before.baseline["output"], after.baseline["output"]) == ("value", "logit")
    assert after.baseline["rows"] == 64 and after.prediction_drift == []
    recorded = with_checksum(before.baseline | {"source": "local"})
    with pytest.raises(
        InvalidInputError, match="recorded of outputs that are value, and these are logit: record a new"
    ):
        evaluate(linear[0], asked.model_copy(update={"baseline": recorded}), bodies(64))
