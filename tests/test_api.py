from __future__ import annotations

import json
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import robmon
from robmon.errors import InvalidInputError

LIGHT = """
import sys
import robmon
heavy = {"numpy", "torch", "mlflow", "pandas", "matplotlib"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert set(robmon.__all__) <= set(dir(robmon))
import robmon.drift.psi  # binds the package to the function's name
assert callable(robmon.drift)
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
    assert robmon.assess(lambda x: x.sum(1), torch.from_numpy(array)).row_errors == pytest.approx(expected)
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
    for start in (0, 40, 80):
        part = frame.iloc[start : start + 40]
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
    with pytest.raises(InvalidInputError, match=r"output variances were given"):
        robmon.compare(total, lambda x: x[:, :2], inputs())
    with pytest.raises(InvalidInputError, match="do not vary"):
        robmon.compare(lambda x: np.ones(len(x)), total, inputs())


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
