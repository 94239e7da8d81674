"""The program that is taken to a machine with a GPU runs here too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import REPOSITORY

NOT_THERE = (
    "pandas",
    "scipy",
    "sklearn",
    "mlflow",
    "httpx",
    "uvicorn",
    "prometheus_client",
    "onnxruntime",
    "matplotlib",
)
IMPORT_ALL = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({NOT_THERE}))
import tests.gpu
for module in pkgutil.iter_modules(tests.gpu.__path__):
    if module.name != "__main__":
        importlib.import_module(f"tests.gpu.{{module.name}}")
"""


def test_it_needs_nothing_but_torch_and_its_wheels() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C compiler, g++")
def test_the_step_that_compiles(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.gpu", "--device", "cpu", "--only", "compile", "--output", str(output)]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    step = json.loads(output.read_text(encoding="utf-8"))["steps"]["compile"]
    assert set(step["figures"]) == {"numbers", "mlp"} and step["skipped"] == {}
    assert step["figures"]["mlp"]["time_ratio"] > 0 and step["requirements"][0]["met"]


def test_a_step_runs_and_its_figures_are_written(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.gpu", "--device", "cpu", "--only", "linear", "--output", str(output)]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = json.loads(output.read_text(encoding="utf-8"))
    assert report["quick"] and report["device"].startswith("CPU") and report["torch"]
    assert list(report["steps"]) == ["linear"] and report["steps"]["linear"]["failed"] == ""
    assert {"rows", "trials", "levels"} == set(report["steps"]["linear"]["figures"])
    assert "linear: PASS" in ran.stdout
