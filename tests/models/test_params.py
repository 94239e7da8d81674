"""Params of a signature: requests may set them, and robmon asks with their defaults, which it says."""

from __future__ import annotations

from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

import robmon
from tests.mlflow_client import quiet_mlflow


class Scaled(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        return model_input["a"].to_numpy() * params["factor"]


def test_a_model_is_asked_with_the_defaults_of_its_params(tmp_path: Path) -> None:
    signature = ModelSignature(
        Schema([ColSpec("double", "a")]), None, ParamSchema([ParamSpec("factor", "double", 3.0)])
    )
    with quiet_mlflow():
        mlflow.pyfunc.save_model(tmp_path / "model", python_model=Scaled(), signature=signature, pip_requirements=[])
    rows = pd.DataFrame({"a": np.random.default_rng(0).normal(size=200)})
    result = robmon.assess(str(tmp_path / "model"), rows, scale=1.0, levels=(0.1,))
    assert result.slope.value == pytest.approx(9.0, rel=0.1)
    assert "the model is asked with the defaults of its params (factor): what requests set is not used" in result.notes
