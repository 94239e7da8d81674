"""What the steps of the demo share: its processes, what they publish, and how one waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from robmon.demo.background import Background
from robmon.demo.processes import Processes, answers
from robmon.demo.scrape import Watch
from robmon.demo.view import View

START_SECONDS = 240.0
"""For which the demo waits at most until a process is there, which is patient with a busy machine."""


@dataclass
class Stage:
    """What the steps share."""

    processes: Processes
    client: httpx.AsyncClient
    background: Background
    watch: Watch
    view: View
    images: bool = False
    registry_url: str = ""
    inputs_url: str = ""

    async def until(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """Wait for something that can be seen without asking anybody."""

        async def look() -> Any:
            return condition()

        return await self.processes.until(look, seconds, what)

    async def until_it_answers(self, url: str, what: str) -> None:
        """Wait until a GET of `url` is answered."""
        await self.processes.until(lambda: answers(self.client, url), START_SECONDS, what)
