"""Witnesses of inputs and outputs of every form: what may move, in which units, and what comes back as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

import robmon
from robmon.errors import InvalidInputError

G = np.random.default_rng(7)
ROWS = 40


def table() -> pd.DataFrame:
    frame = pd.DataFrame(G.normal(size=(ROWS, 2)) * [1.0, 50.0], columns=["height", "pressure"])
    frame["reading"] = frame["height"].astype(np.float32) + 1
    frame.loc[::8, "reading"] = -999.0
    frame.loc[1::9, "pressure"] = np.nan
    frame["clicks"] = G.integers(0, 91, ROWS)
    frame["city"] = pd.Categorical(np.where(G.random(ROWS) < 0.5, "Bonn", "Oslo"))
    frame["is_new"] = np.where(G.random(ROWS) < 0.5, 1.0, 0.0)
    frame["always"] = 3.0
    frame["note"] = "text"
    return frame


def scores(rows: pd.DataFrame) -> NDArray[np.float64]:
    read = rows["reading"].astype(float).where(rows["reading"] > -900, 0.0)
    found = rows["height"] + rows["pressure"].fillna(0.0) / 50 + read / 2 + rows["clicks"] / 80 - rows["is_new"] - 0.5
    return np.asarray(found + 0.2 * (rows["city"] == "Bonn"))[:, None]


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_of_a_table_only_what_is_measured_moves(norm: Any) -> None:
    frame = table()
    frame.index = pd.Index(3 * np.arange(ROWS)[::-1])
    options: dict[str, Any] = {"output": "logit", "radii": (0.2, 0.5), "queries": 40, "attacks": ("random", "square")}
    result = robmon.attack(scores, frame, norm=norm, integers="clicks", frozen=("height",), **options)
    assert 0 < result.flipped[:, 1].sum() < ROWS
    found = result.adversarial(0.5)
    assert found.index.equals(frame.index)
    assert list(found.columns) == list(frame.columns) and (found.dtypes == frame.dtypes).all()
    for name in ("height", "city", "is_new", "always", "note"):
        np.testing.assert_array_equal(found[name].to_numpy(), frame[name].to_numpy(), strict=True)
    np.testing.assert_array_equal(found["reading"][::8], -999.0)
    np.testing.assert_array_equal(found["pressure"].isna(), frame["pressure"].isna())
    assert found["clicks"].between(0, 90).all() and (found["clicks"] != frame["clicks"]).any()
    lost = (scores(found)[:, 0] > 0) != (scores(frame)[:, 0] > 0)
    np.testing.assert_array_equal(lost, result.flipped[:, 1])
    pressure = (found["pressure"] - frame["pressure"]).abs() / frame["pressure"].std(ddof=0)
    assert pressure.max() <= 0.5 * (1 + 1e-12), "radii count the column's own standard deviations"


def test_units_are_the_features_own_or_the_inputs() -> None:
    inputs, weights = G.normal(size=(ROWS, 3)) * [0.1, 1.0, 10.0], np.array([5.0, 1.0, 0.1])

    def distances(scale: Any) -> NDArray[np.float64]:
        return np.asarray(np.abs(inputs @ weights) / np.abs(weights * scale).sum())

    for scale, unit, size in (
        (None, "standard deviations of each feature", inputs.std(axis=0)),
        (1.0, "input units", np.ones(3)),
        (np.array([1.0, 2.0, 3.0]), "the given scale", np.array([1.0, 2.0, 3.0])),
    ):
        result = robmon.attack(
            lambda x: (x @ weights)[:, None], inputs, scale=scale, radii=(0.1, 0.3), output="logit",
            attacks=("random",), queries=30,
        )  # fmt: skip
        assert result.unit == unit
        np.testing.assert_array_equal(result.flipped, distances(size)[:, None] < result.radii)


def linear_of_pictures(weights: NDArray[np.float64], mean: float = 0.0, std: float = 1.0) -> torch.nn.Module:
    """Of a picture that is normalised when it comes; its own pixels are from 0 to 1."""

    class Linear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor(weights))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return ((x * std + mean) * self.weight).sum(dim=(1, 2, 3))[:, None]

    return Linear()


def test_what_a_client_normalises_is_attacked_within_black_and_white() -> None:
    pictures = G.random((ROWS, 1, 6, 6))
    weights = G.normal(size=(1, 6, 6))
    weights -= weights.mean()
    options: dict[str, Any] = {"output": "logit", "attacks": ("pgd",), "restarts": 1}
    first = robmon.ImageLayout(range=(0, 1))
    plain = robmon.attack(linear_of_pictures(weights), pictures, layout=first, scale=1.0, radii=(0.05,), **options)
    layout = robmon.ImageLayout(range=(0, 1), mean=(0.5,), std=(0.25,))
    module, given = linear_of_pictures(weights, 0.5, 0.25), (pictures - 0.5) / 0.25
    normal = robmon.attack(module, given, layout=layout, scale=1.0, radii=(0.2,), **options)
    np.testing.assert_array_equal(normal.flipped, plain.flipped)
    assert 0 < plain.flipped.sum() < ROWS
    found = normal.adversarial(0.2)
    assert found.min() >= -2 and found.max() <= 2


@pytest.mark.parametrize(("norm", "radius"), [("inf", 12.0), ("inf", 7.6), ("2", 60.0)])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_pixels_stay_pixels(norm: Any, radius: float, channels: Any) -> None:
    pictures = G.integers(0, 256, (ROWS, 1, 6, 6)).astype(np.uint8)
    weights = G.normal(size=(1, 6, 6))
    weights -= (weights * pictures).sum() / pictures.sum()
    given = np.ascontiguousarray(np.moveaxis(pictures, 1, -1)) if channels == "last" else pictures
    seen = []

    def model(x: NDArray[np.uint8]) -> NDArray[np.float64]:
        seen.append(x.dtype)
        x = np.moveaxis(x, -1, 1) if channels == "last" else x
        return np.asarray((x * weights).sum(axis=(1, 2, 3)))[:, None]

    layout = robmon.ImageLayout(channels, range=(0, 255))
    result = robmon.attack(
        model, given, layout=layout, scale=1.0, norm=norm, radii=(radius,), output="logit", queries=150,
        attacks=("random", "square"),
    )  # fmt: skip
    assert set(seen) == {np.dtype(np.uint8)}
    found = result.adversarial(radius)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal((model(found) > 0)[:, 0] != (model(given) > 0)[:, 0], result.flipped[:, 0])
    moves = (found.astype(float) - given).reshape(ROWS, -1)
    assert (np.abs(moves).max() if norm == "inf" else np.linalg.norm(moves, axis=1).max()) <= radius
    assert result.flipped.sum() > 0


def test_half_precision_keeps_to_its_ball() -> None:
    inputs, weights = G.normal(size=(ROWS, 6)).astype(np.float16), G.normal(size=6)

    def model(x: NDArray[Any]) -> NDArray[np.float64]:
        assert x.dtype == np.float16
        return np.asarray(x.astype(np.float64) @ weights)[:, None]

    for norm in ("inf", "2"):
        result = robmon.attack(
            model, inputs, norm=norm, scale=1.0, radii=(0.2,), output="logit", attacks=("random",), queries=60
        )
        found = result.adversarial(0.2)
        moves = found.astype(np.float64) - inputs
        assert found.dtype == np.float16
        assert (np.abs(moves).max() if norm == "inf" else np.linalg.norm(moves, axis=1).max()) <= 0.2
        np.testing.assert_array_equal((model(found) > 0) != (model(inputs) > 0), result.flipped)
        assert result.flipped.any()


@pytest.mark.parametrize("output", ["logit", "probability", "multilabel", "label"])
def test_outputs_of_every_kind_flip_where_the_border_is(output: Any) -> None:
    inputs, weights = G.normal(size=(ROWS, 5)), G.normal(size=(5, 3))

    def model(x: NDArray[Any]) -> NDArray[Any]:
        found = x @ weights
        sure = np.exp(found) / np.exp(found).sum(axis=1, keepdims=True)
        several = 1 / (1 + np.exp(-found))
        return {"logit": found, "probability": sure, "multilabel": several, "label": found.argmax(axis=1)}[output]

    result = robmon.attack(
        model, inputs, scale=1.0, radii=(0.3,), output=output, attacks=("random",), queries=80, norm="inf"
    )
    clean = inputs @ weights
    if output == "multilabel":
        expected = (np.abs(clean) < 0.3 * np.abs(weights).sum(axis=0)).any(axis=1)
    else:
        own = clean.argmax(axis=1)
        apart = weights[:, own, None] - weights[:, None, :]
        ahead = np.take_along_axis(clean, own[:, None], axis=1) - clean
        expected = ((ahead < 0.3 * np.abs(apart).sum(axis=0)) & (np.arange(3) != own[:, None])).any(axis=1)
    assert not (result.flipped[:, 0] & ~expected).any()
    assert (result.flipped[:, 0] == expected).mean() >= (0.7 if output == "label" else 0.95)


def test_ties_are_classes_as_the_model_says_them() -> None:
    inputs = G.normal(size=(ROWS, 4))
    result = robmon.attack(
        lambda x: np.zeros((len(x), 3)), inputs, scale=1.0, radii=(1.0,), output="logit", attacks=("random",), queries=5
    )
    assert result.agreement.tolist() == [1.0], "the first of equals stays the first"


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_modules_of_every_kind_are_attacked_and_left_as_they_were() -> None:
    torch.manual_seed(0)
    parts = [torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.5)]
    module = torch.nn.Sequential(*parts, torch.nn.Linear(8, 2))
    inputs = G.normal(size=(ROWS, 4)).astype(np.float32)
    module(torch.as_tensor(inputs))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    options: dict[str, Any] = {
        "output": "logit", "radii": (0.3,), "attacks": ("pgd", "minimal"), "restarts": 1, "steps": 10,
    }  # fmt: skip
    eager = robmon.attack(module, inputs, **options)
    assert module.training and all(torch.equal(before[name], each) for name, each in module.state_dict().items())
    assert 0 < eager.agreement[0] < 1
    module.eval()
    example = (torch.as_tensor(inputs[:4]),)
    dynamic = {"input": {0: torch.export.Dim("rows")}}
    exported = torch.export.export(module, example, dynamic_shapes=dynamic).module()
    for other in (torch.jit.script(module), exported):
        np.testing.assert_array_equal(robmon.attack(other, inputs, **options).flipped, eager.flipped)


def test_what_pictures_cannot_be_is_refused() -> None:
    pictures, layout = (
        G.integers(0, 256, (4, 1, 2, 2)).astype(np.uint8),
        robmon.ImageLayout(range=(0, 255), mean=(1.0,)),
    )
    with pytest.raises(InvalidInputError, match="pictures of whole numbers are not normalised"):
        robmon.attack(
            lambda x: x.reshape(len(x), -1)[:, :2].astype(float), pictures, layout=layout, output="logit",
            attacks=("random",),
        )  # fmt: skip
