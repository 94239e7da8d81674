from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from robmon.errors import InvalidInputError, PredictionError, TooFewTrialsError
from robmon.report.words import rounded_up
from robmon.robustness.features.features import measure
from robmon.robustness.noise.base import Noise, noise_features
from robmon.robustness.noise.by_name import noise_model
from robmon.robustness.noise.draws import BLOCK_ROWS, Draws
from tests.robustness import linear
from tests.robustness.assessing import assess_rows


def numbers(result):
    """All that a result says, to compare two."""
    return result.to_dict() | {"row_errors": result.row_errors.tolist()}


def softmax_net(dtype=torch.float32):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3), torch.nn.Softmax(dim=1)
    ).to(dtype)


def on_torch(net):
    def predict(x, rows):
        with torch.no_grad():
            return net(x)

    return predict


def test_linear_model_has_its_closed_form():
    inputs = linear.inputs(4000)
    result = assess_rows(linear.predict, inputs, levels=[0.1, 0.5], scale=1.0, trials=99)
    assert result.slope.value == pytest.approx(linear.SQUARED_NORM, rel=0.01)
    for point in result.curve:
        assert point.mean_mse == pytest.approx(point.level**2 * linear.SQUARED_NORM, rel=0.01)
    assert result.slope.lack_of_fit < 0.001
    variance = float(np.var(inputs @ linear.WEIGHTS))
    assert result.area == pytest.approx(0.25 * linear.SQUARED_NORM / (2 * variance) / 2, rel=0.01)
    assert result.index == 1 - result.area
    assert result.output == "value"
    assert not result.relative


def test_notes_are_in_the_text_and_the_json():
    result = assess_rows(linear.predict, linear.inputs(50), notes=["column b is left alone"])
    assert result.notes == ("output is value: numbers under regression", "column b is left alone")
    assert result.to_dict()["notes"] == list(result.notes)
    assert str(result).splitlines()[-1] == "column b is left alone"


def test_relative_levels_multiply_each_features_deviation():
    inputs = linear.inputs(3000) * [1.0, 10.0, 0.1, 5.0]
    result = assess_rows(linear.predict, inputs, levels=[0.2], trials=39)
    expected = 0.04 * float(np.sum((linear.WEIGHTS * inputs.std(axis=0)) ** 2))
    assert result.curve[1].mean_mse == pytest.approx(expected, rel=0.02)
    assert result.scale == pytest.approx(inputs.std(axis=0))
    assert result.relative


def leaves(value, path=""):
    """The numbers in nested dicts and lists, by where they stand."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from leaves(part, f"{path}[{index}]")
    elif isinstance(value, float):
        yield path, value


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_the_same_seed_gives_the_same_numbers_for_every_batch_size(kind):
    inputs = linear.inputs(53)

    def predict(x, rows):  # row by row, so that only robmon's own arithmetic is compared
        return (x * weights).sum(-1)

    weights = linear.WEIGHTS
    if kind == "torch":
        inputs, weights = torch.from_numpy(inputs), torch.from_numpy(weights)
    results = [
        numbers(assess_rows(predict, inputs, trials=19, seed=7, max_batch_rows=size)) for size in (None, 1, 7, 52, 53)
    ]
    for result in results:
        assert dict(leaves(result)) == pytest.approx(dict(leaves(results[0])), rel=1e-12, abs=1e-300)
    other = numbers(assess_rows(predict, inputs, trials=19, seed=8))
    assert other["curve"][1]["mean_mse"] != results[0]["curve"][1]["mean_mse"]


def test_a_rows_noise_does_not_depend_on_the_rows_after_it():
    inputs = linear.inputs(40)
    few = assess_rows(linear.predict, inputs[:25], scale=1.0, trials=19, max_batch_rows=10)
    many = assess_rows(linear.predict, inputs, scale=1.0, trials=19, max_batch_rows=40)
    assert few.row_errors == pytest.approx(many.row_errors[:25])


def test_numpy_and_torch_agree():
    inputs = linear.inputs(60)
    weights = torch.from_numpy(linear.WEIGHTS)
    noise = Noise("normal", lambda generator, shape: generator.standard_normal(shape))  # drawn by NumPy for both
    a = assess_rows(linear.predict, inputs, noise=noise)
    b = assess_rows(lambda x, rows: x @ weights, torch.from_numpy(inputs), noise=noise)
    assert b.row_errors == pytest.approx(a.row_errors, rel=1e-9)


@pytest.mark.parametrize("batch_rows", [None, 10])
def test_level_zero_of_a_single_precision_model_is_exactly_zero(batch_rows):
    inputs = torch.from_numpy(linear.inputs(64)).float()
    result = assess_rows(on_torch(softmax_net()), inputs, task="classification", max_batch_rows=batch_rows)
    point = result.curve[0]
    assert (point.mean_mse, point.bound, point.request_bound, point.agreement) == (0.0, 0.0, 0.0, 1.0)
    assert not result.row_errors[:, 0].any()
    assert result.output == "probability"
    assert result.label_ceiling is None


def test_rounding_at_level_zero_is_zero():
    trembling = np.random.default_rng(0)
    result = assess_rows(lambda x, rows: x @ linear.WEIGHTS + 1e-7 * trembling.normal(size=len(x)), linear.inputs(50))
    assert result.curve[0].bound == 0.0


def test_a_model_that_is_itself_random_has_a_floor():
    own = np.random.default_rng(0)

    def noisy(sigma):
        return assess_rows(
            lambda x, rows: x @ linear.WEIGHTS + sigma * own.normal(size=len(x)),
            linear.inputs(400),
            levels=[0.1],
            scale=1.0,
        )

    loud, quiet = noisy(5.0), noisy(0.01)
    assert loud.curve[0].mean_mse == pytest.approx(2 * 25, rel=0.15)
    assert len(set(loud.curve[0].trial_mse)) == 39
    assert loud.slope is None
    assert quiet.curve[0].mean_mse > 0
    assert quiet.slope.value == pytest.approx(linear.SQUARED_NORM, rel=0.05)


def test_a_nan_output_gives_infinity_at_its_level():
    def predict(x, rows):
        outputs = x @ linear.WEIGHTS
        outputs[np.abs(x).max(axis=1) > 6] = np.nan
        return outputs

    result = assess_rows(predict, np.clip(linear.inputs(100), -2, 2), levels=[0.1, 5.0], scale=1.0)
    calm, wild = result.curve[1:]
    assert math.isfinite(calm.bound)
    assert (wild.mean_mse, wild.bound, wild.request_bound) == (math.inf,) * 3
    assert wild.nonfinite_outputs > 0 == calm.nonfinite_outputs
    assert result.area is None and result.index is None and result.slope is None
    assert result.band[1] < math.inf == result.band[2]
    assert result.to_dict()["curve"][2]["bound"] == "+Inf"


def test_a_nan_class_counts_as_changed():
    def probabilities(x, rows):
        p = 1 / (1 + np.exp(-x[:, :1]))
        p = np.hstack([p, 1 - p])
        # NaN in the column of the clean class, where argmax would find it again
        bad = np.abs(x[:, 0]) > 8
        p[bad, (np.arange(rows.start, rows.stop) % 2)[bad]] = np.nan
        return p

    inputs = (1 - 2 * (np.arange(30) % 2))[:, None] + 0.01 * linear.inputs(30)[:, :1]
    result = assess_rows(probabilities, inputs, task="classification", levels=[100.0], scale=1.0)
    bad = np.abs(inputs + 100.0) > 8
    assert bad.all()
    assert result.curve[1].agreement < 0.1
    labels = assess_rows(
        lambda x, rows: np.where(np.abs(x[:, 0]) > 8, np.nan, np.arange(rows.start, rows.stop) % 2),
        inputs, output="label", levels=[100.0], scale=1.0,
    )  # fmt: skip
    assert labels.curve[1].mean_mse == pytest.approx(labels.curve[1].nonfinite_outputs / (30 * 39))
    assert labels.curve[1].mean_mse == pytest.approx(1 - labels.curve[1].agreement)


@pytest.mark.parametrize("form", ["integer", "text", "object", "one-hot"])
def test_the_index_of_shuffled_classes_is_cohens_kappa(form):
    generator = np.random.default_rng(0)
    classes = generator.choice(4, p=[0.5, 0.25, 0.2, 0.05], size=300)
    moved = generator.permutation(300) < 120
    shuffled = classes.copy()
    shuffled[moved] = generator.permutation(classes[moved])
    names = np.array(["ape", "bee", "cat", "dog"])
    encode = {
        "integer": lambda c: c,
        "text": lambda c: names[c],
        "object": lambda c: names[c].astype(object),
        "one-hot": lambda c: np.eye(4)[c],
    }[form]

    def predict(x, rows):
        # Whatever the noise, the classes are shuffled in the same way.
        return encode(np.where(np.all(x == inputs[rows], axis=1), classes[rows], shuffled[rows]))

    inputs = linear.inputs(300)
    result = assess_rows(predict, inputs, task="classification", levels=[1.0], trials=19)
    share = result.normalised_row_errors[:, 1].mean()
    kappa = cohen_kappa_score(classes, shuffled)
    assert 1 - share == pytest.approx(kappa, abs=1e-12)
    assert result.index == pytest.approx(1 - share / 2, abs=1e-12)  # the trapeze from level 0
    targets = assess_rows(
        lambda x, rows: encode(classes[rows]), inputs, targets=encode(shuffled), task="classification"
    )
    assert targets.index == pytest.approx(kappa, abs=1e-12)
    assert result.curve[1].agreement == pytest.approx(np.mean(classes == shuffled))


def test_targets_give_clean_mse_and_a_ceiling_that_holds():
    inputs = linear.inputs(200)
    targets = inputs @ linear.WEIGHTS + np.random.default_rng(1).normal(size=200)
    result = assess_rows(linear.predict, inputs, targets=targets[:, None])
    assert result.reference == "label"
    assert result.clean_mse == pytest.approx(np.mean((inputs @ linear.WEIGHTS - targets) ** 2))
    assert result.curve[0].bound == pytest.approx(result.clean_mse)
    assert result.slope.value == pytest.approx(float(np.sum((linear.WEIGHTS * inputs.std(axis=0)) ** 2)), rel=0.1)
    assert result.label_ceiling[0] == pytest.approx(result.clean_mse)
    against_prediction = assess_rows(linear.predict, inputs)
    for ceiling, point, moved in zip(result.label_ceiling, result.curve, against_prediction.curve, strict=True):
        assert ceiling == pytest.approx((math.sqrt(result.clean_mse) + math.sqrt(moved.bound)) ** 2)
        assert ceiling >= point.bound * (1 - 1e-12)


def test_targets_of_another_size_are_refused():
    with pytest.raises(InvalidInputError, match="do not fit"):
        assess_rows(linear.predict, linear.inputs(20), targets=np.zeros((20, 2)))
    with pytest.raises(InvalidInputError, match="do not fit"):
        assess_rows(lambda x, rows: x, linear.inputs(20), targets=np.zeros((4, 20)))


def test_outputs_without_variance_are_left_out():
    inputs = linear.inputs(50)
    one = assess_rows(linear.predict, inputs)
    two = assess_rows(lambda x, rows: np.stack([np.full(len(x), 7.0), linear.predict(x, rows)], axis=1), inputs)
    assert two.outputs_without_variance == 1
    assert two.area == pytest.approx(one.area)
    assert two.curve[2].mean_mse == pytest.approx(one.curve[2].mean_mse / 2)
    none = assess_rows(lambda x, rows: np.full(len(x), 7.0), inputs)
    assert none.area is None and none.outputs_without_variance == 1


def test_given_variances_normalise():
    inputs = linear.inputs(50)
    own = assess_rows(linear.predict, inputs)
    given = assess_rows(
        linear.predict, inputs, output_variance=2 * own.clean_variance, comparison_variance=4 * own.clean_variance
    )
    assert given.area == pytest.approx(own.area / 2)
    assert given.clean_variance == pytest.approx(own.clean_variance)
    assert given.comparison_row_errors == pytest.approx(own.normalised_row_errors / 4)


@pytest.mark.parametrize(
    ("outputs", "task", "output", "expected"),
    [
        (np.array([[0.2, 0.8], [0.9, 0.1]]), "classification", None, "probability"),
        (np.array([[0.2, 0.8], [0.9, 0.3]]), "classification", "multilabel", "multilabel"),
        (np.array([[0.2, 0.8], [0.9, 0.3]]), "classification", "probability", "probability"),
        (np.array([[0.2, 0.8], [1.9, 0.3]]), "classification", None, "logit"),
        (np.array([0.1, 0.9]), "classification", None, "probability"),
        (np.array([-0.1, 0.9]), "classification", None, "logit"),
        (np.array([1, 2]), "classification", None, "label"),
        (np.array(["a", "b"]), "classification", None, "label"),
        (np.array([1, 2]), "regression", "value", "value"),
        (np.array([1, 2]), "regression", "label", "label"),
        (np.array([0.1, 0.9]), "regression", None, "value"),
    ],
)
def test_kind_of_output(outputs, task, output, expected):
    result = assess_rows(lambda x, rows: outputs[rows], np.array([[0.0], [1.0]]), task=task, output=output)
    assert result.output == expected


@pytest.mark.parametrize(
    ("outputs", "options"),
    [
        (np.array([1, 2]), {}),
        (np.array(["a", "b"]), {}),
        (np.array(["a", "b"]), {"output": "value"}),
        (np.array([[1, 2], [3, 4]]), {"output": "label"}),
        (np.array([0.5, 1.5]), {"output": "probability"}),
        (np.ones((2, 3, 4)), {"task": "classification"}),
        (np.ones(2), {"task": "ranking"}),
        (np.ones(2), {"output": "odds"}),
    ],
)
def test_kinds_that_cannot_be_are_refused(outputs, options):
    with pytest.raises(InvalidInputError):
        assess_rows(lambda x, rows: outputs[rows], np.array([[0.0], [1.0]]), **options)


@pytest.mark.parametrize("shape", [(5,), (1, 10), ()])
def test_outputs_that_are_not_one_a_row_are_refused(shape):
    with pytest.raises(PredictionError) as caught:
        assess_rows(lambda x, rows: np.zeros(shape), linear.inputs(10))
    assert caught.value.reason == "invalid_output"


@pytest.mark.parametrize(
    ("columns", "one_column"),
    [("probability", [0.4, 0.6]), ("logit", [-0.1, 0.2])],
)
def test_one_column_of_classes_has_its_threshold(columns, one_column):
    """Inputs at -1 and 1; the model says one number below the threshold or one above it."""
    inputs = np.repeat([[-1.0], [1.0]], 20, axis=0)
    result = assess_rows(
        lambda x, rows: np.where(x[:, 0] < 0, *one_column),
        inputs,
        task="classification",
        output=columns,
        levels=[0.1, 50.0],
    )
    assert result.curve[1].agreement == 1.0
    assert result.curve[2].agreement == pytest.approx(0.5, abs=0.05)
    assert result.agreement_slope.value < 0


def test_mean_bound_exists_where_the_largest_row_error_is_known():
    inputs = torch.from_numpy(linear.inputs(128)).float()
    net = on_torch(softmax_net())
    probability = assess_rows(net, inputs, task="classification")
    assert all(point.mean_mse <= point.mean_bound <= 2 / 3 for point in probability.curve)
    label = assess_rows(lambda x, rows: net(x, rows).argmax(1), inputs, task="classification")
    assert all(point.mean_mse <= point.mean_bound <= 1 for point in label.curve)
    value = assess_rows(net, inputs)
    assert all(point.mean_bound is None for point in value.curve)


def test_perturbed_inputs_keep_dtype_and_missing_values():
    seen = []

    def predict(x, rows):
        seen.append((x.dtype, np.isnan(x[:, 0]).tolist()))
        return np.nan_to_num(x).sum(axis=1)

    inputs = linear.inputs(6).astype(np.float32)
    inputs[2, 0] = np.nan
    result = assess_rows(predict, inputs, trials=19, max_batch_rows=6)
    assert set(map(str, seen)) == {str((np.dtype(np.float32), [False, False, True, False, False, False]))}
    assert math.isfinite(result.curve[-1].bound)


@pytest.mark.parametrize("shape", [(8, 3, 5, 6), (8, 5, 6, 3)])
def test_tensors_have_one_scale_a_channel(shape):
    axis = shape.index(3)
    view = [1, 1, 1]
    view[axis - 1] = 3
    inputs = np.random.default_rng(0).normal(size=shape) * np.reshape([1.0, 2.0, 0.0], view)
    expected = inputs.std(axis=tuple(i for i in range(4) if i != axis))
    assert measure(inputs).scale.shape == tuple(view)
    assert measure(inputs).scale.ravel() == pytest.approx(expected)
    flat = assess_rows(lambda x, rows: x.sum(axis=(1, 2, 3)), inputs, scale=expected, trials=19)
    own = assess_rows(lambda x, rows: x.sum(axis=(1, 2, 3)), inputs, trials=19)
    assert flat.row_errors == pytest.approx(own.row_errors)


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (np.ones((10, 2), dtype=int), {}, "floating"),
        (np.ones((10, 2)), {}, "no feature can be perturbed"),
        (np.ones((10, 0)), {}, "nothing to perturb"),
        (np.ones((0, 2)), {}, "nothing to perturb"),
        (linear.inputs(10), {"scale": np.ones(3)}, "does not broadcast"),
        (linear.inputs(10), {"scale": -1.0}, "at least 0"),
        (linear.inputs(10), {"levels": [0.0]}, "above 0"),
        (linear.inputs(10), {"levels": [0.1, 0.1]}, "differ"),
        (linear.inputs(10), {"levels": [-0.1]}, "at least 0"),
        (linear.inputs(10), {"levels": [1e300]}, r"at most 1e\+100"),
        (linear.inputs(10), {"seed": -1}, "seed"),
        (linear.inputs(10), {"noise": "pink"}, "not known"),
        (linear.inputs(10), {"max_batch_rows": 0}, "at least 1 row"),
    ],
)
def test_what_cannot_be_assessed_is_told(inputs, options, words):
    with pytest.raises(InvalidInputError, match=words):
        assess_rows(linear.predict, inputs, **options)


def test_too_few_trials_are_told_before_the_model_is_called():
    with pytest.raises(TooFewTrialsError, match="at least 99 are needed"):
        assess_rows(pytest.fail, linear.inputs(10), trials=39, confidence=0.99)


def test_ones_own_noise_and_progress():
    def coin(generator, shape):
        return generator.choice([-1.0, 1.0], size=shape)

    told = []
    result = assess_rows(
        lambda x, rows: x[:, 0], linear.inputs(30), noise=Noise("coin", coin), levels=[0.5], scale=1.0, trials=19,
        max_batch_rows=150, progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert result.curve[1].trial_mse == pytest.approx(np.full(19, 0.25))
    assert result.noise == "coin"
    assert told == [(5, 19), (10, 19), (15, 19), (19, 19)], "after as many trials as a batch holds"


@pytest.mark.parametrize("kind", [np.zeros, torch.zeros])
def test_streams_of_seeds_trials_and_blocks_of_rows_differ(kind):
    inputs, noise = kind((3 * BLOCK_ROWS, 1)), noise_model("gaussian")
    features = noise_features(noise, inputs, 1.0)
    drawn = [Draws(noise, inputs, features, seed).of(range(20), slice(0, 3 * BLOCK_ROWS)) for seed in range(20)]
    assert len({float(number) for draw in drawn for number in draw.ravel()[::BLOCK_ROWS]}) == 20 * 20 * 3


def test_to_dict_is_strict_json():
    result = assess_rows(
        lambda x, rows: np.where(x[:, 0] > 3, np.inf, x[:, 0]), linear.inputs(50), targets=np.zeros(50), levels=[2.0]
    )
    content = result.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["curve"][1]["mean_mse"] == "+Inf" == content["label_ceiling"][1]


@pytest.mark.parametrize("output", ["value", "label"])
def test_plot_names_what_it_shows(output, tmp_path):
    def predict(x, rows):
        return linear.predict(x, rows) if output == "value" else (linear.predict(x, rows) > 0).astype(int)

    result = assess_rows(predict, linear.inputs(64), output=output, mse_limit=0.5)
    figure = result.plot(baseline={0.0: 0.0, 0.4: 0.25})
    figure.savefig(tmp_path / "curve.png")
    axes = figure.axes[0]
    assert "standard deviations" in axes.get_xlabel()
    assert ("output units²" if output == "value" else "share") in axes.get_ylabel()
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    margin = result.noise_margin()
    assert {"mean of 39 trials", "bound of a further trial (95 %)", "limit 0.5", "mean of the baseline"} <= set(legend)
    assert f"noise margin {margin.level:g}" in legend
    bound = next(line for line in axes.get_lines() if line.get_label().startswith("bound"))
    assert bound.get_ydata() == pytest.approx([point.bound for point in result.curve])
    told = " ".join(figure.get_supxlabel().replace("\N{NO-BREAK SPACE}", " ").split())
    worst = result.curve[-1]
    assert f"{rounded_up(worst.bound)}, with 95 % probability" in told and f"Noise margin {margin}." in told
    first = (
        "95 % of requests move by less than"
        if output == "value"
        else f"{100 * worst.agreement:.3g} % of these requests"
    )
    assert told.startswith(first)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_str_is_a_table():
    text = str(assess_rows(linear.predict, linear.inputs(50)))
    plain, head, columns, *points, scalars, worst, note = text.splitlines()
    assert plain.startswith("95 % of requests move by less than ") and "noise of 0.4 standard deviations" in plain
    assert head.startswith("50 rows, 39 trials of gaussian noise") and len(points) == 5
    assert columns.split("  ")[-1] == "request bound, squared" and "agreement" not in text, (
        "columns without numbers are left out"
    )
    assert scalars.startswith("slope ") and worst.startswith("the worst 5 % of rows carry ")
    assert note == "output is value: numbers under regression"


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_row_errors_of_the_highest_level_are_kept_trial_by_trial_where_they_are_asked_for(task: str) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 2))
    rows[3] = np.nan  # has no finite output, and so no errors
    given = {"levels": (0.1, 0.2), "task": task, "output": "logit" if task == "classification" else None}
    targets = np.zeros((30, 2)) if task == "regression" else np.arange(30) % 2

    def kept_by_trial(**more):
        return assess_rows(lambda x, _: x @ np.array([[3.0, 1.0], [4.0, 1.0]]), rows, scale=1.0, **given, **more)

    result = kept_by_trial(keeps_trials=True)
    kept, finite = result.trial_row_errors, result.finite
    assert kept.shape == (30, 39)
    assert kept[finite].mean(axis=1) == pytest.approx(result.row_errors[finite, -1], rel=1e-12)
    assert kept[finite].mean(axis=0) == pytest.approx(np.array(result.curve[-1].trial_mse), rel=1e-12)
    labelled = kept_by_trial(keeps_trials=True, targets=targets)
    assert labelled.trial_row_errors[finite] == pytest.approx(kept[finite]), "of the model's own outputs, not targets"
    assert kept_by_trial().trial_row_errors is None
