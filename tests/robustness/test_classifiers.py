"""Classifiers are compared at a common confidence: by what they say, not by how loudly."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from robmon.errors import InvalidInputError
from robmon.robustness.classifiers import (
    MISSING,
    class_codes,
    classifier_rows,
    compare_classifiers,
)
from robmon.robustness.confidence import bring, class_scores, other_classes, probabilities
from tests.robustness.assessing import assess_rows

LEVELS = (0.1, 0.4)
FEATURES, CLASSES = 6, 3


def network(seed=0, classes=CLASSES):
    """A small network that returns logits."""
    generator = np.random.default_rng(seed)
    first = generator.normal(size=(FEATURES, 10)) * 0.6
    second = generator.normal(size=(10, classes))
    return lambda x: np.tanh(x @ first) @ second


def softmax(logits, dtype=np.float64):
    logits = np.asarray(logits, dtype=dtype)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def rows(count=200, seed=1):
    return np.random.default_rng(seed).normal(size=(count, FEATURES))


def assessed(model, x, at="own", **options):
    given = {"levels": LEVELS, "trials": 5, "confidence": 0.8, "task": "classification", "scale": 1.0} | options
    return assess_rows(lambda x, _: model(x), x, compare_at=at, **given)


def taken(result):
    """What a comparison needs of an assessment all of whose rows are finite."""
    return classifier_rows(result, result.finite)


def compared(a, b, x, alpha=0.01, tolerance=0.0, **options):
    """Two models compared as `robmon.compare` does."""
    one = assessed(a, x, **options)
    first = classifier_rows(one, one.finite)
    at = "own" if first.tempered is None else first.tempered.confidence()
    second = classifier_rows(assessed(b, x, at, compare_on=one.finite, **options), one.finite)
    return compare_classifiers(first, second, LEVELS, alpha=alpha, tolerance=tolerance)


@pytest.mark.parametrize("temperature", [0.4, 0.7, 1.0, 1.5, 2.5, 5.0])
@pytest.mark.parametrize(
    "form",
    [
        lambda logits: logits,
        lambda logits: logits.astype(np.float32),
        softmax,
        lambda logits: softmax(logits, np.float32),
        lambda logits: torch.as_tensor(logits),
        lambda logits: torch.as_tensor(logits, dtype=torch.float32).softmax(dim=1),
    ],
    ids=["logits", "float32 logits", "float64", "float32", "torch logits", "torch float32"],
)
def test_a_temperature_changes_nothing(temperature, form):
    model, x = network(), rows()
    for a, b in (
        (model, lambda x: form(temperature * model(x))),
        (lambda x: form(temperature * model(x)), model),
    ):
        result = compared(a, b, x)
        assert result.pooled_ratio == pytest.approx(1, abs=1e-4)
        assert not result.worse and result.disagreement == 0
        assert result.score == "probability" or result.reason == "saturated"


def test_one_column_and_several_classifiers_at_once():
    model, x = network(classes=1), rows()

    def sigmoid(logits):
        return 1 / (1 + np.exp(-logits))

    def hot(x, factor):
        return factor * model(x)

    for factor in (0.4, 3.0):
        for form in (lambda z: z[:, 0], lambda z: sigmoid(z).astype("f4"), lambda z: softmax(np.hstack([0 * z, z]))):
            result = compared(model, lambda x, form=form, factor=factor: form(hot(x, factor)), x)
            assert result.pooled_ratio == pytest.approx(1, abs=1e-4)


def test_each_column_of_several_labels_is_a_classifier():
    def sigmoid(logits):
        return 1 / (1 + np.exp(-logits))

    model, x = network(), rows()
    for factor in (0.4, 3.0):
        result = compared(
            lambda x: sigmoid(model(x)),
            lambda x, factor=factor: sigmoid(factor * model(x)).astype("f4"),
            x,
            output="multilabel",
        )
        assert (result.score, result.worse, result.disagreement) == ("probability", False, 0)
        assert result.pooled_ratio == pytest.approx(1, abs=1e-4)
    moved = compared(
        lambda x: sigmoid(model(x)), lambda x: sigmoid(model(x) + np.array([0, 0, 2.0])), x, output="multilabel"
    )
    assert moved.reason == "other_classes" and moved.disagreement > 0.1


def test_the_more_fragile_model_is_found_however_loudly_it_speaks():
    def fragile(x):
        return softmax(network()(x) + 1.5 * np.sin(9 * x[:, :CLASSES]))

    plain, x = network(), rows()
    for loud in (0.3, 1.0, 3.0):
        result = compared(plain, lambda x, loud=loud: loud * np.log(fragile(x)), x, tolerance=0.1)
        assert result.worse and result.pooled_ratio > 2, result
        assert not compared(lambda x, loud=loud: loud * np.log(fragile(x)), plain, x).worse


def restless(x):
    """Probabilities that swing with the inputs, and classes that hardly do."""
    return np.exp(2 * np.sin(6 * x[:, :1])) * network()(x)


def jagged(x):
    """Classes that change with the inputs more often than those of `restless`."""
    return network()(x) + 0.6 * np.sin(9 * x[:, :CLASSES])


def test_a_worse_verdict_on_probabilities_tells_that_classes_change_less_often():
    result = compared(jagged, restless, rows())
    assert result.worse and result.score == "probability" and (result.flip_ratio < 1).all()
    low, high = result.flip_ratio
    assert result.flip_note == (
        f"The classes themselves change less often at every level (flip ratio {low:.2g} to {high:.2g}): the verdict "
        f"rests on the probabilities, {100 * result.error_share[1]:.2g} % of whose error lies at level 0.4."
    )
    assert result.describe().splitlines()[1] == result.flip_note == result.to_dict()["flip_note"]
    some = replace(result, flip_ratio=np.array([0.5, 1.2]))
    assert "less often at level 0.1 (flip ratio 0.5): the verdict" in some.flip_note
    for agreeing in ({"flip_ratio": np.array([0.997, 1.2])}, {"score": "flips"}, {"pooled_ratio": math.inf}):
        assert replace(result, **agreeing).flip_note == ""


def test_a_verdict_that_found_nothing_tells_that_classes_alone_would_be_worse():
    result = compared(restless, jagged, rows())
    assert not result.worse and result.flip_pvalue < 0.01 and result.flip_pooled_ratio > 1.2
    assert result.flip_note.startswith(
        f"The classes themselves change {result.flip_pooled_ratio:.3g} times as often (p = {result.flip_pvalue:.2g}), "
        "which alone would be worse: the verdict rests on the probabilities, "
    )
    assert "change where none did" in replace(result, flip_pooled_ratio=math.inf).flip_note
    assert replace(result, flip_pvalue=0.2).flip_note == ""


def test_classifiers_whose_flips_agree_with_the_verdict_need_no_word_on_it():
    x = rows()
    fragile = compared(network(), lambda x: network()(x) + 1.5 * np.sin(9 * x[:, :CLASSES]), x)
    assert fragile.worse and (fragile.flip_ratio > 1).all() and fragile.flip_note == ""
    assert compared(network(), network(), x).flip_note == ""


def equal_in_law(generator, rows):
    """A model, and the same behind a random rotation, at another temperature: equal in law on isotropic inputs."""
    first = generator.normal(size=(FEATURES, 10)) * 0.6
    second = generator.normal(size=(10, CLASSES))
    rotation, _ = np.linalg.qr(generator.normal(size=(FEATURES, FEATURES)))
    x = generator.normal(size=(rows, FEATURES))
    return lambda x: np.tanh(x @ first) @ second, lambda x: 2.0 * np.tanh(x @ rotation @ first) @ second, x


@pytest.mark.parametrize("at", ["own", 0.6])
def test_false_alarms_count_the_exponents_errors(at):
    """Of versions equal in law 5 % are called worse at a nominal 5 %; without the correction far more.

    The common confidence is the reference's own, or a number to which both are brought.
    """
    generator, runs, alpha = np.random.default_rng(4), 200, 0.05
    alarms, plain, few = [], [], {"trials": 4, "confidence": 0.5}
    for seed in range(runs):
        a, b, x = equal_in_law(generator, 100)
        first = taken(assessed(lambda x, a=a: 0.5 * a(x), x, at, seed=seed, **few))
        second = taken(assessed(b, x, first.tempered.confidence(), seed=seed, **few))
        if second.tempered is None:  # no exponent up to 8 makes so quiet a network so sure
            continue
        assert first.tempered.is_own == (at == "own")
        alarms.append(compare_classifiers(first, second, LEVELS, alpha=alpha).worse)
        without = [
            replace(each, tempered=replace(each.tempered, sensitivity=np.zeros(len(LEVELS))))
            for each in (first, second)
        ]
        plain.append(compare_classifiers(*without, LEVELS, alpha=alpha).worse)
    assert len(alarms) > 0.9 * runs
    low, high = stats.binom.ppf([0.0005, 0.9995], len(alarms), alpha)
    assert low <= sum(alarms) <= high < sum(plain)


def test_the_correction_is_the_derivative_of_what_is_compared():
    """Errors at another confidence, and the exponent that brings it about, against the step that the trials take."""
    model, x = network(), rows(400)
    here, there = (assessed(model, x, at) for at in (0.70, 0.7001))
    change = taken(there).tempered.errors.mean(axis=0) - taken(here).tempered.errors.mean(axis=0)
    assert taken(here).tempered.sensitivity == pytest.approx(change / 1e-4, rel=0.02)
    clean = here.common.clean
    assert clean.top.mean() == pytest.approx(0.70, abs=1e-9)
    moved = bring(model(x), "logit", np.ones(400), 0.7001)
    assert clean.top_slope == pytest.approx(1e-4 / math.log(moved.exponent / clean.exponent), rel=0.02)


def test_the_common_confidence():
    generator = np.random.default_rng(5)
    logits = generator.normal(size=(500, 3))
    ones = np.ones(500)
    quiet, loud = bring(logits, "logit", ones), bring(20 * logits, "logit", ones)
    assert (quiet.exponent, quiet.is_own) == (1.0, True) and quiet.confidence == pytest.approx(quiet.top.mean())
    assert (loud.confidence, loud.is_own) == (0.9, False) and loud.top.mean() == pytest.approx(0.9)
    rare = np.where(np.arange(500)[:, None] < 470, [9.0, 0.0, 0.0], 20 * logits)
    assert bring(rare, "logit", ones).is_own, "one class is nearly everything, so that it is sure is the truth"
    assert bring(rare, "logit", ones).confidence > 0.95
    assert bring(np.where(np.arange(500)[:, None] < 400, [9.0, 0.0, 0.0], 20 * logits), "logit", ones).confidence == 0.9
    twice = bring(
        np.concatenate([logits, logits[:100]]), "logit", np.r_[np.full(100, 0.5), np.ones(400), np.full(100, 0.5)]
    )
    assert twice.confidence == pytest.approx(quiet.confidence), "rows of one request count together"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_that_round_to_1_are_not_trusted(dtype):
    model, x = network(), rows()
    result = compared(model, lambda x: softmax(30 * model(x)).astype(dtype), x)
    assert (result.score, result.reason, result.exponents) == ("flips", "saturated", None)
    assert result.pooled_ratio == 1.0 and "round to 1" in str(result)
    one = compared(lambda x: model(x)[:, 0], lambda x: (1 / (1 + np.exp(-60 * model(x)[:, 0]))).astype(dtype), x)
    assert one.reason == "saturated"
    logits = compared(model, lambda x: (7.5 * model(x)).astype(dtype), x)
    assert logits.score == "probability", "logits say by how much the largest leads, in any precision"
    assert logits.pooled_ratio == pytest.approx(1, abs=0.01)


def test_rounded_probabilities():
    model, x = network(), rows()
    for digits in (2, 3, 6):
        result = compared(
            lambda x: softmax(model(x)),
            lambda x, digits=digits: softmax(model(x)).round(digits),
            x,
            output="probability",
        )
        assert result.pooled_ratio == pytest.approx(1, abs=0.01)
    rounded = compared(lambda x: softmax(model(x)), lambda x: softmax(12 * model(x)).round(2), x, output="probability")
    assert rounded.reason == "saturated"


def test_no_exponent_can_do_it():
    model, x = network(), rows()
    result = compared(model, lambda x: 10 * model(x), x)
    assert (result.score, result.reason, result.pooled_ratio, result.worse) == ("flips", "exponent", 1.0, False)
    assert "no exponent between 1/8 and 8" in str(result)
    assert compared(lambda x: 100 * model(x), model, x).reason == "exponent"


def test_another_prior_is_not_taken_for_fragility():
    model, x = network(classes=2), rows(400)
    moved = compared(model, lambda x: model(x) + np.array([2.0, 0.0]), x)
    assert (moved.score, moved.reason) == ("flips", "other_classes")
    assert moved.disagreement > 0.05 and "another prior" in str(moved)
    assert compared(model, lambda x: model(x) + np.array([0.1, 0.0]), x).score == "probability"


def test_odds_of_classes():
    even = np.full((1, 10), 0.1)
    assert not other_classes(even, even)
    moved = even.copy()
    moved[0, 0], moved[0, 1] = 0.15, 0.05
    assert other_classes(even, moved) and other_classes(moved, even)
    rare = np.array([[0.999, 0.001]])
    assert other_classes(rare, np.array([[0.997, 0.003]])), "all the error is of the rare class"
    unseen = np.array([[0.5, 0.5 - 1e-6, 1e-6]])
    assert not other_classes(unseen, np.array([[0.5, 0.5 - 1e-9, 1e-9]])), "a class that no row is likely of"
    several = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert other_classes(several, np.array([[0.5, 0.5], [0.65, 0.35]]))


def test_a_version_that_is_not_finite_where_its_reference_was_is_worse():
    model, x = network(), rows()

    def broken(x, row=3):
        logits = model(x)
        logits[np.isclose(x[:, 0], rows()[row, 0])] = np.nan
        return logits

    result = compared(model, broken, x)
    assert (result.worse, result.pvalue, result.pooled_ratio) == (True, 0.0, math.inf)
    assert "not all finite" in str(result)
    json.dumps(result.to_dict(), allow_nan=False)
    healed = compared(broken, model, x)
    assert not healed.worse and healed.pooled_ratio == pytest.approx(1)
    both = compared(broken, broken, x)
    assert not both.worse and both.pooled_ratio == pytest.approx(1)

    def names(x):
        return np.where(np.isclose(x[:, 0], rows()[3, 0]), None, np.where(model(x)[:, 0] > 0, "a", "b"))

    lost = compared(lambda x: np.where(model(x)[:, 0] > 0, "a", "b"), names, x)
    assert lost.worse and lost.pvalue == 0.0


def test_classes_have_the_same_code_in_every_process():
    numbers = class_codes(np.array([0.0, 2.0, np.nan]), "label")
    assert numbers.tolist() == [0, 2, MISSING]
    assert class_codes(np.array([True, False]), "label").tolist() == [1, 0]
    names = class_codes(np.array(["cat", "dog", None, "cat"], dtype=object), "label")
    assert names[0] == names[3] != names[1] and names[2] == MISSING
    assert names[0] == 1383306379803613570
    assert class_codes(np.array([-1, 1]), "label").tolist() == [-1, 1]


def test_disagreement_is_the_share_of_rows_with_other_classes():
    model, x = network(), rows()

    def other(x):
        logits = model(x)
        return np.where(x[:, :1] > 1.0, logits[:, ::-1], logits)

    expected = np.mean(model(x).argmax(axis=1) != other(x).argmax(axis=1))
    assert compared(model, other, x).disagreement == pytest.approx(expected) and expected > 0
    named = compared(lambda x: np.where(x[:, 0] > 0, "a", "b"), lambda x: np.where(x[:, 0] > 0.5, "a", "b"), x)
    assert named.disagreement == pytest.approx(np.mean((x[:, 0] > 0) & (x[:, 0] <= 0.5)))


def test_against_labels_too():
    """With targets errors are those against them."""
    model, x = network(), rows()
    targets = model(x).argmax(axis=1)
    result = compared(model, lambda x: softmax(2 * model(x)), x, targets=targets)
    assert result.score == "probability" and result.pooled_ratio == pytest.approx(1, abs=1e-6)


def test_an_assessment_that_was_not_made_to_be_compared_is_refused():
    x = rows()
    with pytest.raises(InvalidInputError, match="compare_at"):
        taken(assessed(network(), x, None))
    with pytest.raises(InvalidInputError, match="no classes"):
        taken(assess_rows(lambda x, _: x[:, 0], x, scale=1.0))


def test_fewer_rows_of_a_reference():
    """What was assessed in less time has fewer rows: the common confidence is that of those."""
    model, x = network(), rows(300)
    whole = taken(assessed(lambda x: 20 * model(x), x))
    part = whole.first(200, 200)
    other = taken(assessed(model, x[:200], part.tempered.confidence()))
    result = compare_classifiers(part, other, LEVELS)
    assert result.pooled_ratio == pytest.approx(1) and not result.worse and result.rows == 200
    assert whole.first(300, 300) is whole


def test_scores_of_probabilities_that_are_0():
    scores = class_scores(np.array([[1.0, 0.0], [0.0, 0.0]]), "probability")
    assert probabilities(scores, 0.5).tolist() == [[[1.0, 0.0]], [[0.5, 0.5]]]
    both = class_scores(np.array([[0.0, 1.0]]), "multilabel")
    assert probabilities(both, 2.0).tolist() == [[[1.0, 0.0], [0.0, 1.0]]]
