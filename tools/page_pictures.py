"""Takes the manual's pictures of the status page, docs/images/status-*.png, with Chromium: of the states that the tests
show too, so that they are the same every time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from robmon.export.status import status_page  # noqa: E402
from tests.browser import DARK, run_chromium  # noqa: E402
from tests.export.page_states import NOW, STATES  # noqa: E402

PICTURES = {
    "status-regressed": ("regressed", 1280, 1190, False),
    "status-good-dark": ("good", 1280, 960, True),
    "status-narrow": ("over-time", 360, 900, False),
}
"""By file: state, width and height of the window, and whether it is dark."""
FRAME = (
    '<!doctype html><body style="margin:0"><iframe src="page.html" style="border:0" width="{}" height="{}"></iframe>'
)
"""A window of Chromium has a least width, a frame in it has none."""


def main() -> None:
    """Take all of them."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, (state, width, height, is_dark) in PICTURES.items():
            (place / "page.html").write_text(status_page(STATES[state](), NOW, refreshes=False), encoding="utf-8")
            (place / "frame.html").write_text(FRAME.format(width, height), encoding="utf-8")
            picture = ROOT / "docs" / "images" / f"{name}.png"
            flags = [f"--window-size={width},{height}", "--hide-scrollbars", *(DARK if is_dark else [])]
            run_chromium(place / "profile", *flags, f"--screenshot={picture}", f"file://{place}/frame.html")


if __name__ == "__main__":
    try:
        main()
    except FileNotFoundError:
        sys.exit("chromium is not installed: make tools")
    except subprocess.CalledProcessError as error:
        sys.exit(f"chromium failed: {error.stderr}")
