"""What the model's owner does after the roll-back: the fragile version is stabilised, registered, released and judged.

What is shown is what is run. robmon's daemon moves no alias: the release is the demo's, in the place of the operator.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from robmon.demo.models import ALIAS, NAME
from robmon.demo.on_call import line_of, start, type_in
from robmon.demo.processes import DemoFailedError
from robmon.demo.report import TOLERANCE, Outcome
from robmon.demo.scrape import Scrape
from robmon.demo.stage import Stage

TRAINING_SECONDS: Final = 900.0
JUDGING_SECONDS: Final = 900.0
"""For which the demo waits at most, which is patient with a busy machine."""
DOES_NOT_PASS: Final = 1
LEVELS, ALPHA, EPOCHS, LEARNING_RATE, SCORE_TOLERANCE = "1.2", "0.5", "100", "0.003", "0.02"
MEMORY_TAG: Final = f"robmon.memory.{ALIAS}"
MODEL_PATH: Final = "/api/2.0/mlflow/registered-models/get"


@dataclass(frozen=True)
class Mended:
    """The candidate: what robmon measured of it and what the registry remembers of its verdict.

    Attributes:
        accuracy: share of the held-out digits that it gets right, without noise.
        entry: of the memory of verdicts.
    """

    measured: Scrape
    accuracy: float
    entry: dict[str, Any]


def words(fragile: str, folder: Path | None = None) -> tuple[str, ...]:
    """The command without `robmon`; files are named from a folder, or are those of the present one.

    >>> words("2")[:4]
    ('stabilise', 'models:/digits/2', '--data', 'training.npy')
    """
    files = {"data": "training", "labels": "training-labels", "test": "held-out", "test-labels": "held-out-labels"}
    named = [word for flag, name in files.items() for word in (f"--{flag}", str((folder or Path()) / f"{name}.npy"))]
    training = ["--task", "classification", "--levels", LEVELS, "--alpha", ALPHA, "--epochs", EPOCHS]
    training += ["--learning-rate", LEARNING_RATE, "--tolerance", SCORE_TOLERANCE, "--no-picture", "--register"]
    return ("stabilise", f"models:/{NAME}/{fragile}", *named, *training)


async def act(stage: Stage, outcome: Outcome) -> Mended:
    """Stabilise the fragile version, serve what comes of it, and wait for robmon's verdict.

    Raises:
        DemoFailedError: a command failed, or the candidate does not pass, either its own verdict or the daemon's.
    """
    fragile, accepted = str(outcome.after.version), str(outcome.before.version)
    candidate = await _stabilise(stage, fragile)
    release = f"mlflow.MlflowClient().set_registered_model_alias('{NAME}', '{ALIAS}', '{candidate}')"
    told = f"{ALIAS} is version {candidate}"
    await type_in(stage, f"python -c \"import mlflow; {release}; print('{told}')\"", told)
    with stage.view.step(f"robmon follows to version {candidate} and compares it with version {accepted}") as step:
        entry = await _verdict(stage, candidate)
        ratio = f"{entry['pooled_ratio']:.2f} times the noise MSE of version {entry['against']}"
        if not entry["accepted"]:
            raise DemoFailedError(
                f"Version {candidate} does not pass: it has {ratio}, at the same confidence; "
                f"{1 + TOLERANCE:.2f} is tolerated."
            )

        def has_measured() -> Scrape | None:
            now = stage.watch.measured.get(candidate)
            return now if now is not None and now.curve and not now.has_regressed else None

        what = f"a measurement of version {candidate} without a regression"
        measured: Scrape = await stage.until(has_measured, JUDGING_SECONDS, what)
        step.note = f"PASSED: {ratio}"
    report = json.loads((stage.processes.folder / "stability.json").read_text(encoding="utf-8"))
    return Mended(measured, report["scores"]["after"][0], entry)


async def _stabilise(stage: Stage, fragile: str) -> str:
    """Train, judge and register; returns the number of the new version."""
    typed = shlex.join(["robmon", *words(fragile)])
    with stage.view.step(f"$ {typed}") as step:
        running = start(stage, typed)
        try:
            await stage.until(running.is_done, TRAINING_SECONDS, f"{running.name} ends")
        except DemoFailedError as error:
            if running.process.poll() != DOES_NOT_PASS:
                raise
            raise DemoFailedError(
                f"The candidate for version {fragile} does not pass, and is not registered.\n{running.tail()}"
            ) from error
        step.note = line_of(running, "registered: ")
    found = re.search(rf"models:/{NAME}/(\d+)", step.note)
    if found is None:
        raise DemoFailedError(f"{running.name} did not say what it registered.\n{running.tail()}")
    return found[1]


async def _verdict(stage: Stage, version: str) -> dict[str, Any]:
    """Wait for the verdict on a version."""
    what = f"the verdict on version {version}"
    return await stage.processes.until(lambda: _remembered(stage, version), JUDGING_SECONDS, what)


async def _remembered(stage: Stage, version: str) -> dict[str, Any]:
    """What the registry remembers of the verdict on a version, empty before there is one."""
    try:
        answer = await stage.client.get(stage.registry_url + MODEL_PATH, params={"name": NAME})
        answer.raise_for_status()
    except httpx.HTTPError:
        return {}
    tags = {tag["key"]: tag["value"] for tag in answer.json()["registered_model"].get("tags", ())}
    entries: list[dict[str, Any]] = json.loads(tags.get(MEMORY_TAG, "[]"))
    return next((each for each in entries if each["version"] == version), {})


def print_report(console: Console, outcome: Outcome, mended: Mended) -> None:
    """The numbers of all three versions side by side, and what they say."""
    entry, fragile = mended.entry, outcome.after.version
    console.print()
    console.print("All three versions, as robmon measured each while it was served:", style="bold")
    console.print(_table(outcome, mended))
    console.print()
    console.print(
        f"PASSED: {NAME} version {entry['version']} against version {entry['against']}, with "
        f"{entry['pooled_ratio']:.2f} times its noise MSE at the same confidence, all levels together (at most "
        f"{1 + TOLERANCE:.2f} is tolerated). It is version {fragile}, trained further; no version was trained on the "
        "held-out digits, which judge it and are the traffic here.",
        soft_wrap=True,
        highlight=False,
    )


def _table(outcome: Outcome, mended: Mended) -> Table:
    scrapes = (outcome.before, outcome.after, mended.measured)
    table = Table(box=None, pad_edge=False)
    for name in ("", *(f"version {each.version}" for each in scrapes)):
        table.add_column(name, no_wrap=True)
    accuracies = (*(each.accuracy for each in outcome.registered), mended.accuracy)
    table.add_row("right without noise", *(f"{100 * each:.1f} %" for each in accuracies))
    levels = list(zip(*(each.curve[1:] for each in scrapes), strict=True))
    for points in levels:
        table.add_row(f"noise MSE at {points[0].level:g}", *(f"{each.mse:.3g}" for each in points))
    for points in levels:
        agreements = (f"{100 * each.agreement:.1f} %" for each in points)
        table.add_row(f"unchanged answers at {points[0].level:g}", *agreements)
    ratios = ("accepted", f"{outcome.after.ratio:.2f} regressed", f"{mended.entry['pooled_ratio']:.2f} passed")
    table.add_row(f"verdict against {outcome.before.version}", *ratios)
    return table
