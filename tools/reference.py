"""Write the parts of the manual that are made from the code, or from a measured result.

Each stands in its page between `<!-- NAME: ... -->` and `<!-- /NAME -->`. `--check` writes nothing and exits 1 if one
is old. What a table lists has an anchor, so that everything else can link to it.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import click  # noqa: E402
import numpy as np  # noqa: E402

import robmon  # noqa: E402
from robmon.cli import main as cli  # noqa: E402
from robmon.cli.options import SettingsCommand  # noqa: E402
from robmon.export.circumstances import Circumstances  # noqa: E402
from robmon.export.metrics import Metrics  # noqa: E402
from robmon.inputs.counts import InputCounts  # noqa: E402
from robmon.robustness.comparison import Comparison  # noqa: E402
from robmon.robustness.curve import Slope  # noqa: E402
from robmon.robustness.curve_point import CurvePoint  # noqa: E402
from robmon.robustness.probes.attack.result import Attack  # noqa: E402
from robmon.robustness.ranking import Ranking  # noqa: E402
from robmon.robustness.result import Assessment  # noqa: E402
from robmon.settings import leaves  # noqa: E402
from tests.export.published import change, everything  # noqa: E402

SUFFIXES = {"counter": "_total", "info": "_info"}
MODEL = {"model_name", "model_version"}


def settings_table() -> Iterator[str]:
    """One row a setting: name, default, meaning."""
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for leaf in leaves():
        choices = f" ({', '.join(f'`{choice}`' for choice in leaf.choices)})" if leaf.choices else ""
        yield f"| {anchored(leaf.name)} | {leaf.default_text} | {leaf.field.description}{choices} |"


def metrics_table() -> Iterator[str]:
    """One row a metric: name, kind, labels, meaning."""
    published = everything()
    if published.view.measurement is not None:
        result = published.view.measurement.result
        levels = [point.model_copy(update={"baseline_ratio_lower": point.baseline_ratio}) for point in result.levels]
        result = result.model_copy(update={"levels": levels})
        change(published, measurement=dataclasses.replace(published.view.measurement, result=result, at=time.time()))
    change(
        published, served=tuple(dataclasses.replace(each, requests_at=time.time()) for each in published.view.served)
    )
    if published.view.attack is not None:
        change(published, attack=dataclasses.replace(published.view.attack, at=time.time()))
    counts = InputCounts()
    counts.rejected["mlflow", "too_large"] += 1
    counts.labels.target["joined"] += 1
    counts.labels.answer["joined"] += 1
    counts.kafka_lag_messages = 0
    metrics = Metrics(published.model_name, counts, lambda: (1, 1.0), Circumstances(histograms=True, attacks=True))
    metrics.expose(published)
    metrics.duration.labels("assess").observe(1)
    metrics.nonfinite_outputs.labels("0").inc()
    metrics.model_failures.labels("load", "crash").inc()
    metrics.detection_restarts.labels("version").inc()
    metrics.http_rejected.labels("unauthorized").inc()
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    for family in sorted(metrics.registry.collect(), key=lambda family: family.name):
        if not family.name.startswith("robmon"):
            continue
        labels = list(dict.fromkeys(label for each in family.samples for label in each.labels if label != "le"))
        of = "measurement" if set(labels) >= MODEL and family.type == "gauge" else family.type
        shown = " ".join(label for label in labels if not (of == "measurement" and label in MODEL))
        name = f"{family.name}{SUFFIXES.get(family.type, '')}"
        yield f"| {anchored(name)} | {of} | {shown} | {family.documentation} |"


def commands_reference() -> Iterator[str]:
    """A section a command: what it does, what it is given, its flags."""
    for name, command in cli.main.commands.items():
        context = click.Context(command, info_name=name, parent=program())
        settings = {f"--{leaf.name}" for leaf in leaves()}
        flags = [flag for flag in command.get_params(context) if flag.opts[0] not in settings]
        yield from (f"## {name}", "", "```text", context.command.get_usage(context), "```", "")
        yield from (one_line(paragraph) + "\n" for paragraph in re.split(r"\n\s*\n", (command.help or "").strip()))
        if isinstance(command, SettingsCommand):
            yield "Every [setting](settings.md) is a flag of it too: `--assess.levels`, `--inputs.port` and so on.\n"
        yield from ("| flag | value | meaning |", "|---|---|---|")
        yield from (flag_row(name, flag, context) for flag in flags if isinstance(flag, click.Option))
        yield ""


def program() -> click.Context:
    """Of which the commands are: each remembers the names of its flag for help as it is asked first."""
    return click.Context(cli.main, info_name="robmon", **cli.main.context_settings)


def flag_anchor(command: str, flag: click.Option) -> str:
    """By the long name."""
    return command + max(flag.opts, key=len)


def flag_row(command: str, flag: click.Option, context: click.Context) -> str:
    """Its row: names, what it takes, what it means and its default."""
    told = flag.get_help_record(context)
    record, text = told if told is not None else (flag.opts[0], "")
    value = record.partition(flag.opts[-1])[2].strip().replace("|", ", ").strip("[]")
    names = " ".join(f"`{name}`" for name in sorted(flag.opts, key=len, reverse=True))
    return f'| <a id="{flag_anchor(command, flag)}"></a>{names} | {value.lower()} | {cell(text)} |'


def fields_table(kind: type, example: dict[str, Any]) -> Iterator[str]:
    """One row a key of the JSON that a result of this kind writes: what it is, and what it holds in words."""
    told = attributes(kind)
    yield from ("| key | JSON | meaning |", "|---|---|---|")
    for key, value in example.items():
        if key not in told:
            raise SystemExit(f"nothing says what {kind.__name__}.{key} is")
        yield f'| <a id="{kind.__name__}.{key}"></a>`{key}` | {json_type(value)} | {cell(in_json(told[key]))} |'


def in_json(text: str) -> str:
    """What a docstring says of a value of Python's, as a sentence on that of JSON.

    >>> in_json("share of rows; None without classes. >>> 1")
    'Share of rows; null without classes.'
    """
    text = re.sub(r"\bNone\b", "null", text.partition(">>>")[0].strip())
    return text[:1].upper() + text[1:]


def attributes(kind: type) -> dict[str, str]:
    """What a class says of its attributes, properties and keys of its JSON, by name."""
    told = {
        name: one_line(member.__doc__)
        for name, member in vars(kind).items()
        if isinstance(member, property) and member.__doc__
    }
    section = re.search(r"Attributes:\n(.*)", inspect.getdoc(kind) or "", re.DOTALL)
    for names, text in re.findall(r"^    ([\w, ]+): (.*(?:\n {8,}.*)*)", section[1] if section else "", re.MULTILINE):
        told |= {name.strip(): one_line(text) for name in names.split(",")}
    return OF_RESULTS | told


OF_RESULTS = {
    "clean_nonfinite_rows": "number of rows left out because their clean output is not finite.",
    "seed": "of the noise; the same seed, inputs and model give the same numbers.",
    "noise_margin": "the largest level whose bound stays at or below `mse_limit`, and whether the curve crosses it.",
    "crossing": "the level at which the mean reaches `mse_limit`, with an interval over rows; None: beyond the levels.",
    "agreement_limit": "the smallest acceptable share of unchanged classes, if any.",
    "agreement_crossing": "the level at which the agreement falls below it, likewise.",
    "accuracy_limit": "the smallest acceptable share of correct classes, if any.",
    "accuracy_crossing": "the level at which the accuracy falls below it, likewise.",
    "slope_axis": "what slopes are against: `level` or `level_squared`.",
    "models": "one object per model: name, and scores, ranks and `rank_diff` by level, slope and `noise_gain`.",
}
"""Keys that only the JSON has, or whose class does not describe them."""


def example_results() -> tuple[dict[str, Any], ...]:
    """An assessment, a comparison, a ranking and attacks as JSON has them: of small models, with all there can be."""
    inputs = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    weights = np.arange(12.0).reshape(4, 3) / 10
    targets = np.argmax(inputs @ weights, axis=1)

    def first(rows: Any) -> Any:
        return rows @ weights

    def second(rows: Any) -> Any:
        return rows @ weights[:, ::-1]

    options: dict[str, Any] = {"task": "classification", "output": "logit", "levels": (0.0, 0.2), "trials": 19}
    assessment = robmon.assess(first, inputs, targets=targets, **options).to_dict()
    comparison = robmon.compare(first, second, inputs, **options).to_dict()
    ranking = robmon.rank({"first": first, "second": second}, inputs, targets, **options).to_dict()
    attack = robmon.attack(first, inputs, targets=targets, output="logit", queries=3).to_dict()
    return assessment, comparison, ranking, attack


def assessment_json() -> Iterator[str]:
    """The keys of an assessment, of a point of its curve and of a slope."""
    assessment = example_results()[0]
    yield from fields_table(Assessment, assessment)
    yield from ("", "Each object of `curve`:", "")
    yield from fields_table(CurvePoint, assessment["curve"][-1])
    yield from ("", "Each slope:", "")
    yield from fields_table(Slope, assessment["slope"])


def comparison_json() -> Iterator[str]:
    """The keys of a comparison."""
    yield from fields_table(Comparison, example_results()[1])


def ranking_json() -> Iterator[str]:
    """The keys of a ranking."""
    yield from fields_table(Ranking, example_results()[2])


def attack_json() -> Iterator[str]:
    """The keys of attacks."""
    yield from fields_table(Attack, example_results()[3])


def json_type(value: Any) -> str:
    """What JSON has there, in words.

    >>> json_type(None), json_type([1.5]), json_type([[1.5]]), json_type({"a": 1})
    ('null', 'list of number', 'list of list of number', 'object')
    """
    if isinstance(value, list):
        return f"list of {json_type(value[0])}" if value else "list"
    names = {bool: "true or false", int: "number", float: "number", str: "text", dict: "object", type(None): "null"}
    return names[type(value)]


def anchored(name: str) -> str:
    """The name as code, with an anchor of the same name."""
    return f'<a id="{name}"></a>`{name}`'


def one_line(text: str) -> str:
    """The text without its line breaks.

    >>> one_line(" two\\n    lines ")
    'two lines'
    """
    return " ".join(text.split())


def cell(text: str) -> str:
    """The text as it stands in a cell of a table."""
    return one_line(text).replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


BOUNDS = {
    "order_statistic": "trial bound by order statistic, the default",
    "tolerance_assurance": "trial bound by tolerance: sets of trials that cover 95 %",
    "request": "request bound, for fresh requests",
    "mean": "mean bound on row means",
    "band": "band, over whole further curves",
    "student_t": "for comparison: trial bound by Student's t",
    "cantelli": "for comparison: trial bound by Cantelli's inequality",
    "fresh_rows": "no promise: trial bound on fresh rows",
    "pointwise": "no promise: trial bounds over whole further curves",
    "pooled_trials": "no promise: mean bound on trials pooled over rows",
}


def coverage_table() -> Iterator[str]:
    """One row a bound: how often it held, lowest and highest over the laws, and its size."""
    figures = json.loads((REPOSITORY / "docs" / "evidence" / "coverage.json").read_text(encoding="utf-8"))["figures"]
    counts = sorted({figure["count"] for figure in figures})

    def over_laws(bound: str, count: int, key: str, scale: float, form: str) -> str:
        values = [scale * figure[key] for figure in figures if (figure["bound"], figure["count"]) == (bound, count)]
        return " – ".join(dict.fromkeys(format(end, form) for end in (min(values), max(values)))) if values else "-"

    yield f"| a stated 95 % held, in %, with | {' | '.join(map(str, counts))} | bound over truth |"
    yield "|---" * (len(counts) + 2) + "|"
    for bound, label in BOUNDS.items():
        held = [over_laws(bound, count, "held", 100.0, ".1f") for count in counts]
        shown = next(count for count, text in zip(counts[1:], held[1:], strict=True) if text != "-")
        size = over_laws(bound, shown, "tightness", 1.0, ".2f") + ("" if shown == counts[1] else f" (with {shown})")
        yield f"| {label} | {' | '.join(held)} | {size} |"


PAGES: dict[str, dict[str, Callable[[], Iterator[str]]]] = {
    "reference/settings.md": {"settings": settings_table},
    "reference/metrics.md": {"metrics": metrics_table},
    "reference/commands.md": {"commands": commands_reference},
    "reference/result-json.md": {
        "assessment": assessment_json,
        "comparison": comparison_json,
        "ranking": ranking_json,
        "attack": attack_json,
    },
    "evidence/coverage.md": {"coverage": coverage_table},
}


def updated(page: str, text: str) -> str:
    """The page with its generated parts as they are now."""
    for name, table in PAGES[page].items():
        begin, end = f"<!-- {name}: made by tools/reference.py -->", f"<!-- /{name} -->"
        body = "\n".join(table()).rstrip()
        text, count = re.subn(
            re.escape(begin) + ".*?" + re.escape(end),
            lambda _, new=f"{begin}\n{body}\n{end}": new,  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise SystemExit(f"{page} must hold {begin} ... {end} once")
    return text


def main() -> None:
    """Write the generated parts, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    check = parser.parse_args().check
    for page in PAGES:
        file = REPOSITORY / "docs" / page
        before = file.read_text(encoding="utf-8")
        after = updated(page, before)
        if check and before != after:
            sys.exit(f"docs/{page} is out of date: run make docs")
        if not check:
            file.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
