"""Run the scenarios that an older commit does not stand against that commit: a scenario counts only if it fails there.

    python -m tests.campaign.other_commit docs/evidence/campaign-red.md

It makes a work tree of the commit and an interpreter that has its robmon and all else of this one, runs the scenarios
marked `red`, and prints for each whether it failed there, and at what.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import subprocess
import sys
import tempfile
import venv
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMIT = "8576890"
REPOSITORY = Path(__file__).parents[2]
WHY_CHARACTERS = 140


@dataclass(frozen=True)
class Result:
    """How a scenario ended on the other commit: `fails` is `yes`, `no` or `not run`."""

    scenario: str
    fails: str
    why: str


@contextmanager
def work_tree(commit: str, folder: Path) -> Iterator[Path]:
    """The files of that commit."""
    tree = folder / "tree"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=REPOSITORY, check=True)
    try:
        yield tree
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=REPOSITORY, check=True)


def interpreter(tree: Path, folder: Path) -> Path:
    """A Python with the robmon of that tree, and all packages of this one."""
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    packages = [path for path in sys.path if "site-packages" in path]
    own = Path(_told(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (own / "all.pth").write_text("\n".join([str(tree), *packages, ""]), encoding="utf-8")
    found = Path(_told(python, "import robmon; print(robmon.__file__)"))
    assert found.is_relative_to(tree), f"{found} is not of {tree}"
    return python


def _told(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], cwd="/", capture_output=True, text=True, check=True).stdout.strip()


def tried(python: Path, folder: Path, arguments: list[str]) -> list[Result]:
    """The scenarios' results with that interpreter's robmon."""
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "tests/campaign", "-m", "red", "-p", "no:xdist", "--tb=short"]
    environment = os.environ | {"ROBMON_CAMPAIGN": "1", "ROBMON_CAMPAIGN_PYTHON": str(python)}
    subprocess.run([*command, f"--junitxml={report}", *arguments], cwd=REPOSITORY, env=environment, check=False)
    results: dict[str, Result] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):  # a second time where the clean-up failed too
        result = _result(case)
        results.setdefault(result.scenario, result)
    return list(results.values())


def _result(case: ElementTree.Element) -> Result:
    scenario = f"{case.get('classname', '').rpartition('.')[2]}: {case.get('name')}"
    for kind, fails in (("failure", "yes"), ("skipped", "not run"), ("error", "not run")):
        if (found := case.find(kind)) is not None:
            why = " ".join((found.get("message") or "").split("\n")[0].split())
            return Result(scenario, fails, why[:WHY_CHARACTERS])
    return Result(scenario, "no", "")


def _told_arguments(arguments: list[str]) -> str:
    return f" ARGS={shlex.quote(shlex.join(arguments))}" if arguments else ""


def main() -> None:
    """Print the table, and write it where that is asked for; status 1 where a scenario did not fail."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path, help="a Markdown file to write the table into")
    parser.add_argument("--commit", default=COMMIT)
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="robmon-other-") as folder, work_tree(options.commit, Path(folder)) as tree:
        results = tried(interpreter(tree, Path(folder)), Path(folder), arguments)
    rows = [f"| {each.scenario} | {each.fails} | {each.why.replace('|', '/')} |" for each in results]
    lines = [
        f"# The campaign's scenarios on commit {options.commit}",
        "",
        f"`make campaign-red{_told_arguments(arguments)}`, {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC.",
        "A scenario counts only if the same program fails on the commit in which the fault was found.",
        "",
        "| scenario | fails there | at |",
        "| --- | --- | --- |",
        *rows,
        "",
    ]
    print("\n".join(lines))
    if options.page is not None:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text("\n".join(lines), encoding="utf-8")
    sys.exit(any(each.fails == "no" for each in results))


if __name__ == "__main__":
    main()
