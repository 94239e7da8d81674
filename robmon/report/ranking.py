"""A ranking in words: which model is best, a table, who overtakes whom, and whether the rules of advice hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from robmon.report.words import aligned, interval, listed, noise_of, number
from robmon.robustness.statistics.rank_correlation import FEWEST

if TYPE_CHECKING:
    from robmon.robustness.ranking import Crossing, Ranking

MOST_CROSSINGS = 10


def text(ranking: Ranking) -> str:
    """Which model is best in a plain sentence, a table from the best one down, and who overtakes whom."""
    better = "higher" if ranking.higher_is_better else "lower"
    head = (
        f"ranked by {ranking.score} ({better} is better); in brackets the RankDiff, places gained against clean inputs"
    )
    header, *rows = cells(ranking)
    lines = aligned([header, *(rows[index] for index in ranking.order)], names_first=True)
    lines += [f"left out: {name}: {reason}" for name, reason in ranking.left_out]
    conditions = [str(ranking.conditions)] if ranking.conditions else []
    return "\n".join([best(ranking), head, *lines, *conditions, *crossings(ranking), *rules(ranking), *ranking.notes])


def best(ranking: Ranking) -> str:
    """Which model is best without noise, and which at the highest level."""
    level, conditions = ranking.levels[-1], ranking.conditions
    at = f"level {level:g}" if conditions is None else noise_of(level, conditions.level_unit)
    first, last = (listed([ranking.names[i] for i in np.flatnonzero(r == r.min())]) for r in ranking.ranks.T[[0, -1]])
    if first == last:
        return f"Best without noise and at {at}: {first}."
    return f"Best without noise: {first}; at {at}: {last}."


def crossings(ranking: Ranking, most: int = MOST_CROSSINGS) -> list[str]:
    """Who overtakes whom, at most so many sentences of it and how many there are; also if there are none."""
    if not ranking.crossings:
        return ["No two models change places between these levels."]
    sentences = [crossing_sentence(crossing) for crossing in ranking.crossings[:most]]
    if len(ranking.crossings) > most:
        sentences.append(f"Pairs that change places: {len(ranking.crossings)} in all.")
    return sentences


def crossing_sentence(crossing: Crossing) -> str:
    """Who overtakes whom and where, whether for good, and whether beyond chance."""
    first, *more = (f"{level:.2g}" for level in crossing.levels)
    sentence = f"From level {first} upwards {crossing.behind} overtakes {crossing.ahead}"
    if more:
        again = "level" if len(more) == 1 else "levels"
        sentence += f", but not for good: they change places again at {again} {', '.join(more)}"
    return f"{sentence}; on so few rows that is within chance." if crossing.is_chance else f"{sentence}."


def rules(ranking: Ranking) -> list[str]:
    """Whether the rules of `robmon.advise` hold among these models, in a sentence; none where no gain was read."""
    if not any(gain is not None for gain in ranking.noise_gains):
        return []
    found = ranking.rules
    of = f"over {found.count} {'model' if found.count == 1 else 'models'} whose first convolution was read"
    if found.value is None or found.low is None or found.high is None:
        why = "they are too few to say" if found.count < FEWEST else "one of the two is alike for all"
        few = f", at least {FEWEST} are needed" if found.count < FEWEST else ""
        return [f"Do the rules of advice hold here? Not known: {of}, {why}{few}."]
    answer = {
        True: "Here they do: noise makes models with more gain worse faster.",
        False: "Here they do not: noise makes models with more gain worse more slowly.",
        None: "That is undecided.",
    }[found.is_positive]
    return [
        f"Do the rules of advice hold here? The rank correlation of gain and slope {of} is {found.value:.2g} "
        f"({interval(0.95, found.low, found.high, digits=2)}). {answer}"
    ]


def cells(ranking: Ranking) -> list[list[str]]:
    """A table as text: its header, and a row a model in the order given; RankDiffs are in brackets."""
    header = ["model", "clean", "rank"]
    for level in ranking.levels[1:]:
        header += [f"at {level:g}", "rank"]
    has_gains = any(gain is not None for gain in ranking.noise_gains)
    rows = [[*header, "slope", *(["noise gain"] if has_gains else [])]]
    gains = ranking.noise_gains if has_gains else (None,) * len(ranking.names)
    for name, scores, ranks, moved, slope, gain in zip(
        ranking.names, ranking.scores, ranking.ranks, ranking.rank_diff, ranking.slopes, gains, strict=True
    ):
        row = [name, f"{scores[0]:.4g}", f"{ranks[0]:g}"]
        for score, rank, diff in zip(scores[1:], ranks[1:], moved[1:], strict=True):
            row += [f"{score:.4g}", f"{rank:g} ({signed(diff)})"]
        rows.append([*row, number(slope), *([number(gain)] if has_gains else [])])
    return rows


def signed(diff: float) -> str:
    """A RankDiff as text.

    >>> signed(2.0), signed(-0.5), signed(0.0)
    ('+2', '-0.5', '0')
    """
    return f"{diff:+g}" if diff else "0"
