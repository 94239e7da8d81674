"""The status page as a browser shows it."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from robmon.export.http import http_application
from robmon.export.page.document import content_security_policy
from robmon.export.published import Published, View
from robmon.export.recent import Recent
from robmon.export.status import status_page
from robmon.history.standing import Pending
from tests.asgi import served
from tests.browser import DARK, dom, run_chromium
from tests.export import page_states
from tests.export.page_states import STATES
from tests.export.published import NOW, change, everything

MARKUP = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">'\"&amp;"


WIDTHS = (360, 1280)
FRAMES = """<!doctype html><meta charset="utf-8"><body>%s<script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, root = page.documentElement, body = getComputedStyle(page.body);
    const beyond = [...page.querySelectorAll("main *")].filter((each) => !each.closest("thead"))
      .filter((each) => each.getBoundingClientRect().right > root.clientWidth + 0.5).length;
    const shown = [...page.querySelectorAll("figure > svg")].filter((each) => each.clientWidth > 0).length;
    return [frame.id, root.scrollWidth, root.clientWidth, beyond, shown, page.querySelectorAll("figure").length,
            body.backgroundColor, body.color];
  });
  const told = document.createElement("pre");
  told.id = "found";
  told.textContent = JSON.stringify(found);
  document.body.append(told);
});
</script>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every state as a file, and a page that holds each in a frame of each width, and measures it."""
    folder = tmp_path_factory.mktemp("pages")
    frames = []
    for name, make in STATES.items():
        (folder / f"{name}.html").write_text(status_page(make(), page_states.NOW, refreshes=False), encoding="utf-8")
        frames += [f'<iframe id="{name} {width}" src="{name}.html" width="{width}" height="900">' for width in WIDTHS]
    (folder / "frames.html").write_text(FRAMES % "</iframe>".join([*frames, ""]), encoding="utf-8")
    return folder


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_state_fits_a_phone_and_a_desk_by_day_and_by_night(pages: Path, tmp_path: Path, dark: bool) -> None:
    """No sideways scroll, nothing beyond the edge, each picture shown once, and colours that the system asks for."""
    flags = ["--allow-file-access-from-files", "--virtual-time-budget=5000", *(DARK if dark else [])]
    text = dom(tmp_path, f"file://{pages}/frames.html", *flags).partition('<pre id="found">')[2].partition("<")[0]
    found = json.loads(html.unescape(text))
    assert len(found) == len(STATES) * len(WIDTHS)
    for name, scroll, width, beyond, shown, figures, background, color in found:
        assert (scroll, beyond, shown) == (width, 0, figures), name
        brightness = [sum(map(int, re.findall(r"\d+", each))) for each in (background, color)]
        assert (brightness[0] < brightness[1]) == dark, name


def test_served_by_robmon_it_asks_for_nothing_and_nothing_is_refused(tmp_path: Path) -> None:
    """With the real headers: style and icon are let through by the policy, and no request goes out."""
    asked: list[str] = []
    application = http_application(page_states.regressed(), CollectorRegistry())

    async def recording(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        if scope["path"] != "/inline":
            await application(scope, receive, send)
            return
        headers = [(b"content-type", b"text/html"), (b"content-security-policy", content_security_policy().encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<style>p { color: red }</style><p>another style"})

    with served(recording) as url:
        done = run_chromium(tmp_path, "--enable-logging=stderr", "--dump-dom", f"{url}/?refresh=off")
        assert "Robustness regressed: version 2 against 1" in done.stdout
        assert "CONSOLE" not in done.stderr
        refused = run_chromium(tmp_path, "--enable-logging=stderr", "--dump-dom", f"{url}/inline")
        assert "CONSOLE" in refused.stderr, "else nothing would be told of a style that is refused"
    assert set(asked) == {"/", "/inline"}


def with_markup(value: Any) -> Any:
    """The same, with markup in the place of every text."""
    if isinstance(value, str):
        return MARKUP
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: with_markup(getattr(value, name)) for name in type(value).model_fields})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = {field.name: with_markup(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **told)
    if isinstance(value, list | tuple):
        return type(value)(map(with_markup, value))
    return value


def day_of_markup() -> Recent:
    day = Recent()
    for minute in (0, 10):
        day.add_assessment(
            {"at": NOW + 60 * minute, "version": MARKUP + str(minute), "levels": [{"level": 1, "mse": 2}]}
        )
    kinds = ("version_loaded", "regression_began", "cause_named", "canary_changed", "settings_changed", MARKUP)
    facts = {"version": MARKUP, "before": MARKUP, "flavor": MARKUP, "device": MARKUP, "cause": MARKUP, "group": MARKUP}
    facts |= {"regression": MARKUP, "against": MARKUP, "notes": [MARKUP], "settings": {MARKUP: [MARKUP, MARKUP]}}
    day.add_events({"at": NOW + place, "kind": kind, **facts} for place, kind in enumerate(kinds))
    return day


@pytest.mark.parametrize("state", ["regressed", "held", "pending", "asked", "nothing"])
def test_no_text_becomes_markup(state: str, tmp_path: Path) -> None:
    """Names from the registry, from artifacts, requests and signatures, reasons: no text is trusted."""
    published = everything(MARKUP, inputs_problem=lambda: MARKUP)
    published.alias, published.recent = MARKUP, day_of_markup()
    published.publish(dataclasses.replace(with_markup(published.view), problem=MARKUP, last_assessment_at=NOW))
    if state == "held":
        change(published, state=dataclasses.replace(published.view.state, regression=None, is_accepted=True))
    elif state == "pending":
        pending = (Pending("failed", MARKUP),)
        change(published, state=dataclasses.replace(published.view.state, regression=None, pending=pending))
    elif state == "asked":
        assert published.view.model is not None
        published.view.model.endpoint = "http://127.0.0.1/v2/models/<img>/infer"
    elif state == "nothing":
        published = Published(MARKUP, 60, 3600, view=View(problem=MARKUP))
    else:
        assert published.view.measurement is not None
        result = published.view.measurement.result.model_copy(update={"labels": None})
        change(published, measurement=dataclasses.replace(published.view.measurement, result=result))
    text = status_page(published, NOW + 5)
    assert "<script" not in text and "<img" not in text
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    found = dom(tmp_path / "profile", f"file://{tmp_path}/page.html")
    assert "<script" not in found and "<img" not in found
    assert "owned" in found and "<title>owned" not in found
    if state != "nothing":
        assert found.count("onerror=") > 4
