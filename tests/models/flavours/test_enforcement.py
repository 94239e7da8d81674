"""MLflow's check of frames is left out where it changes nothing, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.utils import _enforce_schema
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, DataType

from robmon.models.flavours.enforcement import predict_of, unchanged_by
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import columns, save_pyfunc, tensor

TYPES = ("double", "float", "long", "integer", "boolean", "string", "binary", "datetime")
SIGNATURE = columns(*((name, name) for name in TYPES), ("may lack", "double"), optional=["may lack"])
FRAME = pd.DataFrame(
    {
        "double": [0.5, 1.5],
        "float": np.array([0.5, np.nan], dtype=np.float32),
        "long": [1, 2],
        "integer": np.array([1, 2], dtype=np.int32),
        "boolean": [True, False],
        "string": ["a", "b"],
        "binary": np.array([b"a", b"b"], dtype=object),
        "datetime": pd.to_datetime(["2026-01-01", "2026-01-02"]).astype("datetime64[ns]"),
        "may lack": [1.0, np.nan],
    }
)
FRAMES = {
    "as the signature": (FRAME, True),
    "another index": (FRAME.set_index(pd.Index([7, 9])), True),
    "without the optional column": (FRAME.drop(columns="may lack"), True),
    "text as objects": (FRAME.astype({"string": object}), True),
    "columns in another order": (FRAME[FRAME.columns[::-1]], False),
    "a column more": (FRAME.assign(more=1.0), False),
    "float for double": (FRAME.astype({"double": np.float32}), False),
    "integer for long": (FRAME.astype({"long": np.int32}), False),
    "objects for numbers": (FRAME.astype({"double": object}), False),
    "truth values as objects": (FRAME.astype({"boolean": object}), False),
    "dates in seconds": (FRAME.astype({"datetime": "datetime64[s]"}), False),
}


@pytest.mark.parametrize("case", FRAMES)
def test_what_is_not_checked_would_be_left_as_it_is(case: str) -> None:
    frame, is_unchanged = FRAMES[case]
    assert unchanged_by(SIGNATURE.inputs)(frame) is is_unchanged
    enforced = _enforce_schema(frame, SIGNATURE.inputs)
    is_same = frame.columns.equals(enforced.columns) and frame.equals(enforced)
    assert is_same or not is_unchanged


def test_what_would_be_refused_is_checked() -> None:
    assert not unchanged_by(SIGNATURE.inputs)(FRAME.drop(columns="long"))
    assert not unchanged_by(SIGNATURE.inputs)(FRAME.astype({"integer": np.int64}))
    assert not unchanged_by(Schema([ColSpec(Array(DataType.double), "lists")]))(pd.DataFrame({"lists": [[1.0]]}))
    assert not unchanged_by(SIGNATURE.inputs)(FRAME.to_numpy())


def dtypes(model_input: Any) -> Any:
    return np.array([str(dtype) for dtype in model_input.dtypes])


def loaded(folder: Path, signature: ModelSignature | None) -> Any:
    with quiet_mlflow():
        return mlflow.pyfunc.load_model(str(save_pyfunc(folder, dtypes, signature)))


def test_predictions_are_those_of_the_checked_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(tmp_path / "model", columns(("a", "double"), ("b", "long")))
    predict = predict_of(model)
    checks = []
    enforce = _enforce_schema
    monkeypatch.setattr(mlflow.pyfunc, "_enforce_schema", lambda *args: checks.append(1) or enforce(*args))
    frame = pd.DataFrame({"a": [0.5], "b": [1]})
    assert predict(frame).tolist() == ["float64", "int64"]
    assert checks == []
    assert predict(frame.astype({"a": np.float32, "b": np.int32})).tolist() == ["float64", "int64"]
    assert len(checks) == 1
    with pytest.raises(MlflowException, match="missing"):
        predict(frame[["a"]])
    assert model.metadata.signature is not None


def test_models_that_are_given_more_than_the_frame_are_checked(tmp_path: Path) -> None:
    schema = columns(("a", "double")).inputs
    with_params = ModelSignature(schema, params=ParamSchema([ParamSpec("times", "double", 2.0)]))
    for name, signature in {"params": with_params, "tensor": tensor("float64", (-1, 2)), "none": None}.items():
        model = loaded(tmp_path / name, signature)
        assert predict_of(model) == model.predict, name
