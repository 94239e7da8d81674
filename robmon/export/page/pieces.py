"""What every part of the page is made of: numbers as people read them, tables, bars, commands."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal

BAR_WIDTH = 100
SHORT_CHARACTERS = 12
_NONE = ' class="none"'
"""Of an empty cell, which a card leaves out."""


def number(value: float | None) -> str:
    """Three digits, without an exponent as long as that can be read; empty where there is none.

    >>> number(0.0012345), number(0.00006272), number(1234567.0), number(3e-9), number(float("inf")), number(0.0)
    ('0.00123', '0.0000627', '1,234,567', '3e-09', 'infinite', '0')
    """
    if value is None:
        return ""
    if math.isinf(value):
        return "infinite"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"
    rounded = f"{value:.3g}"
    return f"{Decimal(rounded):f}" if "e" in rounded and abs(value) >= 1e-6 else rounded


def short(name: str) -> str:
    """A name where there is little room.

    >>> short("12"), short("a" * 40)
    ('12', 'aaaaaaaaaaa…')
    """
    return name if len(name) <= SHORT_CHARACTERS else f"{name[: SHORT_CHARACTERS - 1]}…"


def paragraph(text: str, style: str = "") -> str:
    """Text as a paragraph."""
    css = f' class="{style}"' if style else ""
    return f"<p{css}>{html.escape(text)}</p>"


def command(text: str) -> str:
    """What is typed into a shell, in one line that can be selected by a click."""
    return f"<pre><code>{html.escape(text)}</code></pre>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table of numbers; on a narrow screen each row is a card.

    Args:
        head: text of the columns.
        rows: text of the cells, of which the first names its row.
        caption: text above it.
    """
    return _table(head, (_row(row[0], "", head, row[1:]) for row in rows), caption)


def bar(share: float, style: str = "") -> str:
    """A bar for a share of 1."""
    width = BAR_WIDTH * min(max(share, 0.0), 1.0)
    css = f' class="{style}"' if style else ""
    return (
        f'<svg class="share" viewBox="0 0 {BAR_WIDTH} 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect{css} width="{width:.1f}" height="8"/></svg>'
    )


def bars(head: Sequence[str], rows: Iterable[tuple[str, float, Sequence[str]]], caption: str) -> str:
    """A table with a bar a row.

    Args:
        head: text of the columns, without that of the bars.
        rows: name, share of 1, and text of further cells.
        caption: text above it.
    """
    lines = [_row(name, f'<td class="bar" data-label="">{bar(share)}</td>', head, cells) for name, share, cells in rows]
    return _table([head[0], "", *head[1:]], lines, caption)


def _table(head: Sequence[str], lines: Iterable[str], caption: str) -> str:
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    told = f"<caption>{html.escape(caption)}</caption>\n" if caption else ""
    body = "\n".join(lines)
    whole = f"{told}<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="scroll"><table class="cards numbers">\n{whole}</table></div>'


def _row(name: str, before: str, head: Sequence[str], cells: Sequence[str]) -> str:
    first, *others = head
    told = "".join(
        f'<td{"" if cell else _NONE} data-label="{html.escape(label)}">{html.escape(cell)}</td>'
        for label, cell in zip(others, cells, strict=True)
    )
    return f'<tr><th scope="row" data-label="{html.escape(first)}">{html.escape(name)}</th>{before}{told}</tr>'
