"""Results go to MLflow too, where the settings say so: to the run that made the version, a few at a time.

What cannot be logged waits in the history, and is tried again; no assessment waits for it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any, Final

import structlog

from robmon.daemon.memory.writer import READ_SECONDS, Writer
from robmon.daemon.registry.follow import Follower
from robmon.daemon.timing.backoff import Backoff
from robmon.errors import RobmonError
from robmon.history.past import Past

log = structlog.get_logger("robmon.mlflow")

LOOK_SECONDS: Final = 60.0
LOG_SECONDS: Final = 3600.0
"""A fetch process costs seconds of a processor: once an hour, what came to pass since."""
MOST_ROWS: Final = 100
"""At a time: MLflow takes 1000 metrics, and a row has at most seven."""
BACKOFF_SECONDS: Final = (60.0, 3600.0)
_METRICS: Final = ("mse", "bound", "index", "slope", "noise_margin", "evidence")
_TAGS: Final = ("version", "number", "seed", "draws", "noise", "specification")


class ResultLog:
    """Logs results; nothing raises.

    Args:
        follower: asks the fetch process, which alone has the credentials.
        past: has the results, and remembers which are logged.
        writer: reads and writes there.
    """

    def __init__(self, follower: Follower, past: Past, writer: Writer) -> None:
        self._follower = follower
        self._past = past
        self._writer = writer
        self._backoff = Backoff(BACKOFF_SECONDS)
        self._failure = ""
        self._due = time.monotonic()

    async def log(self) -> None:
        """Log what is not logged yet; call it now and then."""
        while time.monotonic() >= self._due and not self._backoff.waiting:
            if not await self._log_some():
                self._due = time.monotonic() + LOG_SECONDS

    async def _log_some(self) -> bool:
        """Log the oldest of it; whether that is to go on."""
        try:
            rows = await self._writer.ask(lambda: self._past.unlogged(MOST_ROWS), READ_SECONDS)
            for run_id, group in itertools.groupby(rows, key=lambda row: row.get("run_id")):
                of_run = list(group)
                if run_id is not None:
                    found = [point for row in of_run for point in points(row)]
                    await self._follower.log_results(str(run_id), found, tags(of_run[-1]), of_run[-1])
                until = float(of_run[-1]["at"])
                await self._writer.ask(lambda until=until: self._past.tell_logged(until), READ_SECONDS)  # type: ignore[misc]
        except (RobmonError, OSError, TimeoutError) as error:
            self._backoff.failed()
            if str(error) != self._failure:
                log.warning("results not logged to MLflow", error=str(error) or type(error).__name__)
            self._failure = str(error)
            return True
        self._backoff.succeeded()
        if self._failure:
            log.info("results logged to MLflow again")
        self._failure = ""
        return len(rows) == MOST_ROWS


def points(row: Mapping[str, Any]) -> list[tuple[str, float, int, int]]:
    """The metrics of an assessment: those of its highest level, with its number as the step.

    Infinite ones are left out, which not every store of MLflow's takes.
    """
    values = {name: row.get(name) for name in _METRICS}
    if levels := row.get("levels"):
        values["ratio"] = levels[-1].get("ratio")
    at, step = round(1000 * row["at"]), int(row["number"])
    numbers = ((name, value) for name, value in values.items() if isinstance(value, int | float))
    return [(f"robmon.{name}", float(value), at, step) for name, value in numbers]


def tags(row: Mapping[str, Any]) -> dict[str, str]:
    """What the last assessment was."""
    return {f"robmon.{name}": str(row[name]) for name in _TAGS if row.get(name) is not None}
