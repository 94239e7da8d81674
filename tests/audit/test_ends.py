"""An audit that ends before it is done: by a signal, or because its results cannot be kept any more."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from robmon.audit import local
from robmon.audit.audit import Engine, audit, plan
from robmon.audit.inputs_map import AuditedOn
from robmon.audit.store import Folder, open_place
from robmon.audit.task import Limits, failed
from robmon.errors import RobmonError
from robmon.models.registry.listing import ListedVersion, list_versions
from robmon.models.registry.registry import Registry
from tests.audit.registries import ManyVersions, many_versions
from tests.cli.test_commands import clean
from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until


class Full(Folder):
    """A folder of a disk that is full once some results are there."""

    def write(self, name: str, content: bytes) -> None:
        if name.startswith("versions/m/2"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(name, content)


def failing(tasks, inputs, tell):
    for task in tasks:
        tell(task, failed("crash", "it ended"), 0.1)


def removing(tasks, inputs, tell):
    tell(tasks[0], failed("crash", "it ended"), 0.1)
    shutil.rmtree(Path(inputs[tasks[0].inputs_sha256]).parent.parent / "out")
    tell(tasks[1], failed("crash", "it ended"), 0.1)


@pytest.mark.parametrize(
    ("place", "engine", "why", "kept"),
    [(Full, failing, "No space left on device", [1]), (Folder, removing, "No such file or directory", [])],
)
def test_results_that_cannot_be_kept_end_an_audit(
    tmp_path: Path, place: type[Folder], engine: Engine, why: str, kept: list[int]
) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "rows.csv").write_text("a\n1.5\n2.5\n")
    versions = [ListedVersion("m", number, (), {}, str(number)) for number in (1, 2, 3)]
    entries = [AuditedOn("*", str(tmp_path / "rows.csv"))]
    out = place(tmp_path / "out")
    with pytest.raises(RobmonError, match=rf"^{tmp_path}/out cannot be written any more: {why}; once it can, the same"):
        audit(plan(versions, entries, out, tmp_path / "scratch"), out, engine)
    assert [int(file.name[0]) for file in (tmp_path / "out").rglob("*.*") if file.is_file()] == kept
    again = open_place(str(tmp_path / "out"))
    assert len(plan(versions, entries, again, tmp_path / "scratch").missing) == 3 - len(kept)


def test_a_place_that_does_not_say_what_it_holds_is_refused(tmp_path: Path) -> None:
    """As a store that refuses to list says of what is not there: to do all anew would be a guess."""

    class Mute(Folder):
        def read(self, name: str) -> bytes | None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "rows.csv").write_text("a\n1.5\n2.5\n")
    versions, entries = [ListedVersion("m", 1, (), {}, "")], [AuditedOn("*", str(tmp_path / "rows.csv"))]
    with pytest.raises(RobmonError, match=rf"^{tmp_path}/out cannot be read: Permission denied$"):
        plan(versions, entries, Mute(tmp_path / "out"), tmp_path)


def test_the_pool_tells_it_as_it_is(tmp_path: Path, mlflow_template: Path) -> None:
    made = many_versions(tmp_path, mlflow_template)
    made.add("plain", [(1.0, "behaves"), (1.1, "behaves")])
    (tmp_path / "scratch").mkdir()
    place = open_place(str(tmp_path / "out"))
    entries = [AuditedOn("*", str(tmp_path / "rows.csv"), python="/nowhere/python")]
    planned = plan(list_versions(Registry(made.tracking_uri)), entries, place, tmp_path / "scratch")

    def tell(task, content, seconds):
        assert content["reason"] == "crash" and "/nowhere/python cannot be started" in content["why"]
        raise RobmonError("no more")

    with pytest.raises(RobmonError, match=r"^no more$"):
        local.run(planned.missing, planned.inputs, Limits(), 2, made.tracking_uri, tell)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)], ids=lambda each: each.name
)
def test_a_signal_leaves_nothing_behind(tmp_path: Path, mlflow_template: Path, number: signal.Signals) -> None:
    made = many_versions(tmp_path / "registry", mlflow_template)
    made.add("sleeper", [(1.0, "hangs with a process")])
    end(made, tmp_path, number)


def end(made: ManyVersions, folder: Path, number: signal.Signals, *words: str) -> None:
    """Send the signal once a version is being examined."""
    temporary = folder / "t"
    temporary.mkdir()
    given = ["--inputs", str(made.map), "--out", "out", "--tracking-uri", made.tracking_uri, *words]
    process = subprocess.Popen(
        [sys.executable, "-m", "robmon", "audit", "models:/*", *given],
        cwd=folder,
        env=clean({"TMPDIR": str(temporary)}),
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which is ignored below a shell's `&`
        text=True,
    )
    with process:
        try:
            wait_until(lambda: any(temporary.rglob("called")), what="a model that is asked")
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            _, told = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 128 + number, told
    assert told.splitlines()[-1] == (
        f"robmon: ended by {number.name}: 0 of 1 versions have their result: the same command goes on where it was"
    )
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert children and alive == []
    assert list(temporary.iterdir()) == []
    assert [file.name for file in (folder / "out").rglob("*") if file.is_file()] == ["README.txt"]
