from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import robmon
from robmon.errors import InvalidInputError
from robmon.models.devices.torch_device import load_driver, why_no_cuda

LIGHT = """
import sys
import robmon
heavy = {"numpy", "torch", "mlflow", "pandas", "matplotlib"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert set(robmon.__all__) <= set(dir(robmon))
import robmon.drift.statistics  # binds the package to the function's name
assert callable(robmon.drift)
import pydoc
shown = pydoc.render_doc(robmon.drift, renderer=pydoc.plaintext)
assert "drift(baseline_inputs" in shown and "arrays of rank 3 and more" in shown, shown
for name in robmon.__all__:
    getattr(robmon, name)
from robmon import *
assert assess is robmon.assess
assert not {"torch", "mlflow", "pandas", "matplotlib"} & set(sys.modules)
"""


def inputs(rows=100, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, 3))


def total(x):
    return x.sum(axis=1)


def test_importing_robmon_is_light_and_every_name_is_there():
    subprocess.run([sys.executable, "-W", "error", "-c", LIGHT], check=True)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing"):
        robmon.nothing  # noqa: B018


def test_a_callable_of_arrays_lists_and_tensors():
    array = inputs()
    expected = robmon.assess(total, array).row_errors
    assert robmon.assess(lambda x: total(x).tolist(), array.tolist()).row_errors == pytest.approx(expected)
    of_tensors = robmon.assess(lambda x: x.sum(1), torch.from_numpy(array))  # its noise is PyTorch's, another draw
    assert of_tensors.draws == "torch cpu float64" and of_tensors.row_errors.mean() == pytest.approx(
        expected.mean(), rel=0.1
    )
    assert robmon.assess(total, array, max_batch_rows=7).row_errors == pytest.approx(expected)


def test_a_frame_perturbs_its_floating_columns_and_passes_the_others():
    array = inputs()
    frame = pd.DataFrame(
        {"id": np.arange(100), "a": array[:, 0], "kind": list("xy") * 50, "b": array[:, 1].astype(np.float32)}
    )
    frame.loc[4, "a"] = np.nan
    batches = []

    def predict(part):
        batches.append(part)
        return part["a"].fillna(0) + part["b"]

    result = robmon.assess(predict, frame, trials=19, max_batch_rows=40)
    assert len(batches) == 3 * (3 + 19 * 4) - 3  # the clean pass, the second one, the trials
    for start, stop in ((0, 34), (34, 67), (67, 100)):
        part = frame.iloc[start:stop]
        same = [batch for batch in batches if batch["id"].iloc[0] == start]
        assert all(batch["kind"].tolist() == part["kind"].tolist() for batch in same)
        assert all(list(batch.columns) == list(frame.columns) for batch in same)
        assert all((batch.dtypes == frame.dtypes).all() for batch in same)
        assert all(batch["a"].isna().tolist() == part["a"].isna().tolist() for batch in same)
        assert len({batch["a"].iloc[0] for batch in same}) == 1 + 19 * 4
    assert result.scale == pytest.approx([frame["a"].std(ddof=0), frame["b"].std(ddof=0)])


@pytest.mark.parametrize(
    "bad",
    [np.array([[1.0, np.nan]]), np.array([[np.inf, 1.0]]), np.ones((3, 2), dtype=int), np.array([["a"]]), [["a"]],
     pd.DataFrame({"n": [1, 2]}), torch.tensor([[float("nan")]])],
)  # fmt: skip
def test_inputs_that_cannot_be_perturbed_are_refused(bad):
    with pytest.raises(InvalidInputError):
        robmon.assess(len, bad)


class Moody(torch.nn.Module):
    """Outputs nonsense in training mode, or with gradients."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.dropout = torch.nn.Dropout(0.9)

    def forward(self, x):
        assert not self.training and not torch.is_grad_enabled()
        return self.dropout(self.linear(x))


def test_a_module_runs_in_eval_mode_and_gets_its_modes_back():
    module = Moody().train()
    module.linear.eval()  # a frozen part
    result = robmon.assess(module, inputs())
    assert (module.training, module.linear.training, module.dropout.training) == (True, False, True)
    assert result.curve[0].bound == 0.0
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_module_that_raises_gets_its_mode_back():
    class Broken(Moody):
        def forward(self, x):
            raise ArithmeticError

    module = Broken().train()
    with pytest.raises(ArithmeticError):
        robmon.assess(module, inputs())
    assert module.training


class Force(torch.nn.Module):
    """The gradient of an energy, as force fields give it; the mean of the first batch is kept, as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)
        self.mean: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mean is None:
            self.mean = x.mean(dim=0)
        with torch.enable_grad():
            x = (x - self.mean).requires_grad_()
            return torch.autograd.grad(self.linear(x).pow(2).sum(), x)[0]


def test_a_module_may_ask_for_gradients_and_is_trained_on_afterwards():
    torch.manual_seed(0)
    module = Force()
    assert robmon.assess(module, inputs().astype(np.float32)).curve[1].mean_mse > 0
    module.linear(torch.ones(2, 3) - module.mean).sum().backward()  # what is no tensor of inference can be
    assert module.linear.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_module_gets_numpy_inputs_in_its_own_dtype(dtype):
    module = torch.nn.Linear(3, 1).to(dtype)
    assert robmon.assess(module, inputs()).slope.value > 0
    assert robmon.assess(module, torch.from_numpy(inputs()).to(dtype), device="cpu").slope.value > 0


def test_what_is_no_predictor_is_refused():
    with pytest.raises(InvalidInputError, match="predictor"):
        robmon.assess(3, inputs())


def test_classification_of_text():
    result = robmon.assess(lambda x: np.where(x[:, 0] > 0, "yes", "no"), inputs(), task="classification")
    assert result.output == "label"
    assert result.curve[-1].agreement == pytest.approx(1 - result.curve[-1].mean_mse)
    assert result.agreement_slope.value < 0


def test_compare_finds_the_more_fragile_model():
    a, b = total, lambda x: 1.2 * x.sum(axis=1)
    result = robmon.compare(a, b, inputs(256), levels=(0, 0.1, 0.3), seed=5)
    assert result.a and result.a.notes and result.b and "output is value: as given" not in result.b.notes
    assert result.worse
    assert result.levels.tolist() == [0.1, 0.3]
    assert result.ratio == pytest.approx([1.44, 1.44])
    assert result.delta.dtype == np.float64
    assert not robmon.compare(a, b, inputs(256), tolerance=0.5).worse
    assert not robmon.compare(b, a, inputs(256)).worse
    json.dumps(result.to_dict(), allow_nan=False)


def test_compare_normalises_by_the_first_models_outputs(tmp_path):
    """Outputs of different size add up, and a worsening of the small one is not drowned by the large one."""

    def both(small):
        return lambda x: np.stack([1000 * x[:, 0], small * x[:, 1]], axis=1)

    result = robmon.compare(both(1.0), both(2.0), inputs(256))
    assert result.ratio == pytest.approx(np.full(4, (1 + 4) / 2), rel=0.1)
    figure = result.plot("version 1", "version 2")
    figure.savefig(tmp_path / "both.png")
    assert figure.axes[0].get_ylim()[1] >= result.b.curve[-1].bound
    assert "version 2 is worse" in figure.get_supxlabel()


def test_compare_refuses_other_units_and_other_outputs():
    with pytest.raises(InvalidInputError, match="factor of 10"):
        robmon.compare(total, lambda x: 100 * total(x), inputs())
    with pytest.raises(InvalidInputError, match=r"returns 1 value outputs a row .*, the second 2 outputs"):
        robmon.compare(total, lambda x: x[:, :2], inputs())
    with pytest.raises(InvalidInputError, match="do not vary"):
        robmon.compare(lambda x: np.ones(len(x)), total, inputs())
    with pytest.raises(InvalidInputError, match="second model's clean outputs do not vary any more"):
        robmon.compare(total, lambda x: np.zeros(len(x)), inputs())


def test_compare_refuses_outputs_of_another_kind():
    def labels(x):
        return np.where(x[:, 0] > 0, "yes", "no")

    def chances(x, columns=2):
        scores = np.exp(x[:, :columns])
        return scores / scores.sum(axis=1, keepdims=True)

    def score(x):
        return 1 / (1 + np.exp(-x[:, 0]))

    def refused(a, b):
        with pytest.raises(InvalidInputError) as caught:
            robmon.compare(a, b, inputs(), task="classification")
        return str(caught.value)

    assert "returns 2 probability outputs a row (shape (rows, 2)), the second 3 outputs" in refused(
        chances, lambda x: chances(x, 3)
    )
    assert "other numbers of classes, 3 and 2" in refused(lambda x: chances(x, 3), score)
    with pytest.raises(InvalidInputError, match=r"returns 1 value outputs a row .*, the second labels"):
        robmon.compare(total, labels, inputs())


def test_compare_takes_classifiers_whose_outputs_are_of_other_kinds():
    """Probabilities of one column or two, logits and labels of the same two classes."""

    def score(x):
        return 1 / (1 + np.exp(-x[:, 0]))

    forms = {
        "logit": lambda x: 3 * x[:, 0],
        "two": lambda x: np.stack([1 - score(x), score(x)], axis=1).astype("f4"),
        "logits": lambda x: np.stack([0 * x[:, 0], x[:, 0]], axis=1) - 7,
    }
    for form in forms.values():
        for a, b in ((score, form), (form, score)):
            result = robmon.compare(a, b, inputs(), task="classification", trials=19)
            assert (result.score, result.worse, result.disagreement) == ("probability", False, 0.0)
            assert result.pooled_ratio == pytest.approx(1, rel=1e-4)
            assert result.flip_ratio == pytest.approx(np.ones(4))
            assert result.agreement_a == pytest.approx(result.agreement_b) and np.all(result.agreement_a < 1)
    for said, disagreement in (
        (lambda x: (x[:, 0] > 0).astype(int), 0.0),
        (lambda x: np.where(x[:, 0] > 0, "y", "n"), None),
    ):
        for a, b in ((score, said), (said, score)):
            result = robmon.compare(a, b, inputs(), task="classification", trials=19)
            assert (result.score, result.reason, result.exponents) == ("flips", "labels", None)
            assert (result.pooled_ratio, result.disagreement) == (1.0, disagreement)
            assert "outputs are labels" in str(result)


def test_compare_refuses_a_classifier_that_has_become_constant():
    def first(x):
        return np.stack([x[:, 0], x[:, 1]], axis=1)

    def one(x):
        return first(x) + np.array([100.0, 0.0])

    with pytest.raises(InvalidInputError, match="second model gives every row the same class"):
        robmon.compare(first, one, inputs(), task="classification")
    with pytest.raises(InvalidInputError, match="clean outputs do not vary any more"):
        robmon.compare(first, lambda x: 0 * x[:, :2] + np.array([1.0, 0.0]), inputs(), task="classification")
    assert robmon.compare(one, first, inputs(), task="classification", trials=19).reason == "exponent"
    assert not robmon.compare(one, one, inputs(), task="classification", trials=19).worse


def test_compare_refuses_models_that_take_different_inputs(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, of its own type hints
        import mlflow.sklearn
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame(inputs(), columns=["age", "height", "weight"])

    def saved(frame, *columns):
        path, taken = tmp_path / "-".join(columns), frame[list(columns)]
        mlflow.sklearn.save_model(
            LinearRegression().fit(taken, frame["age"]),
            path,
            signature=ModelSignature(
                Schema([ColSpec("long" if name == "kids" else "double", name) for name in columns]),
                Schema([ColSpec("double")]),
            ),
            pip_requirements=[],
            serialization_format="cloudpickle",
        )
        return str(path)

    first = saved(frame, "age", "height")
    with pytest.raises(InvalidInputError, match="only the first perturbs height; only the second perturbs weight"):
        robmon.compare(first, saved(frame, "age", "weight"), frame)
    with pytest.raises(InvalidInputError, match="the same columns in another order"):
        robmon.compare(first, saved(frame, "height", "age"), frame)
    with pytest.raises(InvalidInputError, match=r"second model: 100 of 100 rows .* missing_column weight"):
        robmon.compare(first, saved(frame, "age", "weight", "height"), frame[["age", "height"]])
    assert not robmon.compare(first, first, frame).worse
    whole = frame.assign(height=np.arange(100)).rename(columns={"height": "kids"})
    with pytest.raises(InvalidInputError, match=r"shapes \(100, 3\) and \(100, 2\).* robustness indices"):
        robmon.compare(lambda x: x[:, 0], saved(whole, "age", "kids", "weight"), whole.to_numpy())


def test_compare_counts_the_trials_of_both_and_refuses_bad_options_before_it_calls_a_model():
    seen = []
    robmon.compare(total, total, inputs(), progress=lambda done, trials: seen.append((done, trials)))
    done = [each for each, _ in seen]
    assert done == sorted(done) and {39, 78} <= set(done) and {trials for _, trials in seen} == {78}
    with pytest.raises(InvalidInputError, match=r"alpha must lie between 0 and 0\.5"):
        robmon.compare(None, None, inputs(), alpha=1.0)


def test_an_mlflow_model_by_its_uri(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, of its own type hints
        import mlflow.pyfunc
        import mlflow.pytorch

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    signature = mlflow.models.infer_signature(inputs(2).astype(np.float32), np.zeros((2, 2), dtype=np.float32))
    mlflow.pytorch.save_model(
        module, tmp_path / "model", signature=signature, pip_requirements=[], serialization_format="pickle"
    )
    result = robmon.assess(str(tmp_path / "model"), inputs(), task="classification", device="cpu")
    direct = robmon.assess(module, inputs(), task="classification")
    assert result.output == "logit"
    assert result.row_errors == pytest.approx(direct.row_errors, rel=1e-6)
    with pytest.raises(InvalidInputError, match="do not fit the model"):
        robmon.assess(str(tmp_path / "model"), inputs()[:, :2], device="cpu")


class Shifting(torch.nn.Module):
    """Writes into its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sub_(5).div_(2).sum(1)


def _shifting(x):
    x -= 5
    x /= 2
    return x.sum(axis=1)


def _as_given(kind: str, rows: np.ndarray):
    if kind == "frame":
        return pd.DataFrame(rows, columns=["a", "b", "c"])
    if kind == "dict":
        return {"x": rows, "k": np.arange(len(rows))[:, None]}
    return torch.tensor(rows) if kind.startswith("tensor") else rows.astype("float32" if "32" in kind else "float64")


@pytest.mark.parametrize("kind", ["float64", "float32", "tensor", "tensor32", "module", "frame", "dict"])
@pytest.mark.parametrize("max_batch_rows", [None, 7])
def test_a_predictor_that_writes_into_its_input_neither_changes_it_nor_the_result(kind, max_batch_rows):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    rows = rows.astype("float32").astype("float64")
    writes = Shifting() if kind == "module" else _shifting
    if kind == "frame":

        def writes(frame):
            frame[:] = (frame - 5) / 2
            return frame.sum(axis=1)

    if kind == "dict":

        def writes(tensors):
            tensors["k"] -= 5
            return _shifting(tensors["x"])

    given, before = (_as_given("tensor" if kind == "module" else kind, rows.copy()) for _ in range(2))
    if kind in ("tensor32", "module"):
        given, before = given.float(), before.float()
    result = robmon.assess(writes, given, levels=(0.1, 0.4), scale=1.0, max_batch_rows=max_batch_rows)
    expected = robmon.assess(
        lambda x: ((x["x"] if kind == "dict" else x) - 5).sum(axis=1) / 2, before, levels=(0.1, 0.4), scale=1.0
    )
    for point, same in zip(result.curve, expected.curve, strict=True):
        assert point.mean_mse == pytest.approx(same.mean_mse, rel=1e-5)
        assert point.realised_level == pytest.approx(same.realised_level)
    if kind == "dict":
        assert all(np.array_equal(given[name], before[name]) for name in given)
    else:
        assert np.array_equal(np.asarray(given), np.asarray(before))


def _mixed_frame(rows=60):
    values = np.random.default_rng(0).normal(size=(rows, 3)).astype("float32").astype("float64")
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "a": values[:, 0],
            "kind": pd.Categorical(list("xyz") * (rows // 3)),
            "b": values[:, 1].astype("float32"),
            "c": pd.array(values[:, 2], dtype="Float64"),
            "text": ["p", "q"] * (rows // 2),
        }
    )


def _spoil(frame):
    """What a model may do to a frame that is its own."""
    frame.columns.name, frame.index.name = "feature", "row"
    frame.loc[:, "a"] = 7.0
    frame["id"] += 1
    frame.loc[0, "text"] = "spoilt"
    frame["new"] = 1.0
    frame.iloc[1:3, 0] = frame.iloc[3, 0]
    del frame["b"]


@pytest.mark.parametrize("columns", [["a"], ["a", "b"], ["id", "a", "kind", "b", "c", "text"]])
@pytest.mark.parametrize("max_batch_rows", [None, 25])
def test_a_predictor_may_keep_and_spoil_the_frames_that_it_gets(columns, max_batch_rows):
    frame, kept = _mixed_frame()[columns], []

    def pure(part):
        numbers = part.select_dtypes(["number"]).to_numpy("float64")
        return numbers.sum(axis=1) + (part["kind"].cat.codes + part["text"].str.len() if "kind" in part else 0)

    def keeps(part):
        assert part.columns.name is part.index.name is None
        assert part.index.equals(pd.RangeIndex(len(part)))
        kept.append((part, part.copy()))
        return pure(part)

    def spoils(part):
        outputs = pure(part)
        part["b"], part["id"], part["text"] = 1.0, np.arange(len(part)), "p"
        _spoil(part)
        return outputs

    options = {"levels": (0.1, 0.4), "trials": 19, "max_batch_rows": max_batch_rows}
    before, expected = frame.copy(), robmon.assess(keeps, frame, **options)
    for part, as_it_was in kept:
        pd.testing.assert_frame_equal(part, as_it_was)
    result = robmon.assess(spoils, frame, **options)
    assert np.array_equal(result.row_errors, expected.row_errors)
    pd.testing.assert_frame_equal(frame, before)


def test_a_predictor_may_return_the_same_buffer_at_every_call():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    buffer = np.empty(60)

    def predict(x):
        np.sum(x, axis=1, out=buffer[: len(x)])
        return buffer[: len(x)]

    for max_batch_rows in (None, 7):
        result = robmon.assess(predict, rows, levels=(0.4,), scale=1.0, max_batch_rows=max_batch_rows)
        assert result.curve[0].mean_mse == 0
        assert result.curve[1].mean_mse == pytest.approx(3 * 0.4**2, rel=0.2)


def test_noise_of_ones_own_may_write_into_what_it_is_given():
    def apply(inputs, draw, level, features):
        draw *= level
        inputs += draw
        return inputs

    rows = np.random.default_rng(0).normal(size=(60, 3))
    before = rows.copy()
    options = {"levels": (0.1, 0.4), "scale": 1.0}
    result = robmon.assess(lambda x: x.sum(axis=1), rows, noise=robmon.Noise("own", apply=apply), **options)
    expected = robmon.assess(lambda x: x.sum(axis=1), before, **options)
    assert np.array_equal(rows, before)
    assert [p.mean_mse for p in result.curve] == pytest.approx([p.mean_mse for p in expected.curve])


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_classes_are_targets_of_a_model_that_returns_one_score_a_class(dtype):
    def predict(x):
        scores = np.exp(x)
        return scores / scores.sum(axis=1, keepdims=True)

    rows = inputs()
    classes = rows.argmax(axis=1)
    options = {"task": "classification", "levels": (0.5,)}
    result = robmon.assess(predict, rows, classes.astype(dtype), **options)
    one_hot = robmon.assess(predict, rows, np.eye(3)[classes], **options)
    assert result.curve[0].accuracy == 1.0 > result.curve[1].accuracy == one_hot.curve[1].accuracy
    assert result.curve[1].brier == one_hot.curve[1].brier
    for bad, words in (
        (classes + 1, "not among 0 to 2"),
        (classes + 0.5, "whole numbers"),
        (np.eye(2)[[0] * 100], "or"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            robmon.assess(predict, rows, bad, **options)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (np.array(["zz"] * 100, dtype=object), "cannot be compared"),
        (pd.Series(["a", 1] * 50, dtype=object), "cannot be compared"),
        (np.arange(100) % 2 + 7, "no class in common"),
    ],
)
def test_targets_that_no_output_can_equal_are_refused(targets, words):
    with pytest.raises(InvalidInputError, match=words):
        robmon.assess(lambda x: (x[:, 0] > 0).astype(int), inputs(), targets, task="classification")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": ("a",)}, "levels"),
        ({"levels": 0.1}, "levels"),
        ({"levels": "0.1 0.2"}, "levels"),
        ({"trials": "39"}, "trials"),
        ({"trials": 39.5}, "trials"),
        ({"seed": None}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"scale": "a"}, "scale"),
        ({"mse_limit": -1}, "at least 0"),
        ({"noise": robmon.noise.Gaussian(clip=(0,))}, "clip"),
        ({"noise": robmon.noise.Gaussian(clip=("a", 1))}, "clip"),
        ({"noise": robmon.Noise("words", lambda generator, shape: np.full(shape, "a"))}, "words noise"),
        ({"noise": robmon.Noise("holes", lambda generator, shape: np.full(shape, np.nan))}, "holes noise drew NaN"),
    ],
)
def test_options_of_another_kind_are_refused_in_a_sentence(options, words):
    with pytest.raises(InvalidInputError, match=words):
        robmon.assess(total, inputs(), **options)


def test_other_arguments_of_another_kind_are_refused_too():
    result = robmon.assess(lambda x: (x[:, 0] > 0).astype(int), inputs(), task="classification")
    for call in (
        lambda: robmon.upper_bound(["a"]),
        lambda: result.certified_share(["a"]),
        lambda: result.noise_margin(-1),
        lambda: robmon.assess(torch.nn.Linear(3, 1), inputs(), device="gpu"),
    ):
        with pytest.raises(InvalidInputError):
            call()
    with pytest.raises(InvalidInputError, match="one row has no standard deviation"):
        robmon.assess(total, inputs(rows=1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told():
    why = why_no_cuda(torch.version.cuda, load_driver)
    with pytest.raises(InvalidInputError, match=re.escape(f"device 'cuda' cannot be used here: {why}")):
        robmon.assess(torch.nn.Linear(3, 1), inputs(), device="cuda")


def test_a_module_gets_tensors_in_its_own_dtype():
    module, rows = torch.nn.Linear(3, 1), inputs()
    first = robmon.assess(module, torch.from_numpy(rows), scale=1.0)
    assert first.row_errors == pytest.approx(robmon.assess(module, rows, scale=1.0).row_errors)


def test_noise_tells_its_name():
    own = robmon.noise.PerColumn({"a": robmon.Noise("coin")}, default=None)
    assert repr(own) == "PerColumn({'a': Noise('coin')}, default=None)"


def test_how_long_it_will_take_is_told_before_the_first_trial_and_changes_no_number():
    def timed(x):
        time.sleep(1e-3 * len(x))
        return total(x)

    options = {"levels": (0.1,), "trials": 19, "confidence": 0.9}
    told, done = [], []
    result = robmon.assess(timed, inputs(40), **options, expect=told.append, progress=lambda *_: done.append(len(told)))
    assert len(told) == 1 and set(done) == {1}
    assert 0.5 * 21 * 40 * 1e-3 <= told[0] < 30, "all but what was taken for the draw"
    assert result.row_errors == pytest.approx(robmon.assess(total, inputs(40), **options).row_errors, rel=0, abs=0)


def test_of_two_models_the_time_of_both_is_told_and_then_that_of_the_second():
    told = []

    def timed(x):
        time.sleep(0.0 if told else 5e-3 * len(x))
        return total(x)

    robmon.compare(timed, lambda x: 1.1 * total(x), inputs(20), levels=(0.1,), trials=19, expect=told.append)
    first, second = told
    assert first >= 0.8 * 2 * 21 * 20 * 5e-3 > second, "all but what was taken for the draw"


def test_within_a_budget_what_is_planned_is_told():
    told = []
    robmon.assess(total, inputs(40), max_seconds=5, expect=told.append)
    assert len(told) == 1 and 0 < told[0] <= 5


@pytest.mark.parametrize("is_torch_first", [True, False])
def test_versions_of_other_kinds_are_compared_and_ranked_under_the_same_noise(is_torch_first):
    network = torch.nn.Linear(4, 3, dtype=torch.float64)
    weights, bias = (part.detach().numpy() for part in (network.weight, network.bias))
    pair = [network, lambda x: x @ weights.T + bias]
    pair = pair if is_torch_first else pair[::-1]
    x = np.random.default_rng(3).normal(size=(100, 4))
    compared = robmon.compare(*pair, x, trials=19)
    assert compared.a.draws == compared.b.draws == ("torch cpu float64" if is_torch_first else "numpy")
    assert compared.b.row_errors == pytest.approx(compared.a.row_errors, rel=1e-9)
    ranking = robmon.rank(dict(zip("ab", pair, strict=True)), x, x @ weights.T, trials=19)
    assert ranking.scores[0] == pytest.approx(ranking.scores[1], rel=1e-9)


def test_a_noise_that_draws_anew_what_a_built_in_one_draws_needs_no_tensors():
    class Coin(robmon.noise.Gaussian):
        def draw(self, generator, shape, features):
            return generator.choice([-1.0, 1.0], size=shape)

    result = robmon.assess(lambda x: x.sum(1), torch.randn(100, 3), noise=Coin(), trials=19)
    assert result.draws == "numpy" and result.curve[-1].realised_level == pytest.approx(0.4)


def test_masked_cells_are_missing_ones() -> None:
    """What lies under a mask is no number: it neither sets the scale nor is it perturbed."""
    cells = np.random.default_rng(0).normal(size=(50, 2))
    masked = np.ma.masked_array(cells, mask=np.arange(100).reshape(50, 2) % 7 == 0)
    masked.data[masked.mask] = 1e6
    seen: list[Any] = []

    def predict(x: Any) -> Any:
        seen.append(x)
        return np.nan_to_num(x).sum(axis=1)

    result = robmon.assess(predict, masked, levels=(0.1,), trials=19)
    assert result.scale.max() < 2 and not isinstance(seen[-1], np.ma.MaskedArray)
    assert np.isnan(seen[0]).sum() == masked.mask.sum()
    with pytest.raises(InvalidInputError, match="cells of int64 are masked, which cannot be NaN: fill them"):
        robmon.assess(predict, np.ma.masked_array(np.arange(8), mask=[True] * 8), integers="all")
