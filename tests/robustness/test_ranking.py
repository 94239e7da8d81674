from __future__ import annotations

import json
import math
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robmon.errors import InvalidInputError
from robmon.report.ranking import best
from robmon.report.ranking import crossings as sentences
from robmon.robustness.ranking import Conditions, Crossing, rank_scores

LEVELS = (0.0, 0.1, 0.2, 0.4)


def errors(clean, squared_norm, levels=LEVELS):
    """MSE against the targets of a linear model with `squared_norm = |w|²` that is off by `clean` without noise."""
    return [clean + level**2 * squared_norm for level in levels]


def names(count):
    return [f"version {number}" for number in range(1, count + 1)]


def test_linear_models_cross_where_their_closed_form_says():
    models = [(1.0, 25.0), (1.5, 5.0), (1.2, 30.0)]
    ranking = rank_scores(names(3), LEVELS, [errors(*model) for model in models], higher_is_better=False)
    assert ranking.ranks.tolist() == [[1, 1, 2, 2], [3, 3, 1, 1], [2, 2, 3, 3]]
    assert ranking.rank_diff.tolist() == [[0, 0, -1, -1], [0, 0, 2, 2], [0, 0, -1, -1]]
    assert ranking.slopes == pytest.approx([25, 5, 30])
    levels = {(crossing.ahead, crossing.behind): crossing.levels for crossing in ranking.crossings}
    assert levels == {
        ("version 1", "version 2"): pytest.approx((math.sqrt(0.5 / 20),)),
        ("version 3", "version 2"): pytest.approx((math.sqrt(0.3 / 25),)),
    }
    assert [ranking.names[index] for index in ranking.order] == ["version 1", "version 3", "version 2"]
    assert best(ranking) == "Best without noise: version 1; at level 0.4: version 2."
    assert sentences(ranking) == [
        "From level 0.16 upwards version 2 overtakes version 1.",
        "From level 0.11 upwards version 2 overtakes version 3.",
    ]
    assert sentences(ranking, most=1) == [
        "From level 0.16 upwards version 2 overtakes version 1.",
        "Pairs that change places: 2 in all.",
    ]


def test_accuracies_that_fall_with_the_level_cross_where_their_lines_do():
    accuracy = [[0.98 - 1.0 * level for level in LEVELS], [0.95 - 0.8 * level for level in LEVELS]]
    ranking = rank_scores(names(2), LEVELS, accuracy, higher_is_better=True, score="accuracy")
    assert ranking.ranks.tolist() == [[1, 1, 2, 2], [2, 2, 1, 1]]
    assert ranking.slopes == pytest.approx([-1.0, -0.8])
    assert ranking.crossings[0].levels == pytest.approx((0.15,))
    assert ranking.crossings[0].lasts
    assert str(ranking.crossings[0]) == "From level 0.15 upwards version 2 overtakes version 1."


def crossings(lead):
    """Of two models, the second of which is better by `lead`, along the level itself."""
    ranking = rank_scores(["a", "b"], range(len(lead)), [[0.0] * len(lead), lead], higher_is_better=True)
    return [(crossing.ahead, crossing.behind, crossing.levels) for crossing in ranking.crossings]


@pytest.mark.parametrize(
    ("lead", "expected"),
    [
        ([-1, -1, -2], []),
        ([-1, 1, 3], [("a", "b", (0.5,))]),
        ([1, 1, -3], [("b", "a", (1.25,))]),
        ([-1, 1, -1], [("a", "b", (0.5, 1.5))]),
        ([-1, 0, 1], [("a", "b", (1.0,))]),
        ([-1, 0, 0, 1], [("a", "b", (2.0,))]),
        ([-1, 0, 0], []),  # caught up with, not overtaken
        ([0, 0, 1], []),  # equal, then ahead
        ([0, -1, 1], [("a", "b", (1.5,))]),
        ([-1, 0, -1], []),
        ([-math.inf, 1], [("a", "b", (1.0,))]),  # nothing to interpolate: where it is seen
        ([-1, math.inf], [("a", "b", (1.0,))]),
    ],
)
def test_crossings(lead, expected):
    assert crossings(lead) == expected


def test_crossings_that_do_not_last_say_so():
    assert str(Crossing("a", "b", (0.5, 1.5))) == (
        "From level 0.5 upwards b overtakes a, but not for good: they change places again at level 1.5."
    )
    assert str(Crossing("a", "b", (0.5, 1.5, 3.0))).endswith("at levels 1.5, 3.")
    assert not Crossing("a", "b", (0.5, 1.5)).lasts


def test_nobody_overtakes():
    ranking = rank_scores(names(2), LEVELS, [errors(1, 2), errors(2, 3)], higher_is_better=False)
    assert best(ranking) == "Best without noise and at level 0.4: version 1."
    assert sentences(ranking) == ["No two models change places between these levels."]


def test_equals_share_the_mean_of_their_ranks():
    scores = np.array([[0.9, 0.5], [0.9, 0.7], [0.9, 0.5], [0.95, 0.5]])
    ranking = rank_scores(names(4), (0.0, 0.1), scores, higher_is_better=True)
    assert ranking.ranks.T.tolist() == [[3, 3, 3, 1], [3, 1, 3, 3]]
    assert best(ranking) == "Best without noise: version 4; at level 0.1: version 2."
    same = rank_scores(names(3), (0.0, 0.1), np.ones((3, 2)), higher_is_better=True)
    assert np.all(same.ranks == 2) and same.crossings == ()
    assert best(same) == "Best without noise and at level 0.1: version 1, version 2 and version 3."


def test_broken_models_are_last_together():
    scores = [[1.0, math.inf], [2.0, 3.0], [3.0, math.inf]]
    ranking = rank_scores(names(3), (0.0, 0.1), scores, higher_is_better=False)
    assert ranking.ranks[:, 1].tolist() == [2.5, 1, 2.5]
    assert ranking.slopes == (None, pytest.approx(100), None)
    assert [(each.ahead, each.behind) for each in ranking.crossings] == [("version 1", "version 2")]
    assert json.loads(json.dumps(ranking.to_dict(), allow_nan=False))["models"][0]["scores"] == [1.0, "+Inf"]
    draw(ranking)


@given(
    scores=st.integers(2, 8).flatmap(
        lambda models: arrays(np.float64, (models, 4), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf]))
    ),
    higher=st.booleans(),
)
def test_ranks_are_a_permutation_or_means_of_one(scores, higher):
    models = len(scores)
    ranking = rank_scores(names(models), LEVELS, scores, higher_is_better=higher)
    for column, ranks, moved in zip(scores.T, ranking.ranks.T, ranking.rank_diff.T, strict=True):
        assert ranks.sum() == models * (models + 1) / 2
        assert moved.sum() == 0
        for score in set(column):
            places = 1 + np.flatnonzero(np.sort(-column if higher else column) == (-score if higher else score))
            assert np.all(ranks[column == score] == places.mean())
    assert np.all(ranking.rank_diff[:, 0] == 0)


@given(scores=arrays(np.float64, (5, 4), elements=st.floats(0.0, 1.0)), seed=st.integers(0, 99))
def test_neither_order_nor_sign_matter(scores, seed):
    order = np.random.default_rng(seed).permutation(5)
    ranking = rank_scores(names(5), LEVELS, scores, higher_is_better=True)
    shuffled = rank_scores([names(5)[index] for index in order], LEVELS, scores[order], higher_is_better=True)
    assert np.array_equal(shuffled.ranks, ranking.ranks[order])
    assert set(shuffled.crossings) == set(ranking.crossings)
    losses = rank_scores(names(5), LEVELS, -scores, higher_is_better=False)
    assert np.array_equal(losses.ranks, ranking.ranks)


@given(scores=arrays(np.float64, (4, 4), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0])))
def test_crossings_are_what_the_ranks_say(scores):
    """Whoever is behind at first and ahead in the end has overtaken for good, an odd number of times."""
    ranking = rank_scores(names(4), LEVELS, scores, higher_is_better=True)
    crossed = {(each.ahead, each.behind): len(each.levels) for each in ranking.crossings}
    for a in range(4):
        for b in range(4):
            first, last = ranking.ranks[a, [0, -1]] - ranking.ranks[b, [0, -1]]
            if first < 0 < last:
                assert crossed[ranking.names[a], ranking.names[b]] % 2 == 1
            elif first < 0 and last < 0:
                assert crossed.get((ranking.names[a], ranking.names[b]), 0) % 2 == 0
    for crossing in ranking.crossings:
        assert list(crossing.levels) == sorted(crossing.levels)
        assert crossing.levels[0] >= 0 and crossing.levels[-1] <= LEVELS[-1]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"names": ["a"], "scores": [[1.0, 2.0]]}, "at least 2 models"),
        ({"names": ["a", "a"]}, "a name of its own"),
        ({"levels": [0.0], "scores": [[1.0], [2.0]]}, "rise from 0"),
        ({"levels": [0.1, 0.2]}, "rise from 0"),
        ({"levels": [0.0, 0.0]}, "rise from 0"),
        ({"levels": [0.0, math.inf]}, "finite"),
        ({"scores": [[1.0, 2.0]]}, r"of shape \(2, 2\).*not \(1, 2\)"),
        ({"scores": [[1.0, 2.0], [1.0, math.nan]]}, "NaN"),
    ],
)
def test_what_cannot_be_ranked_is_refused(changed, sentence):
    given = {"names": ["a", "b"], "levels": [0.0, 0.1], "scores": [[1.0, 2.0], [2.0, 3.0]]} | changed
    with pytest.raises(InvalidInputError, match=sentence):
        rank_scores(**given, higher_is_better=True)


def draw(ranking):
    picture = BytesIO()
    ranking.plot().savefig(picture, dpi=50)
    assert picture.getvalue().startswith(b"\x89PNG")


@pytest.mark.parametrize("models", [2, 12])
def test_the_picture_names_every_model_at_both_ends(models):
    scores = np.random.default_rng(models).uniform(0.5, 1.0, size=(models, 4))
    scores[1] = scores[0]  # equals get lines of their own
    ranking = rank_scores([f"a registered model of some kind/{n}" for n in range(models)], LEVELS, scores, True)
    ranking = replace(ranking, conditions=Conditions("gaussian", "input units", 256, 39, 0))
    figure = ranking.plot()
    left, right = ([(label.get_position()[1], label.get_text()) for label in axes.get_yticklabels()]
                   for axes in figure.axes)  # fmt: skip
    assert (
        sorted(place for place, _ in left[:-1]) == sorted(place for place, _ in right[:-1]) == [*range(1, models + 1)]
    )
    for name, own, (_, start), (_, end) in zip(ranking.names, ranking.rank_diff[:, -1], left, right, strict=False):
        assert name in start and name in end
        assert (f"{own:+g}".replace("-", "\N{MINUS SIGN}") if own else "0") in end.split()
    draw(ranking)


def test_as_text():
    ranking = rank_scores(
        ["linear", "tree"], (0.0, 0.1), [[1.0, 1.5], [2.0, 1.25]], higher_is_better=False, score="MSE"
    )
    ranking = replace(
        ranking,
        conditions=Conditions("gaussian", "input units", 256, 39, 0),
        left_out=(("odd", "it cannot be loaded"),),
        notes=("output is value",),
    )
    assert str(ranking).splitlines() == [
        "Best without noise: linear; at noise of 0.1 input units: tree.",
        "ranked by MSE (lower is better); in brackets the RankDiff, places gained against clean inputs",
        "model   clean  rank  at 0.1    rank  slope",
        "linear      1     1     1.5  2 (-1)     50",
        "tree        2     2    1.25  1 (+1)    -75",
        "left out: odd: it cannot be loaded",
        "256 rows, 39 trials of gaussian noise, seed 0",
        "From level 0.089 upwards tree overtakes linear.",
        "output is value",
    ]
    assert ranking.to_dict()["left_out"] == [{"name": "odd", "reason": "it cannot be loaded"}]


@pytest.mark.parametrize("higher_is_better", [False, True])
def test_an_overtaking_within_chance_is_told_as_one(higher_is_better: bool) -> None:
    """Two models alike in law are hardly ever told apart; two that really cross are."""
    random, levels, chance, crossed, real = np.random.default_rng(5), [0.0, 0.1, 0.2], 0, 0, 0
    sign = -1.0 if higher_is_better else 1.0
    for _ in range(200):
        a, b = random.normal(3, 1, size=(2, 100, 3))
        for shift, is_real in ((0.0, False), (1.0, True)):
            rows = [sign * (a + shift * np.array([0, 0, 1.0])), sign * (b + shift * np.array([1.0, 1.0, 0]))]
            scores = [each.mean(axis=0) for each in rows]
            ranking = rank_scores(["a", "b"], levels, scores, higher_is_better, row_scores=rows)
            for crossing in ranking.crossings:
                assert ("within chance" in str(crossing)) == crossing.is_chance
                real += is_real and not crossing.is_chance
                crossed += not is_real
                chance += not is_real and crossing.is_chance
    assert crossed > 50 and chance == crossed
    assert real > 190


def test_nothing_is_said_of_chance_where_no_rows_are_known_or_an_error_is_infinite() -> None:
    scores = [[1.0, 2.0, np.inf], [2.0, 2.5, 4.0]]
    assert not rank_scores(["a", "b"], [0.0, 0.1, 0.2], scores, False).crossings[0].is_chance
    rows = [np.array([row, row]) for row in scores]
    assert not rank_scores(["a", "b"], [0.0, 0.1, 0.2], scores, False, row_scores=rows).crossings[0].is_chance
