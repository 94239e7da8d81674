"""Noise models against closed forms."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import robmon
from robmon import noise as models
from robmon import vocabulary
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import like, to_numpy
from robmon.robustness.noise.base import noise_features
from robmon.robustness.noise.draws import Draws
from robmon.robustness.noise.rows import AnyNoiseRows
from tests.robustness import linear
from tests.robustness.assessing import assess_rows, plan_assessment

ADDITIVE = {"gaussian": 3.0, "uniform": 1.8, "laplace": 6.0, "student_t": 9.0, "common_mode": 3.0, "correlated": 3.0}
"""Additive models and their draw's kurtosis."""
NAMES = tuple(name for name in models.NOISE_MODELS if name not in vocabulary.IMAGE_NOISES)
"""Of noise of columns."""


def coin(generator, shape):
    return generator.choice([-1.0, 1.0], size=shape)


def perturbed(noise, inputs, level, *, seed=0, cuts=(), **options):
    """The rows at one level of one trial, drawn in batches that are cut at these rows."""
    features = noise_features(noise, inputs, **options)
    drawn = Draws(noise, inputs, features, seed)
    parts = []
    for start, stop in zip((0, *cuts), (*cuts, len(inputs)), strict=True):
        draw = functools.partial(drawn.of, [0], slice(start, stop))
        parts.append(to_numpy(AnyNoiseRows(noise, inputs[start:stop], draw, features.like(inputs)).at(level)))
    return np.concatenate(parts)


def draws(name, shape, inputs=None, kind=np.zeros):
    noise = models.NOISE_MODELS[name]
    features = noise_features(noise, linear.inputs(100) if inputs is None else inputs)
    return to_numpy(Draws(noise, kind(shape), features, seed=1).of([0], slice(0, shape[0])))


BACK_ENDS = pytest.mark.parametrize("kind", [np.zeros, torch.zeros], ids=["numpy", "torch"])


# --- standard draws --------------------------------------------------------------------------------------------------


@BACK_ENDS
@pytest.mark.parametrize(("name", "kurtosis"), ADDITIVE.items())
def test_draws_have_mean_0_and_variance_1(name, kurtosis, kind):
    z = draws(name, (200_000, 4), kind=kind)[:, 0].astype(np.float64)
    n = len(z)
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert z.var() == pytest.approx(1, abs=4 * math.sqrt((kurtosis - 1) / n))
    # That of Student's t at 5 degrees of freedom has no variance, so that samples are far from it.
    assert (z**4).mean() == pytest.approx(kurtosis, rel=0.4 if name == "student_t" else 0.04)


@pytest.mark.parametrize("df", [2.5, 3, 30])
def test_students_variance_is_1_whatever_the_degrees_of_freedom(df):
    from scipy import stats

    z = models.StudentT(df=df).draw(np.random.default_rng(1), (50_000,), None)
    assert stats.kstest(z * math.sqrt(df / (df - 2)), stats.t(df).cdf).pvalue > 0.001
    with pytest.raises(InvalidInputError, match="df must be above 2"):
        models.StudentT(df=2)


def test_correlated_draws_have_the_inputs_correlation():
    g = np.random.default_rng(0)
    inputs = g.normal(size=(500, 3)) @ g.normal(size=(3, 5)) * [1, 10, 100, 0.1, 1]
    z = draws("correlated", (100_000, 5), inputs)
    assert np.corrcoef(z.T) == pytest.approx(np.corrcoef(inputs.T), abs=0.02)


# --- closed forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ADDITIVE)
def test_a_linear_model_has_its_closed_form_under_every_additive_noise(name):
    """MSE = s² |w|²; under common_mode s² (sum w)², under correlated s² w' R w. Any level, by one draw."""
    g = np.random.default_rng(0)
    inputs = g.normal(size=(1000, 4)) @ (np.eye(4) + 0.5)
    result = assess_rows(linear.predict, inputs, noise=name, levels=[0.1, 0.5], scale=1.0, trials=39)
    w = linear.WEIGHTS
    expected = {"common_mode": w.sum() ** 2, "correlated": w @ np.corrcoef(inputs.T) @ w}.get(name, w @ w)
    for point in result.curve[1:]:
        assert point.mean_mse == pytest.approx(point.level**2 * expected, rel=0.03)
        assert point.realised_level == pytest.approx(point.level, rel=0.02)
    assert result.slope.lack_of_fit < 1e-9
    assert result.noise == name and result.level_unit == "input units"


@pytest.mark.parametrize("noise", [models.Gaussian(), models.CommonMode(groups=[[0], [1, 2]])], ids=["all", "groups"])
@pytest.mark.parametrize("of_back_end", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_features_that_stay_as_they_are_count_in_no_realised_level(noise, of_back_end):
    inputs = linear.inputs(1000)
    inputs[:, 2] = 5.0
    moved = assess_rows(lambda x, rows: x, of_back_end(inputs), noise=noise, levels=[0.1], trials=39)
    assert moved.curve[1].realised_level == pytest.approx(0.1, rel=0.02)
    scale = inputs.std(axis=0) * ([1, 1, 0, 1] if isinstance(noise, models.Gaussian) else [1, 1, 0, 0])
    assert moved.curve[1].mean_mse == pytest.approx(0.01 * np.mean(scale**2), rel=0.03)


def test_multiplicative_noise_is_a_share_of_the_value():
    inputs = linear.inputs(1000) + 5
    result = assess_rows(linear.predict, inputs, noise="multiplicative", levels=[0.1])
    expected = 0.01 * float(((inputs * linear.WEIGHTS) ** 2).sum(axis=1).mean())
    assert result.curve[1].mean_mse == pytest.approx(expected, rel=0.02)
    realised = 0.1 * math.sqrt(float(((inputs / inputs.std(axis=0)) ** 2).mean()))
    assert result.curve[1].realised_level == pytest.approx(realised, rel=0.02)
    assert result.level_unit == "share of the value"


def test_missing_cells_are_filled_with_the_mean():
    inputs = linear.inputs(2000) * [1, 2, 3, 4] + 10
    result = assess_rows(lambda x, rows: x, inputs, noise="missing", levels=[0.2, 1.0], trials=39)
    variance = inputs.var(axis=0)
    assert result.curve[1].mean_mse == pytest.approx(0.2 * variance.mean(), rel=0.02)
    assert result.curve[2].mean_mse == pytest.approx(variance.mean(), rel=1e-9)
    assert [point.realised_level for point in result.curve] == pytest.approx([0, math.sqrt(0.2), 1], rel=0.02)
    filled = assess_rows(lambda x, rows: x, inputs, noise=models.Missing(fill=(10, 10, 10, 0)), levels=[1.0])
    assert filled.row_errors[:, 1] == pytest.approx(((inputs - [10, 10, 10, 0]) ** 2).mean(axis=1))
    given = perturbed(models.Missing(fill=math.nan), inputs, 0.5)
    assert np.isnan(given).mean() == pytest.approx(0.5, abs=0.03)


def test_salt_and_pepper_hit_a_share_of_the_cells():
    inputs = linear.inputs(2000)
    noisy = perturbed(models.SaltAndPepper(low=-7, high=9), inputs, 0.1)
    assert (noisy == -7).mean() == pytest.approx(0.05, abs=0.01)
    assert (noisy == 9).mean() == pytest.approx(0.05, abs=0.01)
    assert ((noisy == inputs) | (noisy == -7) | (noisy == 9)).all()
    noisy = perturbed(models.SaltAndPepper(), inputs, 1.0)
    distance = np.abs(noisy - inputs.mean(axis=0))
    assert distance == pytest.approx(np.broadcast_to(3 * inputs.std(axis=0), distance.shape))


@pytest.mark.parametrize("name", ["salt_and_pepper", "missing"])
def test_a_cell_that_is_hit_stays_hit_at_higher_levels(name):
    inputs = linear.inputs(300)
    hit = [perturbed(models.NOISE_MODELS[name], inputs, level) != inputs for level in (0.1, 0.3, 0.31, 1.0)]
    for few, more in itertools.pairwise(hit):
        assert (few <= more).all() and few.sum() < more.sum()
    assert hit[-1].all()


@pytest.mark.parametrize("level", [0.01, 0.1])
def test_quantize_rounds_to_a_grid(level):
    inputs = linear.inputs(5000)
    step = level * inputs.std(axis=0)
    noisy = perturbed(models.Quantize(), inputs, level)
    assert noisy / step == pytest.approx(np.round(noisy / step), abs=1e-9)
    assert np.abs(noisy - inputs).max(axis=0) == pytest.approx(step / 2, rel=0.01)
    result = assess_rows(linear.predict, inputs, noise="quantize", levels=[level])
    assert result.curve[1].mean_mse == pytest.approx(
        float((linear.WEIGHTS * step) @ (linear.WEIGHTS * step)) / 12, rel=0.05
    )
    assert result.curve[1].realised_level == pytest.approx(level / math.sqrt(12), rel=0.02)
    assert len(set(result.curve[1].trial_mse)) == 1


def test_common_mode_moves_groups_together():
    inputs = linear.inputs(50)
    moves = perturbed(models.CommonMode(groups=[[0, 2], [3]]), inputs, 0.5, scale=1.0) - inputs
    assert moves[:, 0] == pytest.approx(moves[:, 2]) and not moves[:, 1].any()
    assert abs(np.corrcoef(moves[:, 0], moves[:, 3])[0, 1]) < 0.5
    with pytest.raises(InvalidInputError, match="feature 0 is in two groups"):
        perturbed(models.CommonMode(groups=[[0], [0, 1]]), inputs, 0.5)
    with pytest.raises(InvalidInputError, match="9 is not one of the floating features: those are positions 0 t"):
        perturbed(models.CommonMode(groups=[[9]]), inputs, 0.5)


@pytest.mark.parametrize(("shape", "axis"), [((6, 3, 5, 7), 1), ((6, 5, 7, 3), 3)])
def test_common_mode_moves_channels_of_tensors(shape, axis):
    inputs = np.random.default_rng(0).normal(size=shape)
    moves = perturbed(models.CommonMode(groups=[[0, 1]]), inputs, 1.0, scale=1.0) - inputs
    moves = np.moveaxis(moves, axis, 1)
    assert np.ptp(moves[:, :2], axis=(1, 2, 3)) == pytest.approx(np.zeros(6), abs=1e-12)
    assert not moves[:, 2].any() and moves[:, 0].any()


# --- for every model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise", [*map(models.NOISE_MODELS.get, NAMES), robmon.Noise("coin", coin)], ids=lambda n: n.name
)
@pytest.mark.parametrize("shape", [(17,), (17, 4), (17, 3, 5, 6)], ids=str)
def test_neither_batch_cuts_nor_more_rows_change_a_rows_noise(noise, shape):
    inputs = np.random.default_rng(0).normal(size=shape)
    if noise.needs_correlation and len(shape) > 2:
        with pytest.raises(InvalidInputError, match="correlated noise needs inputs of columns"):
            perturbed(noise, inputs, 0.3)
        return
    whole = perturbed(noise, inputs, 0.3)
    assert np.array_equal(perturbed(noise, inputs, 0.3, cuts=(1, 3, 10)), whole)
    assert np.array_equal(perturbed(noise, inputs[:9], 0.3, features=noise_features(noise, inputs)), whole[:9])
    assert (perturbed(noise, inputs, 0.3, seed=1) != whole).any() == (noise.name != "quantize")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_tensors_are_perturbed_as_arrays_are_and_keep_their_type(name, dtype):
    inputs = linear.inputs(40).astype(dtype)
    noise = models.NOISE_MODELS[name]
    array = perturbed(noise, inputs, 0.3)
    tensor = perturbed(noise, torch.from_numpy(inputs), 0.3)
    assert array.dtype == tensor.dtype == np.dtype(dtype)
    assert (array == inputs).mean(axis=0) == pytest.approx((tensor == inputs).mean(axis=0), abs=0.4)
    features = noise_features(noise, inputs)
    drawn = np.array(Draws(noise, inputs, features, seed=0).of([0], slice(0, 40)))

    def of_that_draw(each):
        rows = AnyNoiseRows(noise, each, lambda: like(drawn, each), features.like(each))
        return to_numpy(rows.at(0.3))

    assert np.array_equal(of_that_draw(inputs), of_that_draw(torch.from_numpy(inputs)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(NAMES),
    inputs=arrays(
        np.float64,
        st.sampled_from([(12,), (12, 3), (12, 2, 2)]),
        elements=st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, math.nan, math.inf, -999.0]),
    ),
    level=st.sampled_from([0.0, 0.001, 0.5, 1.0]),
    seed=st.integers(0, 5),
    scale=st.sampled_from([None, 1.0, 0.01]),
)
def test_properties_of_every_model(name, inputs, level, seed, scale):
    noise = models.NOISE_MODELS[name]
    try:
        features = noise_features(noise, inputs, scale)
    except InvalidInputError:
        return  # nothing varies, or correlated noise of tensors
    noisy = perturbed(noise, inputs, level, seed=seed, features=features)
    finite = np.isfinite(inputs)
    assert noisy.shape == inputs.shape and noisy.dtype == inputs.dtype
    assert np.isfinite(noisy[finite]).all()
    assert np.array_equal(noisy[~finite], inputs[~finite], equal_nan=True)
    kept = (np.broadcast_to(features.scale, inputs.shape) == 0) | (inputs == features.sentinels)
    assert np.array_equal(noisy[kept], inputs[kept], equal_nan=True)
    if level == 0:
        assert np.array_equal(noisy, inputs, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_assesses_plans_and_draws_a_picture(name):
    inputs = linear.inputs(64)
    noise = {"noise": name, "levels": [0.1, 0.5], "trials": 19}
    plan = plan_assessment(linear.predict, inputs, confidence=0.95, min_rows=8, max_seconds=60, **noise)
    result = assess_rows(linear.predict, inputs, max_batch_rows=plan.batch_rows, **noise)
    again = assess_rows(linear.predict, inputs, max_batch_rows=5, **noise)
    assert [point.realised_level for point in again.curve] == [point.realised_level for point in result.curve]
    assert again.row_errors == pytest.approx(result.row_errors)
    axes = result.plot().axes[0]
    assert axes.get_xlabel() == f"noise level ({result.level_unit})"


# --- clipping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_perturbed_values_are_clipped_to_the_valid_range(kind):
    inputs = np.random.default_rng(0).uniform(-1, 1, size=(4000, 2))
    inputs[0] = 5.0
    given = torch.from_numpy(inputs) if kind == "torch" else inputs
    noisy = perturbed(models.Gaussian(clip=((-1.0, -0.5), 1.0)), given, 2.0, scale=1.0)
    assert noisy[1:, 0].min() == -1 and noisy[1:].max() == 1
    low = inputs[1:, 1] >= -0.5
    assert noisy[1:, 1][low].min() == -0.5
    assert (noisy[1:, 1][~low] >= inputs[1:, 1][~low]).all(), "what lies outside by itself is moved no further out"
    assert (noisy[0] <= 5).all() and (noisy[0] > 1).any()


def test_a_range_that_is_empty_is_refused():
    for noise in (models.Missing(clip=(1, 0)), models.PerColumn({0: models.Gaussian(clip=((0, 5), 5))})):
        with pytest.raises(InvalidInputError, match=r"clip of (missing|gaussian) noise is empty"):
            assess_rows(linear.predict, linear.inputs(30), noise=noise)


def test_the_realised_level_of_clipped_noise_has_its_closed_form():
    """At 0, clipped to ±c: E min(|s z|, c)² = s² (2 Phi(a) - 1 - 2 a phi(a)) + 2 c² (1 - Phi(a)) with a = c / s."""
    from scipy.stats import norm

    inputs, s, c = np.zeros((500, 4)), 0.5, 0.4
    result = assess_rows(
        lambda x, rows: x, inputs, noise=models.Gaussian(clip=(-c, c)), levels=[s], scale=1.0, trials=39
    )
    a = c / s
    expected = s**2 * (2 * norm.cdf(a) - 1 - 2 * a * norm.pdf(a)) + 2 * c**2 * norm.sf(a)
    assert result.curve[1].realised_level == pytest.approx(math.sqrt(expected), rel=0.01)
    assert result.curve[1].mean_mse == pytest.approx(result.curve[1].realised_level ** 2)


def test_the_realised_level_knows_the_type_that_inputs_are_cast_to():
    inputs = np.full((64, 2), 2048.0, dtype=np.float16)  # whose next value is 2050
    result = assess_rows(lambda x, rows: x[:, 0], inputs, levels=[0.1, 50.0], scale=1.0, trials=19)
    assert result.curve[1].realised_level == 0
    assert result.curve[2].realised_level == pytest.approx(50, rel=0.1)


# --- of one's own, and per column ------------------------------------------------------------------------------------


def test_a_draw_of_ones_own():
    result = robmon.assess(
        lambda x: x @ linear.WEIGHTS, linear.inputs(500), noise=robmon.Noise("coin", coin), levels=[0.2], scale=1.0
    )
    assert result.noise == "coin"
    assert result.curve[1].mean_mse == pytest.approx(0.04 * linear.SQUARED_NORM, rel=0.05)
    assert result.curve[1].realised_level == pytest.approx(0.2, rel=1e-12)


def test_a_perturbation_of_ones_own():
    def apply(inputs, draw, level, features):
        return inputs + level * abs(draw) * (inputs > features.mean)

    own = robmon.Noise("upwards", apply=apply, unit="bars", largest_level=2.0)
    inputs = linear.inputs(100)
    above = inputs > inputs.mean(axis=0)
    for rows in (inputs, torch.from_numpy(inputs)):
        moves = perturbed(own, rows, 1.0) - inputs
        assert (moves[above] > 0).all() and not moves[~above].any()
    result = assess_rows(linear.predict, inputs, noise=own, levels=[1.0])
    assert result.level_unit == "bars"
    with pytest.raises(
        InvalidInputError, match="level 3 of upwards noise has no meaning: levels count bars, at most 2"
    ):
        assess_rows(linear.predict, inputs, noise=own, levels=[1.0, 3.0])


def test_a_perturbation_of_ones_own_must_keep_the_shape():
    inputs = linear.inputs(30)
    with pytest.raises(InvalidInputError, match=r"flat noise made inputs of shape \(30,\) of \(30, 4\)"):
        assess_rows(linear.predict, inputs, noise=robmon.Noise("flat", apply=lambda x, z, level, f: x[:, 0]))
    with pytest.raises(InvalidInputError, match=r"odd noise drew numbers of shape \(3,\) for inputs of \(30, 4\)"):
        assess_rows(linear.predict, inputs, noise=robmon.Noise("odd", lambda generator, shape: np.ones(3)))


def frame():
    g = np.random.default_rng(0)
    return pd.DataFrame(
        {"temperature": g.normal(20, 5, 300), "clicks": g.poisson(3.0, 300) + 0.0, "age": g.integers(1, 90, 300),
         "load": g.normal(size=300), "spare": g.normal(size=300)}
    )  # fmt: skip


def test_another_noise_for_every_column():
    inputs, seen = frame(), []

    def predict(x):
        seen.append(x)
        return x["temperature"] + x["clicks"]

    chosen = models.PerColumn({"temperature": "gaussian", "clicks": models.Missing(fill=-1)}, default=None)
    result = robmon.assess(predict, inputs, noise=chosen, levels=[0.5], trials=19, max_batch_rows=300)
    noisy = seen[-1]
    assert (noisy["temperature"] != inputs["temperature"]).all()
    lost = noisy["clicks"] != inputs["clicks"]
    assert 0.4 < lost.mean() < 0.6 and (noisy["clicks"][lost] == -1).all()
    pd.testing.assert_frame_equal(noisy[["age", "load", "spare"]], inputs[["age", "load", "spare"]])
    assert result.masked.not_floating == 1
    assert (result.scale > 0).tolist() == [True, True, False, False]
    assert result.noise == "per_column" and result.level_unit == "what each column's noise counts"


def test_columns_of_one_noise_are_perturbed_together():
    together = models.CommonMode()
    chosen = models.PerColumn({"a": together, 2: together, "b": models.CommonMode()}, default="uniform")
    inputs = linear.inputs(200)
    options = {"scale": 1.0, "names": ["a", "b", "c", "d"]}
    moves = perturbed(chosen, inputs, 0.5, **options) - inputs
    assert moves[:, 0] == pytest.approx(moves[:, 2])
    assert abs(np.corrcoef(moves[:, 0], moves[:, 1])[0, 1]) < 0.3
    assert np.abs(moves[:, 3]).max() == pytest.approx(0.5 * math.sqrt(3), rel=0.05)
    assert np.array_equal(perturbed(chosen, inputs, 0.5, cuts=(7, 50), **options), moves + inputs)
    moves = perturbed(chosen, torch.from_numpy(inputs), 0.5, **options) - inputs
    assert moves[:, 0] == pytest.approx(moves[:, 2]) and abs(np.corrcoef(moves[:, 0], moves[:, 1])[0, 1]) < 0.3


def test_correlated_columns_among_others():
    g = np.random.default_rng(0)
    shared = g.normal(size=20_000)
    inputs = np.column_stack([shared, g.normal(size=20_000), shared + 0.1 * g.normal(size=20_000)])
    chosen = models.PerColumn({1: "missing"}, default="correlated")
    moves = perturbed(chosen, inputs, 0.5) - inputs
    assert np.corrcoef(moves[:, 0], moves[:, 2])[0, 1] == pytest.approx(np.corrcoef(inputs.T)[0, 2], abs=0.01)


def test_levels_of_every_columns_noise_are_checked():
    with pytest.raises(InvalidInputError, match="level 2 of missing noise has no meaning"):
        assess_rows(linear.predict, linear.inputs(30), noise=models.PerColumn({0: "missing"}), levels=[2.0])


def test_columns_that_are_not_there_are_refused():
    with pytest.raises(
        InvalidInputError, match=r"'humidity' is not one of the floating features.* temperature, clicks, load, spare"
    ):
        robmon.assess(lambda x: x["load"], frame(), noise=models.PerColumn({"humidity": "missing"}))
    with pytest.raises(InvalidInputError, match="'age' is not one of the floating features"):
        robmon.assess(lambda x: x["load"], frame(), noise=models.PerColumn({"age": "missing"}))
    with pytest.raises(InvalidInputError, match="noise 'rain' is not known"):
        models.PerColumn({"load": "rain"})
    with pytest.raises(InvalidInputError, match="of at least one column"):
        models.PerColumn({}, default=None)
    with pytest.raises(InvalidInputError, match="noise per column needs inputs of columns"):
        perturbed(models.PerColumn({0: "missing"}), np.ones((3, 2, 2)) * np.arange(3)[:, None, None], 0.1)


# --- names -----------------------------------------------------------------------------------------------------------


def test_every_noise_model_is_in_the_vocabulary_with_its_largest_level():
    assert tuple(models.NOISE_MODELS) == vocabulary.NOISE_NAMES
    largest = {name: noise.largest_level for name, noise in models.NOISE_MODELS.items()}
    assert {name: level for name, level in largest.items() if level != math.inf} == vocabulary.LARGEST_LEVELS


@pytest.mark.parametrize("name", ["salt_and_pepper", "missing"])
def test_levels_that_are_shares_are_at_most_1(name):
    with pytest.raises(InvalidInputError, match=f"level 2 of {name} noise .* share of the cells, at most 1"):
        assess_rows(linear.predict, linear.inputs(30), noise=name, levels=[0.1, 2.0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_level_finer_than_the_inputs_type_is_told_as_not_applied(dtype: str) -> None:
    center = {"bfloat16": 100.0, "float16": 1000.0, "float32": 1e7}[dtype]
    inputs = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([center, 0.0])
    module = torch.nn.Linear(2, 1).to(getattr(torch, dtype))
    result = robmon.assess(
        module, inputs.to(getattr(torch, dtype)), levels=(0.0, 0.01, 0.05, 4.0), trials=19, scale=1.0
    )
    (told,) = [note for note in result.notes if "finer" in note]
    assert told.startswith(f"input[0]: noise of levels 0.01, 0.05 is finer than {dtype} is there, and not applied")


def test_a_level_that_the_inputs_type_holds_is_not_told() -> None:
    inputs = np.random.default_rng(0).normal((0.0, 1e7), 1.0, (64, 2))
    result = robmon.assess(lambda x: x[:, 0], inputs, levels=(0.05,), trials=19)
    assert not [note for note in result.notes if "finer" in note]
