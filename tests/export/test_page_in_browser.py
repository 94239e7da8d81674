"""The status page as a browser shows it."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from robmon.export.published import Published, View
from robmon.export.status import status_page
from robmon.history.standing import Pending
from tests.browser import chromium, dom
from tests.export.published import NOW, change, everything

MARKUP = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">'\"&amp;"


def test_a_browser_shows_the_verdict_and_the_table(tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(status_page(everything(), NOW + 5), encoding="utf-8")
    found = dom(tmp_path / "profile", f"file://{page}")
    assert "Robustness regressed: version 2 against 1" in found
    assert found.count("<tr>") == 8, (
        "headers, and the rows of a level, two groups and two levels, as the browser understood them"
    )
    chromium(tmp_path / "profile", "--window-size=900,600", f"--screenshot={picture}", f"file://{page}")
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (900, 600)


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


@pytest.mark.parametrize("state", ["regressed", "held", "pending", "asked", "nothing"])
def test_no_text_becomes_markup(state: str, tmp_path: Path) -> None:
    """Names from the registry, from artifacts, requests and signatures, reasons: no text is trusted."""
    published = everything(MARKUP, inputs_problem=lambda: MARKUP)
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
