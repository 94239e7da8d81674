"""Build the manual as a site of static files: FOLDER/site, from docs/ and the pages that lie elsewhere.

    .venv/bin/python tools/build_site.py .site

README.md is the site's front page. A link from a page to another file of the repository takes that file along, to
`repository/` in the site, so that every link resolves without a network. Warnings end the build with status 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contribute/map.md",
    "CHANGELOG.md": "contribute/changes.md",
    "helm/robmon/README.md": "reference/chart.md",
}
"""Pages that do not lie in docs, and where they stand in the site."""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def pages(root: Path) -> Iterator[tuple[Path, str]]:
    """Every page's file and its place in the site."""
    yield from ((root / name, place) for name, place in ELSEWHERE.items())
    yield from ((file, file.relative_to(root / "docs").as_posix()) for file in sorted((root / "docs").rglob("*.md")))


def assemble(root: Path, target: Path) -> None:
    """Copy pages and what they link to into `target`, with links as they are there."""
    places = {file.resolve(): place for file, place in pages(root)}
    for file, place in places.items():

        def in_site(found: re.Match[str], file: Path = file, place: str = place) -> str:
            linked = (file.parent / found[1]).resolve()
            there = places.get(linked) or _taken_along(linked, root, target)
            return os.path.relpath(there, Path(place).parent)

        page = target / place
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(LINK.sub(in_site, file.read_text(encoding="utf-8")), encoding="utf-8")


def _taken_along(linked: Path, root: Path, target: Path) -> str:
    """Copy a file that is no page; where it then is in the site."""
    if not linked.is_file() or not linked.is_relative_to(root):
        raise SystemExit(f"a page links to {os.path.relpath(linked, root)}, which is no file of the repository")
    docs = root / "docs"
    inside = linked.relative_to(docs) if linked.is_relative_to(docs) else Path("repository", linked.relative_to(root))
    copy = target / inside
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(linked, copy)
    return inside.as_posix()


def build(folder: Path) -> int:
    """Build into `folder`, which is emptied first; the status of the build."""
    shutil.rmtree(folder, ignore_errors=True)
    assemble(REPOSITORY, folder / "docs")
    shutil.copy(REPOSITORY / "docs" / "site.css", folder / "docs")
    settings = (REPOSITORY / "zensical.toml").read_text(encoding="utf-8")
    (folder / "zensical.toml").write_text(settings.replace("REPOSITORY", REPOSITORY.as_posix()), encoding="utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    return subprocess.run(command, cwd=folder, check=False).returncode  # noqa: S603 - only what stands here


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("name the folder to build in, which is emptied first")
    sys.exit(build(Path(sys.argv[1])))
