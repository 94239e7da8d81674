"""What an audit found, over all versions: rankings of those that can be compared, and the failures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from robmon.audit.inputs_map import AuditedOn
from robmon.audit.task import Task
from robmon.errors import InvalidInputError
from robmon.library.fitting import other_rows
from robmon.library.scoring import Score, ranking_of
from robmon.models.uri import mask
from robmon.robustness.ranking import Conditions, Ranking

FORMAT: Final = 1


@dataclass(frozen=True)
class Examined:
    """A version and its result.

    Attributes:
        task: what was done.
        aliases: of the version, now.
        content: of its result.
    """

    task: Task
    aliases: tuple[str, ...]
    content: Mapping[str, Any]

    @property
    def is_ok(self) -> bool:
        """Whether there are numbers."""
        return self.content.get("outcome") == "ok"

    @property
    def label(self) -> str:
        """What it goes by in a ranking."""
        aliases = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.task.name}/{self.task.number}{aliases}"


@dataclass(frozen=True, eq=False)
class Group:
    """Versions on the same inputs with the same settings.

    Attributes:
        entry: of the map.
        versions: those that were examined, best first where they are ranked, else by their index.
        ranking: None where there is none.
        no_ranking: why.
    """

    entry: AuditedOn
    versions: tuple[Examined, ...]
    ranking: Ranking | None
    no_ranking: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "inputs": mask(self.entry.inputs),
            "settings": self.entry.settings(),
            "ranking": None if self.ranking is None else self.ranking.to_dict(),
            "no_ranking": self.no_ranking,
            "versions": [_version(each) for each in self.versions],
        }


@dataclass(frozen=True, eq=False)
class Audit:
    """All that an audit found.

    Attributes:
        groups: what can be compared, each by itself.
        failures: versions without a result, and why.
        without_inputs: names of models of which the map says nothing.
    """

    groups: tuple[Group, ...]
    failures: tuple[Examined, ...]
    without_inputs: tuple[str, ...]

    @property
    def examined(self) -> int:
        """How many versions have a result."""
        return sum(len(group.versions) for group in self.groups)

    def to_dict(self) -> dict[str, Any]:
        """As strict JSON has it."""
        return {
            "format": FORMAT,
            "examined": self.examined,
            "groups": [group.to_dict() for group in self.groups],
            "failures": [
                {**_name(each), "reason": each.content.get("reason"), "why": each.content.get("why")}
                for each in self.failures
            ],
            "without_inputs": list(self.without_inputs),
        }


def sum_up(results: Sequence[Examined], without_inputs: Sequence[str] = ()) -> Audit:
    """Rank what can be compared.

    Args:
        results: of all versions.
        without_inputs: names of models of which the map says nothing.
    """
    by_group: dict[str, list[Examined]] = {}
    for result in results:
        if result.is_ok:
            by_group.setdefault(result.task.group, []).append(result)
    groups = tuple(_group(versions) for versions in by_group.values())
    return Audit(groups, tuple(each for each in results if not each.is_ok), tuple(without_inputs))


def is_sound(result: Examined) -> bool:
    """Whether it can be summed up and kept: a process in which strangers' code runs may answer anything."""
    try:
        result.task.result(result.content)
        if result.is_ok:
            _version(result)
            return result.content["score"] is None or bool(_score(result.content["score"]).scores)
        return bool(result.content["reason"]) and isinstance(result.content["why"], str)
    except Exception:  # whatever a part that is missing, or of another kind, leads to
        return False


def _group(versions: list[Examined]) -> Group:
    entry = versions[0].task.entry
    ranking, why = _rank(versions)
    if ranking is None:
        return Group(entry, tuple(sorted(versions, key=_by_index)), None, why)
    place = {ranking.names[index]: place for place, index in enumerate(ranking.order)}
    ordered = sorted(versions, key=lambda each: place.get(each.label, len(place)))
    return Group(entry, tuple(ordered), ranking, "")


def _by_index(version: Examined) -> float:
    index = version.content["assessment"].get("index")
    return -index if isinstance(index, int | float) else math.inf


def _rank(versions: Sequence[Examined]) -> tuple[Ranking | None, str]:
    """The ranking of all that have a score on the same rows; or why there is none."""
    scores: dict[str, Score] = {}
    left_out: list[tuple[str, str]] = []
    for version in versions:
        content = version.content.get("score")
        if content is None:
            left_out.append((version.label, str(version.content.get("no_score"))))
            continue
        score, first = _score(content), next(iter(scores.values()), None)
        if first is not None and (why := _why_not_beside(first, score)):
            left_out.append((version.label, why))
        else:
            scores[version.label] = score
    try:
        return ranking_of(scores, left_out), ""
    except InvalidInputError as error:
        has_none = {why for _, why in left_out} == {"there are no targets"}
        if has_none:
            return None, "without targets no version is better than another without noise: sorted by robustness index"
        return None, str(error) if left_out else "there is one version alone"


def _why_not_beside(first: Score, score: Score) -> str:
    if score.kept != first.kept:
        return f"takes other rows than the first model: {other_rows(first.kept, score.kept)}"
    if (score.score, score.levels, score.draws) != (first.score, first.levels, first.draws):
        return f"is scored by {score.score}, and the first model by {first.score}, or under other noise"
    return ""


def _score(content: Mapping[str, Any]) -> Score:
    return Score(
        score=content["score"],
        levels=tuple(content["levels"]),
        scores=[float(_number(value)) for value in content["scores"]],
        conditions=Conditions(**content["conditions"]),
        kept=None if content["kept"] is None else tuple(content["kept"]),
        row_scores=np.array([[_number(value) for value in row] for row in content["row_scores"]], dtype=np.float64),
        draws=content["draws"],
        notes=(),
        noise_gain=content["noise_gain"],
    )


def _number(value: float | str | None) -> float:
    """As `jsonable` wrote it."""
    return math.nan if value is None else float(value)


def _name(version: Examined) -> dict[str, Any]:
    task = version.task
    return {"name": task.name, "version": str(task.number), "aliases": list(version.aliases), "digest": task.digest}


def _version(version: Examined) -> dict[str, Any]:
    """What of a version's own result stands in that of all."""
    found = version.content["assessment"]
    names = ("output", "reference", "rows", "trials", "area", "index", "slope", "curve", "clean_mse", "notes")
    probes = {name: version.content[name] for name in ("attack", "certificate", "advice") if name in version.content}
    return {
        **_name(version),
        "flavor": version.content["flavor"],
        **{name: found[name] for name in names},
        "no_score": version.content.get("no_score", ""),
        **probes,
    }
