"""TorchScript that was frozen, which has no mode to put it in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import robmon

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
INPUTS = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)


@pytest.fixture
def frozen() -> torch.nn.Module:
    torch.manual_seed(0)
    module: torch.nn.Module = torch.jit.freeze(torch.jit.script(nn.Linear(2, 2).eval()))
    assert not hasattr(module, "training")
    return module


def test_it_is_assessed(frozen: torch.nn.Module) -> None:
    torch.manual_seed(0)
    errors = [
        robmon.assess(model, INPUTS, output="logit", levels=[0, 0.5], trials=20).to_dict()["curve"][1]["bound"]
        for model in (frozen, nn.Linear(2, 2))
    ]
    assert errors[0] > 0
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)


def test_it_is_attacked(frozen: torch.nn.Module) -> None:
    assert robmon.attack(frozen, INPUTS, output="logit", radii=(0.5,), attacks=("pgd",)).flipped.any()


def test_a_certificate_of_it_is_no_more_than_what_an_attack_leaves(frozen: torch.nn.Module) -> None:
    certified = robmon.certify(frozen, INPUTS, output="logit", norm="2", radii=(0.5,), scale=1.0)
    attacked = robmon.attack(frozen, INPUTS, output="logit", norm="2", radii=(0.5,), scale=1.0, attacks=("pgd",))
    assert certified.certified is not None
    assert certified.certified.shape == attacked.flipped.shape
    assert not (certified.certified & attacked.flipped).any()
