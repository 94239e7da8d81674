"""Count and print the rooms of robmon, the arrows of imports between them, and the circles.

A room is a folder of the package, or a file beside the folders; an arrow is one room that imports another, at whatever
depth. With a folder as argument, the package in it, such as that of a work tree of another commit.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DEFERRED = {("robustness", "report")}
"""Results draw and describe themselves: `.plot()` and `__str__` import what does it when they are called."""


@dataclass(frozen=True)
class Import:
    """One module of the package that a module imports."""

    module: str
    is_deferred: bool
    """Whether only a function does so, when it is called."""


def modules(package: Path) -> dict[str, Path]:
    """Every module, but for the public face, which imports whatever is public when it is asked for."""
    files = sorted(package.rglob("*.py"))
    names = (
        ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__") for file in files
    )
    return {name: file for name, file in zip(names, files, strict=True) if name != package.name}


def room_of(module: str) -> str:
    """`robmon.inputs.codecs.rows` is in the room `inputs`."""
    return module.split(".")[1]


def imports(file: Path, names: Mapping[str, Path]) -> Iterator[Import]:
    """What one file imports of the modules named."""
    for node, is_deferred in _statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in names else node.module for name in whole]
        else:
            continue
        yield from (Import(name, is_deferred) for name in dict.fromkeys(found) if name in names)


def _statements(node: ast.AST, is_deferred: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """All statements below, and whether they are run only when a function is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child, is_deferred
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _statements(child, is_deferred or is_function)


def circles(arrows: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Circles that the arrows make, no two of them with a module in common."""
    left = {module: set(others) for module, others in arrows.items()}
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            found = error.args[1]
            yield found
            left = {module: others - {*found} for module, others in left.items() if module not in found}
        else:
            return


def floors(arrows: Mapping[str, set[str]]) -> int:
    """How many rooms the longest way down goes through."""
    depth: dict[str, int] = {}
    for room in TopologicalSorter(arrows).static_order():
        depth[room] = 1 + max((depth[below] for below in arrows.get(room, ()) if below in depth), default=0)
    return max(depth.values())


def arrows_between_modules(names: Mapping[str, Path]) -> dict[str, set[str]]:
    """What each module imports, but for what is declared to be imported only when it is called."""
    return {
        module: {
            each.module
            for each in imports(file, names)
            if each.module != module and not (each.is_deferred and (room_of(module), room_of(each.module)) in DEFERRED)
        }
        for module, file in names.items()
    }


def arrows_between_rooms(arrows: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """The same for the rooms in which the modules are."""
    rooms: dict[str, set[str]] = {room_of(module): set() for module in arrows}
    for module, others in arrows.items():
        rooms[room_of(module)] |= {room_of(other) for other in others} - {room_of(module)}
    return rooms


def main(folder: Path) -> None:
    """Print what was counted."""
    names = modules(folder / "robmon")
    between_modules = arrows_between_modules(names)
    between_rooms = arrows_between_rooms(between_modules)
    for room, others in sorted(between_rooms.items()):
        print(f"{room} -> {', '.join(sorted(others)) or 'nothing'}")
    files = len(list((folder / "robmon").glob("*.py")))
    count = sum(map(len, between_rooms.values()))
    print(f"\n{len(between_rooms)} rooms, {files} files beside the folders, {count} arrows between rooms", end="")
    found = list(circles(between_rooms))
    print(f", {len(found)} circles of rooms" if found else f" on {floors(between_rooms)} floors, no circle of rooms")
    found = list(circles(between_modules))
    print(f"{len(names)} modules, {len(found) or 'no'} circle{'s' * (len(found) != 1)} of modules")
    for each in found:
        print("  " + " -> ".join(each))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY)
