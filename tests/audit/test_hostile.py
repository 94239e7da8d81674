"""Versions that do more than they should, on both engines: none costs more than its own result."""

from __future__ import annotations

import importlib.util
import uuid
from pathlib import Path

import psutil
import pytest

from tests.audit.registries import many_versions
from tests.audit.test_audit import results, run

HOSTILE = Path(__file__).with_name("hostile_model.py")
BEHAVIOURS = ["behaves", "leaves a daemon", "shouts", "moves out", "patches json", "forges"]


@pytest.mark.parametrize(
    "engine",
    [
        "local",
        pytest.param(
            "ray",
            marks=[
                pytest.mark.long,
                pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
            ],
        ),
    ],
)
def test_hostile_versions_cost_no_more_than_their_own_result(
    tmp_path: Path, mlflow_template: Path, engine: str
) -> None:
    made = many_versions(tmp_path / "registry", mlflow_template, code=HOSTILE)
    word = f"daemon-{uuid.uuid4()}"
    made.add("hostile", [(1.5, f"{behaviour}:{word}") for behaviour in BEHAVIOURS])
    temporary = tmp_path / "t"
    temporary.mkdir()
    where = {"TMPDIR": str(temporary)} if engine == "local" else {}  # Ray makes sockets there, whose names are short
    done = run(made, "models:/*", "--workers", "2", "--engine", engine, **where)
    assert done.returncode == 1, done.stderr
    found = results(made.folder / "out")
    plain = found[1]["assessment"]
    assert plain["clean_mse"] > 0
    for number, behaviour in enumerate(BEHAVIOURS[:-1], start=1):
        assert found[number]["outcome"] == "ok", (behaviour, found[number])
        assert found[number]["assessment"] == plain, behaviour
    assert found[6]["why"] == "its process answered with something that is no result"
    assert not any(is_daemon(process, word) for process in psutil.process_iter())
    assert not list(made.folder.rglob("left-behind")) and not list(temporary.iterdir())


def is_daemon(process: psutil.Process, name: str) -> bool:
    try:
        return name in process.cmdline()
    except psutil.Error:
        return False
