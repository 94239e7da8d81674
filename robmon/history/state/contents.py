"""What is kept in the state file beside what grows: under which names, and what each is read as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from robmon.history.attack import AttackRecord
from robmon.history.detection import DetectionRecord
from robmon.history.scope import Scope
from robmon.history.state.kept import Kept
from robmon.inputs.readers.position import FilePosition

POSITIONS: TypeAdapter[dict[str, FilePosition]] = TypeAdapter(dict[str, FilePosition])
_OFFSETS: TypeAdapter[dict[str, dict[str, int]]] = TypeAdapter(dict[str, dict[str, int]])


def scopes(kept: Kept) -> list[str]:
    """The names of all in which verdicts are remembered."""
    return kept.names("scope")


def scope(kept: Kept, name: str) -> Scope:
    """What is remembered in that scope."""
    content = kept.get("scope", name)
    return Scope() if content is None else Scope.model_validate_json(content)


def put_scope(kept: Kept, name: str, remembered: Scope) -> None:
    """Replace it."""
    kept.put("scope", name, remembered.model_dump_json().encode())


def last_number(kept: Kept) -> int | None:
    """The last one that was reserved; None where none was."""
    content = kept.get("numbers")
    return None if content is None else int(content)


def put_last_number(kept: Kept, number: int) -> None:
    """Replace it."""
    kept.put("numbers", "", str(number).encode())


def positions(kept: Kept, files: str) -> dict[str, FilePosition]:
    """How far each of those files has been read; none where nothing is known of them."""
    content = kept.get("positions", files)
    return {} if content is None else POSITIONS.validate_json(content)


def put_positions(kept: Kept, files: str, read: Mapping[str, FilePosition]) -> None:
    """Replace them."""
    kept.put("positions", files, POSITIONS.dump_json(dict(read)))


def offsets(kept: Kept, group: str) -> dict[tuple[str, int], int]:
    """The next offset of each partition of each topic, for that group of consumers."""
    content = kept.get("positions", _of_group(group))
    by_topic = {} if content is None else _OFFSETS.validate_json(content)
    return {(topic, int(partition)): offset for topic, of in by_topic.items() for partition, offset in of.items()}


def put_offsets(kept: Kept, group: str, read: Mapping[tuple[str, int], int]) -> None:
    """Replace them."""
    by_topic: dict[str, dict[str, int]] = {}
    for (topic, partition), offset in read.items():
        by_topic.setdefault(topic, {})[str(partition)] = offset
    kept.put("positions", _of_group(group), json.dumps(by_topic).encode())


def detection(kept: Kept, scope: str) -> DetectionRecord | None:
    """Where the detector over time stood after its last step in that scope, if it made one."""
    content = kept.get("detection", scope)
    return None if content is None else DetectionRecord.model_validate_json(content)


def put_detection(kept: Kept, scope: str, record: DetectionRecord) -> None:
    """Replace it."""
    kept.put("detection", scope, record.model_dump_json().encode())


def attack(kept: Kept, scope: str) -> AttackRecord | None:
    """Which version was attacked last in that scope, when, and what came of it."""
    content = kept.get("attack", scope)
    return None if content is None else AttackRecord.model_validate_json(content)


def put_attack(kept: Kept, scope: str, record: AttackRecord) -> None:
    """Replace it."""
    kept.put("attack", scope, record.model_dump_json().encode())


def daemon_facts(kept: Kept) -> dict[str, Any]:
    """What had been told with the events added last; nothing where none were."""
    content = kept.get("told")
    return {} if content is None else dict(json.loads(content))


def specifications(kept: Kept) -> dict[str, dict[str, Any]]:
    """The specifications by which assessments were made, by name."""
    return {name: json.loads(content) for name, content in kept.records.specifications().items()}


def _of_group(group: str) -> str:
    """What the offsets of a consumer group are called among the positions; no place of files is called so."""
    return f"kafka:{group}"
