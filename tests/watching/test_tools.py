"""The scripts that install what the tests start."""

from __future__ import annotations

import runpy
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
