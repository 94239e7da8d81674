"""Inputs that a caller gives: rows that a model does not take are left out and told, most of them refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.types import ColSpec

import robmon
from robmon.errors import InvalidInputError
from robmon.inputs.files import read_inputs
from robmon.library.fitting import fit
from robmon.models.loading import load
from robmon.models.remote.as_sent import AsSent
from robmon.models.served.served import ServedModel
from robmon.models.signature.signature import of_tensors
from tests.models.conftest import columns, named_tensors, save_pyfunc, tensor

ROWS = 100
FRAME = pd.DataFrame(
    {
        "income": np.random.default_rng(0).normal(50, 12, ROWS),
        "age": np.arange(ROWS) % 50 + 20,
        "region": [None if at % 7 == 3 else "north" for at in range(ROWS)],
        "member": [None if at % 11 == 4 else at % 2 == 0 for at in range(ROWS)],
    }
)


def unsigned_endpoint(seen: list[Any]) -> ServedModel:
    """A model at an endpoint that tells no signature, and keeps what it is asked."""

    def call(inputs: Any) -> Any:
        seen.append(inputs)
        return np.asarray(inputs["income"], dtype=float) / 10

    return ServedModel("remote", "127.0.0.1:1", [], AsSent(), call, lambda array: array)


def written(folder: Path, suffix: str, frame: pd.DataFrame) -> Path:
    path = folder / f"inputs{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_nulls_in_a_file_are_sent_to_an_endpoint(suffix: str, tmp_path: Path) -> None:
    """Text, truth values and integers among missing ones are what they are, in every kind of file."""
    frame = FRAME.assign(age=FRAME["age"].astype("Int64").mask(FRAME["age"] == 25))
    if suffix == ".jsonl":
        frame = frame.astype(object).where(frame.notna(), None)
    inputs, _ = read_inputs(written(tmp_path, suffix, frame))
    seen: list[Any] = []
    fitted = fit(unsigned_endpoint(seen), inputs)
    assert (fitted.inputs.rows, fitted.kept, fitted.notes) == (ROWS, None, ())
    assert fitted.inputs.column_names == ("income",)
    sent = fitted.inputs.assemble(fitted.inputs.array, slice(0, ROWS))
    assert sent["region"].tolist() == [None if at % 7 == 3 else "north" for at in range(ROWS)]
    assert sent["member"].tolist() == [None if at % 11 == 4 else at % 2 == 0 for at in range(ROWS)]
    assert sent["age"].tolist()[4:7] == [24, None, 26]
    assert {type(age) for age in sent["age"].tolist()} == {int, type(None)}


def test_one_bad_row_is_left_out_and_told(tmp_path: Path) -> None:
    folder = save_pyfunc(
        tmp_path / "model", lambda frame: frame["x"].to_numpy(), columns(("x", "double"), ("n", "long"))
    )
    frame = pd.DataFrame({"x": np.arange(40.0), "n": pd.array([1] * 40, dtype="Int64")})
    frame.loc[[3, 17], "n"] = pd.NA
    frame["x"] = frame["x"].astype(object)
    frame.loc[5, "x"] = "secret"
    model = load(folder)
    targets = np.arange(40.0)
    result = robmon.assess(model, frame, targets=targets, scale=1.0)
    told = (
        "3 of 40 rows of the inputs do not fit the model, and are left out (counted from 0): "
        "missing_value n (2: rows 3, 17), wrong_type x (1: row 5)"
    )
    assert told in result.notes
    assert result.rows == 37
    assert result.clean_mse == 0, "targets are those of the rows that are left"

    with pytest.raises(InvalidInputError, match=r"^25 of 40 rows of the inputs do not fit the model: missing_value n"):
        robmon.assess(model, frame.assign(n=frame["n"].mask(np.arange(40) < 25)))
    with pytest.raises(InvalidInputError, match=r"40 of 40 rows .* missing_column n"):
        robmon.assess(model, frame[["x"]])
    with pytest.raises(InvalidInputError, match=r"40 of 40 rows .* missing_column x, n \(40: "):
        robmon.assess(model, frame[["x"]].rename(columns={"x": "other"}))


def test_models_that_take_different_rows_are_not_compared(tmp_path: Path) -> None:
    """Rows would be paired that are not the same."""
    both = pd.DataFrame({"x": np.arange(40.0), "n": [1] * 40, "m": [1] * 40}).astype({"n": "Int64", "m": "Int64"})
    both.loc[3, "n"] = both.loc[8, "m"] = pd.NA
    first, second = (
        load(
            save_pyfunc(tmp_path / name, lambda frame: frame["x"].to_numpy(), columns(("x", "double"), (name, "long")))
        )
        for name in "nm"
    )
    with pytest.raises(InvalidInputError, match="different rows of the inputs: leave rows 3, 8 "):
        robmon.compare(first, second, both)
    assert not robmon.compare(first, first, both).worse


def test_an_optional_column_may_be_empty_in_a_file(tmp_path: Path) -> None:
    folder = save_pyfunc(
        tmp_path / "model",
        lambda frame: np.full(len(frame), float("n" in frame)) + frame["x"].to_numpy(),
        columns(("x", "double"), ("n", "long"), optional=["n"]),
    )
    frame = pd.DataFrame({"x": [0.5] * 6, "n": pd.array([1, None, 2, None, 3, 4], dtype="Int64")})
    fitted = fit(load(folder), read_inputs(written(tmp_path, ".csv", frame))[0])
    outputs = load(folder).predict(fitted.inputs.assemble(fitted.inputs.array, slice(0, 6)))
    assert outputs.tolist() == [1.5, 0.5, 1.5, 0.5, 1.5, 1.5]


def test_nan_in_arrays_is_left_alone() -> None:
    """As in tables, for callables and models alike."""
    inputs = np.random.default_rng(0).normal(size=(60, 2))
    inputs[::5, 1] = np.nan
    result = robmon.assess(lambda x: np.nansum(x, axis=1), inputs)
    assert result.masked.missing_cells == 12
    assert np.isfinite(result.curve[-1].bound)


@pytest.mark.parametrize(("held", "told"), [(0, "40 of 40"), (25, "15 of 40"), (40, None)])
@pytest.mark.parametrize("integers", [(), ("o",)])
def test_an_absent_optional_column_is_told(
    held: int, told: str | None, integers: tuple[str, ...], tmp_path: Path
) -> None:
    schema = columns(("x", "double"))
    schema.inputs.inputs.append(ColSpec("long", "o", required=False))
    model = load(save_pyfunc(tmp_path / "model", lambda frame: frame["x"].to_numpy(), schema))
    frame = pd.DataFrame({"x": np.arange(40.0), "o": np.where(np.arange(40) < held, np.arange(40), np.nan)})
    frame = frame.astype(object).where(frame.notna(), None)
    notes = fit(model, frame if held else frame[["x"]], integers if held else ()).inputs.notes("--integers")
    found = [note for note in notes if "absent" in note]
    assert found == ([] if told is None else [f"optional columns are absent: o in {told} rows"])


@pytest.mark.parametrize(
    ("signature", "inputs", "wanted", "given"),
    [
        (
            columns(("x", "double"), ("y", "double")),
            np.ones((40, 5)),
            "2 columns",
            "rows of shape (5)",
        ),
        (
            tensor("float64", (-1, 3, -1)),
            np.ones((40, 4)),
            "rows of shape (3, any)",
            "rows of shape (4)",
        ),
        (
            named_tensors(("x", "float64", (-1, 2)), ("m", "float64", (-1, 3))),
            {"x": np.ones((40, 2)), "m": np.ones((40, 4))},
            "x of shape (2), m of shape (3)",
            "x of shape (2), m of shape (4)",
        ),
        (
            tensor("float64", (-1, 3)),
            [np.ones(2 + at % 2) for at in range(40)],
            "rows of shape (3)",
            "rows of shape (2) and (3), and are left out",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_told_beside_those_that_do(
    signature: Any, inputs: Any, wanted: str, given: str, tmp_path: Path
) -> None:
    model = load(save_pyfunc(tmp_path / "model", lambda x: np.zeros(len(x)), signature))
    try:
        text = " ".join(fit(model, inputs).notes)
    except InvalidInputError as error:
        text = str(error)
    assert (
        f" do not fit the model, which takes {wanted}, where the inputs have {given}" in text and "wrong_shape" in text
    )


def test_all_missing_columns_are_named(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(30)]
    model = load(save_pyfunc(tmp_path / "model", lambda x: np.zeros(len(x)), columns(*((n, "double") for n in names))))
    with pytest.raises(InvalidInputError, match=f"do not fit the model: missing_column {', '.join(names[:-1])} "):
        fit(model, pd.DataFrame(np.ones((40, 1)), columns=names[-1:]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.random.default_rng(0).random((8, 3, 2)), "says whole numbers where the inputs hold fractions: wrong_type"),
        (np.full((8, 3, 2), 300), "rows of the inputs do not fit the model: wrong_type"),
    ],
)
def test_numbers_that_a_type_of_whole_numbers_does_not_hold_are_refused(given: Any, told: str) -> None:
    signature = of_tensors({"pixels": (np.dtype(np.uint8), (-1, 3, 2))}, ["pixels"])

    def fitted(inputs: Any) -> Any:
        model = SimpleNamespace(takes=signature.takes, collect=lambda rows, _: signature.collect(rows))
        return fit(model, {"pixels": inputs}, ["pixels"])  # type: ignore[arg-type]

    with pytest.raises(InvalidInputError, match=told):
        fitted(given)
    assert fitted(np.floor(100 * np.random.default_rng(0).random((8, 3, 2)))).of_rows == 8
