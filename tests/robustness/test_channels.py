"""Which axis of inputs has a scale for each of its entries: one rule, for named tensors and others, noise and drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import robmon
from robmon.drift.features import STATISTICS, array_columns
from robmon.errors import InvalidInputError
from robmon.history.baseline.baseline import Baseline
from robmon.history.baseline.format import baseline_from_dict, baseline_to_dict
from robmon.models.inputs.split import split
from robmon.models.served.watched import watched
from robmon.robustness.features.channels import FeatureAxis, choose
from robmon.robustness.features.features import measure

SD, MEAN = np.array([5, 0.1, 500.0, 1, 1]), np.array([20, 0.5, 101325.0, 0, 0])


def sensors(rows: int = 200) -> np.ndarray:
    """Steps of five sensors in units of their own, `(rows, 30, 5)`."""
    return MEAN + SD * np.random.default_rng(1).normal(size=(rows, 30, 5))


def second(x: Any) -> Any:
    return ((x - MEAN) / SD)[:, :, 1].mean(axis=1)


FORMS = {
    "unnamed": lambda x: (second, x),
    "named": lambda x: (lambda d: second(d["x"]), {"x": x}),
    "beside another": lambda x: (
        lambda d: second(d["x"]),
        {"x": x, "y": np.random.default_rng(2).normal(size=(len(x), 2))},
    ),
    "beside integers": lambda x: (lambda d: second(d["x"]), {"k": np.ones((len(x), 3), dtype=np.int64), "x": x}),
}


@pytest.mark.parametrize("form", FORMS)
def test_steps_of_features_have_a_scale_a_feature_once_it_is_said(form: str) -> None:
    predict, inputs = FORMS[form](sensors())
    with pytest.raises(InvalidInputError, match=r"\(rows, 30, 5\), may be .* differ by up to .* set assess.scale_axis"):
        robmon.assess(predict, inputs)
    results = [robmon.assess(predict, inputs, scale_axis=axis, levels=[0.4], trials=19) for axis in (2, -1)]
    for result in results:
        assert np.broadcast_to(result.scale.ravel()[:150].reshape(-1, 5), (30, 5))[0] == pytest.approx(SD, rel=0.05)
        assert result.index > 0.9
        assert any("one scale for each of 5 features on axis 2" in note for note in result.notes)


def test_named_and_unnamed_tensors_have_the_same_scales() -> None:
    g = np.random.default_rng(0)
    for shape in ((30, 5), (3, 8, 8), (8, 8, 3), (1, 8, 8), (8, 32, 32, 3)):
        x = g.normal(size=(20, *shape))
        alone = measure(x)
        named = split({"x": x, "y": g.normal(size=(20, 2))})
        together = measure(named.array, axis=named.axis())
        cells = np.broadcast_to(alone.scale, shape).ravel()
        assert together.scale[: cells.size] == pytest.approx(cells)
        assert measure(split({"x": x}).array).scale == pytest.approx(alone.scale)
        side_by_side = watched(named, named.axis())
        for name, column in watched(split({"x": x}), choose(x)).items():
            if not name.endswith(".contrast"):  # neighbours are not known
                assert side_by_side[name].numbers == pytest.approx(column.numbers)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((9, 3, 32, 32), 1), ((9, 32, 32, 3), 3), ((9, 1, 8, 8), 1), ((9, 8, 32, 32, 3), 4), ((9, 64, 8, 8), 1),
        ((9, 3, 8, 4), 1), ((9, 28, 28, 1), 3), ((9, 30, 5), 2), ((9, 1, 5), 2), ((9, 7), 1), ((9,), None),
    ],
)  # fmt: skip
def test_noise_baseline_drift_and_names_read_one_shape_alike(shape: tuple[int, ...], axis: int | None) -> None:
    inputs = np.random.default_rng(0).normal(size=shape)
    chosen = choose(inputs)
    assert chosen.axis == axis
    count = 1 if axis is None else shape[axis]
    names = split(inputs).feature_names
    assert measure(inputs).scale.size == count == len(names)
    if inputs.ndim > 2:
        names = tuple(f"{name}.{statistic}" for name in names for statistic in STATISTICS)
    columns = watched(split(inputs), chosen)
    assert tuple(columns) == names == tuple(array_columns(inputs, split(inputs).feature_names))
    baseline = Baseline.empty([0.0, 0.1], inputs, chosen)
    baseline.learn_inputs(inputs, columns)
    assert baseline.features(inputs).scale == pytest.approx(measure(inputs).scale)
    assert tuple(each.name for each in baseline.input_drift(columns, q=0.01)) == names
    assert tuple(each.name for each in robmon.drift(inputs, inputs).features) == names


class Turned(torch.nn.Module):
    """Takes (rows, steps, features), and turns them round for its convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(5, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.transpose(1, 2)).mean(dim=(1, 2))


class Recurrent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = torch.nn.LSTM(5, 2, batch_first=True), torch.nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


@pytest.mark.parametrize(
    ("module", "axis"),
    [
        (torch.nn.Sequential(torch.nn.Conv1d(30, 2, 3), torch.nn.Flatten()), 1),
        (torch.nn.Sequential(torch.nn.BatchNorm1d(30), torch.nn.Flatten(), torch.nn.Linear(150, 1)), 1),
        (Turned(), 2),
        (Recurrent(), 2),
        (torch.nn.Sequential(torch.nn.Linear(5, 2), torch.nn.Flatten()), 2),
    ],
    ids=["convolution", "normalisation", "turned round", "recurrent", "linear"],
)
def test_the_first_layer_of_a_module_decides(module: torch.nn.Module, axis: int) -> None:
    x = torch.tensor(sensors(64), dtype=torch.float32)
    result = robmon.assess(module, x, levels=[0.1], trials=19)
    assert result.scale.size == x.shape[axis]
    assert "as the model's first layer reads them" in " ".join(result.notes)
    other = robmon.assess(module, x, levels=[0.1], trials=19, scale_axis=3 - axis)
    assert other.scale.size == x.shape[3 - axis] and "as assess.scale_axis says" in " ".join(other.notes)


def test_a_module_that_flattens_decides_nothing() -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(150, 1))
    with pytest.raises(InvalidInputError, match=r"set assess\.scale_axis"):
        robmon.assess(module, torch.tensor(sensors(64), dtype=torch.float32))


def test_images_are_told_by_channel() -> None:
    result = robmon.assess(lambda x: x.mean(axis=(1, 2, 3)), np.random.default_rng(0).random((64, 1, 8, 8)))
    assert result.level_unit == "standard deviations of each channel"
    assert result.scale.shape == (1, 1, 1)
    assert "one scale for each channel on axis 1" in " ".join(result.notes)


def test_many_channels_that_may_stand_last_are_asked_for() -> None:
    """Bands in units of their own would have one scale between them, which is right for none."""
    bands, pixels = np.logspace(0, 4, 12), np.random.default_rng(0).random((40, 8, 8, 12))
    with pytest.raises(InvalidInputError, match=r"channels first or last.* set assess\.scale_axis .* to 3 where"):
        choose(pixels * bands)
    assert choose(pixels * bands, asked=3).axis == 3 and choose(pixels * bands, refuses=False).axis == 1
    assert choose(np.moveaxis(pixels * bands, 3, 1)).axis == 1, "channels first, in units of their own"
    framed = np.zeros((40, 12, 8, 8))
    framed[:, :, 2:6, 2:6] = np.moveaxis(pixels, 3, 1)[:, :, 2:6, 2:6]
    assert choose(framed + 1e-6 * np.moveaxis(pixels, 3, 1)).axis == 1, "dark edges are on all sides"


def test_a_given_scale_is_refused_nothing_and_axes_that_are_not_there_are() -> None:
    assert robmon.assess(second, sensors(), scale=SD, levels=[0.1], trials=19).index > 0.9
    for axis in (0, 3, -3):
        with pytest.raises(InvalidInputError, match=f"is {axis}, and the inputs have axes 1 to 2"):
            robmon.assess(second, sensors(), scale_axis=axis)
    for axis in ("last", 2.0, True):
        with pytest.raises(InvalidInputError, match="is the number of an axis, such as 1 or -1, not"):
            robmon.assess(second, sensors(), scale_axis=axis)
    with pytest.raises(InvalidInputError, match="axes 1 to 1"):
        robmon.assess(lambda x: x[:, 0], sensors()[:, 0], scale_axis=2)


def test_two_versions_are_compared_on_the_axis_of_the_first() -> None:
    result = robmon.compare(second, lambda x: 1.5 * second(x), sensors(), scale_axis=2, levels=[0.1, 0.4])
    assert result.ratio == pytest.approx([2.25, 2.25])
    assert result.b is not None and result.b.scale.ravel() == pytest.approx(SD, rel=0.05)


def test_an_older_baseline_is_read_as_it_was_made() -> None:
    x = np.random.default_rng(0).normal(size=(20, 6, 3))
    told = baseline_to_dict(Baseline.empty([0.0, 0.1], x, FeatureAxis(2)))
    del told["axis"], told["integers"], told["checksum"]
    told["format"] = 1
    older = baseline_from_dict(told)
    assert older.has_axis(FeatureAxis(2), x.shape) and not older.has_axis(FeatureAxis(1), x.shape)
