"""The worker's attack: on the same rows and seed what `robmon.attack` finds, for models of every form."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import robmon
from robmon.errors import InvalidInputError, OverBudgetError, PredictionError
from robmon.history.attack import AttackFound
from robmon.history.baseline.baseline import Baseline
from robmon.history.baseline.format import baseline_from_dict
from robmon.library.certify import certify
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.attack import AttackRows
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.worker.attacking import attack
from robmon.worker.evaluation import evaluate
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import named_tensors, save_pyfunc, tensor
from tests.worker.test_evaluation import question

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
RADII = [0.25]
ROWS = 32
X = np.random.default_rng(3).normal(size=(ROWS, 6)).astype(np.float32) * np.array([1, 2, 3, 1, 1, 1], dtype=np.float32)
BODIES = [json.dumps({"inputs": [row.tolist()]}).encode() for row in X]


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)).eval()


def saved(folder: Path, module: Any, form: str = "eager", shape: tuple[int, ...] = (-1, 6)) -> ServedModel:
    example = np.zeros((2, *shape[1:]), dtype=np.float32)
    with quiet_mlflow():
        import mlflow.pytorch

        mlflow.pytorch.save_model(
            torch.jit.trace(module, torch.from_numpy(example)) if form == "traced" else module,
            folder,
            signature=tensor("float32", shape),
            input_example=example if form == "pt2" else None,
            pip_requirements=["torch"],
            serialization_format="pt2" if form == "pt2" else "pickle",
        )
    return load(folder)


def attacked(model: ServedModel, bodies: list[bytes] = BODIES, **changes: Any) -> tuple[AttackFound, Baseline]:
    """After an assessment, as in the daemon, from which the baseline comes."""
    asked = question(len(bodies), **{"task": "classification", "output": "logit", "levels": [0.0, 0.1]} | changes)
    answer, _ = evaluate(model, asked, bodies)
    assert isinstance(answer, Assessed)
    for request in asked.requests:
        request.topped_up = True
    asked = asked.model_copy(update={"baseline": answer.baseline})
    return attack(model, AttackRows(sample=asked, radii=RADII), bodies).found, baseline_from_dict(answer.baseline)


def in_process(model: Any, inputs: NDArray[Any], baseline: Baseline, **options: Any) -> Any:
    scale = baseline.features(inputs).scale
    return robmon.attack(model, inputs, **{"scale": scale, "radii": RADII, "seed": 7, "output": "logit"} | options)


@pytest.mark.parametrize("form", ["eager", "traced", "pt2"])
def test_a_torch_module_is_attacked_along_its_gradient_whatever_its_form(form: str, tmp_path: Path) -> None:
    """Also after it has run under inference mode, as assessments do."""
    module = network()
    model = saved(tmp_path / "model", module, form)
    found, baseline = attacked(model)
    own = in_process(module, X, baseline)
    assert (found.gradient, found.masked) == (own.gradient, own.masked) and own.gradient == "ok"
    assert (found.rows, found.seed, found.norm, found.radii) == (ROWS, 7, "inf", RADII)
    assert set(found.agreement) == {"worst", "pgd", "square", "random"}
    assert found.worst == own.agreement.tolist() and 0 < found.worst[0] < 1
    assert found.agreement["pgd"] == own.by_attack["pgd"].tolist()
    assert set(found.certified) == {"lipschitz", "interval"}, "also of an exported or traced module"
    for method, shares in found.certified.items():
        scale: Any = baseline.features(X).scale
        certificate = certify(module, X, radii=RADII, norm="inf", scale=scale, method=method, output="logit")  # type: ignore[arg-type]
        assert certificate.share is not None and shares == pytest.approx(certificate.share.tolist())
        assert shares[0] <= found.worst[0], "certified <= true <= attack"
    assert found.cut == "" and found.seconds > 0 and found.queries == pytest.approx(float(own.queries.mean()), rel=0.02)
    assert not any(parameter.grad is not None for parameter in module.parameters())


def test_a_forest_is_asked_for_its_answers(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    trees = RandomForestClassifier(8, max_depth=5, random_state=0).fit(X, (X[:, 0] + X[:, 1] > 0).astype(int))

    def answers(inputs: Any) -> Any:
        return trees.predict_proba(np.asarray(inputs))

    folder = save_pyfunc(tmp_path / "model", answers, tensor("float32", (-1, 6)))
    found, baseline = attacked(load(folder), output="probability")
    own = in_process(answers, X, baseline, output="probability")
    assert (found.gradient, found.masked, found.certified, found.at_least) == ("none", False, {}, None)
    assert set(found.agreement) == {"worst", "square", "random"}
    assert found.agreement == {"worst": own.agreement.tolist(), **{k: v.tolist() for k, v in own.by_attack.items()}}
    assert found.worst[0] < 1 and found.queries == float(own.queries.mean())


class Rounding(torch.nn.Module):
    """Rounds its inputs, so that it has no gradient to speak of."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.round(2 * x) / 2)


def test_a_gradient_that_hides_the_worst_is_told(tmp_path: Path) -> None:
    found, _ = attacked(saved(tmp_path / "model", Rounding()))
    assert (found.gradient, found.masked) == ("zero", True)
    assert found.worst[0] < found.agreement["pgd"][0]


class Ungradable(torch.nn.Module):
    """Leaves torch in its forward pass, as models that call other libraries do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.inner(torch.from_numpy(x.numpy())).detach().numpy())


class Pair(torch.nn.Module):
    """Returns two parts, of which one is assessed."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"classes": self.inner(x), "score": self.inner(x)[:, :1]}


@pytest.mark.parametrize(("module", "more"), [(Ungradable, {}), (Pair, {"output_column": "classes"})])
def test_a_module_without_a_usable_gradient_is_asked_for_answers(
    module: type[torch.nn.Module], more: dict[str, Any], tmp_path: Path
) -> None:
    found, baseline = attacked(saved(tmp_path / "model", module()), **more)
    inner = network()

    def answers(inputs: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return inner(torch.from_numpy(inputs)).numpy()

    assert found.gradient == "none"
    assert found.notes[-1] == "the model has no gradient: it is asked for answers alone"
    assert found.worst == in_process(answers, X, baseline).agreement.tolist()


def test_of_several_tensors_the_gradient_is_that_of_them_all(tmp_path: Path) -> None:
    """Although the module takes another form than what is perturbed, which is flat."""

    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.inner(torch.cat([a, b], dim=1))

    with quiet_mlflow():
        import mlflow.pytorch

        mlflow.pytorch.save_model(
            torch.jit.trace(Two(), (torch.zeros(2, 4), torch.zeros(2, 2))),
            tmp_path / "model",
            signature=named_tensors(("a", "float32", (-1, 4)), ("b", "float32", (-1, 2))),
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    bodies = [json.dumps({"inputs": {"a": [row[:4].tolist()], "b": [row[4:].tolist()]}}).encode() for row in X]
    found, _ = attacked(load(tmp_path / "model"), bodies)
    assert found.gradient == "ok" and found.worst == attacked(saved(tmp_path / "one", network()))[0].worst


def test_pictures_stay_between_black_and_white(tmp_path: Path) -> None:
    """Clients normalise them: the range is theirs."""
    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)).eval()
    pictures = np.random.default_rng(0).uniform(0, 1, size=(32, 1, 8, 8)) > 0.5
    given = ((pictures - 0.5) / 0.25).astype(np.float32)
    bodies = [json.dumps({"inputs": [each.tolist()]}).encode() for each in given]
    layout = ImageLayout(channels="first", range=(0.0, 1.0), mean=(0.5,), std=(0.25,))
    found, baseline = attacked(saved(tmp_path / "model", module, shape=(-1, 1, 8, 8)), bodies, layout=layout)
    own = in_process(module, given, baseline, clip=(-2.0, 2.0))
    free = in_process(module, given, baseline)
    assert found.worst == own.agreement.tolist() and found.worst[0] > free.agreement[0]


def test_the_budget_is_kept_and_a_cut_is_told(tmp_path: Path) -> None:
    def slow(inputs: Any) -> Any:
        time.sleep(0.02)
        return np.asarray(inputs)[:, :2]

    folder = save_pyfunc(tmp_path / "model", slow, tensor("float32", (-1, 6)))
    model = load(folder)
    asked = question(ROWS, task="classification", output="logit", max_seconds=1.0)
    began = time.monotonic()
    found = attack(model, AttackRows(sample=asked, radii=RADII), BODIES).found
    assert time.monotonic() - began < 3
    assert "ended attacks early: more rows may flip" in found.cut and found.queries > 1
    with pytest.raises(OverBudgetError, match=r"raise attack\.max_seconds"):
        attack(model, AttackRows(sample=asked.model_copy(update={"max_seconds": 1e-6}), radii=RADII), BODIES)


def test_no_input_is_in_what_is_told(tmp_path: Path) -> None:
    found, _ = attacked(saved(tmp_path / "model", network()))
    numbers = {f"{value:.4f}"[:6] for value in X.ravel() if abs(value) > 1}
    assert not [each for each in numbers if each in found.model_dump_json()]


def test_what_cannot_be_attacked_is_refused(tmp_path: Path) -> None:
    model = saved(tmp_path / "model", network())
    with pytest.raises(InvalidInputError, match="the task must be classification"):
        attack(model, AttackRows(sample=question(ROWS, task="regression"), radii=RADII), BODIES)

    def raises(inputs: Any) -> Any:
        raise ValueError("no")

    broken = load(save_pyfunc(tmp_path / "broken", raises, tensor("float32", (-1, 6))))
    with pytest.raises(PredictionError, match="the model raised ValueError"):
        attack(broken, AttackRows(sample=question(ROWS, task="classification"), radii=RADII), BODIES)
