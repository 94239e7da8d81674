"""What to do now: commands that work when they are pasted into a shell."""

from __future__ import annotations

import html
import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from robmon.export.page.pieces import command
from robmon.export.published import Published
from robmon.history.standing import Regression
from robmon.models.uri import mask, parse_endpoint
from robmon.processes.messages.assessed import Assessed

MUCH_DRIFT: Final = 0.2
"""Jensen-Shannon distance above which the alert RobmonInputDrift speaks of drift too."""

BUNDLE: Final = "/tmp/incident.tar.gz"  # noqa: S108 - what a container may write; whoever runs it may take another
"""Where the evidence is written, as in the alerts."""


def what_to_do(published: Published, regression: Regression, inputs: Sequence[str]) -> str:
    """For a version that is less robust than the accepted one: back, or on. `inputs` as of `other_inputs`."""
    steps = [_keep(published), _back(published, regression), _accept(published, regression.version)]
    return _steps([*steps, _look_back(published), *inputs])


def what_to_do_over_time(published: Published, version: str, inputs: Sequence[str]) -> str:
    """For a version that has become worse than it was."""
    accept = (
        "Where it is to stay like that, accept the version, where robmon runs; its limit begins anew:"
        f"{command(accept_command(published, version))}"
    )
    compare = inputs or ["Compare with drift and causes below: has the traffic changed?"]
    return _steps([_keep(published), _look_back(published), *compare, accept])


def how_to_accept(published: Published, version: str, inputs: Sequence[str]) -> str:
    """For a version without a verdict, which a person may accept in its stead."""
    return _steps([*inputs, _accept(published, version)])


def what_to_do_about_inputs(published: Published, inputs: Sequence[str]) -> str:
    """For a version against which nothing speaks; empty where its inputs are those of its baseline."""
    return _steps([*inputs, _look_back(published)]) if inputs else ""


def other_inputs(result: Assessed | None) -> list[str]:
    """A step, where half of the features or more have drifted, and by much: nothing was measured on such inputs."""
    if result is None or not result.drifted_features or 2 * result.drifted_features < (result.features_watched or 0):
        return []
    if max((each.value for each in result.input_drift if each.statistic == "js"), default=0.0) <= MUCH_DRIFT:
        return []
    has = "has" if result.drifted_features == 1 else "have"
    return [
        f"The inputs are no longer those of the baseline: {result.drifted_features} of {result.features_watched} "
        f"watched features {has} drifted. Look at the drift below, and what came with it: another group of users, a "
        "season, a new client, the mirror of another route, a unit or an encoding upstream. Repair the source; only "
        "where the change is here to stay validate the model on the new inputs, or train it again, and record a new "
        "baseline with <code>robmon baseline</code>."
    ]


def _steps(steps: Iterable[str]) -> str:
    items = "\n".join(f"<li>{step}</li>" for step in steps)
    return f'<h2>What to do now</h2>\n<ol class="steps">\n{items}\n</ol>'


def accept_command(published: Published, version: str) -> str:
    """What accepts a version, typed where the daemon runs."""
    return f"{published.command_prefix}robmon baseline --model {_named(published, version)} --accept"


def baseline_command(published: Published) -> str:
    """What changes the baseline of the version served, typed where the daemon runs."""
    version = published.view.model.version if published.view.model is not None else ""
    return f"{published.command_prefix}robmon baseline --model {_named(published, version)}"


def _keep(published: Published) -> str:
    return (
        "Keep the evidence, before anything changes, where robmon runs:"
        f"{command(f'{published.command_prefix}robmon incident -o {BUNDLE}')}"
    )


def _back(published: Published, regression: Regression) -> str:
    to = regression.reference_version
    if published.alias is None:
        return f"Roll back: serve version {html.escape(to)} again. robmon sees that by itself."
    words = ["robmon", "rollback", f"{published.model_name}@{published.alias}", "--to", to, "--yes"]
    return (
        "Roll back, with credentials that may write to the registry; without <code>--yes</code> it only says what it "
        f"would do:{command(f'{published.command_prefix}{shlex.join(words)}')}"
    )


def _accept(published: Published, version: str) -> str:
    return f"Accept the version, where robmon runs:{command(accept_command(published, version))}"


def _look_back(published: Published) -> str:
    texts = (f"{published.command_prefix}robmon {each}" for each in ("history --events", "report --since 24h"))
    return f"See what happened before, where robmon runs:{''.join(map(command, texts))}"


def _named(published: Published, version: str) -> str:
    """What names that version on the command line."""
    if published.view.model is None or published.view.model.endpoint is None:
        return shlex.quote(f"models:/{published.model_name}/{version}")
    endpoint = parse_endpoint(published.view.model.endpoint)
    url = endpoint.url if endpoint.protocol == "mlflow" else endpoint.with_version(version)
    named = shlex.quote(mask(url))
    return named if endpoint.name == published.model_name else f"{named} --name {shlex.quote(published.model_name)}"
