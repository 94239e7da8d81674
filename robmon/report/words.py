"""Numbers, levels and tables as every text here has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Final

_ACCEPTED: Final = {
    "person": "accepted by a person",
    "verdict": "accepted by the verdict",
    "first": "accepted unseen, as the first",
    "setting": "accepted because model.reference names it",
}


def aligned(lines: Iterable[Sequence[str]], *, names_first: bool = False) -> list[str]:
    """The lines of a table, each cell to the right of its column; `names_first`: the first one to the left.

    >>> aligned([["level", "ratio"], ["0.1", "2.25"]])
    ['level  ratio', '  0.1   2.25']
    """
    rows = list(lines)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first = str.ljust if names_first else str.rjust
    justified = [first, *[str.rjust] * (len(widths) - 1)]
    return [
        "  ".join(justify(cell, width) for justify, cell, width in zip(justified, row, widths, strict=True))
        for row in rows
    ]


def noise_of(level: float, unit: str) -> str:
    """A noise level in words.

    >>> noise_of(0.1, "standard deviations of each feature"), noise_of(0.1, "share of the cells"), noise_of(3, "volts")
    ('noise of 0.1 standard deviations', 'noise of 10 % of the cells', 'noise of 3 volts')
    """
    if unit.startswith("share of "):
        return f"noise of {100 * level:g} % of {unit.removeprefix('share of ')}"
    named = unit.partition(" of each ")[0]
    return f"noise of {level:g} {named.removesuffix('s') if level == 1 else named}"


def percent(share: float) -> str:
    """A share in percent, three digits; what is nearly all or nearly nothing is not said to be so.

    >>> percent(0.845), percent(1.0), percent(0.99996), percent(0.0), percent(0.00001)
    ('84.5 %', '100 %', 'over 99.9 %', '0 %', 'under 0.1 %')
    """
    if 0.999 < share < 1:
        return "over 99.9 %"
    return "under 0.1 %" if 0 < share < 0.001 else f"{100 * share:.3g} %"


def listed(words: Sequence[str]) -> str:
    """Words with commas, and before the last one `and`.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def chance(pvalue: float) -> str:
    """A p-value.

    >>> chance(0.0123), chance(1e-9)
    ('p = 0.012', 'p < 0.000001')
    """
    return f"p = {pvalue:.2g}" if pvalue >= 1e-6 else "p < 0.000001"


def interval(confidence: float, low: float, high: float, digits: int = 4) -> str:
    """A confidence interval.

    >>> interval(0.98, 1.73218, 2.2)
    '98 % interval 1.732 to 2.2'
    """
    return f"{100 * confidence:g} % interval {low:.{digits}g} to {high:.{digits}g}"


def accepted_how(by: str) -> str:
    """How a version came to be accepted, by `by` of its entry in the memory of verdicts.

    >>> accepted_how("verdict"), accepted_how("first")
    ('accepted by the verdict', 'accepted unseen, as the first')
    """
    return _ACCEPTED.get(by, f"accepted by {by}")


def found_with_power(detectable_ratio: float | None, tolerance: float = 0.0) -> str:
    """Where nothing was found, what could have been; empty where that is not known.

    >>> found_with_power(math.inf)
    'That says little: so few rows show no worsening with 90 % power, however large.'
    """
    if detectable_ratio is None:
        return ""
    if not math.isfinite(detectable_ratio):
        return "That says little: so few rows show no worsening with 90 % power, however large."
    if detectable_ratio < 1.001 * (1.0 + tolerance):
        beyond = f" by more than the tolerated {100 * tolerance:g} %" if tolerance else ""
        return (
            "Their errors are in nearly the same proportion on every row, so that almost any "
            f"worsening{beyond} is found with 90 % power."
        )
    return (
        f"That is not proof that they are equal: only errors at least {detectable_ratio:.3g} times as large are found "
        "with 90 % power."
    )


def rounded_up(value: float) -> str:
    """Three digits, rounded up, as a bound must be.

    >>> rounded_up(120.38), rounded_up(0.03951), rounded_up(3680.58), rounded_up(0.0)
    ('121', '0.0396', '3690', '0')
    """
    exact = Decimal(value)
    step = Decimal(1).scaleb(exact.adjusted() - 2)
    return f"{float((exact / step).to_integral_value(ROUND_CEILING) * step):g}"


def number(value: float | None) -> str:
    """Four digits; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"
