"""What the demo says at its end: the verdict in plain words, and the metrics that changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from robmon.demo.models import ALIAS, NAME, Registered
from robmon.demo.scrape import HEADLINE_LEVEL, Scrape

TOLERANCE = 0.10
"""Of the noise MSE, relative; the setting compare.tolerance."""
CHANGING_METRICS = {
    "robmon_model_info": "",
    "robmon_regression_detected": "",
    "robmon_regression_since_timestamp_seconds": "",
    "robmon_version_ratio": "",
    "robmon_version_mse_ratio": "",
    "robmon_noise_mse_bound": f'level="{HEADLINE_LEVEL}"',
    "robmon_prediction_agreement_ratio": f'level="{HEADLINE_LEVEL}"',
    "robmon_robustness_index": "",
    "robmon_robustness_slope": 'score="mse"',
}
"""Metrics that a release changes, and the label that picks the line shown."""


@dataclass(frozen=True)
class Outcome:
    """What was seen before and after the release, and the Unix time at which the alias moved."""

    registered: list[Registered]
    before: Scrape
    after: Scrape
    moved_at: float


def print_report(console: Console, outcome: Outcome, png: Path | None) -> None:
    """Changed metrics first, so that the verdict is what stays on the screen."""
    console.print()
    console.print("/metrics before (-) and after (+) the release:", style="bold")
    for line in changed_lines(outcome.before, outcome.after):
        console.print(Text(line, "green" if line.startswith("-") else "red"), soft_wrap=True)
    console.print()
    title = f"ROBUSTNESS REGRESSED: {NAME} version {outcome.after.version} against version {outcome.before.version}"
    if console.is_terminal:
        table = Table.grid(padding=(0, 2, 1, 0))
        for name, text in verdict(outcome):
            table.add_row(Text(name, "bold"), Text(text))
        console.print(Panel(table, title=title, border_style="red", padding=(1, 2, 0, 2)))
    else:
        console.print("\n".join([title, *(f"{name}: {text}" for name, text in verdict(outcome))]), soft_wrap=True)
    if png is not None:
        console.print(f"Picture of both curves: {png}", soft_wrap=True, highlight=False)


def changed_lines(before: Scrape, after: Scrape) -> Iterator[str]:
    """The lines of `/metrics` that differ, each old one before its new one."""
    for name, label in CHANGING_METRICS.items():
        old, new = (
            [line for line in scrape.text.splitlines() if line.startswith((f"{name}{{", f"{name} ")) and label in line]
            for scrape in (before, after)
        )
        if old != new:
            yield from (f"- {line}" for line in old)
            yield from (f"+ {line}" for line in new)


def sentence(outcome: Outcome) -> str:
    """The finding in one or two sentences, for somebody who knows nothing else."""
    before, after = outcome.before, outcome.after
    old, new = (each.at_level("robmon_noise_mse_bound") for each in (before, after))
    ratio = after.ratios[float(HEADLINE_LEVEL)]
    return (
        f"On the same production inputs, under the same noise of {HEADLINE_LEVEL} standard deviations of each "
        f"pixel, version {after.version} moves {ratio:.2g} times as far (mean squared) as version {before.version}. "
        f"The bound that the error of a further trial keeps with 95 % probability rose from {old:.2g} to {new:.2g}."
    )


def verdict(outcome: Outcome) -> list[tuple[str, str]]:
    """What changed, by how much, since when, why nobody else saw it, and what to do."""
    before, after = outcome.before, outcome.after
    ratios = ", ".join(f"{ratio:.2f} at level {level:g}" for level, ratio in sorted(after.ratios.items()))
    since = after.value("robmon_regression_since_timestamp_seconds", kind="version") or 0.0
    clock = datetime.fromtimestamp(since, UTC).strftime("%H:%M:%S UTC")
    agreements = [100 * (each.at_level("robmon_prediction_agreement_ratio") or 0.0) for each in (before, after)]
    indices = [each.index or 0.0 for each in (before, after)]
    return [
        ("What", sentence(outcome)),
        (
            "How much",
            f"noise MSE of version {after.version} over that of version {before.version}: {ratios}; "
            f"{1 + TOLERANCE:.2f} is tolerated. Unchanged answers at level {HEADLINE_LEVEL}: {agreements[0]:.1f} % -> "
            f"{agreements[1]:.1f} %. Robustness index: {indices[0]:.3f} -> {indices[1]:.3f}.",
        ),
        ("Since", f"{clock}, {since - outcome.moved_at:.1f} s after the alias moved."),
        ("Accuracy", _accuracy(outcome.registered)),
        (
            "On call",
            "the alert RobmonRobustnessRegression of deploy/prometheus would fire. Roll back with "
            f'MlflowClient().set_registered_model_alias("{NAME}", "{ALIAS}", "{before.version}"), or accept the '
            f"version: robmon baseline --model models:/{NAME}/{after.version} --accept.",
        ),
        (
            "Real here",
            "digits, models, MLflow's registry and model server, robmon. The copies of the requests are sent by the "
            "client, in place of a mirroring proxy such as nginx, Envoy or Istio.",
        ),
    ]


def _accuracy(registered: list[Registered]) -> str:
    old, new = registered
    told = f"{100 * old.accuracy:.1f} % -> {100 * new.accuracy:.1f} % on clean held-out digits"
    return f"it does not show: {told}." if new.accuracy >= old.accuracy else f"it fell too: {told}."
