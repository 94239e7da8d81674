"""The status page as text: well formed, with commands that work, and what it says in each state."""

from __future__ import annotations

import html
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest

from robmon.cli.main import main
from robmon.export.page.document import style
from robmon.export.page.pieces import number
from robmon.export.published import Measurement
from robmon.export.recent import DAY_SECONDS, MOST_EVENTS, MOST_POINTS, Recent
from robmon.export.status import status_page
from robmon.history.events import Event
from robmon.history.reading import HistoryReader
from robmon.history.store import History
from robmon.processes.messages.curve import LabelResult, LimitCrossing
from tests.export.page_states import NOW, STATES, assessed, drift, published, regressed
from tests.export.published import change

VOID = {"meta", "link", "br"}


class Checker(HTMLParser):
    """Says what is not closed, or closed twice; ids that are there twice; attributes that a strict policy refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "style" or name.startswith("on"):
                self.faults.append(f"{tag} has {name}")
            if name == "id":
                if value in self.ids:
                    self.faults.append(f"{value} is there twice")
                self.ids.add(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another")


@pytest.mark.parametrize("name", STATES)
def test_the_page_is_well_formed(name: str) -> None:
    page = status_page(STATES[name](), NOW)
    checker = Checker()
    checker.feed(page)
    assert (checker.faults, checker.open) == ([], [])
    assert page.count('name="viewport"') == 1 and "<script" not in page and "http://www.w3.org" not in page
    assert all(f'aria-labelledby="{each}"' in page for each in checker.ids)


def commands(page: str) -> list[str]:
    return [html.unescape(each) for each in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)]


@pytest.mark.parametrize("model_name", ["pump-failure", "a b'; rm -rf $HOME #"])
def test_commands_are_ones_that_robmon_knows_whatever_the_model_s_name(model_name: str) -> None:
    found = []
    for make in STATES.values():
        shown = make()
        if shown.model_name != "pump-failure":
            continue
        shown.model_name = model_name
        found += commands(status_page(shown, NOW))
    assert {shlex.split(each)[1] for each in found} == {"incident", "rollback", "baseline", "history", "report"}
    for each in found:
        words = shlex.split(each)
        program = click.Context(main, **main.context_settings)  # a command keeps the names of --help that it sees first
        command = main.get_command(program, words[1])
        assert words[0] == "robmon" and command is not None
        command.make_parser(click.Context(command, parent=program)).parse_args(words[2:])  # no option that is not there
        named = f"{model_name}@champion" if words[1] == "rollback" else f"models:/{model_name}/2"
        assert words[1] in ("incident", "history", "report") or named in words or any("infer" in word for word in words)


def test_what_to_do_depends_on_what_is_known() -> None:
    assert commands(status_page(published(), NOW))[0].startswith(
        "robmon baseline --model models:/pump-failure/2 --without"
    )
    shown = commands(status_page(regressed(), NOW))
    assert shown[:3] == [
        "robmon incident -o /tmp/incident.tar.gz",
        "robmon rollback pump-failure@champion --to 1 --yes",
        "robmon baseline --model models:/pump-failure/2 --accept",
    ]
    pinned = status_page(regressed(alias=None), NOW)
    assert "Roll back: serve version 1 again." in pinned and "rollback" not in "".join(commands(pinned))
    prefixed = regressed(command_prefix="ROBMON_DATA_DIR=/data ")
    assert all(each.startswith("ROBMON_DATA_DIR=/data robmon ") for each in commands(status_page(prefixed, NOW)))


@pytest.mark.parametrize("name", ["good", "cannot-compare", "over-time", "regressed"])
def test_on_inputs_that_are_no_longer_those_of_the_baseline_it_says_what_to_look_at_before_what_to_accept(
    name: str,
) -> None:
    told = "The inputs are no longer those of the baseline: 20 of 24 watched features have drifted."

    def page(drifted: int, distance: float) -> str:
        shown = STATES[name]()
        result = assessed(8.0, drifted_features=drifted, input_drift=drift(distance))
        change(shown, measurement=Measurement("2", result, NOW - 12, 0.4))
        return status_page(shown, NOW)

    shown = page(20, 0.6)
    assert shown.index("What to do now") < shown.index(told) < shown.index("Drift of the inputs")
    if name in ("cannot-compare", "over-time"):
        assert shown.index(told) < shown.index("--accept")
    assert "no longer those" not in page(11, 0.6) + page(20, 0.15), "few features, or all by little"


def test_the_numbers_that_matter_are_said_in_words() -> None:
    page = status_page(regressed(), NOW)
    assert "95 % of predictions move by less than 4.62</dd>" in page
    assert "under your limit, 1.2, up to level 0.1" in page
    assert "The dotted line is your limit, 1.2." in page and '<line class="limit"' in page
    assert "On these rows errors 1.24 times as large are found with 90 % power." in page
    assert "since 2026-11-26 18:31:40 UTC" in page
    assert "your limit" not in status_page(regressed(mse_limit=None), NOW)


def test_where_limits_are_crossed_is_said_with_an_interval() -> None:
    result = assessed(34.1, noise_margin=0.1)
    told: dict[str, Any] = {"limit": 0.9, "level": 0.21, "low": 0.18, "high": None}
    crossings = [
        LimitCrossing(score="mse", text="0.21 (95 % interval 0.18 to beyond 0.4)", **told),
        LimitCrossing(score="agreement", text="beyond 0.4, the highest level assessed, with 95 % confidence", **told),
    ]
    levels = [point.model_copy(update={"agreement": 0.97}) for point in result.levels]
    labels = LabelResult(
        rows=64,
        trials=19,
        levels=levels,
        area=None,
        index=None,
        clean_mse=None,
        accuracy_slope=None,
        crossings=[LimitCrossing(score="accuracy", text="0.3 (95 % interval 0.2 to 0.35)", **told)],
    )
    shown = result.model_copy(update={"levels": levels, "crossings": crossings, "labels": labels})
    page = status_page(regressed(measurement=Measurement("2", shown, NOW, 0.4)), NOW)
    falls = "falls below your limit, 90 %, at level"
    assert "up to level 0.1; the mean reaches it at level 0.21 (95 % interval 0.18 to beyond 0.4)</dd>" in page
    assert f"what they are; the share {falls} beyond 0.4, the highest level assessed, with 95 % confidence</dd>" in page
    assert f"; the share of right classes {falls} 0.3 (95 % interval 0.2 to 0.35)." in page


def test_an_alarm_over_time_comes_first_and_nothing_is_green() -> None:
    page = status_page(STATES["over-time"](), NOW)
    first = re.search(r'<p class="(\w+)">(.*?)</p>', page)
    assert first is not None and first[1] == "bad" and first[2].startswith("Worse than its baseline")
    assert 'class="good"' not in page and "No regression" not in page and "%23c8102e" in page


def test_the_page_is_loaded_again_when_there_is_something_new_unless_it_is_held_still() -> None:
    shown = published()
    assert '<meta http-equiv="refresh" content="60">' in status_page(shown, NOW)
    still = status_page(shown, NOW, refreshes=False)
    assert "http-equiv" not in still and 'href="?"' in still
    change(shown, last_assessment_at=0.0)
    assert 'content="15"' in status_page(shown, NOW)


def test_a_day_has_bounded_room_and_hides_no_spike() -> None:
    day = Recent()
    for second in range(0, 2 * 86_400, 20):
        mse = 9.0 if second == 86_400 + 40_000 else 1.0
        day.add_assessment(
            {"at": float(second), "version": "1", "levels": [{"level": 0.4, "mse": mse, "bound": "+Inf"}]}
        )
    assert MOST_POINTS / 2 < len(day.points) <= MOST_POINTS and max(point.mse for point in day.points) == 9.0
    assert day.points[-1].at - day.points[0].at == pytest.approx(DAY_SECONDS, rel=0.01)
    day.add_events({"at": float(index), "kind": "stopped"} for index in range(10 * MOST_EVENTS))
    day.add_events([{"at": 1e6, "kind": "traffic"}])
    assert len(day.events) == MOST_EVENTS and day.events[0].at == 10 * MOST_EVENTS - 1
    few = Recent()
    for second in (0.0, 20.0):
        few.add_assessment({"at": second, "version": str(second), "levels": [{"level": 0.4, "mse": 1.0, "bound": 2.0}]})
    assert len(few.points) == 2, "of a daemon that runs for a minute nothing is left out"
    again = Recent()
    again.merge(few)
    again.merge(few)
    assert again.points == few.points


def test_the_last_day_is_read_from_the_history_when_a_daemon_starts_again(tmp_path: Path) -> None:
    history, now = History(tmp_path, "digits"), 1_795_721_500.0
    for place, hours in enumerate((30, 20, 1)):
        row = {"at": now - 3600 * hours, "number": place, "version": "2", "levels": [{"level": 0.4, "mse": "+Inf"}]}
        history.past.add(row)
    history.past.add_events([Event(now - 60, "version_loaded", {"version": "2", "flavor": "pytorch", "device": "cpu"})])
    recent = Recent.of(HistoryReader(tmp_path, "digits"), now - DAY_SECONDS)
    assert [point.at for point in recent.points] == [now - 72_000, now - 3600]
    assert [event.text for event in recent.events] == ["version 2 is assessed (pytorch on cpu)"]
    page = status_page(published(recent=recent), NOW)
    assert "In 2 of them an output was not finite: a gap." in page


def test_missing_assessments_are_a_gap_and_versions_are_marked() -> None:
    day = Recent()
    for minute in (*range(0, 60, 5), *range(300, 400, 5)):
        version = "1" if minute < 350 else "2"
        row = {"at": NOW + 60 * minute, "version": version, "levels": [{"level": 0.4, "mse": 1.0, "bound": 2.0}]}
        day.add_assessment(row)
    page = status_page(published(recent=day), NOW)
    figure = page[page.index("Noise error at level 0.4") :].partition("</figure>")[0]
    assert figure.count('<polyline class="new" points="') == 2 * 2 + 1, "two pieces in both drawings, and the legend"
    assert figure.count(">v2</text>") == 2


def test_the_reference_is_drawn_in_the_units_of_the_verdict() -> None:
    shown = regressed()
    state = shown.view.state
    assert state.verdict is not None
    page = status_page(shown, NOW)
    assert "Version 2 beside version 1, on the rows of the verdict" in page
    change(shown, state=replace(state, verdict=state.verdict.model_copy(update={"curves": None})))
    assert "beside version 1" not in status_page(shown, NOW), "a verdict that was remembered without"


@pytest.mark.parametrize("block", ["light", "dark"])
def test_text_can_be_read(block: str) -> None:
    """Contrasts by WCAG 2.1, 4.5 to 1 for text."""
    places = re.findall(r":root \{(.*?)\}", style(), re.DOTALL)
    colors = dict(re.findall(r"--([\w-]+): (#\w{6})", places[block == "dark"]))
    for text in ("text", "quiet", "old", "bad", "good"):
        for behind in ("page", "card"):
            assert contrast(colors[text], colors[behind]) >= 4.5, (text, behind)
    assert contrast(colors["text"], colors["bad-page"]) >= 4.5 and contrast(colors["text"], colors["good-page"]) >= 4.5


def contrast(one: str, other: str) -> float:
    def luminance(color: str) -> float:
        parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_numbers_are_written_so_that_they_can_be_compared() -> None:
    assert [number(each) for each in (0.001147, 6.272e-05, None, -2.5)] == ["0.00115", "0.0000627", "", "-2.5"]


def test_further_noises_have_their_tables_and_say_why_they_were_not_run() -> None:
    text = status_page(STATES["further"](), NOW)
    shown = text[text.index("<h2>Further noises</h2>") :]
    assert "jpeg, 0 s ago: 256 rows, 1 trial, for nothing in it is random" in shown
    assert "levels count steps of quality below 100" in shown
    assert "64 of 256 rows fit into the time" in shown.replace("\n", " ")
    assert "uniform was not run (over_budget): an assessment needs 14 s, the budget is 9 s." in shown
    assert "as &lt;pictures&gt;" in shown
    later = status_page(STATES["further"](), NOW + 3 * 3 * 60 + 1)
    assert "jpeg, " not in later, "each comes round every third assessment"
    assert "jpeg, " in status_page(STATES["further"](), NOW + 3 * 3 * 60 - 1)
    assert "Further noises" not in status_page(published(), NOW)
