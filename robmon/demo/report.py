"""What the demo says at its end: the verdict in plain words, and the metrics that changed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from robmon.demo.models import ALIAS, NAME, Registered
from robmon.demo.scrape import HEADLINE_LEVEL, Disturbances, Scrape

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
    """What was seen before and after the release, and the Unix time at which the alias moved.

    In the demo with images `further_before` and `further_after` are what JPEG and thumbnails do to both versions.
    """

    registered: list[Registered]
    before: Scrape
    after: Scrape
    moved_at: float
    further_before: Disturbances = field(default_factory=dict)
    further_after: Disturbances = field(default_factory=dict)


def print_report(console: Console, outcome: Outcome, png: Path | None, *, keep: bool) -> None:
    """Changed metrics first, so that the verdict is what stays on the screen; `keep`: whether all keeps running."""
    console.print()
    console.print("/metrics before (-) and after (+) the release:", style="bold")
    for line in changed_lines(outcome.before, outcome.after):
        console.print(Text(line, "green" if line.startswith("-") else "red"), soft_wrap=True)
    if outcome.further_before:
        console.print()
        console.print("What each noise does to both versions:", style="bold")
        console.print(table_of_noises(outcome))
    console.print()
    title = f"ROBUSTNESS REGRESSED: {NAME} version {outcome.after.version} against version {outcome.before.version}"
    if console.is_terminal:
        table = Table.grid(padding=(0, 2, 1, 0))
        for name, text in verdict(outcome, keep=keep):
            table.add_row(Text(name, "bold"), Text(text))
        console.print(Panel(table, title=title, border_style="red", padding=(1, 2, 0, 2)))
    else:
        console.print(
            "\n".join([title, *(f"{name}: {text}" for name, text in verdict(outcome, keep=keep))]), soft_wrap=True
        )
    if png is not None:
        console.print(f"Picture of both curves: {png}", soft_wrap=True, highlight=False)


def changed_lines(before: Scrape, after: Scrape) -> Iterator[str]:
    """The lines of `/metrics` that differ, each old one before its new one."""
    for name, label in CHANGING_METRICS.items():
        old, new = (
            [
                line
                for line in scrape.text.splitlines()
                if line.startswith((f"{name}{{", f"{name} ")) and label in line and 'primary="false"' not in line
            ]
            for scrape in (before, after)
        )
        if old != new:
            yield from (f"- {line}" for line in old)
            yield from (f"+ {line}" for line in new)


def sentence(outcome: Outcome) -> str:
    """The finding in a few sentences, for somebody who knows nothing else."""
    before, after = outcome.before, outcome.after
    old, new = (each.at_level("robmon_noise_mse_bound") for each in (before, after))
    moves, there = (each.value("robmon_noise_mse", level=HEADLINE_LEVEL) or math.nan for each in (after, before))
    return (
        f"On the same production inputs, under the same noise, version {after.version} moves {after.ratio:.2g} times "
        f"as far (mean squared, all noise levels together) as version {before.version}, the probabilities of both "
        "brought to the same confidence, because a version that is merely more confident is not more fragile. The "
        f"curves are of the probabilities as they are: at noise of {HEADLINE_LEVEL} standard deviations of each pixel "
        f"they differ {moves / there:.2g} times, and the bound that the error of a further trial keeps with 95 % "
        f"probability rose from {old:.2g} to {new:.2g}."
    )


def verdict(outcome: Outcome, *, keep: bool) -> list[tuple[str, str]]:
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
            f"noise MSE of version {after.version} over that of version {before.version}, at the same confidence: "
            f"{after.ratio:.2f} over all levels ({ratios}); {1 + TOLERANCE:.2f} is tolerated. Unchanged answers at "
            f"level {HEADLINE_LEVEL}: {agreements[0]:.1f} % -> {agreements[1]:.1f} %. "
            f"Robustness index: {indices[0]:.3f} -> {indices[1]:.3f}.",
        ),
        *_of_pictures(outcome),
        ("Since", f"{clock}, {since - outcome.moved_at:.1f} s after the alias moved."),
        ("Accuracy", _accuracy(outcome.registered)),
        (
            "On call",
            f"the alert RobmonRobustnessRegression of deploy/prometheus would fire. Move the alias {ALIAS} back to "
            f"version {before.version}, or accept version {after.version} with `robmon baseline --accept`: "
            + ("the commands stand below." if keep else "the first is done now; `make demo KEEP=1` lets you choose."),
        ),
        (
            "Real here",
            "digits, models, MLflow's registry and model server, robmon. The copies of the requests are sent by the "
            "client, in place of a mirroring proxy such as nginx, Envoy or Istio.",
        ),
    ]


def table_of_noises(outcome: Outcome) -> Table:
    """A row for each noise and level: how far the outputs of both versions move, and how many answers stay the same."""
    table = Table(box=None, pad_edge=False)
    for name in ("noise, level", "noise MSE", "ratio", "unchanged answers", "95 % move less"):
        table.add_column(name, no_wrap=True)
    after = outcome.after.disturbed | outcome.further_after
    for (noise, level), old in (outcome.before.disturbed | outcome.further_before).items():
        new = after[noise, level]
        table.add_row(
            f"{noise} {level:g}",
            f"{old.mse:.3g} -> {new.mse:.3g}",
            f"{new.mse / old.mse:.2f}" if old.mse > 0 else "-",
            f"{100 * old.agreement:.1f} % -> {100 * new.agreement:.1f} %",
            f"{old.moves_less:.3g} -> {new.moves_less:.3g}",
        )
    return table


def _of_pictures(outcome: Outcome) -> list[tuple[str, str]]:
    """What is to be known of the rows of JPEG and thumbnails; empty where there are none."""
    if not outcome.further_before:
        return []
    told = (
        "JPEG and thumbnails take turns beside the Gaussian noise, which alone decides alarms. They have no draw, so "
        "that there is no trial bound of them; the move that 95 % of the outputs stay below is one of a further "
        "picture. Level 50 of jpeg is a quality of 50, level 0.25 of thumbnail a preview that has lost a quarter of "
        "each side. Unlike the verdict, each row of the table is of the pictures that came while that version was "
        "served."
    )
    return [("Pictures", told)]


def _accuracy(registered: list[Registered]) -> str:
    old, new = registered
    told = f"{100 * old.accuracy:.1f} % -> {100 * new.accuracy:.1f} % on clean held-out digits"
    return f"it does not show: {told}." if new.accuracy >= old.accuracy else f"it fell too: {told}."
