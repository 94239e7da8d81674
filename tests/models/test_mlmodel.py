"""The MLmodel file as strangers may write it: read as MLflow writes it, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from robmon.errors import ModelLoadError
from robmon.models import mlmodel

FLAVORS = "flavors:\n  sklearn: {code: null}\n  python_function: {loader_module: mlflow.sklearn}\n"


def read(folder: Path, text: str) -> mlmodel.MLmodel:
    (folder / mlmodel.MLMODEL_FILE).write_text(text)
    return mlmodel.read(folder)


def test_aliases_and_numbers_are_read(tmp_path: Path) -> None:
    found = read(
        tmp_path, "x: &x {loader_module: mlflow.sklearn}\nn: [1, 1.5]\nflavors: {sklearn: , python_function: *x}\n"
    )
    assert found.loaded_flavor == "sklearn"
    assert found.flavors == {"sklearn": {}, "python_function": {"loader_module": "mlflow.sklearn"}}


@pytest.mark.parametrize(
    "told",
    [
        "a: &a {x: 1}\nb: {<<: *a}\n",
        "a: 1:00:00\n",
        "a: 1:00:00.5\n",
        "a: " + "[" * 5000,
        "a: !!python/name:os.system x\n",
        "a: 2020-99-99\n",
    ],
)
def test_what_mlflow_does_not_write_is_refused(tmp_path: Path, told: str) -> None:
    assert read(tmp_path, FLAVORS).kind == "pyfunc"
    with pytest.raises(ModelLoadError, match="is not what MLflow writes"):
        read(tmp_path, FLAVORS + told)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="is larger than 4 MiB"):
        read(tmp_path, FLAVORS + "#" * mlmodel.MAX_BYTES)
