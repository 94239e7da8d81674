"""Write the tables of README.md that are made from the code: settings and metrics.

Each stands between `<!-- NAME: ... -->` and `<!-- /NAME -->`. `--check` writes nothing and exits 1 if one is old.
"""

from __future__ import annotations

import argparse
import dataclasses
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


TABLES = {"settings": settings_table, "metrics": metrics_table}


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
