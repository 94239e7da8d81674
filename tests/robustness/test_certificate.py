"""Certified radii: an independent calculation, their promise, and what breaks it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from robmon.errors import InvalidInputError
from robmon.robustness.noise.additive import Gaussian
from robmon.robustness.noise.base import Noise
from robmon.robustness.noise.per_column import PerColumn
from robmon.robustness.statistics.beta import lower_limit
from robmon.robustness.statistics.certificate import certified_radii, certified_share
from tests.robustness import linear
from tests.robustness.assessing import assess_rows

TRIALS, CONFIDENCE = 99, 0.95


@pytest.mark.parametrize("trials", [1, 19, 39, 99, 100, 1000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_radii_are_those_of_an_independent_calculation(trials, confidence):
    votes = np.arange(trials + 1) if trials <= 100 else np.arange(480, 1001, 13)
    lower = np.where(votes > 0, stats.beta.ppf(1 - confidence, votes, trials - votes + 1), 0.0)
    expected = 0.25 * np.maximum(stats.norm.ppf(lower), 0.0)
    assert certified_radii(votes, trials, 0.25, confidence) == pytest.approx(expected, abs=1e-9)


def test_however_sure_the_model_is_the_radius_ends():
    assert certified_radii([99], 99, 1.0, 0.95)[0] == pytest.approx(stats.norm.ppf(0.05 ** (1 / 99)), abs=1e-12)
    assert certified_radii([99], 99, 1.0, 0.95)[0] == pytest.approx(1.88, abs=0.005)


def votes_on_a_boundary(classes: int, rows: int = 20_000) -> np.ndarray:
    """Votes of rows at which every class is equally likely under noise; shape `(rows, classes)`."""
    return np.random.default_rng(11).multinomial(TRIALS, np.full(classes, 1 / classes), size=rows)


def allowed(share: float, rows: int) -> float:
    """What a share of errors stays under in 99.9 % of simulations with so many rows."""
    return float(stats.binom(rows, share).ppf(0.999)) / rows


def test_the_class_must_be_fixed_before_the_votes():
    """Of ten equally likely classes the votes make one look likely: a third of the limits lie above the truth."""
    votes = votes_on_a_boundary(10)
    limits = np.array([lower_limit(count, TRIALS, CONFIDENCE) for count in range(TRIALS + 1)])
    fixed, chosen = limits[votes[:, 0]] > 0.1, limits[votes.max(axis=1)] > 0.1
    assert 0.03 < fixed.mean() <= allowed(1 - CONFIDENCE, len(votes))
    assert chosen.mean() > 0.3


def test_radii_from_the_same_votes_are_wrong_twice_as_often():
    """Between two classes no radius is true. The class is fixed, or the votes choose it."""
    votes = votes_on_a_boundary(2)
    fixed = certified_radii(votes[:, 0], TRIALS, 1.0, CONFIDENCE) > 0
    chosen = certified_radii(votes.max(axis=1), TRIALS, 1.0, CONFIDENCE) > 0
    assert 0.03 < fixed.mean() <= allowed(1 - CONFIDENCE, len(votes))
    assert chosen.mean() > allowed(1 - CONFIDENCE, len(votes))
    assert chosen.mean() == pytest.approx(2 * fixed.mean(), rel=0.15)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_linear_classifier_is_not_certified_beyond_its_boundary(seed):
    """Its smoothed version has the same boundary, so the true radius is the distance to it, in units of the scale."""
    scale = np.array([0.5, 2.0, 1.0, 3.0])
    inputs = linear.inputs(4000, seed) * scale
    distance = np.abs(linear.predict(inputs, None)) / np.linalg.norm(linear.WEIGHTS * scale)
    result = assess_rows(
        classify, inputs, task="classification", scale=scale, levels=[0.3, 1.0], trials=TRIALS, confidence=CONFIDENCE,
        seed=seed,
    )  # fmt: skip
    for point in result.curve[1:]:
        wrong = point.certified_radius > distance
        assert wrong.mean() <= allowed(1 - CONFIDENCE, len(wrong))
        assert wrong.mean() > 0.01, "a certificate that is never wrong gives away what it could state"
        assert np.all(point.certified_radius <= 1.89 * point.level)
    assert not result.curve[0].certified_radius.any(), "no noise, no certificate"
    unmoved = lambda x, rows: np.arange(rows.start, rows.stop) % 2  # noqa: E731
    everywhere = assess_rows(unmoved, inputs, task="classification", levels=[0.3], trials=99)
    assert everywhere.curve[1].certified_radius == pytest.approx(0.3 * stats.norm.ppf(0.05 ** (1 / 99)))


def classify(x, rows):
    return (linear.predict(x, rows) > 0).astype(int)


@pytest.mark.parametrize(
    "noise",
    [
        "uniform",
        Gaussian(clip=(-9.0, 9.0)),
        PerColumn({0: "laplace"}),
        Noise("gaussian", lambda generator, shape: generator.choice([-1.0, 1.0], size=shape)),
    ],
    ids=["uniform", "clipped", "per column", "another of that name"],
)
def test_only_plain_gaussian_noise_certifies(noise):
    result = assess_rows(classify, linear.inputs(30), task="classification", noise=noise, trials=19)
    assert all(point.certified_radius is None for point in result.curve)
    with pytest.raises(InvalidInputError, match="need a classification under gaussian noise"):
        result.certified_share([0.1])
    plain = assess_rows(classify, linear.inputs(30), task="classification", noise=Gaussian(), trials=19)
    assert plain.curve[1].certified_radius.any()


def test_a_row_whose_clean_output_is_not_finite_is_not_certified():
    def predict(x, rows):
        places = np.arange(rows.start, rows.stop)
        outputs = np.eye(2)[places % 2]
        outputs[places == 2] = np.nan
        return outputs

    radius = assess_rows(predict, linear.inputs(20), task="classification").curve[1].certified_radius
    assert np.isnan(radius[2]) and np.count_nonzero(radius > 0) == 19


def test_the_certified_share_has_the_interval_of_clopper_and_pearson():
    radii = np.array([0.0, 0.1, 0.2, 0.2, 0.9, 0.0, 0.3, 0.5])
    result = certified_share(radii, [0.0, 0.2, 0.9], level=0.5, confidence=0.9)
    assert result.share.tolist() == [6 / 8, 3 / 8, 0.0]
    for index, count in enumerate([6, 3, 0]):
        interval = stats.binomtest(count, 8).proportion_ci(0.9, method="exact")
        assert (result.lower[index], result.upper[index]) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_the_certified_share_of_a_result_counts_one_row_a_request():
    inputs = linear.inputs(120)
    options = {"task": "classification", "levels": [0.2, 0.5], "trials": 39}
    alone = assess_rows(classify, inputs, **options)
    shares = alone.certified_share([0.0, 0.1, 0.3, 10.0])
    assert (shares.level, shares.rows, shares.confidence) == (0.5, 120, 0.95)
    radius = alone.curve[2].certified_radius
    assert shares.share.tolist() == [np.mean(radius > each) for each in (0.0, 0.1, 0.3, 10.0)]
    assert alone.certified_share([0.1], level=0.2).level == 0.2
    together = assess_rows(classify, inputs, clusters=np.repeat(np.arange(40), 3), **options).certified_share([0.1])
    assert together.rows == 40
    assert together.share.tolist() == [np.mean(radius[::3] > 0.1)]


@pytest.mark.parametrize("votes", [[-1], [20], [0.5], [[1]]])
def test_votes_that_cannot_be_are_refused(votes):
    with pytest.raises(InvalidInputError, match="votes must be"):
        certified_radii(votes, 19, 0.1, 0.95)


@pytest.mark.parametrize("radii", [[-0.1], [np.inf], [[0.1]]])
def test_radii_that_cannot_be_are_refused(radii):
    with pytest.raises(InvalidInputError, match="radii must be"):
        certified_share(np.ones(3), radii, 0.1, 0.95)
