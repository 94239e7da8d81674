"""The map of the rooms: who may import whom, and what the light process must never load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import robmon

PACKAGE = Path(robmon.__file__).parent
SHARED = {
    "bearer",
    "errors",
    "extras",
    "model_uri",
    "marks",
    "settings",
    "messages",
    "logs",
    "progress",
    "robustness.checks",
    "robustness.specification",
    "strangers",
    "threads",
    "vocabulary",
    "secret_file",
}

# Each room and the rooms it may import, besides SHARED and itself.
ALLOWED = {
    "bearer": set(),
    "secret_file": set(),
    "errors": set(),
    "extras": set(),
    "vocabulary": set(),
    "model_uri": set(),
    "marks": set(),
    "settings": {"model_uri"},
    "messages": set(),
    "progress": set(),
    "logs": set(),
    "strangers": set(),
    "clock": set(),
    "schedule": {"clock"},
    "threads": set(),
    "writer": set(),
    "robustness.checks": set(),
    "robustness.specification": {"robustness.checks", "robustness"},
    "robustness": {"robustness.checks", "robustness.specification"},
    "drift": {"robustness"},
    "ports": set(),
    "inputs": {"ports", "clock"},
    "inputs.codecs": set(),
    "inputs.tailing": set(),
    "models": {"registry_access", "robustness"},
    "history": set(),
    "history.baseline": {"robustness", "drift"},
    "strays": set(),
    "supervisor": {"strays"},
    "acceptance": {"models", "history"},
    "verdict_memory": {"host", "follow", "history", "writer"},
    "export": {"clock", "history", "inputs", "ports"},
    "registry_access": set(),
    "follow": {"registry_access", "supervisor", "history"},
    "host": {"supervisor", "export"},
    "assessor": {"clock", "host", "follow", "verdict_memory", "inputs", "history", "export", "writer"},
    "daemon": {
        "clock",
        "file_source",
        "assessor",
        "host",
        "follow",
        "inputs",
        "history",
        "export",
        "ports",
        "registry_access",
        "schedule",
        "strays",
        "verdict_memory",
        "writer",
    },
    "fetch": {"models", "history"},
    "decoding": {"models", "inputs.codecs"},
    "labelled": {"decoding", "models", "robustness"},
    "served": {"decoding", "inputs.codecs", "models", "robustness"},
    "judging": {"robustness"},
    "evaluation": {"decoding", "judging", "labelled", "served", "models", "history.baseline", "robustness", "drift"},
    "guest": set(),
    "worker": {"guest", "evaluation", "models"},
    "tail": {"guest", "inputs.tailing"},
    "file_source": {"clock", "supervisor", "history", "inputs", "ports", "writer"},
    "fitting": {"models"},
    "prepared": {"fitting", "models", "robustness"},
    "api": {"fitting", "prepared", "models", "robustness", "drift"},
    "noise": {"robustness"},
    "baselines": {"api", "prepared", "models", "history", "history.baseline", "robustness"},
    "ranking": {"api", "fitting", "prepared", "models", "robustness"},
    "demo": {"api", "models", "inputs", "robustness"},
    "cli": {"acceptance", "api", "baselines", "daemon", "demo", "history", "inputs", "models", "ports", "ranking"}
    | {"robustness"},
    "__main__": {"cli"},
}
NUMERICS = {"robustness", "drift"}
HEAVY = ("torch", "mlflow", "pandas", "numpy", "sklearn", "matplotlib", "array_api_compat")


def room_of(module: str) -> str:
    """`robmon.inputs.codecs.rows` is in the room `inputs.codecs`."""
    parts = module.removeprefix("robmon").lstrip(".").split(".")
    pair = ".".join(parts[:2])
    return pair if pair in ALLOWED else parts[0]


def imports(file: Path) -> Iterator[str]:
    """Every module of robmon that a file imports, at whatever depth."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "robmon")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "robmon":
            for alias in node.names:
                submodule = PACKAGE.parent / (node.module + "." + alias.name).replace(".", "/")
                is_module = submodule.with_suffix(".py").exists() or submodule.is_dir()
                yield f"{node.module}.{alias.name}" if is_module else node.module


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_one_way(file: Path) -> None:
    module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    if module == "robmon":
        return  # the public face: lazily, whatever is public
    room = room_of(module)
    allowed = ALLOWED[room] | {room} | ({"errors", "vocabulary"} if room.split(".")[0] in NUMERICS else SHARED)
    for imported in imports(file):
        if imported == "robmon":
            continue
        assert room_of(imported) in allowed, f"{module} must not import {imported}"


def test_every_room_is_on_the_map() -> None:
    rooms = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir() if path.name[0] != "_"}
    rooms.discard("py.typed")
    rooms.discard("py")
    assert rooms <= set(ALLOWED)


def loaded_by(statement: str) -> set[str]:
    """Top-level modules loaded after a statement, in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_daemon_is_light() -> None:
    assert not loaded_by("import robmon.daemon") & set(HEAVY)


def test_help_needs_no_settings() -> None:
    assert not loaded_by("import robmon.cli") & {*HEAVY, "pydantic_settings", "rich", "uvicorn"}


def test_the_worker_needs_only_numpy_and_pydantic_besides_the_model() -> None:
    loaded = loaded_by("import robmon.worker, robmon.evaluation")
    assert not loaded & {"torch", "mlflow", "pandas", "uvicorn", "apscheduler", "prometheus_client", "structlog"}
    assert not loaded & {"pydantic_settings", "click", "rich", "httpx", "psutil", "scipy", "matplotlib"}
