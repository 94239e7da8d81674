"""An audit from its beginning to its end: what is missing is examined, and all of it is summed up."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from robmon.audit.inputs_map import AuditedOn, entry_for, told_of
from robmon.audit.local import Tell
from robmon.audit.map_checks import check_inputs
from robmon.audit.store import Place, file_of, keep, result_of, why
from robmon.audit.summary import Audit, Examined, is_sound, sum_up
from robmon.audit.task import TRANSIENT, Task, failed
from robmon.errors import InvalidInputError, RobmonError
from robmon.extras import check_installed
from robmon.models.registry.listing import ListedVersion
from robmon.models.uri import mask


class Engine(Protocol):
    """What examines versions."""

    def __call__(self, tasks: Sequence[Task], inputs: Mapping[str, Path], tell: Tell) -> None:
        """Examine them all, and tell each result as soon as it is there."""


@dataclass
class Plan:
    """What there is to do.

    Attributes:
        tasks: one a version, with its aliases.
        inputs: local copies of the files of inputs, by digest: what is changed meanwhile changes no result.
        without_inputs: names of models of which the map says nothing.
        told: what was left out of files of inputs, in sentences.
        found: results that are there already.
    """

    tasks: list[tuple[Task, tuple[str, ...]]]
    inputs: dict[str, Path]
    without_inputs: tuple[str, ...]
    told: tuple[str, ...] = ()
    found: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def missing_entries(self) -> list[AuditedOn]:
        """The entries of the map by which that is done."""
        return list({task.entry.pattern: task.entry for task in self.missing}.values())

    @property
    def missing(self) -> list[Task]:
        """What is to be examined."""
        return [task for task, _ in self.tasks if task.digest not in self.found]


def plan(
    versions: Sequence[ListedVersion],
    entries: list[AuditedOn],
    place: Place,
    scratch: Path,
    *,
    retry_failed: bool = False,
) -> Plan:
    """What there is to do, and what is done.

    Args:
        versions: to be audited.
        entries: of the map.
        place: of the results.
        scratch: a folder for copies of the inputs.
        retry_failed: whether failures are tried again.

    Raises:
        InvalidInputError: the map fits no model; or inputs cannot be read, or be those of any model.
    """
    inputs: dict[str, Path] = {}
    copied: dict[str, str] = {}
    told: dict[str, list[str]] = {}
    tasks = []
    without = []
    for version in versions:
        entry = entry_for(entries, version.name)
        if entry is None:
            without.append(version.name)
            continue
        if entry.inputs not in copied:
            sha256, copy = _copy(entry, scratch)
            copied[entry.inputs], inputs[sha256] = sha256, copy
        if entry.pattern not in told:
            told[entry.pattern] = check_inputs(entry, inputs[copied[entry.inputs]])
        task = Task(version.name, version.number, version.identity, entry, copied[entry.inputs])
        tasks.append((task, version.aliases))
    if not tasks:
        raise InvalidInputError(f"the map says no inputs for any of these models: {', '.join(sorted(set(without)))}")
    sentences = dict.fromkeys(sentence for of_entry in told.values() for sentence in of_entry)
    made = Plan(tasks, inputs, tuple(sorted(set(without))), tuple(sentences))
    for task, _ in tasks:
        result = result_of(place, task)
        if result is None or not is_sound(Examined(task, (), result)):
            continue
        if not (retry_failed and result.get("outcome") != "ok"):
            made.found[task.digest] = result
    return made


def audit(made: Plan, place: Place, run: Engine, tell: Callable[[float], None] = lambda seconds: None) -> Audit:
    """Examine what is missing, keep each result as soon as it is there, and sum up.

    Args:
        made: the plan.
        place: where results are kept.
        run: the engine.
        tell: told the seconds of each version, when it is done.

    Raises:
        RobmonError: a result cannot be kept; nothing is examined any more.
    """

    def done(task: Task, content: dict[str, Any], seconds: float) -> None:
        if not is_sound(Examined(task, (), content)):
            content = failed("error", "its process answered with something that is no result")
        if content.get("reason") not in TRANSIENT:
            keep(place, file_of(task), task.result(content))
        made.found[task.digest] = content
        tell(seconds)

    if missing := made.missing:
        run(missing, made.inputs, done)
    return sum_up(
        [Examined(task, aliases, made.found[task.digest]) for task, aliases in made.tasks], made.without_inputs
    )


def _copy(entry: AuditedOn, scratch: Path) -> tuple[str, Path]:
    """Digest and local copy of a file of inputs."""
    number = sum(1 for _ in scratch.glob("inputs-*"))
    copy = scratch / f"inputs-{number}{Path(entry.inputs).suffix.lower()}"
    try:
        with _opened(entry.inputs) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        with copy.open("rb") as written:
            return hashlib.file_digest(written, "sha256").hexdigest(), copy
    except RobmonError:
        raise
    except Exception as error:  # stores' drivers raise errors of their own kinds
        raise InvalidInputError(f"{told_of(entry)}: {mask(entry.inputs)} cannot be read: {why(error)}") from None


def _opened(inputs: str) -> Any:
    if "://" not in inputs:
        return Path(inputs).open("rb")
    check_installed("fsspec", mask(inputs))
    import fsspec

    return fsspec.open(inputs, "rb")
