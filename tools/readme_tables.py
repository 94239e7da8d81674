"""Write the tables of README.md that are made from the code, settings and metrics, or from a measured result, coverage.

Each stands between `<!-- NAME: ... -->` and `<!-- /NAME -->`. `--check` writes nothing and exits 1 if one is old.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from robmon.export.metrics import Metrics  # noqa: E402
from robmon.inputs.counts import InputCounts  # noqa: E402
from robmon.settings import leaves  # noqa: E402
from tests.export.published import everything  # noqa: E402

SUFFIXES = {"counter": "_total", "info": "_info"}
MODEL = {"model_name", "model_version"}


def settings_table() -> Iterator[str]:
    """One row a setting: name, default, meaning."""
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for leaf in leaves():
        choices = f" ({', '.join(f'`{choice}`' for choice in leaf.choices)})" if leaf.choices else ""
        yield f"| `{leaf.name}` | {leaf.default_text} | {leaf.field.description}{choices} |"


def metrics_table() -> Iterator[str]:
    """One row a metric: name, kind, labels, meaning."""
    published = everything()
    if published.measurement is not None:
        result = published.measurement.result
        levels = [point.model_copy(update={"baseline_ratio_lower": point.baseline_ratio}) for point in result.levels]
        result = result.model_copy(update={"levels": levels})
        published.measurement = dataclasses.replace(published.measurement, result=result, at=time.time())
    published.served = [dataclasses.replace(each, requests_at=time.time()) for each in published.served]
    counts = InputCounts()
    counts.rejected["mlflow", "too_large"] += 1
    metrics = Metrics(published, counts, lambda: (1, 1.0))
    metrics.duration.labels("assess").observe(1)
    metrics.nonfinite_outputs.labels("0").inc()
    metrics.model_failures.labels("load", "crash").inc()
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    for family in sorted(metrics.registry.collect(), key=lambda family: family.name):
        if not family.name.startswith("robmon"):
            continue
        labels = [label for sample in family.samples[:1] for label in sample.labels if label != "le"]
        of = "measurement" if set(labels) >= MODEL and family.type == "gauge" else family.type
        shown = " ".join(label for label in labels if not (of == "measurement" and label in MODEL))
        yield f"| `{family.name}{SUFFIXES.get(family.type, '')}` | {of} | {shown} | {family.documentation} |"


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
    figures = json.loads((REPOSITORY / "docs" / "coverage.json").read_text(encoding="utf-8"))["figures"]
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


TABLES = {"settings": settings_table, "metrics": metrics_table, "coverage": coverage_table}


def updated(text: str) -> str:
    """The README with its tables as they are now."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: made by tools/readme_tables.py -->", f"<!-- /{name} -->"
        body = "\n".join(table())
        text, count = re.subn(
            re.escape(begin) + ".*?" + re.escape(end),
            lambda _, new=f"{begin}\n{body}\n{end}": new,  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise SystemExit(f"README.md must hold {begin} ... {end} once")
    return text


def main() -> None:
    """Write the tables, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    readme = REPOSITORY / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = updated(before)
    if parser.parse_args().check:
        sys.exit(0 if before == after else "README.md is out of date: run make docs")
    readme.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
