"""The manual: generated parts, anchors, links and code are as they should be; its site builds without a warning."""

from __future__ import annotations

import ast
import contextlib
import functools
import http.server
import io
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import numpy as np
import pandas
import pytest
import yaml

import robmon
from robmon import vocabulary
from robmon.cli import main as cli
from robmon.cli.options import SettingsCommand
from robmon.settings import leaves, load
from tests.browser import chromium
from tests.inputs.reasons import REASONS
from tools import build_site, reference

REPOSITORY = Path(__file__).parent.parent
PAGES = {place: file for file, place in build_site.pages(REPOSITORY)}
TEXTS = {place: file.read_text(encoding="utf-8") for place, file in PAGES.items()}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(place, *block) for place, text in TEXTS.items() for block in FENCE.findall(text)]


def test_generated_parts_are_up_to_date() -> None:
    for page in reference.PAGES:
        before = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
        assert reference.updated(page, before) == before, f"docs/{page}: run make docs"


def test_the_front_page_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_the_front_page_shows_what_the_tutorial_shows() -> None:
    shown = [
        line for place, kind, code in BLOCKS if (place, kind) == ("index.md", "console") for line in code.splitlines()
    ]
    results = [line for line in shown if not line.startswith("$")]
    assert len(results) > 9
    assert set(results) <= set(TEXTS["tutorial/first-assessment.md"].splitlines())


@pytest.mark.parametrize("part", ["tutorial", "how-to", "concepts", "reference", "operate"])
def test_the_front_pages_table_leads_to_every_page(part: str) -> None:
    rows = [line for line in (REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    linked = set(re.findall(rf"\(docs/{part}/([^)#]+)\)", "\n".join(rows)))
    assert linked == {page.name for page in (REPOSITORY / "docs" / part).glob("*.md")}


def test_what_the_pages_link_to_is_there() -> None:
    for place, file in PAGES.items():
        for target in re.findall(r"\]\(([^)#\s]+)", file.read_text(encoding="utf-8")):
            assert "://" in target or (file.parent / target).is_file(), f"{place} links to {target}"


def test_every_claim_of_the_threat_model_names_a_test_that_is_there() -> None:
    page = REPOSITORY / "docs/concepts/threat-model.md"
    text, named = page.read_text(encoding="utf-8"), re.compile(r"\[`(test_\w+)`\]\(([^)]+)\)")
    for name, target in named.findall(text):
        assert f"def {name}(" in (page.parent / target).read_text(encoding="utf-8"), f"{target} has no {name}"
    tables = re.findall(r"^\|.*\| held by \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    claims = [row.split("|")[-2] for table in tables for row in table.splitlines()]
    assert len(tables) == 2
    assert [claim for claim in claims if not named.search(claim)] == []


def test_nothing_is_left_to_fill_in() -> None:
    for place, text in TEXTS.items():
        assert re.findall(r"\b(?:TODO|FIXME|TBD|XXX|FOOTPRINT)\b", text) == [], place


def anchors(place: str) -> set[str]:
    return set(re.findall(r'<a id="([^"]+)">', TEXTS[place]))


def test_every_setting_and_metric_has_an_anchor() -> None:
    assert {leaf.name for leaf in leaves()} <= anchors("reference/settings.md")
    assert {row.split("`")[1] for row in list(reference.metrics_table())[2:]} <= anchors("reference/metrics.md")


def test_every_flag_has_an_anchor() -> None:
    for name, command in cli.main.commands.items():
        settings = {f"--{leaf.name}" for leaf in leaves()}
        parameters = command.get_params(click.Context(command, parent=reference.program()))
        flags = [flag for flag in parameters if isinstance(flag, click.Option) and flag.opts[0] not in settings]
        missing = {reference.flag_anchor(name, flag) for flag in flags} - anchors("reference/commands.md")
        assert missing == set()


def test_every_reason_has_an_anchor() -> None:
    expected = {f"{outcome}-{reason}" for outcome, reasons in vocabulary.OUTCOMES.items() for reason in reasons}
    expected |= {f"{stage}-{reason}" for stage, reasons in vocabulary.FAILURE_REASONS.items() for reason in reasons}
    expected |= {f"pending-{reason}" for reason in vocabulary.PENDING_REASONS}
    expected |= {f"restart-{reason}" for reason in vocabulary.RESTART_REASONS}
    expected |= {f"refused-{reason}" for reason in vocabulary.CONNECTION_REASONS}
    expected |= {f"rejected-{reason}" for reason in {*REASONS, *vocabulary.ARRIVAL_REASONS}}
    expected |= {f"flips-{reason}" for reason in vocabulary.NoExponent.__args__}  # type: ignore[attr-defined]
    assert expected - anchors("reference/reasons.md") == set()


def test_every_anchor_is_there_once() -> None:
    for place, text in TEXTS.items():
        found = re.findall(r'<a id="([^"]+)">', text)
        assert len(found) == len(set(found)), place


def test_every_key_of_a_result_is_told() -> None:
    for kind, example in zip(
        ("Assessment", "Comparison", "Ranking", "Attack"), reference.example_results(), strict=True
    ):
        assert {f"{kind}.{key}" for key in example} <= anchors("reference/result-json.md")


# --- code in the pages ------------------------------------------------------------------------------------------------


def names_of_page() -> dict[str, Any]:
    """What the pages' Python speaks of without making it."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(64, 4))
    weights = generator.normal(size=(4, 3))

    def predict(rows: Any) -> Any:
        outputs = np.asarray(rows).reshape(len(rows), -1)[:, :4] @ weights
        shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    frame = pandas.DataFrame(inputs, columns=["clicks", "age", "income", "visits"])
    images = np.abs(generator.normal(size=(64, 1, 4, 4))) % 1
    return {"robmon": robmon, "predict": predict, "inputs": inputs, "frame": frame, "images": images}


PYTHON = [(place, code) for place, language, code in BLOCKS if language == "python"]
RUN_HERE = [(place, code) for place, code in PYTHON if "import mlflow" not in code]


@pytest.mark.parametrize(("place", "code"), RUN_HERE, ids=[place for place, _ in RUN_HERE])
def test_python_in_the_pages_runs(place: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, place, "exec"), names_of_page())
    after = TEXTS[place].partition(f"```python\n{code}```\n\n")[2]
    if shown := re.match(r"```text\n(.*?)```", after, re.DOTALL):
        assert printed.getvalue() == shown[1]


def test_python_that_needs_a_registry_is_python() -> None:
    for place, code in PYTHON:
        compile(code, place, "exec", flags=ast.PyCF_ONLY_AST)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every robmon command in a shell block, without comments, pipes and variables before it."""
    for place, language, code in BLOCKS:
        if language in ("sh", "console"):
            for line in code.replace("\\\n", " ").splitlines():
                if found := re.match(r"(?:\$ )?robmon (.*?)(?:\s+#.*)?$", line):
                    yield place, shlex.split(found[1])


COMMANDS = list(commands())


@pytest.mark.parametrize(("place", "words"), COMMANDS, ids=[f"{place}: {words[0]}" for place, words in COMMANDS])
def test_commands_in_the_pages_have_these_flags(
    place: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("recent.csv", "recent.parquet", "training.parquet", "labelled.parquet"):
        Path(name).touch()
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *_: Path(value))
    command = cli.main.commands[words[0]]
    context = command.make_context(words[0], words[1:], parent=reference.program())
    if isinstance(command, SettingsCommand):
        given = {leaf.name: context.params[leaf.name.replace(".", "__")] for leaf in leaves()}
        assert load({name: value for name, value in given.items() if value is not None}, None).settings.model.uri


def test_yaml_in_the_pages_is_yaml() -> None:
    for place, language, code in BLOCKS:
        if language == "yaml":
            assert yaml.safe_load(code), place


def menu(entries: list[Any]) -> set[str]:
    """Every page of a menu and of the menus in it."""
    pages = {entry for entry in entries if isinstance(entry, str)}
    for entry in entries:
        for inner in entry.values() if isinstance(entry, dict) else ():
            pages |= menu(inner) if isinstance(inner, list) else {inner}
    return pages


def test_the_menu_has_every_page() -> None:
    settings = tomllib.loads((REPOSITORY / "zensical.toml").read_text(encoding="utf-8"))
    assert menu(settings["project"]["nav"]) == set(TEXTS)


# --- the site ---------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Ids, links, and what a browser fetches of one page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.fetched += [found["src"]] if "src" in found else []
        self.fetched += [found["href"]] if tag == "link" and found.get("rel") != "canonical" else []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual") / "built"
    command = [sys.executable, REPOSITORY / "tools" / "build_site.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "griffe" not in done.stdout + done.stderr
    return folder / "site"


def test_the_site_has_every_page_and_each_leads_somewhere(site: Path) -> None:
    built = {file.relative_to(site).as_posix(): Page(file) for file in site.rglob("*.html")}
    assert {place.replace(".md", ".html") for place in TEXTS} <= built.keys()
    for place, page in built.items():
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or place == "404.html":
                continue
            there = (site / place).parent / unquote(address.path) if address.path else site / place
            assert there.exists(), f"{place} links to {link}"
            if address.fragment and there.suffix == ".html":
                other = built[there.resolve().relative_to(site.resolve()).as_posix()]
                assert unquote(address.fragment) in other.ids | {"__skip"}, f"{place} links to {link}"


def test_every_public_name_is_in_the_page_on_python(site: Path) -> None:
    page = Page(site / "reference" / "python.html")
    homes = {"drift": "robmon.drift.two_sample.drift", "tap": "robmon.tap.middleware.Tap"}
    errors = {f"robmon.errors.{name}" for name in robmon.__all__ if name.endswith("Error")}
    names = [name for name in robmon.__all__ if not name.endswith("Error") and name != "__version__"]
    assert {homes.get(name, f"robmon.{name}") for name in names} | errors <= page.ids


def test_the_site_asks_no_other_host(site: Path, tmp_path: Path) -> None:
    for file in site.rglob("*.html"):
        outside = [address for address in Page(file).fetched if urlsplit(address).netloc]
        assert outside == [], file
    for file in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", file.read_text(encoding="utf-8")) == [], file
    handler = functools.partial(Quiet, directory=str(site))
    log = tmp_path / "requests.json"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        origin = f"http://127.0.0.1:{server.server_port}"
        try:
            shown = chromium(tmp_path, f"--log-net-log={log}", "--dump-dom", f"{origin}/index.html")
        finally:
            server.shutdown()
            thread.join()
    assert "The manual" in shown
    requests = re.findall(r'"initiator":"([^"]+)".*"url":"([^"]+)"', log.read_text(encoding="utf-8"))
    asked = {url for initiator, url in requests if initiator.startswith(origin)}
    assert any(url.endswith(".js") for url in asked)
    assert {url for url in asked if not url.startswith((origin, "data:", "blob:"))} == set()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        pass
