"""The report of a period: what it says, that it says it the same twice, and how a browser shows it without network."""

from __future__ import annotations

import json
import re
import shlex
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from robmon.cli.main import main
from robmon.history.events import Event
from robmon.history.reading import HistoryReader
from robmon.history.state.records import Bounds
from robmon.history.store import History
from robmon.history.thinning import worst_of
from robmon.report.event_sentences import badness
from robmon.report.html.charts import Chart, Line, nice_ticks, thinned
from robmon.report.html.page import report_page
from robmon.report.html.period import Period
from robmon.report.html.story import story
from tests.browser import dom
from tests.history.example import BACK, BEGIN, MINUTES, SPECIFICATION, WORSE, example

MARKUP = "<script>document.title='owned'</script>"


def written(data_dir: Path, output: Path, *words: str) -> str:
    done = CliRunner().invoke(main, ["report", "--data-dir", str(data_dir), "-o", str(output), *words])
    assert (done.exit_code, done.stdout) == (0, f"written: {output}\n"), done.stderr
    return output.read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What a person reads, on one line."""
    body = re.sub(r"<style>.*?</style>|<title.*?</title>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", body)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    example(folder)
    return written(folder, folder / "report.html")


def test_it_says_what_happened_in_one_paragraph(page: str) -> None:
    told = text_of(page)
    assert (
        "Version 2 has become worse than its own baseline: the regression has stood since 2026-11-26 17:05. The "
        "evidence is 1e12, and its threshold 43,200: without a change it is passed once in 43,200 assessments (30 "
        "days) on average, or less often. It comes from the traffic, and sensor_7 carries most of it. "
        "In the hour before, no version, setting or robmon is known to have changed; the last change, 2 hours 32 "
        "minutes before: version 2 is assessed (torch on cpu), in the place of version 1."
    ) in told
    assert "1 of 20 watched features has drifted; most sensor_7 (Jensen-Shannon distance 0.61, PSI 2.7)." in told
    assert "robmon made 60 assessments of version 1 and 300 of version 2." in told
    assert re.search(r"At noise of 0.4 standard deviations the noise error was 2\.\d+ times its baseline's when", told)


def test_it_has_curves_drift_events_and_the_command(page: str) -> None:
    told = text_of(page)
    for each in ("mean of the baseline", "version 1, by the verdict", "its trial bound",
                 "256 rows, at 2026-11-26 19:32", "sensor_7 61 % 2 % 93 % 3 %", "sensor_7: out of range in 41 %",
                 "alias champion moved from version 1 to version 2",
                 "settings changed: assess.max_seconds from 10 to 20",
                 "version 2 held against version 1: ratio 1.06 (98 % interval 0.98 to 1.15)"):  # fmt: skip
        assert each in told, each
    assert told.count("requests, 15000 sampled") == 0, "no hour's traffic is twice that of the hour before"
    command = shlex.split(unescape(re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)[0]))
    assert command[:4] == ["robmon", "assess", "--model", "models:/digits/2"]
    given = dict(zip(command[2::2], command[3::2], strict=True))
    seed = int(given["--seed"])
    assert WORSE <= seed - 7_000_000_000_000_000_001 < MINUTES, "all its digits"
    assert given["--levels"] == "0 0.05 0.1 0.2 0.4" and given["--trials"] == "39" and given["--task"] == "regression"
    assert len(page) < 100_000 and page.count("<polyline") < 60


def test_the_command_is_one_of_robmons(page: str) -> None:
    command = shlex.split(unescape(re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)[0]))
    done = CliRunner().invoke(main, command[1:])
    assert done.exit_code == 2 and "ROWS.jsonl" in done.stderr, done.stderr


def test_two_runs_on_one_history_are_the_same_bytes(page: str, tmp_path: Path) -> None:
    example(tmp_path)
    assert written(tmp_path, tmp_path / "again.html") == page
    assert written(tmp_path, tmp_path / "short.html", "--since", "30m") != page


def test_it_asks_for_nothing(page: str) -> None:
    assert not re.search(r"https?:|//[a-z]|\bsrc=|@import|url\(|<link|<script|\bon[a-z]+=", page)


def test_every_text_of_others_is_text(tmp_path: Path) -> None:
    """Names of models, features and versions, reasons, settings; also from a file that somebody has written."""
    history = History(tmp_path, MARKUP, Bounds(max_days=36_500))
    row = {
        "at": BEGIN, "number": 1, "version": MARKUP, "seed": MARKUP, "noise": MARKUP, "level_unit": MARKUP,
        "draws": MARKUP,
        "levels": [{"level": 0.1, "mse": MARKUP, "bound": "+Inf", "ratio": 2.0}], "features_watched": 1,
        "drift": [{"feature": MARKUP, "psi": 1.0, MARKUP: 2.0}],
        "attribution": {"of": "sample", "groups": [{"group": MARKUP, "share": 0.5}]},
        "quality": [{"feature": MARKUP, "problem": MARKUP, "ratio": 0.5}],
    }  # fmt: skip
    history.past.add(row, {**SPECIFICATION, "assess": {"noise": MARKUP, "integers": [MARKUP], "output_column": MARKUP}})
    facts: dict[str, Any] = dict.fromkeys(
        ("version", "run_id", "before", "flavor", "device", "by", "against", "source", "reason", "outcome", "why",
         "alias", "now", "robmon", "python", "image", "set_aside", "regression", "rows", "evidence", "ratio", "low",
         "high"),
        MARKUP,
    )  # fmt: skip
    kinds = ("started", "version_loaded", "baseline", "version_accepted", "verdict", "regression_began", "alias_moved",
             "assessments_missing", "worker_restarted", "state_damaged", "robmon_changed", "stopped")  # fmt: skip
    events = [Event(BEGIN + index, kind, facts) for index, kind in enumerate(kinds)]  # type: ignore[arg-type]
    events.append(Event(BEGIN + 50, "settings_changed", {"settings": {MARKUP: [MARKUP, MARKUP]}}))
    events.append(Event(BEGIN + 51, "canary_changed", {"version": MARKUP, "notes": [MARKUP]}))
    cause = {"regression": MARKUP, "version": MARKUP, "cause": MARKUP, "group": MARKUP}
    events.append(Event(BEGIN + 51.5, "cause_named", cause))
    events.append(Event(BEGIN + 52, MARKUP, {MARKUP: MARKUP}))  # type: ignore[arg-type]
    history.past.add_events(events)
    page = written(tmp_path, tmp_path / "report.html")
    assert "<script" not in page and page.count("&lt;script&gt;") > 30
    assert page.count("<main>") == 1 and "owned" not in re.sub(r"&lt;script&gt;.*?&lt;/script&gt;", "", page)


def test_a_history_of_before_and_an_empty_one(tmp_path: Path) -> None:
    """Rows that know thirteen numbers of the worst level only, and none at all."""
    history = History(tmp_path, "m", Bounds(max_days=36_500))
    history.past.add_events([Event(BEGIN, "started", {"robmon": "1", "python": "3"})])
    assert "Nothing was assessed in this period." in text_of(written(tmp_path, tmp_path / "empty.html"))
    for number in range(3):
        row = {"at": BEGIN + number, "version": "1", "number": number, "seed": number, "rows": 64, "trials": 39}
        history.past.add(row | {"noise_level": 0.4, "mse": 1.0 + number, "bound": "+Inf", "index": 0.5, "slope": 2.0})
    told = text_of(written(tmp_path, tmp_path / "report.html"))
    assert "The noise error was largest at 2026-11-26 13:33: 3 at noise level 0.4." in told
    assert "Whether it has regressed is not known" in told and "Drift was not measured" in told


def period_of(data_dir: Path, events: list[Event]) -> Period:
    example(data_dir).past.add_events(events)
    found = HistoryReader(data_dir, "digits")
    rows, counts = worst_of(found.assessments(), 1500, badness)
    return Period(found.model, rows, counts, found.events(), found.specifications())


def test_a_regression_that_ended_and_missing_assessments(tmp_path: Path) -> None:
    facts = {"regression": "time", "version": "2"}
    missing = {"outcome": "skipped", "reason": "too_few_inputs", "why": "3 rows"}
    events = [
        Event(BEGIN + 60 * 340, "regression_ended", facts),
        Event(BEGIN + 60 * 100, "assessments_missing", missing),
        Event(BEGIN + 60 * 130, "assessments_again"),
        Event(BEGIN + 60 * 350, "assessments_missing", missing | {"reason": "worker_lost"}),
    ]
    told = story(period_of(tmp_path, events))
    assert told.mood == "good" and told.text.startswith("A regression ended at 2026-11-26 19:13, and none stands.")
    assert "Assessments were missing for 30 minutes (too_few_inputs) and 9 minutes (worker_lost)." in told.text


def test_what_changed_in_the_hour_before(tmp_path: Path) -> None:
    facts = {"settings": {"assess.noise": ["gaussian", "uniform"]}}
    told = story(period_of(tmp_path, [Event(BEGIN + 60 * (WORSE - 20), "settings_changed", facts)]))
    assert "In the hour before: settings changed: assess.noise from gaussian to uniform." in told.text


def test_causes_and_shares(tmp_path: Path) -> None:
    part = {"ratio": 2.0, "log_stderr": 0.1, "share": 0.9, "share_stderr": 0.05}
    causes = {"model": part, "traffic": part | {"ratio": 1.1, "share": 0.1}, "cause": "model"}
    verdict = {"version": "2", "against": "1", "worse": True, "ratio": 2.2, "causes": causes}
    told = text_of(report_page(period_of(tmp_path, [Event(BEGIN + 60 * BACK, "verdict", verdict)])))
    assert "model 2 1.64 to 2.43 90 % traffic 1.1 0.904 to 1.34 10 %" in told
    assert "version 2 is worse than version 1: ratio 2.2" in told


def test_pictures_have_round_axes_and_hide_no_spike() -> None:
    assert nice_ticks(0, 1, 6) == [0, 0.2, 0.4, 0.6, 0.8, 1.0] and nice_ticks(3, 3, 5) == [3]
    points: list[tuple[float, float | None]] = [(float(x), 1.0) for x in range(10_000)]
    points[4321] = (4321.0, 9.0)
    assert len(thinned(points)) <= 300 and (4321.0, 9.0) in thinned(points)
    gap = Chart("a", [Line("new", [(0.0, 1.0), (1.0, None), (2.0, 1.0), (3.0, 2.0)])], is_time=False).svg("x")
    assert gap.count("<polyline") == 4, "twice two pieces"
    assert "nan" not in Chart("empty", [Line("new", [])]).svg("x")


HARNESS = """<!doctype html><body><iframe id="narrow" style="width:360px;height:900px;border:0"></iframe>
<iframe id="wide" style="width:1100px;height:900px;border:0"></iframe><script>
const found = {};
for (const name of ["narrow", "wide"]) {
  const frame = document.getElementById(name);
  frame.onload = () => {
    const inside = frame.contentDocument;
    const shown = (each) => inside.defaultView.getComputedStyle(each).display !== "none";
    found[name] = {
      width: inside.documentElement.clientWidth, needed: inside.documentElement.scrollWidth,
      pictures: [...inside.querySelectorAll("svg[role=img]")].filter(shown).map((each) => each.getAttribute("class")),
      beyond: [...inside.querySelectorAll("main *")].filter((each) => each.getClientRects().length &&
        each.getBoundingClientRect().right > inside.documentElement.clientWidth + 1).map((each) => each.outerHTML),
      page: inside.defaultView.getComputedStyle(inside.body).backgroundColor,
      text: inside.defaultView.getComputedStyle(inside.body).color,
      loaded: inside.defaultView.performance.getEntriesByType("resource").length,
      title: inside.title,
    };
    document.body.dataset.found = JSON.stringify(found);
  };
  frame.src = "report.html";
}
</script></body>"""


def brightness(color: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_without_network_shows_it_wide_and_narrow(scheme: str, tmp_path: Path) -> None:
    example(tmp_path, name="digits", feature=f"{MARKUP} {'long_name_' * 12}")
    written(tmp_path, tmp_path / "report.html")
    (tmp_path / "harness.html").write_text(HARNESS, encoding="utf-8")
    flags = ["--allow-file-access-from-files", "--proxy-server=127.0.0.1:9", "--virtual-time-budget=5000"]
    flags.append(f"--blink-settings=preferredColorScheme={['dark', 'light'].index(scheme)}")
    shown = dom(tmp_path / "profile", f"file://{tmp_path}/harness.html", *flags)
    found = json.loads(unescape(re.findall(r'data-found="([^"]*)"', shown)[0]))
    for name, width in (("narrow", 360), ("wide", 1100)):
        here = found[name]
        assert here["beyond"] == [] and here["width"] == here["needed"] <= width, "no sideways scroll"
        assert set(here["pictures"]) == {name} and len(here["pictures"]) == 4
        assert here["loaded"] == 0 and here["title"].startswith("robmon: digits, 2026-11-26 ")
        dark = brightness(here["page"]) < brightness(here["text"])
        assert dark == (scheme == "dark") and abs(brightness(here["page"]) - brightness(here["text"])) > 150
