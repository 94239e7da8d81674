"""A page as one HTML file: a template, which escapes every text, and robmon's style. It needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

STYLE: Final = "style.css"
_HERE: Final = Path(__file__).parent


def render(template: str, **content: Any) -> str:
    """The page: the same bytes for the same content."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = Markup((_HERE / STYLE).read_text(encoding="utf-8"))  # noqa: S704 - robmon's own
    return environment.get_template(template).render(style=style, **content)
