"""The story that the demo tells, step by step, on real processes."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shlex
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import yaml
from rich.console import Console

from robmon.demo import mending, models, on_call, picture
from robmon.demo.background import Background
from robmon.demo.processes import OWN_NETWORK, DemoFailedError, Processes, Running, free_port, is_of_the_user
from robmon.demo.report import TOLERANCE, Outcome, print_report, sentence
from robmon.demo.scrape import Scrape, Watch
from robmon.demo.stage import START_SECONDS, Stage
from robmon.demo.traffic import PATH, QUIET_REQUESTS_PER_SECOND, Mirror, Traffic
from robmon.demo.view import View

LEARN_SECONDS = 600.0
DETECT_SECONDS = 600.0
TURNS_SECONDS = 600.0
"""For which the demo waits at most, which is patient with a busy machine. A process that dies is told at once."""
SAMPLE_ROWS = 400
FURTHER_NOISES = {"jpeg": (50.0, 75.0), "thumbnail": (0.25, 0.5)}
"""Of the demo with images, beside Gaussian noise, and their levels."""
IMAGES_BUDGET_SECONDS = 240
"""Of its assessments: further noises have what is left of it, on a busy machine too."""
SETTINGS_FILE = "robmon.yaml"
URI = f"models:/{models.NAME}@{models.ALIAS}"
ALIAS_PATH = "/api/2.0/mlflow/registered-models/alias"
OLD, NEW = models.NOISE_BY_VERSION


class Observer(Protocol):
    """Something that watches the story from outside, as monitoring would."""

    async def watch(self, stage: Stage) -> None:
        """Called when robmon listens, before the first request."""

    async def tell(self, stage: Stage) -> None:
        """Called when the regression is found."""


async def play(
    console: Console, png: Path | None, keep: bool, observer: Observer | None = None, *, images: bool = False
) -> None:
    """Tell the whole story; with `keep`, go on until cancelled, and return then.

    Raises:
        DemoFailedError: a step did not come about, or the regression was not found.
    """
    with Processes() as processes:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client, Background() as background:
            watch = Watch(client)
            stage = Stage(processes, client, background, watch, View(console, watch), images)
            background.start(watch.run(stage.view.refresh))
            with stage.view:
                outcome, traffic = await _tell(stage, observer)
                if png is not None:
                    curves = outcome.before.curve, outcome.after.curve
                    further = outcome.further_before, outcome.further_after
                    await asyncio.to_thread(picture.draw, *curves, sentence(outcome), png, further)
            print_report(console, outcome, png, keep=keep)
            if observer is not None:
                await observer.tell(stage)
            if not keep:
                with stage.view:
                    await on_call.act(stage, OLD)
                    mended = await mending.act(stage, outcome) if images else None
                if mended is not None:
                    mending.print_report(console, outcome, mended)
            else:
                _print_addresses(console, stage, traffic)
                with stage.view, suppress(asyncio.CancelledError):
                    await stage.until(lambda: False, math.inf, "Ctrl-C")


async def _tell(stage: Stage, observer: Observer | None) -> tuple[Outcome, Traffic]:
    registered = await _register_models(stage)
    server, server_url = await _start_serving(stage)
    if observer is not None:
        await observer.watch(stage)
    digits = np.load(stage.processes.folder / "held-out.npy")
    traffic = Traffic(stage.client, Mirror(stage.client, stage.inputs_url), server_url, digits)
    await _learn(stage, traffic)
    if stage.images:
        await _take_turns(stage, OLD)
    moved_at = await _release(stage, traffic, server)
    after = await _compare(stage)
    if stage.images:
        await _take_turns(stage, NEW)
    further = (stage.watch.further.get(version, {}) for version in (OLD, NEW))
    return Outcome(registered, stage.watch.measured[OLD], after, moved_at, *further), traffic


async def _register_models(stage: Stage) -> list[models.Registered]:
    """Registry and training at the same time; the versions are registered as soon as both are ready."""
    folder = stage.processes.folder
    with stage.view.step("an MLflow registry starts") as step:
        port = free_port()
        stage.registry_url = f"http://127.0.0.1:{port}"
        arguments = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
        arguments += ["--artifacts-destination", str(folder / "artifacts")]
        command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        stage.processes.start("MLflow registry", command + arguments)
        module = "robmon.demo.pictures" if stage.images else "robmon.demo.models"
        arguments = ["-m", module, stage.registry_url, str(folder)]
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        training = stage.processes.start("training", arguments, is_server=False, environment=one_thread)
        await stage.until_it_answers(f"{stage.registry_url}/health", "the MLflow registry answers")
        step.note = f"{stage.registry_url}, in a temporary folder"
    with stage.view.step("two digit classifiers are trained and registered") as step:
        training.end_input()
        await stage.until(training.is_done, START_SECONDS, "both versions are registered")
        registered = models.read_registered(folder)
        rights = (f"{100 * each.accuracy:.1f} % (version {each.version})" for each in registered)
        step.note = f"{' and '.join(rights)} right on held-out digits"
    return registered


async def _start_serving(stage: Stage) -> tuple[Running, str]:
    """Model server and robmon start side by side."""
    with stage.view.step("MLflow's model server starts, and robmon beside it") as step:
        settings = stage.processes.folder / SETTINGS_FILE
        settings.write_text(yaml.safe_dump(_settings(stage), sort_keys=False), encoding="utf-8")
        command = ["-m", "robmon", "run", "--config", str(settings)]
        robmon = stage.processes.start("robmon", command)
        server, server_url = _start_model_server(stage)
        listening = await stage.until(lambda: _listening(robmon), START_SECONDS, "robmon listens")
        stage.watch.url = f"http://127.0.0.1:{listening['http_port']}"
        stage.inputs_url = f"http://127.0.0.1:{listening['inputs_port']}"
        await stage.until_it_answers(f"{server_url}/ping", "the model server answers")
        await stage.until(
            lambda: stage.watch.now is not None and stage.watch.now.version == OLD,
            START_SECONDS,
            f"robmon has loaded version {OLD}",
        )
        step.note = f"{URI} is version {OLD}"
    return server, server_url


async def _learn(stage: Stage, traffic: Traffic) -> None:
    """An ordinary day: requests come, are mirrored, and robmon learns what is normal."""
    with stage.view.step(f"requests come, mirrored: robmon learns version {OLD}") as step:
        stage.view.traffic = traffic
        stage.background.start(traffic.run())
        await stage.until(lambda: traffic.answered or traffic.failed, START_SECONDS, "the first answer of the model")
        if not traffic.answered:
            raise DemoFailedError(f"The model server refused the first request: {traffic.last_failure}")

        def has_learnt() -> bool:
            now = stage.watch.now
            return now is not None and now.drift is not None and now.sample_rows == SAMPLE_ROWS

        await stage.until(has_learnt, LEARN_SECONDS, f"robmon has learnt a baseline of version {OLD}")
        traffic.requests_per_second = QUIET_REQUESTS_PER_SECOND  # the rest is a matter of processes that start
        step.note = f"baseline of {stage.watch.measured[OLD].baseline_rows} digits"


async def _release(stage: Stage, traffic: Traffic, old_server: Running) -> float:
    """Move the alias, replace the model server; returns the Unix time at which the alias moved."""
    with stage.view.step(f"RELEASE: {models.ALIAS} moves to version {NEW}") as step:
        moved_at = time.time()
        answer = await stage.client.post(
            stage.registry_url + ALIAS_PATH,
            json={"name": models.NAME, "alias": models.ALIAS, "version": NEW},
        )
        if answer.status_code != httpx.codes.OK:
            raise DemoFailedError(f"The registry did not move the alias: {answer.text}")
        _, server_url = _start_model_server(stage)
        await stage.until_it_answers(f"{server_url}/ping", "the new model server answers")
        traffic.server_url = server_url
        await stage.processes.stop(old_server)
        step.note = f"a model server of version {NEW} has taken over"
    return moved_at


async def _compare(stage: Stage) -> Scrape:
    """Wait for the verdict, and for the curve of the new version that belongs to it."""
    with stage.view.step(f"robmon compares version {NEW} with version {OLD}") as step:

        def judged() -> Scrape | None:
            after = stage.watch.measured.get(NEW)
            return after if after is not None and after.ratios else None

        after: Scrape = await stage.until(judged, DETECT_SECONDS, f"robmon has compared version {NEW} with {OLD}")
        step.note = (
            "robustness REGRESSED, on the same digits and noise" if after.has_regressed else "no regression found"
        )
    if not after.has_regressed:
        ratios = ", ".join(f"{ratio:.2f} at level {level:g}" for level, ratio in after.ratios.items())
        raise DemoFailedError(f"robmon compared the versions and found no regression (MSE ratio {ratios}).")
    return after


async def _take_turns(stage: Stage, version: str) -> None:
    """Wait until JPEG and thumbnails have been tried on the version, too."""
    wanted = {(noise, level) for noise, levels in FURTHER_NOISES.items() for level in levels}
    what = f"JPEG and thumbnails have had their turns with version {version}"
    with stage.view.step(f"JPEG and thumbnails take their turns with version {version}") as step:
        await stage.until(lambda: wanted <= stage.watch.further[version].keys(), TURNS_SECONDS, what)
        step.note = "they raise no alarm: the noise of assess.noise alone does"


def _start_model_server(stage: Stage) -> tuple[Running, str]:
    port = free_port()
    command = ["-m", "mlflow", "models", "serve", "--model-uri", URI, "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {"MLFLOW_TRACKING_URI": stage.registry_url}
    return stage.processes.start("model server", command, environment=environment), f"http://127.0.0.1:{port}"


def _settings(stage: Stage) -> dict[str, Any]:
    """What a user would write for this model; intervals and sample are made short so that nobody waits."""
    written: dict[str, Any] = {
        "model": {"uri": URI, "poll_seconds": 1},
        "mlflow": {"tracking_uri": stage.registry_url},
        "inputs": {"port": 0, "sample_rows": SAMPLE_ROWS},
        "http": {"port": 0},
        "assess": {"task": "classification", "levels": [0, 0.1, 0.2, 0.4, 0.8], "interval_seconds": 2},
        "baseline": {"min_rows": SAMPLE_ROWS},
        "compare": {"tolerance": TOLERANCE},
        "log": {"format": "json"},
        "data_dir": str(stage.processes.folder / "robmon-data"),
    }
    if stage.images:
        written["images"] = {"channels": "first", "range": [0, 1]}
        turns = [f"{noise}@{','.join(f'{level:g}' for level in levels)}" for noise, levels in FURTHER_NOISES.items()]
        written["assess"] |= {"noises": turns, "max_seconds": IMAGES_BUDGET_SECONDS}
    return written


def _listening(robmon: Running) -> dict[str, Any] | None:
    """The daemon's own log line that names its ports."""
    for line in robmon.output.read_text(encoding="utf-8").splitlines():
        if '"listening"' in line:
            found: dict[str, Any] = json.loads(line)
            return found
    return None


def command(settings: Path, *words: str) -> str:
    """A command of robmon with the demo's settings, for a shell of the user's with whatever settings of its own."""
    environment = [word for name in os.environ if is_of_the_user(name) for word in ("-u", name)]
    environment += [f"{name}={value}" for name, value in OWN_NETWORK.items()]
    script = shutil.which("robmon", path=str(Path(sys.executable).parent))
    robmon = [script] if script is not None else [sys.executable, "-m", "robmon"]
    return shlex.join(["env", *environment, f"ROBMON_CONFIG={settings}", *robmon, *words])


def _print_addresses(console: Console, stage: Stage, traffic: Traffic) -> None:
    settings = stage.processes.folder / SETTINGS_FILE
    accept = ("baseline", "--model", f"models:/{models.NAME}/{NEW}", "--accept")
    stabilise = mending.words(NEW, stage.processes.folder)
    console.print()
    console.print("Everything keeps running until Ctrl-C:", style="bold")
    for name, what in (
        ("status page", f"{stage.watch.url}/"),
        ("metrics", f"{stage.watch.url}/metrics"),
        ("model server", f"{traffic.server_url}{PATH}"),
        ("MLflow registry", stage.registry_url),
        ("settings and logs", str(stage.processes.folder)),
        ("roll back", command(settings, "rollback", f"{models.NAME}@{models.ALIAS}", "--yes")),
        (f"accept version {NEW}", command(settings, *accept)),
        *([(f"stabilise {NEW}", command(settings, *stabilise))] if stage.images else []),
    ):
        console.print(f"  {name:18} {what}", soft_wrap=True, highlight=False, markup=False)
