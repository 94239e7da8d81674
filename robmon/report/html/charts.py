"""Pictures of a report as SVG that takes the colours of the page, so that it is right in light and dark.

Each is drawn twice, wide and narrow, of which the page shows one: text that is scaled down cannot be read on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

Sizes = Mapping[str, tuple[int, int]]
SIZES: Final[Sizes] = {"wide": (760, 260), "narrow": (336, 240)}
MARGINS: Final = (14, 12, 34, 56)
"""Top, right, bottom, left."""
CHARACTER: Final = 6.6
"""Width of a digit."""
MOST_POINTS: Final = 300
_STEPS_SECONDS: Final = (60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000)


@dataclass(frozen=True)
class Line:
    """One series: its class in the style sheet, and points, of which `None` in the second place makes a gap."""

    style: str
    points: Sequence[tuple[float, float | None]]
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A moment, or another place on the horizontal axis: its class and its number in the list below."""

    at: float
    style: str
    text: str


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    Attributes:
        title: what a person who does not see it is told.
        lines: in the order in which they are drawn.
        bars: from, to and height of each.
        marks: vertical lines.
        limit: a horizontal line.
        is_time: the horizontal axis is Unix time.
        is_log: the vertical axis is that of log10(1 + y).
    """

    title: str
    lines: Sequence[Line] = ()
    bars: Sequence[tuple[float, float, float]] = ()
    marks: Sequence[Mark] = ()
    limit: float | None = None
    is_time: bool = True
    is_log: bool = False
    span: tuple[float, float] | None = None

    def svg(self, name: str, sizes: Sizes = SIZES) -> str:
        """Both drawings; `name` tells their titles from others on the page, `sizes` are width and height of each."""
        return "".join(_drawing(self, name, size, sizes[size]) for size in sizes)


def thinned(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Of many points the largest of each of some hundred intervals, so that no spike is hidden; gaps stay."""
    if len(points) <= MOST_POINTS:
        return list(points)
    size = -(-len(points) // MOST_POINTS)
    groups = (points[index : index + size] for index in range(0, len(points), size))
    return [max(group, key=lambda point: (point[1] is not None, point[1] or 0.0)) for group in groups]


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two, at most so many.

    >>> nice_ticks(0.0, 0.93, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power * each for each in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [round(index * step, 12) for index in range(first, last + 1)]


def _drawing(chart: Chart, name: str, size: str, extent: tuple[int, int]) -> str:
    width, height = extent
    top, right, bottom, left = MARGINS
    x_low, x_high = chart.span or _span([x for line in chart.lines for x, _ in line.points])
    y_high = _highest(chart)
    scaled: Callable[[float], float] = (lambda y: math.log10(1 + max(y, 0.0))) if chart.is_log else (lambda y: y)
    y_top = scaled(y_high) * (1.0 if chart.is_log else 1.06) or 1.0

    def x_of(x: float) -> float:
        return left + (width - left - right) * (x - x_low) / (x_high - x_low)

    def y_of(y: float) -> float:
        return height - bottom - (height - top - bottom) * min(scaled(y) / y_top, 1.0)

    parts = _vertical_axis(chart, y_high, y_of, left, width - right)
    parts += _horizontal_axis(chart, x_low, x_high, x_of, extent)
    for begin, end, value in chart.bars:
        x, y = x_of(begin), y_of(value)
        box = f'width="{max(x_of(end) - x - 1, 1):.1f}" height="{height - bottom - y:.1f}"'
        parts.append(f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" {box}/>')
    if chart.limit is not None:
        y = y_of(chart.limit)
        parts.append(f'<line class="limit" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for line in chart.lines:
        parts += _line(line, x_of, y_of)
    parts += _marks(chart.marks, x_of, top, height - bottom)
    title = f"{name}-{size}"
    return (
        f'<svg class="{size}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{title}">'
        f'<title id="{title}">{escape(chart.title)}</title>{"".join(parts)}</svg>'
    )


def _highest(chart: Chart) -> float:
    values = [y for line in chart.lines for _, y in line.points if y is not None and math.isfinite(y)]
    values += [value for _, _, value in chart.bars]
    highest = max(values, default=0.0)
    return max(highest, chart.limit or 0.0) or 1.0


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 1.0, low + 1.0)


def _vertical_axis(chart: Chart, highest: float, y_of: Callable[[float], float], left: int, end: int) -> list[str]:
    if chart.is_log:
        powers = range(math.ceil(math.log10(1 + highest)) + 1)
        every = -(-len(powers) // 6)
        ticks = [0.0, *(10.0**power for power in powers[::every] if power and 10.0**power <= highest * 1.0001)]
    else:
        ticks = nice_ticks(0.0, highest * 1.06, 5)
    parts = []
    for tick in ticks:
        y = y_of(tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="{left - 6}" y="{y + 4:.1f}">{shown(tick)}</text>')
    return parts


def _horizontal_axis(
    chart: Chart, low: float, high: float, x_of: Callable[[float], float], extent: tuple[int, int]
) -> list[str]:
    width, height = extent
    most = max(width // 105, 3)
    ticks = _time_ticks(low, high, most) if chart.is_time else [(x, shown(x)) for x in nice_ticks(low, high, most)]
    bottom = height - MARGINS[2]
    parts = []
    for tick, text in ticks:
        half = CHARACTER * len(text) / 2
        x = min(max(x_of(tick), half), width - half)
        parts.append(
            f'<line class="grid" x1="{x_of(tick):.1f}" x2="{x_of(tick):.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
        )
        parts.append(f'<text class="tick middle" x="{x:.1f}" y="{bottom + 19}">{escape(text)}</text>')
    return parts


def _time_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    step = next((each for each in _STEPS_SECONDS if (high - low) / each <= most), _STEPS_SECONDS[-1])
    ticks = range(math.ceil(low / step) * step, math.floor(high) + 1, step)
    pattern = "%m-%d" if step >= 86_400 else "%H:%M" if high - low <= 86_400 else "%m-%d %H:%M"
    return [(float(tick), f"{datetime.fromtimestamp(tick, UTC):{pattern}}") for tick in ticks]


def _line(line: Line, x_of: Callable[[float], float], y_of: Callable[[float], float]) -> Iterable[str]:
    for piece in _pieces(line.points):
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in piece)
        yield f'<polyline class="{line.style}" points="{path}"/>'
        if line.dots or len(piece) == 1:
            yield from (f'<circle class="{line.style}" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3"/>' for x, y in piece)


def _pieces(points: Iterable[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """What is drawn without a break."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None or not math.isfinite(y):
            pieces.append([])
        else:
            pieces[-1].append((x, y))
    return [piece for piece in pieces if piece]


def _marks(marks: Sequence[Mark], x_of: Callable[[float], float], top: int, bottom: int) -> list[str]:
    """A line each, with its number; those whose numbers would lie over one another have the first and the last."""
    parts = []
    groups: list[list[Mark]] = []
    for mark in sorted(marks, key=lambda each: each.at):
        x = x_of(mark.at)
        parts.append(f'<line class="mark {mark.style}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        if groups and x - x_of(groups[-1][0].at) < 4 * CHARACTER:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    for group in groups:
        x = sum(x_of(mark.at) for mark in group) / len(group)
        text = group[0].text if len(group) == 1 else f"{group[0].text}\N{EN DASH}{group[-1].text}"
        style = max(mark.style for mark in group)
        parts.append(f'<text class="tick middle {style}" x="{x:.1f}" y="{top - 3}">{escape(text)}</text>')
    return parts


def shown(value: float) -> str:
    """A number on an axis.

    >>> shown(0.2), shown(43200.0), shown(1e12), shown(25_000.0)
    ('0.2', '43,200', '1e12', '25,000')
    """
    if abs(value) >= 1e6:
        return f"{value:.3g}".replace("e+", "e")
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
