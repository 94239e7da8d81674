"""The frame of the status page: head, style, and the headers that keep a browser from doing anything but showing it."""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from importlib import resources
from typing import Final, Literal
from urllib.parse import quote

Mood = Literal["good", "bad", "unknown"]

HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""Of every answer."""
NOTHING_ALLOWED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_ICON_COLORS: Final = {"good": "#1b7f3b", "bad": "#c8102e", "unknown": "#6b7785"}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>{title}</title>
<link rel="icon" href="{icon}">
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


@cache
def style() -> str:
    """The style sheet: that of the report of a period, and what this page has besides."""
    shared = resources.files("robmon.report.html").joinpath("style.css").read_text(encoding="utf-8")
    own = resources.files("robmon.export.page").joinpath("page.css").read_text(encoding="utf-8")
    return f"\n{shared}{own}"


@cache
def content_security_policy() -> str:
    """The page's policy: its own style, its icon, and nothing else: no script, font, request, or frame around it."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"{NOTHING_ALLOWED}; style-src 'sha256-{digest}'; img-src data:"


def document(title: str, mood: Mood, body: str, refresh_seconds: int | None) -> str:
    """The whole page.

    Args:
        title: text.
        mood: colours the icon, so that a tab in the background tells it too.
        body: HTML.
        refresh_seconds: after which it is loaded anew; None: never.
    """
    refresh = "" if refresh_seconds is None else f'<meta http-equiv="refresh" content="{refresh_seconds}">\n'
    dot = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" '
        f'fill="{_ICON_COLORS[mood]}"/></svg>'
    )
    icon = f"data:image/svg+xml,{quote(dot)}"
    return _PAGE.format(refresh=refresh, title=html.escape(title), icon=icon, style=style(), body=body)
