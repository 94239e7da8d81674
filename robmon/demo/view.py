"""What the viewer sees: a live picture on a terminal, one line a change anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from robmon.demo.scrape import HEADLINE_LEVEL, Disturbances, Scrape, Watch
from robmon.demo.traffic import Traffic
from robmon.report.progress import tell_regularly

TITLE = "robmon demo: a fragile release is caught"


@dataclass
class Step:
    """One step of the story: when it began, how long it took, and what came of it."""

    title: str
    started: float
    seconds: float | None = None
    note: str = ""


@dataclass
class View:
    """Shows steps and numbers on a console; use it as a context manager, more than once if need be."""

    console: Console
    watch: Watch
    traffic: Traffic | None = None
    _started: float = field(default_factory=time.monotonic)
    _steps: list[Step] = field(default_factory=list)
    _live: Live | None = None
    _last_line: str = ""

    def __enter__(self) -> View:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, get_renderable=self._render)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        self._steps.clear()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show a step while the block runs; set the step's `note` in it."""
        step = Step(title, time.monotonic())
        self._steps.append(step)
        self._changed(f"{title} ...")
        with (
            nullcontext()
            if self._live is not None
            else tell_regularly(lambda seconds: self._changed(f"{title}: {seconds:.0f} s so far"))
        ):
            yield step
        step.seconds = time.monotonic() - step.started
        self._changed(f"{title}: {step.note or 'done'} ({step.seconds:.1f} s)")

    def refresh(self) -> None:
        """Show the latest numbers, and let the clocks go on."""
        line = _line(self.watch.now) if self.watch.now is not None else ""
        self._changed(line if line != self._last_line else "")
        self._last_line = line

    def _changed(self, line: str) -> None:
        if self._live is not None:
            self._live.refresh()
        elif line:
            self.console.print(f"[{time.monotonic() - self._started:5.1f} s] {line}", markup=False, soft_wrap=True)

    # --- the live picture --------------------------------------------------------------------------------------------

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [self._story()]
        if self.watch.now is not None:
            parts += [Text(), self._numbers(self.watch.now)]
        seconds = f"{time.monotonic() - self._started:.0f} s"
        return Panel(Group(*parts), title=TITLE, title_align="left", subtitle=seconds, subtitle_align="right")

    def _story(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for step in self._steps:
            is_done = step.seconds is not None
            seconds = step.seconds if step.seconds is not None else time.monotonic() - step.started
            mark = Text("✓", "green") if is_done else Text("●", "yellow")
            table.add_row(mark, Text(f"{seconds:5.1f} s", "dim"), Text(step.title), Text(step.note, "cyan"))
        return table

    def _numbers(self, now: Scrape) -> Table:
        versions = self.watch.measured
        table = Table("", *(f"version {version}" for version in versions), box=None, pad_edge=False)
        for name, values in _rows(list(versions.values())):
            table.add_row(name, *values)
        for name, values in _rows_of_further([self.watch.further.get(version, {}) for version in versions]):
            table.add_row(name, *values)
        state = Table.grid(padding=(0, 2))
        if self.traffic is not None:
            state.add_row("model server answered", f"{self.traffic.answered} requests")
        state.add_row("robmon received", f"{now.received} copies")
        state.add_row("robmon's worker", _worker(now))
        state.add_row("regression", Text("YES", "bold red") if now.has_regressed else Text("none", "green"))
        both = Table.grid(padding=(0, 4))
        both.add_row(state, table)
        return both


def _rows(scrapes: list[Scrape]) -> Iterator[tuple[str, list[str]]]:
    at = f"at noise {HEADLINE_LEVEL}"
    yield f"error bound {at} (95 %)", [_number(s.at_level("robmon_noise_mse_bound")) for s in scrapes]
    yield f"unchanged answers {at}", [_percent(s.at_level("robmon_prediction_agreement_ratio")) for s in scrapes]
    yield "robustness index (1 is best)", [_number(s.index) for s in scrapes]
    yield "input drift (mean PSI; 0 is none)", [_number(s.drift, "learning the baseline") for s in scrapes]


def _rows_of_further(versions: list[Disturbances]) -> Iterator[tuple[str, list[str]]]:
    for noise, level in dict.fromkeys(key for version in versions for key in version):
        found = [version.get((noise, level)) for version in versions]
        values = [_percent(None if each is None else each.agreement) for each in found]
        yield f"unchanged answers under {noise} {level:g}", values


def _line(now: Scrape) -> str:
    """The numbers in one line that changes only when an assessment, a version or a verdict comes."""
    if now.version is None:
        return ""
    if not now.is_measured:
        return f"version {now.version} loaded in robmon's worker, no measurement yet"
    return (
        f"version {now.version}: bound {_number(now.at_level('robmon_noise_mse_bound'))}, "
        f"agreement {_percent(now.at_level('robmon_prediction_agreement_ratio'))} at noise {HEADLINE_LEVEL}, "
        f"index {_number(now.index)}, drift {_number(now.drift, 'unknown yet')}, "
        f"regression {'YES' if now.has_regressed else 'none'}"
        + "".join(
            f", under {noise} {level:g} {_percent(each.agreement)}" for (noise, level), each in now.further.items()
        )
    )


def _worker(now: Scrape) -> str:
    if not now.worker_memory_mib:
        return "starting"
    told = f"version {now.version} loaded" if now.version is not None else "loading the model"
    restarts = f", {now.worker_restarts} restarts" if now.worker_restarts else ""
    return f"{told}, {now.worker_memory_mib:.0f} MiB{restarts}"


def _number(value: float | None, absent: str = "-") -> str:
    return absent if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
