"""What came of stability training, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robmon.report.words import aligned, chance, noise_of, percent
from robmon.wording import counted

Report = Mapping[str, Any]
MODELS = {"before": "before", "control": "control", "after": "candidate"}
"""What the models of a report are called."""
SCORES = {
    "accuracy": "accuracy",
    "determination": "share of the labels' variance that is explained",
    "precision": "precision at 1",
}


def text(report: Report) -> str:
    """The verdict with its reasons, the scores by level, what was tried, and the notes."""
    rows = report["rows"]
    how = (
        f"alpha {report['alpha']:g}, trained at {report['sigma']:g}, {counted(report['epoch'], 'epoch')}; rows: "
        f"{rows['train']} trained on, {rows['validation']} chosen by, {rows['test']} judged by"
    )
    lines = [verdict(report), *reasons(report), "", how, *_scores(report), "", *_tried(report)]
    if report["left_out"]:
        lines.append(f"left out for want of time: {', '.join(map(_pair, report['left_out']))}")
    if (ratio := report["output_mse_ratio"]) is not None:
        lines.append(
            f"Its own outputs move {ratio:.3g} times as far as before (MSE at {report['level']:g}); it decides nothing"
        )
    return "\n".join([*lines, *report["notes"]])


def verdict(report: Report) -> str:
    """Whether the candidate passes, in one sentence."""
    noise = noise_of(report["level"], report["level_unit"])
    scores = report["scores"]
    before, after = (_score(report, scores[name][-1]) for name in ("before", "after"))
    clean = f"{_score(report, scores['before'][0])} and {_score(report, scores['after'][0])} without noise"
    passes = "passes" if report["passed"] else "does not pass"
    return f"The candidate {passes}: {score_name(report)} at {noise} {before} before, {after} after; {clean}."


def reasons(report: Report) -> list[str]:
    """Whether each of the three parts of the verdict passes, and why."""
    clean, noisy, control = report["clean"], report["noisy"], report["control"]
    counts = "" if clean["lost_rows"] is None else f", {clean['lost_rows']} rows lost, {clean['gained_rows']} gained"
    most = "" if clean["most_loss"] is None else f", at most {_points(clean['most_loss'])} with 95 % confidence"
    beyond = "no more than is tolerated" if clean["passed"] else "more than is tolerated"
    return [
        f"{_mark(clean)} without noise it loses {_points(clean['loss'])}{counts}{most}: {beyond} "
        f"({_points(report['tolerance'])}; {chance(clean['pvalue'])})",
        f"{_mark(noisy)} under noise it gains {_gained(noisy)} on the model before",
        f"{_mark(control)} under noise it gains {_gained(control)} on the control, trained alike without noise",
    ]


def score_name(report: Report) -> str:
    """What the scores are."""
    return SCORES[report["score"]]


def _mark(part: Report) -> str:
    return "passed:" if part["passed"] else "failed:"


def _gained(part: Report) -> str:
    least = f"at least {_points(part['least_gain'])} with 95 % confidence"
    return f"{_points(part['gain'])}, {least} ({chance(part['pvalue'])})"


def _points(share: float) -> str:
    points = f"{100 * share + 0.0:.3g}"
    return f"{points} point" if points == "1" else f"{points} points"


def _score(report: Report, score: float) -> str:
    return f"{score:.4g}" if report["score"] == "determination" else percent(score)


def _scores(report: Report) -> list[str]:
    """A line a level."""
    lines = [["level", *MODELS.values()]]
    for index, level in enumerate(report["levels"]):
        lines.append([f"{level:g}", *(f"{report['scores'][name][index]:.4g}" for name in MODELS)])
    return aligned(lines)


def _tried(report: Report) -> list[str]:
    """A line for each pair that was tried, with its scores on the rows that chose."""
    lines = [["tried", "alpha", "trained at", "epoch", "clean", "noisy", "seconds"]]
    for each in report["tried"]:
        chosen = (each["alpha"], each["level"]) == (report["alpha"], report["sigma"])
        cells = [f"{each[name]:.4g}" for name in ("alpha", "level", "epoch", "clean", "noisy")]
        lines.append(["chosen" if chosen else "", *cells, f"{each['seconds']:.1f}"])
    return aligned(lines, names_first=True)


def _pair(each: Report) -> str:
    return f"alpha {each['alpha']:g} at {each['level']:g}"
