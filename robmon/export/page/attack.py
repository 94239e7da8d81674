"""What the last attack found, on the status page."""

from __future__ import annotations

from robmon.export.page.pieces import paragraph, table
from robmon.export.published import AttackView, Published
from robmon.history.attack import WORST, AttackFound
from robmon.report.words import percent
from robmon.wording import duration


def attack_html(published: Published, now: float) -> str:
    """A section of its own; empty where nobody asks for attacks, or none has come to something yet."""
    if published.attack_interval_seconds is None:
        return ""
    attack, refusal = published.current_attack(now), published.view.attack_refusal
    if refusal:
        return f"<h2>Under attack</h2>\n{paragraph(f'Not attacked: {refusal}.')}"
    if attack is None:
        return ""
    found = attack.found
    parts = [paragraph(_head(attack, now)), paragraph(_gradient(found), "bad" if found.masked else ""), _table(found)]
    parts += [paragraph(f"{found.cut[:1].upper()}{found.cut[1:]} (attack.max_seconds).")] if found.cut else []
    return "\n".join(["<h2>Under attack</h2>", *parts])


def _head(attack: AttackView, now: float) -> str:
    found = attack.found
    least = f" At least {percent(found.at_least[-1])} are certified to." if found.at_least else ""
    return (
        f"At most {percent(found.worst[-1])} of {found.rows} rows keep their class where {_moves(found)} by "
        f"{found.radii[-1]:g} standard deviations.{least} What no attack found may be there all the same. Attacked "
        f"{duration(round(now - attack.at))} ago, in {found.seconds:.3g} s, with {found.queries:.0f} questions a row."
    )


def _moves(found: AttackFound) -> str:
    return "each number of an input may move" if found.norm == "inf" else "all numbers of an input together may move"


def _gradient(found: AttackFound) -> str:
    if found.masked:
        return "The gradient hides how fragile the model is: only attacks without it count."
    if found.gradient == "none":
        return "The model was asked for its answers alone: it has no gradient that can be had."
    return "The gradient can be believed."


def _table(found: AttackFound) -> str:
    """A line a radius, the worst first."""
    names = [WORST, *(name for name in found.agreement if name != WORST)]
    least = found.at_least
    head = ["radius", *(["at least, certified"] if least else []), "withstand at most"]
    rows = [
        [
            f"{radius:g}",
            *([percent(least[place])] if least else []),
            *(percent(found.agreement[name][place]) for name in names),
        ]
        for place, radius in enumerate(found.radii)
    ]
    head += [f"by {name}" for name in names[1:]]
    return table(head, rows)
