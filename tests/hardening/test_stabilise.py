"""`robmon.stabilise` as a whole: a candidate that passes, one that must not, and what is refused."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import robmon
from robmon.errors import InvalidInputError, OverBudgetError
from robmon.hardening.result import Stabilised
from tests.digits import Digits, digits


@cache
def model() -> tuple[nn.Module, Digits]:
    """A network on digits as vectors: trains in a second."""
    data = digits(0)
    flat = Digits(data.inputs.reshape(-1, 64), data.targets, data.test_inputs.reshape(-1, 64), data.test_targets)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    inputs, targets = torch.from_numpy(flat.inputs), torch.from_numpy(flat.targets)
    for _ in range(25):
        for batch in torch.randperm(len(inputs)).split(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs[batch]), targets[batch]).backward()
            optimizer.step()
    return module, flat


def stabilised(module: nn.Module, **options: Any) -> Stabilised:
    data = model()[1]
    given: dict[str, Any] = {"levels": 0.3, "alpha": 1.0, "epochs": 4, "scale": 1.0, "test": data.test}
    given |= {"task": "classification", "targets": data.targets, **options}
    return robmon.stabilise(module, data.inputs, **given)


def test_a_candidate_passes_and_the_module_given_stays_as_it_is() -> None:
    module = model()[0]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    done: list[tuple[int, int]] = []
    result = stabilised(module, alpha=(0.1, 1.0), progress=lambda *steps: done.append(steps))
    report = result.report
    assert result.passed and report["clean"]["passed"] and report["noisy"]["passed"] and report["control"]["passed"]
    assert report["scores"]["after"][1] - report["scores"]["before"][1] == pytest.approx(report["noisy"]["gain"])
    assert report["rows"] == {"train": 1020, "validation": 180, "test": 597}
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    for each in (result.module, result.control):
        assert [part.training for part in each.modules()] == modes
        assert torch.equal(each[1].running_var, module[1].running_var)  # type: ignore[index]
    assert done[-1][0] == done[-1][1] == 3 * 4 * 16 and sorted(done) == done
    data = model()[1]
    accuracy = (result.module.eval()(torch.from_numpy(data.test_inputs)).argmax(1).numpy() == data.test_targets).mean()
    result.module.train(modes[0])
    assert accuracy == pytest.approx(report["clean"]["after"])
    assert str(result).startswith("The candidate passes: accuracy at noise of 0.3 input units ")
    assert json.dumps(result.to_dict(), allow_nan=False)
    assert result.plot().axes[0].get_ylabel() == "accuracy"


def test_too_much_noise_does_not_pass_though_outputs_move_less() -> None:
    result = stabilised(model()[0], levels=10.0, epochs=8)
    assert not result.passed and not result.report["clean"]["passed"]
    assert result.report["output_mse_ratio"] < 0.5
    assert result.report["clean"]["loss"] > 0.03
    assert "failed: without noise it loses" in str(result)


def test_alpha_0_is_the_control() -> None:
    result = stabilised(model()[0], alpha=0.0, epochs=1)
    pairs = zip(result.module.parameters(), result.control.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert not result.passed and result.report["control"]["gain"] == 0.0


def test_values_are_judged_by_their_labels() -> None:
    """The model leans on features that only noise tells apart: ridge shares the weight out, and errs less under it."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=1500)
    inputs = (truth[:, None] + 0.01 * generator.normal(size=(1500, 8))).astype(np.float32)
    module = nn.Linear(8, 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, *[0.0] * 7]]))
        module.bias.zero_()
    result = robmon.stabilise(
        module, inputs, truth, levels=(0.2, 0.5), alpha=(1.0,), epochs=6, learning_rate=0.02, tolerance=0.02, seed=1
    )
    report = result.report
    assert result.passed and report["score"] == "determination" and report["level"] == 0.5
    assert report["noisy"]["gain"] > 0.1 and report["clean"]["lost_rows"] is None
    assert [(each["alpha"], each["level"]) for each in report["tried"]] == [(1.0, 0.5), (1.0, 0.2)]


def embeddings() -> nn.Module:
    """What the network has before its last layer, as an embedding."""
    return nn.Sequential(*list(model()[0].children())[:3])


def test_embeddings_are_trained_and_judged_by_the_nearest_of_their_label() -> None:
    module, data = embeddings(), model()[1]
    held_inputs, held_targets = (each[:300] for each in data.test)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    names = np.array([f"digit {each}" for each in data.targets])
    held = (held_inputs, np.array([f"digit {each}" for each in held_targets]))
    given = {"targets": names, "test": held, "levels": 0.5, "alpha": 0.1, "epochs": 8, "learning_rate": 3e-3}
    result = stabilised(module, task="embedding", **given)
    report = result.report
    assert result.passed
    assert (report["score"], report["output"], report["rows"]["test"]) == ("precision", "embedding", 300)
    assert report["noisy"]["gain"] > 0.03 and report["control"]["gain"] > 0.03
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    rows = torch.from_numpy(held_inputs)
    for scored, name in ((module, "before"), (result.module, "after")):
        modes = [part.training for part in scored.modules()]
        clean = scored.eval()(rows).detach().double().numpy()
        for part, mode in zip(scored.modules(), modes, strict=True):
            part.training = mode
        distances = ((clean[:, None] - clean[None]) ** 2).sum(2)
        np.fill_diagonal(distances, np.inf)
        own = (held_targets[distances.argmin(1)] == held_targets).mean()
        assert own == pytest.approx(report["clean"][name], abs=2e-3)
    assert "precision at 1" in str(result) and json.dumps(result.to_dict(), allow_nan=False)


def test_embeddings_that_too_much_noise_has_ruined_do_not_pass_and_alpha_0_is_the_control() -> None:
    few = tuple(each[:150] for each in model()[1].test)
    ruined = stabilised(embeddings(), task="embedding", levels=10.0, alpha=30.0, learning_rate=0.01, test=few)
    assert not ruined.passed and not ruined.report["clean"]["passed"]
    assert ruined.report["output_mse_ratio"] < 0.5
    plain = stabilised(embeddings(), task="embedding", alpha=0.0, epochs=1, test=few)
    pairs = zip(plain.module.parameters(), plain.control.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs) and not plain.passed


def test_embeddings_of_another_scale_are_trained_alike() -> None:
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.body, self.factor = nn.Sequential(nn.Linear(64, 8)), factor
            with torch.no_grad():
                self.body[0].weight.copy_(torch.linspace(-1, 1, 512).reshape(8, 64).sin())
                self.body[0].bias.zero_()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * self.body(x)  # type: ignore[no-any-return]

    few = tuple(each[:150] for each in model()[1].test)
    for distance in ("l2", "cosine"):
        one, other = (
            stabilised(Scaled(factor), task="embedding", epochs=1, distance=distance, test=few)
            for factor in (1.0, 1024.0)
        )
        assert one.report["scores"]["after"] == pytest.approx(other.report["scores"]["after"], abs=5e-3)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_is_trained_too() -> None:
    scripted = torch.jit.script(model()[0].eval())
    model()[0].train()
    result = stabilised(scripted, epochs=1)
    assert isinstance(result.module, torch.jit.ScriptModule)
    assert not torch.equal(next(result.module.parameters()), next(scripted.parameters()))
    assert torch.equal(next(scripted.parameters()), next(model()[0].parameters()))


def test_a_budget_leaves_pairs_out_and_names_them() -> None:
    result = stabilised(model()[0], alpha=(1.0, 1.0, 1.0), levels=(0.1, 0.3), epochs=1, max_seconds=3600)
    assert len(result.report["tried"]) == 6 and result.report["left_out"] == []
    with pytest.raises(OverBudgetError, match=r"the smallest search needs .*: give fewer epochs or rows, or more"):
        stabilised(model()[0], epochs=100_000, max_seconds=1)


class Classes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).argmax(1)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("module", "options", "sentence"),
    [
        (nn.Flatten(), {}, "no parameter that requires gradients"),
        (nn.Linear(64, 10).half(), {}, "parameters are float16: only float32 and float64 are trained"),
        (Classes(), {}, "the outputs are classes, which have no gradient"),
        (nn.Linear(64, 10), {"levels": 0.0}, "at least one level must be above 0"),
        (nn.Linear(64, 10), {"alpha": -1.0}, "alpha must be numbers of at least 0"),
        (nn.Linear(64, 10), {"epochs": 0}, "epochs must be at least 1"),
        (nn.Linear(64, 10), {"tolerance": 2.0}, "tolerance must lie between 0 and 1"),
        (nn.Linear(64, 10), {"noise": "fog"}, "noise 'fog' is not known"),
        (
            nn.Linear(64, 10),
            {"task": "embedding", "test": None, "targets": np.arange(1200)},
            "rows that judge .test., 0 have another one of their label, and 20 are needed",
        ),
        (nn.Linear(64, 10), {"task": "embedding", "targets": np.zeros((1200, 2))}, "one label a row"),
        (nn.Linear(64, 3), {}, "the model has 3 classes, and the targets are not among 0 to 2"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(
    module: nn.Module, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        stabilised(module, **options)


@pytest.mark.long
def test_five_fresh_seeds_gain_and_lose_as_required() -> None:
    from tests.benchmarks.stability import main

    assert main(5)
