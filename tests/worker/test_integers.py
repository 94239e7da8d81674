"""Whole numbers: left alone and named, or perturbed as what they are where they are said to be measurements."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import robmon
from robmon.errors import InvalidInputError, ModelLoadError
from robmon.history.baseline.checksum import with_checksum
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.models.signature.unsigned import Unsigned
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.question import Assess, SampledRequest
from robmon.worker.evaluation import evaluate
from tests.mlflow_client import quiet_mlflow
from tests.robustness.assessing import specified

ROWS = 300
G = np.random.default_rng(1)
PEOPLE = pd.DataFrame(
    {
        "age": G.integers(18, 80, ROWS),
        "income": G.integers(10, 200, ROWS) * 100,
        "rooms": G.integers(1, 5, ROWS).astype(np.int8),
        "height": G.normal(170, 9, ROWS),
        "region": G.choice(list("ab"), ROWS),
        "member": G.random(ROWS) < 0.5,
    }
)


def score(people: pd.DataFrame) -> Any:
    return people["age"] / 18 + people["income"] / 5000 + people["height"] / 9 + people["rooms"]


def assess(inputs: Any = PEOPLE, predict: Any = score, **options: Any) -> Any:
    return robmon.assess(predict, inputs, levels=(0.05, 0.4), trials=19, **options)


def told(result: Any) -> tuple[str, ...]:
    """What is told of the inputs: notes on the outputs aside."""
    return tuple(note for note in result.notes if not note.startswith("output is"))


def test_what_is_left_alone_is_named_with_what_to_do_about_it() -> None:
    result = assess()
    assert told(result) == (
        "left alone: age (int64: a measurement? --integers age), income (int64: a measurement? --integers income), "
        "rooms (int8: a measurement? --integers rooms), region (text), member (bool)",
    )
    assert told(result)[0] in str(result) and result.to_dict()["notes"] == list(result.notes)


@pytest.mark.parametrize(("integers", "moved"), [(("age", "income"), 2), ("all", 3), (["rooms"], 1)])
def test_measurements_are_rounded_within_their_range_and_keep_their_dtype(integers: Any, moved: int) -> None:
    seen: list[pd.DataFrame] = []

    def watching(people: pd.DataFrame) -> Any:
        seen.append(people)
        return score(people)

    result = assess(predict=watching, integers=integers)
    noisy = seen[-1].head(len(PEOPLE))  # of the first of several trials
    assert noisy.dtypes.equals(PEOPLE.dtypes) and list(noisy) == list(PEOPLE)
    changed = [name for name in ("age", "income", "rooms") if not noisy[name].equals(PEOPLE[name])]
    assert len(changed) == moved
    for name in changed:
        assert noisy[name].between(PEOPLE[name].min(), PEOPLE[name].max()).all()
    assert noisy[["region", "member"]].equals(PEOPLE[["region", "member"]])
    assert result.curve[0].mean_mse == 0
    assert result.curve[-1].realised_level == pytest.approx(0.4, rel=0.1)


def test_levels_that_hardly_move_are_told_and_slopes_are_against_the_realised_level() -> None:
    result = assess(PEOPLE[["rooms"]], lambda people: people["rooms"].to_numpy(dtype=float), integers="all")
    assert told(result)[-1].startswith("rooms: at level 0.05 fewer than 5 % of its whole numbers move")
    realised = [point.realised_level for point in result.curve]
    assert realised[1] == 0 and realised[2] > 0.4
    variance = PEOPLE["rooms"].to_numpy(dtype=float).var()
    assert result.slope.value == pytest.approx(variance)  # the model is the identity, and moves as far as its inputs do
    assert told(assess(integers=["income"]))[-1].startswith("left alone: age")


def test_arrays_of_integers_are_refused_with_advice_or_perturbed() -> None:
    images = G.integers(0, 256, (64, 1, 8, 8)).astype(np.uint8)
    for predict, inputs in (
        (lambda x: x.mean(axis=(1, 2, 3)), images),
        (lambda x: x.double().mean(dim=(1, 2, 3)), torch.from_numpy(images)),
    ):
        with pytest.raises(InvalidInputError, match=r"the inputs are .*uint8.*--integers all"):
            assess(inputs, predict)
        seen: list[Any] = []

        def watching(x: Any, predict: Any = predict, seen: list[Any] = seen) -> Any:
            seen.append(x)
            return predict(x)

        result = assess(inputs, watching, integers="all")
        assert {each.dtype for each in seen} == {inputs.dtype}
        assert 0 < result.index < 1
        assert int(seen[-1].min()) >= int(images.min()) and int(seen[-1].max()) <= int(images.max())


def test_named_tensors_and_large_numbers() -> None:
    tensors = {"count": G.integers(0, 50, (64, 2)), "x": G.normal(size=(64, 2))}
    result = assess(tensors, lambda d: d["count"].sum(axis=1) + d["x"].sum(axis=1), integers=["count"])
    assert result.scale.shape == (4,) and told(result) == ()
    with pytest.raises(InvalidInputError, match=r"whole numbers beyond 2\*\*53 in column id"):
        assess(pd.DataFrame({"id": [2**60 + index for index in range(50)]}), lambda d: d["id"], integers=["id"])


def test_names_that_are_none_of_the_numbers_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="integers names region, no column of numbers among the inputs"):
        assess(integers=["age", "region"])
    with pytest.raises(InvalidInputError, match=r"no column has floating-point numbers .*--integers age,rooms"):
        assess(PEOPLE[["age", "rooms", "region"]], lambda d: d["age"])
    with pytest.raises(InvalidInputError, match="integers are of no use"):
        assess(np.zeros((8, 2)), lambda x: x[:, 0], integers="all")


def test_decimals_are_numbers_and_stay_decimal() -> None:
    frame = pd.DataFrame(
        {
            "price": [Decimal(str(round(x, 2))) for x in G.normal(5, 1, 64)],
            "pieces": [Decimal(number) for number in range(64)],
            "mixed": pd.Series([index if index % 2 else index + 0.5 for index in range(64)], dtype=object),
        }
    )
    frame.loc[3, "price"] = None
    seen: list[pd.DataFrame] = []

    def total(d: pd.DataFrame) -> Any:
        seen.append(d)
        return np.array([float(x or 0) for x in d["price"]]) + d["mixed"].to_numpy(dtype=float)

    result = assess(frame, total)
    assert told(result)[-1] == "left alone: pieces (decimal: a measurement? --integers pieces)"
    noisy = seen[-1].head(len(frame))
    assert noisy["price"].isna().tolist() == frame["price"].isna().tolist()
    assert all(isinstance(cell, Decimal) for cell in noisy["price"].dropna())
    assert noisy["pieces"].equals(frame["pieces"])
    assert seen[0]["price"].tolist() == frame["price"].tolist()


def test_nullable_integers_keep_their_gaps() -> None:
    frame = pd.DataFrame({"age": pd.array([20, None, *range(30, 92)], dtype="Int64")})
    seen: list[pd.DataFrame] = []

    def total(d: pd.DataFrame) -> Any:
        seen.append(d)
        return d["age"].to_numpy(dtype=float, na_value=0)

    assess(frame, total, integers="all")
    noisy = seen[-1].head(len(frame))
    assert noisy["age"].dtype == "Int64" and noisy["age"].isna().tolist() == frame["age"].isna().tolist()


# --- models of MLflow, behind the daemon ---------------------------------------------------------------------------


def save(folder: Path, signature: Any = None) -> Path:
    """A forest on a temperature and the number of a shop."""
    import mlflow.sklearn
    from sklearn.ensemble import RandomForestRegressor

    frame = pd.DataFrame({"temp": G.normal(20, 5, ROWS), "shop": G.integers(1, 40, ROWS)})
    target = frame["temp"] * 0.1 + G.normal(size=40)[frame["shop"]] * 3
    with quiet_mlflow():
        mlflow.sklearn.save_model(
            RandomForestRegressor(10, random_state=0).fit(frame, target),
            folder,
            signature=signature,
            pip_requirements=[],
            serialization_format="cloudpickle",
        )
    return folder


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    return load(save(tmp_path_factory.mktemp("unsigned") / "model"))


def question(rows: int, **changes: Any) -> Assess:
    header = {"content-type": "application/json"}
    given: dict[str, Any] = {
        "number": 1,
        "seed": 7,
        "requests": [SampledRequest(format="mlflow", headers=header, seed=index) for index in range(rows)],
        "rows_per_request": 1,
        "sample_rows": 1000,
        "min_rows": 32,
        "max_seconds": 60,
        "max_features": 8,
        "baseline": None,
        "baseline_min_rows": 64,
    }
    specification, rest = specified({"levels": [0.0, 0.1, 0.4], "trials": 19} | changes)
    return Assess(specification=specification, **given | rest)


def bodies(code: float | None = None) -> list[bytes]:
    rows = [{"temp": round(float(G.normal(20, 5)), 2), "shop": int(G.integers(1, 40))} for _ in range(128)]
    for index, row in enumerate(rows):
        if code is not None and index % 10 == 0:
            row["temp"] = code
    return [json.dumps({"dataframe_records": [row]}).encode() for row in rows]


def answered(model: ServedModel, sample: list[bytes], **changes: Any) -> Assessed:
    answer, _ = evaluate(model, question(len(sample), **changes), sample)
    assert isinstance(answer, Assessed)
    return answer


def test_integers_of_a_model_without_signature_pass_through_and_are_named(unsigned: ServedModel) -> None:
    answer = answered(unsigned, bodies())
    assert answer.index is not None and answer.index > 0.9
    assert "left alone: shop (int64: a measurement? --assess.integers shop)" in answer.notes
    assert not any("drift" in note for note in answer.notes), "whole numbers are watched, perturbed or not"
    again = answered(unsigned, bodies(), baseline=answer.baseline)
    assert again.features_watched == 2
    frame = pd.DataFrame({"temp": G.normal(20, 5, ROWS), "shop": G.integers(1, 40, ROWS)})
    assert robmon.assess(unsigned, frame, levels=[0.1], trials=19).masked.not_floating == 1


def test_the_daemon_s_setting_reaches_model_baseline_and_comparison(unsigned: ServedModel) -> None:
    first = answered(unsigned, bodies(), integers=["shop"])
    assert first.features_watched is None
    assert (first.baseline["source"], first.baseline["integers"]) == ("learnt", ["shop"])
    second = answered(unsigned, bodies(), integers=["shop"], baseline=first.baseline)
    assert second.features_watched == 2 and second.baseline == first.baseline
    limits = np.array(second.plan.features["limits"], dtype=float)
    assert np.isnan(limits[0]).tolist() == [True, False] and limits[0][1] >= 1
    other = answered(unsigned, bodies(), baseline=first.baseline)
    assert other.baseline["integers"] == [] and other.baseline["source"] == "learnt"  # learnt anew
    recorded = with_checksum({**first.baseline, "source": "artifact"})
    with pytest.raises(
        InvalidInputError, match=r"recorded with other settings of assess\.scale_axis or assess\.integers"
    ):
        answered(unsigned, bodies(), baseline=recorded)
    followed = answered(unsigned, bodies(), integers=["shop"], plan=second.plan)
    assert followed.plan.features == second.plan.features


def test_codes_are_told_by_the_daemon_without_their_value(unsigned: ServedModel) -> None:
    answer = answered(unsigned, bodies(code=-9999.0))
    assert "column temp: a value (10 %) is set apart as a code" in answer.notes
    assert not any("9999" in note for note in answer.notes)


def test_codes_among_rows_with_a_label_are_told_without_their_value_too(unsigned: ServedModel) -> None:
    sample = bodies(code=-9999.0)
    asked = question(len(sample))
    asked = asked.model_copy(
        update={"labelled": [each.model_copy(update={"target": "1.5"}) for each in asked.requests]}
    )
    answer, _ = evaluate(unsigned, asked, [*sample, *sample])
    assert isinstance(answer, Assessed) and answer.labelled_rows == len(sample)
    assert "against labels, column temp: a value (10 %) is set apart as a code" in answer.notes
    assert not any("9999" in note for note in answer.notes)


class Sent:
    """One row of a request."""

    def __init__(self, **columns: Any) -> None:
        self.columns, self.tensor, self.reading, self.texts, self.listed = columns, None, "frame", None, False


def test_one_value_with_a_fraction_makes_a_column_one_of_measurements() -> None:
    collect = Unsigned(np.dtype(np.float64), None, as_matrix=False).collect
    inputs, _, _ = collect([Sent(a=1, b=1, c=None), Sent(a=2.5, b=2, c=4), Sent(a=3, b=3, c=5)])
    assert inputs is not None
    assert inputs.feature_names == ("a",)
    assert [(each.name, each.kind) for each in inputs.left_alone] == [("b", "int64"), ("c", "whole numbers")]
    frame = inputs.assemble(inputs.array, slice(0, 3))
    assert frame["b"].dtype == np.int64 and frame["c"].dtype == np.float64  # as pandas reads them for the server


def test_what_is_perturbed_does_not_change_with_a_sample_that_happens_to_hold_no_fraction() -> None:
    collect = Unsigned(np.dtype(np.float64), None, as_matrix=False).collect
    for rows, perturbed in (
        ([Sent(a=1.5, b=None), Sent(a=2, b=None)], ("a", "b")),
        ([Sent(a=1, b=4), Sent(a=2, b=5)], ("a",)),  # nobody has seen a fraction in b
    ):
        inputs, _, _ = collect(rows)
        assert inputs is not None and inputs.feature_names == perturbed


def test_a_model_of_integers_alone_needs_the_setting(tmp_path: Path) -> None:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    schema = Schema([ColSpec("long", "temp"), ColSpec("long", "shop")])
    folder = save(tmp_path / "model", ModelSignature(schema, Schema([ColSpec("double")])))
    with pytest.raises(ModelLoadError, match=r"no input of the model is a floating-point number .*--integers"):
        load(folder)
    model = load(folder, integers=["temp"])
    sample = [json.dumps({"dataframe_records": [{"temp": int(t), "shop": 3}]}).encode() for t in G.normal(20, 9, 64)]
    assert answered(model, sample, integers=["temp"]).index is not None
