"""The map of the rooms: who may import whom, and what the light process must never load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import robmon

PACKAGE = Path(robmon.__file__).parent
LEAVES = {"errors", "vocabulary"}
"""What every room may import, numerics too; they import nothing of robmon themselves."""

# Each room and the rooms it may import, besides the leaves and itself: none of those below it.
ALLOWED = {
    "vocabulary": set(),
    "errors": set(),
    "clock": set(),
    "extras": set(),
    "robustness": set(),
    "drift": {"robustness"},
    "noise": {"robustness"},
    "report": {"robustness", "drift"},
    "models": {"extras", "robustness"},
    "inputs": {"clock", "extras", "ports"},
    "history": {"inputs", "robustness", "drift"},
    "processes": {"models", "inputs", "history", "robustness"},
    "reader": {"extras", "inputs", "processes"},
    "fetch": {"models", "history", "processes"},
    "worker": {"models", "inputs", "history", "processes", "robustness", "drift", "report"},
    "library": {"extras", "models", "history", "robustness", "drift", "report"},
    "settings": {"models", "robustness", "report"},
    "logs": {"models"},
    "ports": {"models", "settings"},
    "export": {"clock", "models", "inputs", "history", "processes", "ports"},
    "daemon": {"clock", "extras", "logs", "settings", "models", "inputs", "history", "processes", "ports", "export"},
    "demo": {"extras", "report"},
    "cli": {"daemon", "demo", "extras", "history", "inputs", "library", "logs", "models", "ports", "report", "settings"}
    | {"robustness"},
    "__main__": {"cli"},
}
DEFERRED = {("robustness", "report")}
"""Results draw and describe themselves: `.plot()` and `__str__` import what does it when they are called."""
HEAVY = ("torch", "mlflow", "pandas", "numpy", "sklearn", "matplotlib", "array_api_compat")


def room_of(module: str) -> str:
    """`robmon.inputs.codecs.rows` is in the room `inputs`."""
    return module.split(".")[1]


def modules() -> dict[str, Path]:
    """Every module of robmon, but for its public face, which imports whatever is public when it is asked for."""
    files = sorted(PACKAGE.rglob("*.py"))
    names = (
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for file in files
    )
    return {name: file for name, file in zip(names, files, strict=True) if name != "robmon"}


MODULES = modules()


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Every module of robmon that a file imports, and whether it does so only inside a function."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
            names = [whole if whole in MODULES else module for whole, module in named]
        else:
            continue
        yield from ((name, id(node) in inside) for name in names if name.startswith("robmon."))


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    room = room_of(module)
    for imported, is_deferred in imports(MODULES[module]):
        if is_deferred and (room, room_of(imported)) in DEFERRED:
            continue
        assert room_of(imported) in ALLOWED[room] | LEAVES | {room}, f"{module} must not import {imported}"


def test_no_rooms_go_round_in_a_circle() -> None:
    TopologicalSorter(ALLOWED).prepare()


def test_no_modules_go_round_in_a_circle() -> None:
    arrows = {
        module: {
            imported
            for imported, is_deferred in imports(file)
            if imported != module and not (is_deferred and (room_of(module), room_of(imported)) in DEFERRED)
        }
        for module, file in MODULES.items()
    }
    TopologicalSorter(arrows).prepare()


def test_every_room_is_on_the_map() -> None:
    assert {room_of(module) for module in MODULES} == set(ALLOWED)


def test_few_files_lie_outside_rooms() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def loaded_by(statement: str) -> set[str]:
    """Top-level modules loaded after a statement, in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_daemon_is_light() -> None:
    assert not loaded_by("import robmon.daemon.app") & set(HEAVY)


def test_help_needs_no_settings() -> None:
    assert not loaded_by("import robmon.cli.main") & {*HEAVY, "pydantic_settings", "rich", "uvicorn"}


def test_the_worker_needs_only_numpy_and_pydantic_besides_the_model() -> None:
    loaded = loaded_by("import robmon.worker.__main__, robmon.worker.evaluation")
    assert not loaded & {"torch", "mlflow", "pandas", "uvicorn", "apscheduler", "prometheus_client", "structlog"}
    assert not loaded & {"pydantic_settings", "click", "rich", "httpx", "psutil", "scipy", "matplotlib"}
