"""A state with something of everything in it, and what can be read of one."""

from __future__ import annotations

import time
from pathlib import Path

from robmon.history.folder import DamagedStateError
from robmon.history.memory import Entry
from robmon.history.store import History

NOW = time.time()


def entry(version: str, *, accepted: bool = True, at: float = 1.0) -> Entry:
    return Entry(version=version, accepted=accepted, by="verdict", at=at)


def versions(history: History) -> list[str]:
    return [each.version for each in history.read_scope("s").entries]


def filled(folder: Path) -> History:
    """A state with something of everything in it."""
    history = History(folder, "m")
    history.write_scope("s", [entry("1"), entry("2", accepted=False, at=2)], served=("2", None))
    history.reserve_numbers(100)
    history.write_positions("/inputs", {})
    for number in range(30):
        history.past.add({"at": NOW + number, "number": number, "text": "x" * 300})
    return history


def told(folder: Path) -> str:
    """What a life after this one reads of what must be whole, or which file it says was set aside."""
    history = History(folder, "m")
    try:
        read = [
            *[each.model_dump_json() for each in history.read_scope("s").entries],
            str(history.read_scope("s").served),
            str(history.reserve_numbers(100)),
            str(history.read_positions("/inputs")),
        ]
    except DamagedStateError as error:
        return str(error)
    return "\n".join(read)
