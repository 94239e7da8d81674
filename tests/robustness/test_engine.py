"""The engine: what one batch of noisy rows is reduced to, and that the plan times what the trials run."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch

import robmon
from robmon.errors import PredictionError
from robmon.models.inputs.split import split
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.predictor import predictor_of
from robmon.robustness.engine.batch import Engine
from robmon.robustness.engine.batch_size import usual_batch_size
from robmon.robustness.engine.plan import plan_assessment
from robmon.robustness.engine.predictor import FunctionPredictor, Predict, through
from robmon.robustness.engine.reduction import Measures
from robmon.robustness.engine.rehearsal import Rehearsal
from robmon.robustness.noise.base import noise_features
from robmon.robustness.noise.by_name import noise_model
from robmon.robustness.noise.draws import Draws
from robmon.robustness.noise.rows import AdditiveRows
from robmon.robustness.outputs import RowErrors, mean_weights
from robmon.robustness.specification import Specification
from tests.endpoint import Request, reply_json, serving
from tests.models.remote.conftest import connect
from tests.robustness import linear


def engine_of(predict: Predict, rows: int = 8) -> Engine:
    inputs, noise = linear.inputs(rows), noise_model("gaussian")
    return Engine(FunctionPredictor(predict), inputs, noise, noise_features(noise, inputs, 1.0), seed=0)


def draw(engine: Engine, trials: list[int], rows: slice) -> Any:
    noise = noise_model("gaussian")
    return Draws(noise, engine.inputs, noise_features(noise, engine.inputs, 1.0), seed=0).of(trials, rows)


@pytest.mark.parametrize(("trials", "rows"), [([0], slice(2, 5)), ([3, 4], slice(0, 8))])
def test_a_batch_is_reduced_to_what_is_added_up(trials: list[int], rows: slice) -> None:
    def predict(x: Any, rows: slice) -> Any:
        return np.c_[x[:, 0], np.where(x[:, 1] > 1, np.nan, x[:, 1])]

    engine = engine_of(predict)
    clean = engine.inputs[:, :2]
    measures = Measures("value", [RowErrors(clean, [mean_weights(clean)])], [], np.ones(8, dtype=bool))
    still, moved = engine.batch(trials, rows, (0.0, 0.5), measures)
    lost = engine.inputs[rows, 1] > 1
    errors, is_finite, is_beyond, moves = still
    assert np.array_equal(errors, np.broadcast_to(np.where(lost, np.inf, 0.0), errors.shape))
    assert np.array_equal(is_finite, np.broadcast_to(~lost, errors.shape)) and not moves.any() and not is_beyond.any()
    drawn = draw(engine, trials, rows).reshape(*errors.shape, -1)
    noisy = engine.inputs[rows] + 0.5 * drawn
    expected = np.where(noisy[..., 1] > 1, np.inf, ((0.5 * drawn[..., :2]) ** 2).mean(axis=-1))
    assert moved[0] == pytest.approx(expected)
    assert moved[-1] == pytest.approx(((0.5 * drawn) ** 2).sum(axis=-1))


@pytest.mark.parametrize(("rows", "columns"), [(8, 2**15), (3, 2**18)], ids=["whole copies", "parts of rows"])
def test_large_outputs_are_reduced_piece_by_piece_in_little_memory(rows: int, columns: int) -> None:
    outputs = np.random.default_rng(0).normal(size=(2 * rows, columns)).astype(np.float32)
    outputs[1, 5], clean = np.nan, np.zeros((rows, columns))
    measures = Measures("value", [RowErrors(clean, [mean_weights(clean)])], [], np.ones(rows, dtype=bool))
    tracemalloc.start()
    reduced = measures.reduce(outputs, slice(0, rows), 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = (outputs.astype(np.float64) ** 2).mean(axis=1)
    assert reduced.errors[0] == pytest.approx(np.where(np.isnan(expected), np.inf, expected), rel=1e-12)
    assert reduced.is_finite.tolist() == [True, False, *[True] * (2 * rows - 2)]
    assert peak < 8 * 2**20, "outputs of 2 or 6 MiB have some 12 MiB in float64, twice over"


@pytest.mark.parametrize("levels", [(0.1, 0.4), (0.0, 0.1, 0.4), (1e-20, 0.4)], ids=["near", "clean too", "measured"])
def test_the_rows_of_calls_are_the_same_whether_made_together_or_not(levels: tuple[float, ...]) -> None:
    given: list[Any] = []

    def predict(x: Any, rows: slice) -> Any:
        given.append(x.copy())
        x[:] = 7.0
        return given[-1][:, :2]

    engine = engine_of(predict)
    clean = engine.inputs[:, :2].copy()
    measures = Measures("value", [RowErrors(clean, [mean_weights(clean)])], [], np.ones(8, dtype=bool))
    told: list[int] = []
    together = engine.batch(range(5), slice(0, 8), levels, measures, 2, told.append)
    assert told == [2, 4, 5] and [len(x) for x in given] == [16] * (2 * len(levels)) + [8] * len(levels)
    alone = np.concatenate([engine.batch([trial], slice(0, 8), levels, measures) for trial in range(5)], axis=2)
    assert np.array_equal(together, alone)
    assert together.shape == (len(levels), 4, 5, 8) and np.all(together[-1, 0] > 0)


@pytest.mark.parametrize("rows", [8, 16, 24, 1000])
def test_row_errors_are_the_same_to_the_last_bit_however_trials_are_grouped(rows: int) -> None:
    def predict(x: Any) -> Any:  # row by row, so that only robmon's own arithmetic is compared
        return (x * torch.arange(1.0, 5.0)).sum(dim=1)

    inputs, told = torch.from_numpy(linear.inputs(8)), list[int]()
    alone = robmon.assess(predict, inputs, trials=19, max_batch_rows=3)
    grouped = robmon.assess(predict, inputs, trials=19, max_batch_rows=rows, progress=lambda done, _: told.append(done))
    assert np.array_equal(grouped.row_errors, alone.row_errors)
    assert [point.bound for point in grouped.curve] == pytest.approx([point.bound for point in alone.curve], rel=1e-14)
    assert len(told) == math.ceil(19 / min(rows // 8, 19)), "after as many trials as a call has room for"


def test_a_model_that_writes_into_its_inputs_changes_no_measured_move() -> None:
    def writes(x: Any, rows: slice) -> Any:
        x[:] = 7.0
        return x[:, 0]

    engine = engine_of(writes)
    kept = engine.inputs.copy()
    (values,) = engine.batch([0], slice(0, 8), (0.5,), Rehearsal("regression", 8))
    assert np.array_equal(engine.inputs, kept) and np.all(values[-1] < 20)


@pytest.mark.parametrize("task", ["regression", "classification", "embedding"])
@pytest.mark.parametrize(
    "predict",
    [
        lambda x, rows: x[:, 0],
        lambda x, rows: np.where(x > 0, np.inf, x),
        lambda x, rows: x[:, :1] > 0,
        lambda x, rows: np.where(x[:, 0] > 0, "yes", "no"),
        lambda x, rows: np.where(x > 0, "yes", "no"),
        lambda x, rows: x[:, :, None] * np.ones(3, dtype=np.float32),
    ],
    ids=["column", "infinite", "truth", "text", "texts", "tensor"],
)
def test_whatever_the_outputs_are_can_be_rehearsed(predict: Predict, task: str) -> None:
    engine, rehearsal = engine_of(predict), Rehearsal(task, 40)
    for trial in range(2):
        assert engine.batch([trial], slice(0, 8), (0.1,), rehearsal).shape[2:] == (1, 8)
    with pytest.raises(PredictionError, match="for 8 rows"):
        rehearsal.reduce(np.zeros(3), slice(0, 8))


def test_the_plan_times_what_the_trials_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a batch costs in the engine, outside the model, is in the plan."""
    now = 0.0
    run = Engine.batch

    def dear(self: Engine, trials: Any, rows: slice, levels: Any, reduction: Any) -> Any:
        nonlocal now
        now += 0.001 * len(trials) * (rows.stop - rows.start) * len(levels)
        return run(self, trials, rows, levels, reduction)

    monkeypatch.setattr(Engine, "batch", dear)
    inputs, specification = linear.inputs(64), Specification(levels=(0.1, 0.2))
    model = FunctionPredictor(linear.predict)
    planned = plan_assessment(model, inputs, specification, min_rows=16, max_seconds=1000, clock=lambda: now)
    assert planned.rows == 64 and planned.seconds == pytest.approx(64 * (2 + 39 * 2) * 0.001)


def test_the_clean_passes_of_a_model_that_is_known_to_be_random_are_foreseen() -> None:
    class Clock:
        now = 0.0

    def slow(x: Any, rows: slice) -> Any:
        Clock.now += 0.001 * len(x)
        return linear.predict(x, rows)

    seconds = {
        known: plan_assessment(
            FunctionPredictor(slow, is_deterministic=known),
            linear.inputs(64),
            Specification(levels=(0.1, 0.2)),
            min_rows=16,
            max_seconds=1000,
            clock=lambda: Clock.now,
        ).seconds
        for known in (None, True, False)
    }
    assert seconds[None] == pytest.approx(64 * (2 + 39 * 2) * 0.001) == seconds[True]
    assert seconds[False] == pytest.approx(64 * (2 + 39 * 3) * 0.001)


def test_what_is_known_of_a_model_stays_known_however_it_is_asked() -> None:
    module = object()
    known = FunctionPredictor(linear.predict, "cuda:1", 7, 100.0, True, module, 0.5)
    asked = through(known, lambda x, rows: 2 * linear.predict(x, rows))
    assert vars(asked) | {"predict": None} == vars(known) | {"predict": None}
    inputs = linear.inputs(90)
    assert usual_batch_size(asked, None, inputs).rows == 7 and usual_batch_size(asked, 50, inputs).rows == 50
    assert usual_batch_size(FunctionPredictor(linear.predict), None, inputs).rows == 4096


def test_an_endpoint_s_pace_and_place_are_its_predictor_s() -> None:
    def answer(request: Request) -> Any:
        return reply_json({"predictions": [[1.0, 2.0]] * 3})

    with serving(answer) as server:
        model = connect(f"{server.url}/invocations", rows_per_second=250, batch_rows=20)
        parts = split(linear.inputs(3))
        predictor = predictor_of(model, parts, OutputReader())
        assert (predictor.max_batch_rows, predictor.rows_per_second) == (20, 250)
        assert (predictor.device, predictor.module) == (server.url.removeprefix("http://"), None)
        assert predictor.predict(parts.array, slice(0, 3)).tolist() == [[1.0, 2.0]] * 3


@pytest.mark.parametrize("is_tensor", [False, True])
def test_draws_that_are_not_held_are_drawn_again_alike(is_tensor: bool) -> None:
    inputs = linear.inputs(8)
    rows = torch.from_numpy(inputs) if is_tensor else inputs
    noise = noise_model("gaussian")
    draws = Draws(noise, rows, noise_features(noise, inputs, 1.0), seed=0)
    scale, kept = rows[0] * 0 + 0.5, rows > 1
    held, redrawn = (
        AdditiveRows(rows, 3, lambda: draws.each(range(3), slice(0, 8)), scale, kept, redraws)
        for redraws in (False, True)
    )
    levels = (0.0, 0.1, 0.4)
    together = AdditiveRows(rows, 3, lambda: draws.each(range(3), slice(0, 8)), scale, kept, levels=levels)
    for level in levels:
        one, other = held.at(level), redrawn.at(level)
        mine = together.at(level)
        assert np.array_equal(mine, one) and np.array_equal(
            together.squared_moves(mine, level), held.squared_moves(one, level)
        )
        mine += 1.0  # they are the caller's
        assert np.array_equal(together.at(level), one)
        assert np.asarray(other) == pytest.approx(np.asarray(one), rel=1e-12)
        moves = [np.asarray(each.squared_moves(one, level)) for each in (held, redrawn)]
        assert moves[0] == pytest.approx(moves[1], rel=1e-12) and moves[0].any() == (level > 0)


@pytest.mark.parametrize(
    ("inputs", "scale", "level"),
    [(np.full((64, 2), 1e38), 1e38, 3.0), (np.zeros((64, 2)), 1e39, 1e-3), (np.zeros((64, 2)), 1e-46, 1.0)],
)
def test_near_the_ends_of_a_type_moves_are_measured(inputs: Any, scale: float, level: float) -> None:
    given = {"trials": 19, "levels": (level,), "scale": np.full(2, scale)}
    with np.errstate(over="ignore"):
        result = robmon.assess(lambda x: np.isfinite(x).all(axis=1) * 1.0, inputs.astype(np.float32), **given)
    moved = result.curve[-1].realised_level
    assert moved == 0 if scale < 1e-40 else 0 < moved < 1.2 * level
