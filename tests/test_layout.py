"""The map of the rooms: who may import whom, and what the light process must never load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import robmon
from tools.import_graph import arrows_between_modules, circles, modules, room_of

PACKAGE = Path(robmon.__file__).parent
LEAVES = {"errors", "vocabulary", "wording"}
"""What every room may import; they import nothing of robmon but one another."""
NUMERICS = {"robustness", "drift"}
"""What imports of the leaves `errors` and `vocabulary` alone."""

# Each room and the rooms it may import, besides the leaves and itself: none of those below it.
ALLOWED = {
    "vocabulary": set(),
    "wording": set(),
    "errors": set(),
    "clock": set(),
    "extras": set(),
    "robustness": set(),
    "drift": {"robustness"},
    "noise": {"robustness"},
    "tap": set(),
    "report": {"robustness", "drift"},
    "models": {"extras", "robustness", "drift"},
    "inputs": {"clock", "extras", "ports"},
    "history": {"inputs", "robustness", "drift"},
    "processes": {"models", "inputs", "history", "robustness"},
    "reader": {"extras", "inputs", "processes"},
    "fetch": {"models", "history", "processes"},
    "worker": {"models", "inputs", "history", "processes", "robustness", "drift", "report"},
    "library": {"clock", "extras", "models", "history", "robustness", "drift", "report"},
    "hardening": {"library", "models", "robustness", "report"},
    "audit": {"extras", "inputs", "library", "models", "processes", "robustness", "worker"},
    "settings": {"models", "robustness", "report"},
    "logs": {"models"},
    "ports": {"models", "settings"},
    "incident": {"clock", "models", "history", "processes", "report"},
    "export": {"clock", "logs", "models", "inputs", "history", "processes", "ports", "report"},
    "daemon": {"clock", "extras", "logs", "settings", "models", "inputs", "history", "processes", "ports", "export"}
    | {"incident"},
    "demo": {"extras", "report"},
    "cli": {
        "audit",
        "clock",
        "daemon",
        "demo",
        "extras",
        "hardening",
        "history",
        "incident",
        "inputs",
        "library",
        "logs",
        "models",
        "ports",
        "report",
        "settings",
    }
    | {"processes", "robustness"},
    "__main__": {"cli"},
}
INSIDE = {
    "daemon": {
        "timing": set(),
        "results": set(),
        "decisions": {"results"},
        "registry": {"timing"},
        "memory": {"decisions", "registry", "timing"},
        "inputs": {"memory"},
        "journal": {"decisions", "memory", "registry", "results", "timing"},
        "worker": {"journal", "memory", "registry", "results", "timing"},
    },
    "models": {
        "outputs": {"strangers"},
        "inputs": {"outputs"},
        "signature": {"inputs", "mlmodel"},
        "devices": {"strangers"},
        "served": {"access", "devices", "inputs", "outputs", "signature", "strangers"},
        "flavours": {"devices", "mlmodel", "outputs", "served", "strangers"},
        "remote": {"access", "bearer", "outputs", "served", "signature", "uri"},
        "registry": {"json_values", "mlmodel", "uri"},
    },
}
"""Rooms inside a room, and what they import of it: of each other, and of the files beside them."""
HEAVY = ("torch", "mlflow", "pandas", "numpy", "sklearn", "matplotlib", "array_api_compat")


MODULES = modules(PACKAGE)
ARROWS = arrows_between_modules(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    room = room_of(module)
    for imported in ARROWS[module]:
        leaves = LEAVES - {"wording"} if room in NUMERICS else LEAVES
        assert room_of(imported) in ALLOWED[room] | leaves | {room}, f"{module} must not import {imported}"


def test_nothing_goes_round_in_a_circle() -> None:
    assert list(circles(ALLOWED)) == []
    assert list(circles(ARROWS)) == []


def test_every_room_is_on_the_map() -> None:
    assert {room_of(module) for module in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("room", INSIDE)
def test_rooms_inside_a_room_import_one_way(room: str) -> None:
    folder = PACKAGE / room
    place = {
        module: file.relative_to(folder).parts[0].removesuffix(".py")
        for module, file in MODULES.items()
        if file.is_relative_to(folder)
    }
    arrows: dict[str, set[str]] = {name: set() for name in place.values()}
    for module, name in place.items():
        arrows[name] |= {place[imported] for imported in ARROWS[module] if imported in place} - {name}
    assert {name: imported for name, imported in arrows.items() if (folder / name).is_dir()} == INSIDE[room]
    assert list(circles(arrows)) == []


def test_few_files_lie_outside_rooms() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 9


def loaded_by(statement: str) -> set[str]:
    """Top-level modules loaded after a statement, in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_daemon_is_light() -> None:
    assert not loaded_by("import robmon.daemon.app") & set(HEAVY)
    by_command = "import robmon.cli.daemon as cli\nwith cli._without_rich(): import robmon.daemon.app"
    assert not loaded_by(by_command) & {*HEAVY, "rich"}


def test_help_needs_no_settings() -> None:
    assert not loaded_by("import robmon.cli.main") & {*HEAVY, "pydantic_settings", "rich", "uvicorn"}


def test_the_worker_needs_only_numpy_and_pydantic_besides_the_model() -> None:
    loaded = loaded_by("import robmon.worker.__main__, robmon.worker.evaluation")
    assert not loaded & {"torch", "mlflow", "pandas", "uvicorn", "apscheduler", "prometheus_client", "structlog"}
    assert not loaded & {"pydantic_settings", "click", "rich", "httpx", "psutil", "scipy", "matplotlib"}
