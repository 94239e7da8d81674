"""A bundle of a real daemon: its numbers to the last bit again, in a process of its own."""

from __future__ import annotations

import shlex
import tarfile
from pathlib import Path
from typing import Any

from tests import commands
from tests.e2e.daemon import ROWS, running_daemon
from tests.e2e.test_endpoint import AS_FAST, NO_REGISTRY
from tests.e2e.test_files import summed
from tests.endpoint import V2Model, serving


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found


def reproduced(folder: Path, environment: dict[str, str]) -> Any:
    """What its REPRODUCE.md says, in that folder."""
    lines = (folder / "REPRODUCE.md").read_text().splitlines()
    (command,) = (line for line in lines if line.startswith("robmon "))
    return commands.run(shlex.split(command)[1:], cwd=folder, environment=environment)


def test_a_bundle_of_a_model_at_an_endpoint_is_computed_again_there(tmp_path: Path) -> None:
    with serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path / "daemon", url, NO_REGISTRY, **AS_FAST) as daemon:
            daemon.send(ROWS[:60])
            daemon.wait_for_assessments()
            own = f"http://127.0.0.1:{daemon.port('http_port')}"
            words = ["incident", own, "-o", tmp_path / "whole.tar.gz", "--with-inputs"]
            done = commands.run(words, cwd=tmp_path, environment=daemon.environment)
            assert done.returncode == 0 and "no regression stands" in done.stdout, done.stdout + done.stderr
            done = reproduced(unpacked(tmp_path / "whole.tar.gz", tmp_path / "unpacked"), daemon.environment)
            assert done.returncode == 0 and "identical to the last bit" in done.stdout, done.stdout + done.stderr
