"""The scripts that install what the tests start."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
from pathlib import Path

from tests.watching.prometheus import REPOSITORY

TOOLS = REPOSITORY / "tools"


def test_helm_and_kubectl_are_extracted_once(tmp_path: Path) -> None:
    install = runpy.run_path(str(TOOLS / "install_kubernetes_tools.py"))["install"]
    install(tmp_path)
    written = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert set(written) == {"helm", "kubectl", ".version"}
    for command in (["helm", "version", "--short"], ["kubectl", "version", "--client"]):
        subprocess.run([tmp_path / command[0], *command[1:]], check=True, capture_output=True)
    install(tmp_path)
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == written


def test_half_an_installation_is_repaired(tmp_path: Path) -> None:
    install = runpy.run_path(str(TOOLS / "install_kubernetes_tools.py"))["install"]
    install(tmp_path)
    (tmp_path / "helm").unlink()
    install(tmp_path)
    assert (tmp_path / "helm").stat().st_mode & 0o111


def test_confseq_is_fetched_once() -> None:
    install_confseq = runpy.run_path(str(TOOLS / "install_confseq.py"))
    written = {file.name: file.stat().st_mtime_ns for file in (install_confseq["FOLDER"] / "confseq").iterdir()}
    assert {"betting.py", ".version"} <= set(written)
    install_confseq["install"]()
    assert {file.name: file.stat().st_mtime_ns for file in (install_confseq["FOLDER"] / "confseq").iterdir()} == written


def test_nothing_is_installed_where_nothing_is_missing() -> None:
    result = subprocess.run(["sh", TOOLS / "install_debian_packages.sh"], text=True, capture_output=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_progress_of_an_installation_names_packages_and_sizes() -> None:
    progress = runpy.run_path(str(TOOLS / "install.py"))["progress"]
    lines = [
        "Collecting mlflow==3.17.2",
        "  Downloading mlflow-3.17.2-py3-none-any.whl (12.0 MB)",
        "  Using cached https://host/packages/torch-2.13.0-cp311-linux_x86_64.whl (1.5 GB)",
        "Requirement already satisfied: numpy",
        "  Downloading click-8.5.1-py3-none-any.whl.metadata (2.6 kB)",
        "Installing collected packages: click, mlflow, torch",
    ]
    assert list(progress(lines)) == [
        "1: mlflow-3.17.2-py3-none-any.whl, 12.0 MB, 12.0 MB in all",
        "2: torch-2.13.0-cp311-linux_x86_64.whl, 1500.0 MB, 1512.0 MB in all",
        "installing 3 packages",
    ]


def test_the_demo_installs_only_what_it_needs(tmp_path: Path) -> None:
    """And nothing at all where `make venv` has been."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(REPOSITORY / name, tmp_path / name)

    def made(target: str) -> str:
        words = ["make", "--dry-run", target]
        # The tests are themselves started by make, whose own flags are not meant for this one.
        apart = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True, env=apart).stdout

    assert "tools/install.py demo" in made("demo") and "install.py dev" not in made("demo")
    assert "tools/install.py dev" in made("venv") and "install.py demo" not in made("venv")
    stamps = tmp_path / ".venv" / "bin" / "python", tmp_path / ".venv" / ".installed"
    stamps[0].parent.mkdir(parents=True)
    for stamp in stamps:
        stamp.touch()
    condition = made("demo").splitlines()[0].partition("||")[0]
    assert subprocess.run(["sh", "-c", condition], cwd=tmp_path, check=False).returncode == 0


def test_grafanas_packages_are_pinned_and_installed_once() -> None:
    """Each with its checksum, and from whatever registry npm is configured with."""
    tool = runpy.run_path(str(TOOLS / "install_grafana_packages.py"))
    lock = json.loads((tool["WANTED"] / "package-lock.json").read_text())["packages"]
    assert {lock[f"node_modules/@grafana/{name}"]["version"] for name in ("data", "ui")} == {"13.2.3"}
    installed = [package for name, package in lock.items() if name]
    assert all(package["integrity"].startswith("sha512-") for package in installed)
    assert not any("resolved" in package for package in installed)
    engine = tool["FOLDER"] / "engine.cjs"
    written = engine.stat().st_mtime_ns
    tool["install"]()
    assert engine.stat().st_mtime_ns == written
