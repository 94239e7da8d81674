"""Attribution: shares equal enumerated Shapley values, add up, and have honest standard errors."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

import robmon
from robmon.robustness.probes.shares import Attribution, GroupMoments, largest_beyond, rise_shares

LEVEL = 0.3
WEIGHTS = np.array([1.0, -0.5, 0.3, 0.0, 0.8])


def interacting(x: np.ndarray) -> np.ndarray:
    """Features that act alone, in pairs, and not at all."""
    return x @ WEIGHTS + 2.0 * x[:, 0] * x[:, 4] + np.abs(x[:, 1]) * (x[:, 2] > 0)


def rows_of(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 5))


def shapley(model: Any, rows: np.ndarray, groups: list[list[int]], seed: int) -> np.ndarray:
    """Shares by enumeration of all coalitions, one draw a row, in an order that knows nothing of robmon's."""
    noisy = rows + LEVEL * np.random.default_rng(seed).normal(size=rows.shape)
    worth = {}
    for on in itertools.product([False, True], repeat=len(groups)):
        mixed = rows.copy()
        for group, is_on in zip(groups, on, strict=True):
            if is_on:
                mixed[:, group] = noisy[:, group]
        worth[on] = float(np.mean((model(mixed) - model(rows)) ** 2))
    values = np.zeros(len(groups))
    for on, index in itertools.product(worth, range(len(groups))):
        if not on[index]:
            size, joined = sum(on), tuple(is_on or at == index for at, is_on in enumerate(on))
            weight = math.factorial(size) * math.factorial(len(groups) - size - 1) / math.factorial(len(groups))
            values[index] += weight * (worth[joined] - worth[on])
    return values / values.sum()


def beside_salib() -> tuple[Attribution, np.ndarray]:
    """What robmon, and SALib's total effects, say of an additive model. Raises ImportError where that is not there."""
    from SALib.analyze import sobol as analysed
    from SALib.sample import sobol as sampled

    weights = np.array([1.0, 0.7, 0.4, 0.2])
    problem = {"num_vars": 4, "names": list("abcd"), "bounds": [[0.0, LEVEL]] * 4, "dists": ["norm"] * 4}
    draws = sampled.sample(problem, 2**13, calc_second_order=False, seed=1)
    total = analysed.analyze(problem, draws @ weights, calc_second_order=False, seed=1)["ST"]
    rows = np.random.default_rng(0).normal(size=(1024, 4))
    return robmon.attribute(lambda x: x @ weights, rows, level=LEVEL, scale=1.0, seed=2), total / total.sum()


@pytest.mark.parametrize("groups", [[[0], [1], [2], [3], [4]], [[0, 1], [2, 3], [4]]], ids=["alone", "groups"])
def test_shares_are_those_of_enumeration(groups: list[list[int]]) -> None:
    exact = shapley(interacting, rows_of(200_000, 1), groups, seed=2)
    named = {f"group {index}": group for index, group in enumerate(groups)}
    result = robmon.attribute(interacting, rows_of(1024, 3), level=LEVEL, scale=1.0, groups=named, seed=4)
    assert result.groups == tuple(named)
    assert np.all(np.abs(result.share - exact) <= 3 * result.stderr + 1e-9), (result.share, exact, result.stderr)
    assert result.stderr.max() < 0.05


def test_shares_add_up_to_the_noise_error_exactly() -> None:
    result = robmon.attribute(interacting, rows_of(256, 0), level=LEVEL, scale=1.0, seed=7)
    assert abs(result.share.sum() - 1.0) <= 1e-12 and abs(result.mse.sum() - result.total) <= 1e-12
    alone = robmon.assess(interacting, rows_of(256, 0), levels=[LEVEL], scale=1.0, trials=99)
    assert result.total == pytest.approx(alone.curve[1].mean_mse, rel=0.1)
    assert result.share[3] == 0.0 and result.stderr[3] == 0.0, "a feature without any effect"


def test_standard_errors_are_those_of_repetition() -> None:
    exact = shapley(interacting, rows_of(200_000, 1), [[0], [1], [2, 3], [4]], seed=2)
    groups = {"a": [0], "b": [1], "c": [2, 3], "d": [4]}
    shares, errors = [], []
    for seed in range(120):
        result = robmon.attribute(
            interacting, rows_of(128, 100 + seed), level=LEVEL, scale=1.0, groups=groups, seed=seed
        )
        shares.append(result.share)
        errors.append(result.stderr)
    assert np.allclose(np.mean(errors, axis=0), np.std(shares, axis=0), rtol=0.25)
    assert np.all(np.abs(np.mean(shares, axis=0) - exact) < 4 * np.std(shares, axis=0) / math.sqrt(120) + 0.003)


def test_salib_agrees_on_an_additive_model() -> None:
    pytest.importorskip("SALib", reason="SALib is an optional reference")
    result, share = beside_salib()
    assert np.all(np.abs(result.share - share) <= 3 * result.stderr)


def test_the_same_seed_gives_the_same_numbers_whatever_the_batches() -> None:
    whole, cut = (
        robmon.attribute(interacting, rows_of(100, 5), level=LEVEL, scale=1.0, seed=9, max_batch_rows=rows)
        for rows in (None, 7)
    )
    assert np.allclose(whole.share, cut.share, rtol=1e-12)
    assert not np.allclose(
        whole.share, robmon.attribute(interacting, rows_of(100, 5), level=LEVEL, scale=1.0, seed=10).share
    )


def test_torch_modules_have_shares_too() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(5, 2, bias=False)
    with torch.no_grad():
        module.weight[:] = torch.tensor(np.stack([WEIGHTS, 0 * WEIGHTS]), dtype=torch.float32)
    result = robmon.attribute(module, rows_of(512, 0), level=LEVEL, scale=1.0)
    assert result.groups[0] == "input[0]"
    assert np.all(np.abs(result.share - WEIGHTS**2 / np.sum(WEIGHTS**2)) <= 3 * result.stderr + 1e-6)


def test_of_many_features_the_largest_stand_alone() -> None:
    weights = np.full(20, 0.01)
    weights[[3, 17]] = 1.0, 2.0
    rows = np.random.default_rng(0).normal(size=(256, 20))
    result = robmon.attribute(lambda x: x @ weights, rows, scale=1.0)
    assert len(result.groups) == 8 and result.groups[:2] == ("input[17]", "input[3]")
    assert result.groups[-1] == "all others" and len(result.members["all others"]) == 13
    assert result.share[:2].round(1).tolist() == [0.8, 0.2]


def test_columns_go_by_name_and_others_pass_through() -> None:
    frame = pd.DataFrame(rows_of(128, 0), columns=list("abcde")).assign(city="Rome", size=3)

    def model(x: pd.DataFrame) -> np.ndarray:
        assert set(x["city"]) == {"Rome"} and x.shape[1] == 7
        return x["a"].to_numpy() * 2 + x["b"].to_numpy()

    result = robmon.attribute(model, frame, scale=1.0, groups={"pair": ["a", "b"]})
    assert result.groups == ("pair", "all others") and result.share.tolist() == [1.0, 0.0]
    assert result.members == {"pair": ("a", "b"), "all others": ("c", "d", "e")}


def test_images_are_shared_out_by_channel() -> None:
    images = np.random.default_rng(0).normal(size=(64, 3, 4, 4))
    result = robmon.attribute(lambda x: x[:, 1].sum(axis=(1, 2)) + 0.1 * x[:, 0, 0, 0], images, scale=1.0)
    assert result.groups == ("channel_0", "channel_1", "channel_2")
    assert result.share[1] > 0.99 and result.share[2] == 0.0


@pytest.mark.parametrize("noise", ["missing", "salt_and_pepper", "multiplicative", "common_mode", "quantize"])
def test_every_noise_is_shared_out(noise: str) -> None:
    result = robmon.attribute(lambda x: 3 * x[:, 0] + x[:, 1], rows_of(512, 1) + 5.0, noise=noise, level=0.2)
    assert abs(result.share.sum() - 1.0) <= 1e-12
    assert np.abs(result.share[2:]).max() == 0.0 and result.share[0] > result.share[1] > 0


def test_classes_and_labels() -> None:
    labels = robmon.attribute(
        lambda x: (x[:, 0] + 0.2 * x[:, 1] > 0).astype(int), rows_of(512, 1), task="classification", scale=1.0
    )
    assert labels.output == "label" and labels.share[0] > 0.8 and 0 < labels.total < 1
    assert labels.total == pytest.approx(labels.mse.sum())
    logits = robmon.attribute(lambda x: np.stack([x[:, 0], -x[:, 1]], axis=1), rows_of(512, 1), task="classification")
    assert logits.output == "logit" and np.allclose(logits.share[:2], 0.5, atol=0.1)


def test_what_a_random_model_moves_by_itself_is_nobodys() -> None:
    own = np.random.default_rng(8)
    result = robmon.attribute(
        lambda x: x[:, 0] + own.normal(scale=0.5, size=len(x)), rows_of(2000, 1), level=0.5, scale=1.0, pairs=10
    )
    assert any("itself random" in note for note in result.notes)
    assert abs(result.total - 0.25) < 0.03
    assert np.all(np.abs(result.share - np.array([1.0, 0, 0, 0, 0])) <= 4 * result.stderr + 1e-9)


def test_rows_without_a_finite_output_are_left_out_and_told() -> None:
    rows = rows_of(200, 1)
    result = robmon.attribute(lambda x: np.where(x[:, 3] == rows[7, 3], np.nan, x[:, 0]), rows, groups={"a": [0]})
    assert result.rows == 199 and any("1 of 200 rows is left out" in note for note in result.notes)


def test_a_budget_cuts_pairs_and_then_rows() -> None:
    import time

    def slow(x: np.ndarray) -> np.ndarray:
        time.sleep(1e-5 * len(x))
        return interacting(x)

    result = robmon.attribute(slow, rows_of(512, 1), level=LEVEL, scale=1.0, max_seconds=0.12)
    assert result.pairs < 5 and "the time budget left" in result.cut
    assert abs(result.share.sum() - 1.0) <= 1e-12
    with pytest.raises(robmon.OverBudgetError):
        robmon.attribute(slow, rows_of(512, 1), level=LEVEL, scale=1.0, max_seconds=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"level": 0.0}, "level of an attribution"),
        ({"level": math.nan}, "level of an attribution"),
        ({"pairs": 0}, "at least 1 pair"),
        ({"pairs": 2.5}, "whole number"),
        ({"seed": -1}, "seed"),
        ({"groups": {}}, "is empty"),
        ({"groups": [[0, 1]]}, "a dict"),
        ({"groups": {"a": []}}, "at least one"),
        ({"groups": {"a": "input[0]"}}, "list of features"),
        ({"groups": {"all others": [0]}}, "cannot be called"),
        ({"groups": {"a": [0], "b": [0]}}, "two groups"),
        ({"groups": {"a": ["nobody"]}}, "is not one of the features"),
        ({"groups": {"a": [5]}}, "is not one of the features"),
        ({"max_seconds": math.inf}, "max_seconds"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(robmon.InvalidInputError, match=sentence):
        robmon.attribute(interacting, rows_of(64, 0), **options)


def test_where_there_is_no_error_nothing_is_shared_out() -> None:
    with pytest.raises(robmon.InvalidInputError, match="changes no output"):
        robmon.attribute(lambda x: np.zeros(len(x)), rows_of(64, 0))
    rows = rows_of(64, 0)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(robmon.InvalidInputError, match="not finite"),
    ):
        robmon.attribute(lambda x: np.where(np.isin(x[:, 0], rows[:, 0]), 1.0, np.inf), rows)


def test_a_rise_is_shared_out_where_there_is_one() -> None:
    before, now = (
        robmon.attribute(lambda x, w=w: x @ np.array([w, 1.0, 1.0, 0.0, 0.0]), rows_of(512, seed), scale=1.0, seed=seed)
        for w, seed in ((1.0, 1), (3.0, 2))
    )
    share, stderr = rise_shares(before.moments, now.moments)
    assert np.all(np.abs(share - np.array([1.0, 0, 0, 0, 0])) <= 3 * stderr + 1e-9) and share.sum() == pytest.approx(
        1.0
    )
    assert largest_beyond(now.groups, share, stderr) == ("input[0]", pytest.approx(share[0]))
    assert rise_shares(before.moments, before.moments) is None
    assert rise_shares(before.moments, GroupMoments.from_dict(now.moments.to_dict()))[0].tolist() == share.tolist()
    assert largest_beyond(("a", "b"), np.array([0.51, 0.49]), np.array([0.02, 0.02])) is None


def test_the_text_names_the_largest_first() -> None:
    lines = str(robmon.attribute(interacting, rows_of(256, 0), level=LEVEL, scale=1.0)).splitlines()
    assert lines[0].startswith("mean MSE") and "5 pairs of orders" in lines[0]
    assert "input[4]" in lines[2] or "input[0]" in lines[2]
