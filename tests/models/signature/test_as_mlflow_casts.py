"""Every kind of column, every kind of cell, every format: what MLflow's server hands to the model, or refuses."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import scoring_server

from robmon.errors import CodecError
from robmon.inputs.codecs import decode
from robmon.models.loading import load
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import columns, named_tensors, save_pyfunc, tensor

KINDS = ["double", "float", "long", "integer", "boolean", "string", "datetime", "binary"]
CELLS = [
    1, 0, 1.0, 1.9, -3, True, None, float("nan"), float("inf"), "1", "1.5", "02139", "abc", "true", "", "2020-01-01",
    [1], {"a": 1},
]  # fmt: skip
REFUSED = "refused"
DIFFERENT = {
    ("datetime", "inf", "dataframe_split"),  # the server makes no date of it, we no row
    # Lists in columns of scalars stay lists there, and are arrays here; no such column is ever perturbed.
    *((kind, "[1]", "instances") for kind in ("boolean", "string", "binary")),
}


def score(frame: pd.DataFrame) -> Any:
    """Keeps what it got, in the one place that is shared with a model that was pickled."""
    cells = frame["cell"]
    builtins.__dict__["got"].append((str(cells.dtype), repr(cells.tolist())))
    return np.zeros(len(frame))


def requests(cell: Any) -> Iterator[tuple[str, str, bytes]]:
    """Format, content type and body of one row."""
    row = {"x": 0.5, "cell": cell}
    split = {"columns": list(row), "data": [list(row.values())]}
    for key, content in {"dataframe_split": split, "instances": [row]}.items():
        yield key, "application/json", json.dumps({key: content}).encode()
    if not isinstance(cell, (list, dict)):
        frame = pd.DataFrame([row])
        yield "csv", "text/csv", frame.to_csv(index=False).encode()
        yield "parquet", "application/vnd.apache.parquet", frame.to_parquet()


def of_server(body: bytes, content_type: str, model: Any, schema: Any, got: list[Any]) -> Any:
    """What the server's own function hands to the model."""
    with quiet_mlflow():
        try:
            scoring_server.invocations(body, content_type, model, schema)
        except MlflowException:
            return REFUSED
    return got.pop()


@pytest.mark.parametrize("kind", KINDS)
def test_cells(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []
    monkeypatch.setattr(builtins, "got", got, raising=False)
    folder = save_pyfunc(tmp_path / "model", score, columns(("x", "double"), ("cell", kind)))
    theirs, ours = mlflow.pyfunc.load_model(str(folder)), load(folder)
    schema = theirs.metadata.get_input_schema()
    for cell in CELLS:
        for name, content_type, body in requests(cell):
            served = of_server(body, content_type, theirs, schema, got)
            try:
                inputs, _, _ = ours.collect(decode("mlflow", {"content-type": content_type}, body))
            except CodecError:
                inputs = None
            if inputs is not None:
                ours.predict(inputs.assemble(inputs.array, slice(0, 1)))
            assessed = got.pop() if inputs is not None else REFUSED
            same = served == assessed
            assert same != ((kind, repr(cell), name) in DIFFERENT), (kind, cell, name, served, assessed)


@pytest.mark.parametrize(
    "signature", [tensor("float64", (-1, 2)), named_tensors(("x", "float64", (-1,)), ("cell", "float64", (-1,)))]
)
def test_csv_is_for_models_of_columns(signature: ModelSignature, tmp_path: Path) -> None:
    folder = save_pyfunc(tmp_path / "model", score, signature)
    model = mlflow.pyfunc.load_model(str(folder))
    body = b"x,cell\n1.5,2.5\n"
    assert of_server(body, "text/csv", model, model.metadata.get_input_schema(), []) == REFUSED
    assert load(folder).collect(decode("mlflow", {"content-type": "text/csv"}, body)) == (None, [], {"wrong_type": 1})
