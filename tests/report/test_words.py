"""Results in words: the plain sentence comes first, says what was measured, and no more than that."""

from __future__ import annotations

import numpy as np
import pytest

import robmon
from robmon.report.assessment import explanation, opening
from robmon.report.comparison import WHY_FLIPS
from robmon.vocabulary import NoExponent

GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.normal(size=(120, 4))
WEIGHTS = GENERATOR.normal(size=(4, 3))
CLASSES = (INPUTS @ WEIGHTS).argmax(axis=1)


def scores(x: np.ndarray) -> np.ndarray:
    return np.asarray(x @ WEIGHTS)


def shares(x: np.ndarray) -> np.ndarray:
    exponents = np.exp(scores(x))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("predict", [scores, shares, lambda x: scores(x).argmax(axis=1)])
def test_of_classes_the_share_that_keeps_its_class_comes_first(predict: object) -> None:
    result = robmon.assess(predict, INPUTS, task="classification")
    kept = f"{100 * result.curve[-1].agreement:.3g} %"
    first = f"{kept} of these requests keep their class at noise of 0.4 standard deviations."
    assert str(result).splitlines()[0] == opening(result) == first
    assert first not in explanation(result) and "A further trial on these 120 rows" in explanation(result)


def test_of_several_labels_at_once_it_is_the_share_that_keeps_all() -> None:
    result = robmon.assess(
        lambda x: 1 / (1 + np.exp(-scores(x))), INPUTS, task="classification", output="multilabel", levels=(0.1,)
    )
    assert " of these requests keep all their labels at noise of 0.1 standard deviations." in opening(result)


def test_with_targets_it_is_the_share_that_is_right_beside_that_without_noise() -> None:
    result = robmon.assess(shares, INPUTS, CLASSES, task="classification")
    right = f"{100 * result.curve[-1].accuracy:.3g} % of these requests get the true class at noise of 0.4 "
    assert opening(result) == f"{right}standard deviations, 100 % without noise."


@pytest.mark.parametrize("predict", [lambda x: np.ones(len(x), dtype=int), lambda x: [0.9, 0.1] + 0 * x[:, :2]])
def test_one_class_for_all_is_said_and_not_that_it_is_kept(predict: object) -> None:
    result = robmon.assess(predict, INPUTS, task="classification")
    assert opening(result) == "All 120 requests get the same class: nothing is known of how easily it changes."
    assert "A further trial on these 120 rows" in explanation(result)


def test_of_numbers_it_is_how_far_they_move() -> None:
    result = robmon.assess(lambda x: x[:, 0], INPUTS, scale=1.0, levels=(0.1, 0.2))
    assert opening(result).startswith("95 % of requests move by less than ")
    assert opening(result).endswith(" at noise of 0.2 input units.")
    missing = robmon.assess(lambda x: x[:, 0], INPUTS, noise="missing", levels=(0.2,))
    assert opening(missing).endswith(" at noise of 20 % of the cells.")


def test_of_too_few_rows_for_that_it_is_a_further_trial() -> None:
    result = robmon.assess(lambda x: x[:, 0], INPUTS[:10])
    assert opening(result).startswith("A further trial on these 10 rows at noise of 0.4 standard deviations has a mean")
    assert "A further trial" not in explanation(result)


def test_levels_at_which_the_model_fails_are_said_at_once() -> None:
    result = robmon.assess(lambda x: np.where(np.abs(x[:, 0]) > 3.6, np.inf, x[:, 0]), INPUTS, levels=(0.1, 1.0, 2.0))
    assert " at noise of 0.1 standard deviations. At levels 1, 2 its outputs are not all finite." in opening(result)
    broken = robmon.assess(lambda x: np.where(np.isin(x[:, 0], INPUTS[:, 0]), 1.0 * x[:, 0], np.nan), INPUTS)
    assert opening(broken) == "At every noise level the model returned outputs that are not finite: no bound exists."
    assert explanation(broken) == ""


def test_a_comparison_begins_with_the_verdict_and_what_it_means_for_classes() -> None:
    def rough(x: np.ndarray) -> np.ndarray:
        return np.asarray(scores(x) + 2.0 * np.sin(9 * x[:, :3]))

    result = robmon.compare(scores, rough, INPUTS, task="classification")
    plain = result.describe("old", "new").splitlines()
    assert plain[0].startswith("Under noise new is worse than old: its error is ")
    kept = [f"{100 * each[-1]:.3g} %" for each in (result.agreement_a, result.agreement_b)]
    of_old = f"At noise of 0.4 standard deviations {kept[0]} of these requests keep their class with old"
    assert plain[1] == f"{of_old}, {kept[1]} with new."
    assert plain[2].startswith("pooled ratio ")


def test_every_reason_for_flips_has_words() -> None:
    assert set(WHY_FLIPS) == set(NoExponent.__args__)  # type: ignore[attr-defined]


def test_a_ranking_begins_with_the_best() -> None:
    models = {"steep": lambda x: x @ np.full(4, 3.0), "flat": lambda x: x @ np.full(4, 2.5)}
    ranking = robmon.rank(models, INPUTS, INPUTS @ np.full(4, 2.9), levels=(0.5, 1.0))
    first, *rest = str(ranking).splitlines()
    assert first == "Best without noise: steep; at noise of 1 standard deviation: flat."
    assert rest[-2].startswith("From level 0.") and rest[-2].endswith(" upwards flat overtakes steep.")
    assert rest[-1] == "output is value: numbers under regression", "what is said of both, once"
