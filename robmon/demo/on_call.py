"""What a person on call does once the release is caught: the evidence is kept, the old version brought back.

What is shown is what is run, in the demo's folder and with the registry of the demo in the environment.
"""

from __future__ import annotations

import shlex
from typing import Final

from robmon.demo.models import ALIAS, NAME
from robmon.demo.processes import DemoFailedError, Running
from robmon.demo.stage import Stage

COMMAND_SECONDS: Final = 240.0
BUNDLE: Final = "incident.tar.gz"


async def act(stage: Stage, accepted: str) -> None:
    """Keep the evidence, move the alias back to the accepted version, and wait until no regression stands.

    Raises:
        DemoFailedError: a command failed, or the regression still stands.
    """
    await type_in(stage, f"robmon incident {stage.watch.url} -o {BUNDLE}", "is worse than")
    await type_in(stage, f"robmon rollback {NAME}@{ALIAS} --yes", "was moved")
    with stage.view.step(f"robmon follows the alias back to version {accepted}") as step:

        def is_resolved() -> bool:
            now = stage.watch.now
            return now is not None and now.version == accepted and not now.has_regressed

        await stage.until(is_resolved, COMMAND_SECONDS, "the regression is over")
        step.note = "RESOLVED: an accepted version needs no new verdict"


async def type_in(stage: Stage, typed: str, telling: str) -> None:
    """Run a command as it is shown, and show the line that it prints with those words.

    Raises:
        DemoFailedError: it ended with another status than 0, or with none in time, or said something else.
    """
    with stage.view.step(f"$ {typed}") as step:
        running = start(stage, typed)
        await stage.until(running.is_done, COMMAND_SECONDS, f"{running.name} ends")
        step.note = line_of(running, telling)


def start(stage: Stage, typed: str) -> Running:
    """Start a command of robmon, or of python, with the demo's registry in the environment."""
    program, *words = shlex.split(typed)
    arguments = words if program == "python" else ["-m", program, *words]
    environment = {"MLFLOW_TRACKING_URI": stage.registry_url}
    return stage.processes.start(f"{program} {words[0]}", arguments, is_server=False, environment=environment)


def line_of(running: Running, telling: str) -> str:
    """The line with those words of what a command printed.

    Raises:
        DemoFailedError: there is none.
    """
    lines = running.output.read_text(encoding="utf-8").splitlines()
    found = next((line for line in lines if telling in line), None)
    if found is None:
        raise DemoFailedError(f"{running.name} did not say what was expected.\n{running.tail()}")
    return found
