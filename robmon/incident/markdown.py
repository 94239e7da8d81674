"""A bundle for who opens it: what stands, in words, and how its numbers are computed again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from robmon.report.event_sentences import event_lines, figure
from robmon.report.words import accepted_how
from robmon.wording import counted, printable

Facts = Mapping[str, Any]
SHOWN_EVENTS: Final = 40
SHOWN_FEATURES: Final = 12
COMMAND: Final = "robmon assess --incident ."
HOW_TO_GET_INPUTS: Final = (
    "on the machine or in the container where robmon runs, or with the token of its http port, and add `--with-inputs`"
)


def summary(facts: Facts, happened: Facts | None) -> bytes:
    """`INCIDENT.md`."""
    parts = [
        [f"# {printable(facts['model']['name'])}: {headline(facts)}"],
        _next_steps(facts),
        _verdict(facts),
        _curves(facts),
        _versions(facts),
        _shares(facts),
        _inputs(facts),
        _requests(facts),
        _computed(facts),
        _links(facts),
        _events(happened),
        _missing(facts),
    ]
    return ("\n\n".join("\n".join(part) for part in parts if part) + "\n").encode()


def headline(facts: Facts) -> str:
    """What stands, in one sentence without a full stop."""
    standing = facts["standing"]
    if standing is None:
        return f"no regression stands on version {_served(facts)}"
    if standing["kind"] == "time":
        return f"version {printable(standing['version'])} has become worse over time, since {standing['since_utc']}"
    ratio = "" if standing["pooled_ratio"] is None else f" {figure(standing['pooled_ratio'], 3)} times"
    return (
        f"version {printable(standing['version'])} is worse than version {printable(standing['against'])}:{ratio} its "
        f"noise error, since {standing['since_utc']}"
    )


def reproduce(facts: Facts) -> bytes:
    """`REPRODUCE.md`: exactly one of its lines is a command of robmon's."""
    model, assessment = facts["model"], facts["assessment"]
    if assessment is None:
        told = "No assessment is in this bundle, so that there is no number to compute again; the command says so."
    elif facts["with_inputs"]:
        told = (
            "This bundle holds the requests of the sample. The command fetches the versions, loads them in a process "
            "of its own (which runs their code), draws the same noise, and compares every number with those recorded "
            "here, to the last bit: exit status 0 where all are the same, 1 where one differs, 2 where it could not "
            "be done."
        )
    else:
        told = (
            "This bundle holds no production input, and without them nothing can be computed again: the command says "
            f"so and ends with status 2. Get one that holds them: run `robmon incident` {HOW_TO_GET_INPUTS}. The "
            "digest of the sample below tells whether it is of the same rows."
        )
    lines = ["# Compute the numbers again", "", told, "", "In this folder:", "", "```sh", COMMAND, "```", ""]
    lines += [
        "It needs the registry that has the versions (the variable MLFLOW_TRACKING_URI, or `--tracking-uri`), and the "
        "packages below in the same versions; on another kind of processor or device the last bits may differ.",
        "",
    ]
    if assessment is not None:
        pairs = {
            "model": f"{printable(model['name'])}, version {printable(assessment['version'])}",
            "seed": assessment["seed"],
            "noise": f"{assessment['numbers']['noise']}, drawn by {assessment['draws']}",
            "rows, trials": f"{assessment['numbers']['rows']}, {assessment['numbers']['trials']}",
            "SHA-256 of the sample": assessment["numbers"]["sample_sha256"],
        }
        lines += _table(["", ""], [[name, f"`{value}`"] for name, value in pairs.items()])
        lines += ["", *_packages(facts)]
    return ("\n".join(lines).rstrip() + "\n").encode()


# --- the parts -------------------------------------------------------------------------------------------------------


def _served(facts: Facts) -> str:
    return printable(facts["served"]["version"]) if facts["served"] else "-"


def _next_steps(facts: Facts) -> list[str]:
    """In the order in which a person on call does them."""
    standing, model = facts["standing"], facts["model"]
    if standing is None or model["alias"] is None or standing["kind"] != "version":
        return []
    name = shlex.quote(f"{printable(model['name'])}@{printable(model['alias'])}")
    return [
        f"Back to version {printable(standing['against'])}: `robmon rollback {name}` shows both curves, and moves the "
        "alias with `--yes`. [REPRODUCE.md](REPRODUCE.md) says how the numbers below are computed again."
    ]


def _verdict(facts: Facts) -> list[str]:
    verdict = facts["verdict"]
    pending = [f"There is no verdict: {printable(each['why'])} ({each['reason']})." for each in facts["pending"]]
    if verdict is None:
        return ["## Verdict", "", *pending] if pending else []
    lines = [
        "## Verdict",
        "",
        f"Against version {printable(verdict['reference_version'])}: pooled ratio {figure(verdict['pooled_ratio'])} "
        f"({100 * verdict['confidence']:g} % interval {figure(verdict['pooled_low'])} to "
        f"{figure(verdict['pooled_high'])}), p = {figure(verdict['pvalue'], 2)}; compared: {verdict['why']}.",
    ]
    causes = facts["blame"] or {}
    parts = {name: causes[name] for name in ("model", "traffic") if causes.get(name)}
    if parts:
        told = ", ".join(f"the {name} {figure(part['ratio'], 3)} times" for name, part in parts.items())
        lines += ["", f"What the change comes from, at the highest level: {told}."]
    return [*lines, *(["", *pending] if pending else [])]


def _curves(facts: Facts) -> list[str]:
    curves = (facts["verdict"] or {}).get("curves")
    if curves is not None:
        columns = [curves["levels"], curves["reference_mean"], curves["mean"]]
        bounds = [curves[name] or ["-"] * len(curves["levels"]) for name in ("reference_bound", "bound")]
        rows = [[figure(cell) for cell in row] for row in zip(*columns, *bounds, strict=True)]
        against = printable(facts["verdict"]["reference_version"])
        heads = ["level", f"version {against}", "this version", f"bound, version {against}", "bound, this version"]
        units = "squared output units" if curves["space"] == "output" else "what the verdict compares"
        return [
            "## Curves",
            "",
            f"Mean noise error and its bound on the same rows, in {units}.",
            "",
            *_table(heads, rows),
        ]
    assessment = facts["assessment"]
    levels = (assessment or {}).get("numbers", {}).get("levels", [])
    if not assessment or not levels:
        return []
    names = ("level", "mean_mse", "bound", "request_bound", "agreement", "baseline_ratio")
    rows = [[figure(level.get(name)) for name in names] for level in levels]
    told = f"Version {printable(assessment['version'])}, assessment {figure(assessment.get('number'))}."
    return ["## Curve", "", told, "", *_table([name.replace("_", " ") for name in names], rows)]


def _versions(facts: Facts) -> list[str]:
    rows = []
    for one in facts["versions"]:
        entry = one.get("remembered")
        verdict = "-" if entry is None else _remembered(entry)
        tags = ", ".join(f"{printable(k)}={printable(v)}" for k, v in (one.get("tags") or {}).items())
        cells = [one["version"], ", ".join(one["roles"]), one["run_id"], one.get("commit"), verdict, tags]
        rows.append([printable(cell or "-") for cell in cells])
    return [] if not rows else ["## Versions", "", *_table(["version", "is", "run", "commit", "verdict", "tags"], rows)]


def _remembered(entry: Facts) -> str:
    return accepted_how(entry["by"]) if entry["accepted"] else f"rejected by the {entry['by']}"


def _shares(facts: Facts) -> list[str]:
    found = facts.get("attribution") or {}
    shares = found.get("now") or found.get("baseline")
    if not shares:
        return []
    if not shares.get("groups"):
        return ["## Which features carry it", "", f"Not known: {printable(shares.get('reason') or '-')}."]
    of = "these rows" if shares["is_now"] else "the baseline"
    rise = shares.get("rise_share") or ["-"] * len(shares["groups"])
    columns = zip(shares["groups"], shares["share"], shares["stderr"], rise, strict=True)
    rows = [[printable(name), *(figure(cell, 3) for cell in cells)] for name, *cells in columns]
    heads = ["features", "share", "standard error", "share of the rise"]
    return ["## Which features carry it", "", f"Of {of}, at level {figure(shares['level'])}.", "", *_table(heads, rows)]


def _inputs(facts: Facts) -> list[str]:
    numbers = (facts["assessment"] or {}).get("numbers", {})
    rows: dict[str, dict[str, Any]] = {}
    for each in numbers.get("input_drift", []):
        rows.setdefault(each["feature"], {})[each["statistic"]] = each["value"]
    if not rows:
        return []
    names = sorted({name for cells in rows.values() for name in cells})
    shown = list(rows.items())[:SHOWN_FEATURES]
    table = [[printable(feature), *(figure(cells.get(name), 3) for name in names)] for feature, cells in shown]
    drifted = f"{figure(numbers.get('drifted_features'))} of {figure(numbers.get('features_watched'))} features"
    quality = [
        f"- {printable(each['feature'])}: {each['problem'].replace('_', ' ')} in {figure(each['ratio'], 3)} of the rows"
        for each in numbers.get("input_quality", [])
        if each["ratio"]
    ]
    return ["## Inputs", "", f"{drifted} have drifted.", "", *_table(["feature", *names], table), *quality]


def _requests(facts: Facts) -> list[str]:
    lines = []
    for name, title in (("worst_requests", "largest errors"), ("nonfinite_requests", "clean output not finite")):
        if found := facts.get(name):
            lines.append(f"- {title}: {', '.join(f'`{printable(each)}`' for each in found)}")
    return [] if not lines else ["## Requests, by their ids", "", *lines]


def _computed(facts: Facts) -> list[str]:
    lines = _packages(facts)
    return [] if not lines else ["## Computed by", "", *lines]


def _packages(facts: Facts) -> list[str]:
    computed = facts.get("computed_by") or {}
    libraries = ", ".join(f"{name} {version}" for name, version in (computed.get("libraries") or {}).items())
    if not libraries:
        return []
    device = f"device {computed['device']}" + (f" ({computed['precision']})" if computed.get("precision") else "")
    threads = counted(computed.get("threads", 0), "thread")
    return [f"{libraries}; {device}, {threads}, processor {computed.get('processor') or '-'}."]


def _links(facts: Facts) -> list[str]:
    lines = [f"- {each['what']}: `{each['query']}`, `{each['link']}`" for each in facts["queries"]]
    return ["## In Prometheus", "", "Links go below its address.", "", *lines]


def _events(happened: Facts | None) -> list[str]:
    if not happened or not happened["events"]:
        return []
    return ["## What happened", "", "```", *event_lines(happened["events"][-SHOWN_EVENTS:]), "```"]


def _missing(facts: Facts) -> list[str]:
    lines = [f"- {sentence}" for sentence in facts["missing"]]
    return [] if not lines else ["## Not in this bundle", "", *lines]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    return [line(heads), f"|{'---|' * len(heads)}", *map(line, rows)]
