"""Processes that versions are examined in copies of: of each kind of version one, started when it is first needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from robmon.audit.task import Limits, Task
from robmon.audit.template import MODULE
from robmon.errors import ModelError
from robmon.models import mlmodel
from robmon.processes.command import Command, worker_environment
from robmon.processes.template import NoTemplateError, Template, can_be_used

MOST: Final = 2
"""Kinds at a time; versions come by model, so that a kind is seldom seen again."""
NO_THREAD: Final = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""PyArrow's allocator keeps a thread otherwise, and a process with threads is not copied."""


class Templates:
    """The templates of one audit. Versions on GPUs have none: what has looked at a GPU is not copied."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._is_used = can_be_used() and not limits.gpus
        self._by_kind: dict[tuple[str, str], Template] = {}
        self._without: set[tuple[str, str]] = set()

    async def of(self, task: Task, model: Path) -> Template | None:
        """That of a version with these files, once it is ready; None: its process is to be started anew."""
        python = task.entry.python or sys.executable
        try:
            kind = python, mlmodel.read(model).loaded_flavor
        except ModelError:
            return None
        if not self._is_used or kind in self._without:
            return None
        try:
            if kind not in self._by_kind:
                self._make_room()
                self._by_kind[kind] = self._started(*kind)
            template = self._by_kind[kind]
            await template.ready()
        except (NoTemplateError, OSError):  # such as an interpreter that cannot be started: the version tells
            self._without.add(kind)
            return None
        return template

    def end(self) -> None:
        """End them all."""
        for template in self._by_kind.values():
            template.end()

    def _started(self, python: str, flavor: str) -> Template:
        environment = worker_environment(self._limits.threads) | NO_THREAD
        command = Command(python, MODULE, environment)
        return Template(lambda fd: [*command.arguments(fd), f"--flavor={flavor}"], environment)

    def _make_room(self) -> None:
        """End the oldest that nobody waits for."""
        idle = [kind for kind, template in self._by_kind.items() if not template.is_busy]
        for kind in idle[: max(len(self._by_kind) + 1 - MOST, 0)]:
            self._by_kind.pop(kind).end()
