"""What attacks found, in words: a plain sentence, a table, and what there is to say of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from robmon.report.words import aligned, listed, number, percent

if TYPE_CHECKING:
    from robmon.robustness.probes.attack.result import Attack

HIDES: Final = "The gradient hides how fragile the model is: only attacks without it count here."


def text(attack: Attack) -> str:
    """The sentence, the table over radii, how near witnesses are, and notes."""
    lines = [opening(attack), *filter(None, [attack.cut])]
    columns = {"radius": attack.radii, "agreement at most": attack.agreement, **attack.by_attack}
    columns |= {} if attack.accuracy is None else {"accuracy at most": attack.accuracy}
    rows = zip(*columns.values(), strict=True)
    lines += aligned([list(columns), *([number(each) for each in row] for row in rows)])
    lines.append(distances(attack))
    if attack.masked:
        lines.append(HIDES)
    return "\n".join([*lines, *attack.notes])


def opening(attack: Attack) -> str:
    """What was found, in one sentence."""
    return (
        f"At most {percent(float(attack.agreement[-1]))} of {attack.rows} rows keep their class where {moves(attack)} "
        f"by {attack.radii[-1]:g}."
    )


def moves(attack: Attack) -> str:
    """What moves, as radii count it."""
    return "each cell may move" if attack.norm == "inf" else "a row may move in all"


def distances(attack: Attack) -> str:
    """How near witnesses are."""
    found = {share: distance for share, distance in attack.distance_quantiles.items() if math.isfinite(distance)}
    if not found:
        return "Nearest witnesses: none for a tenth of the rows."
    told = [f"of {100 * share:g} % of the rows within {distance:.3g}" for share, distance in found.items()]
    return f"Nearest witnesses, in {attack.unit or 'units of the scale'}: {listed(told)}."
