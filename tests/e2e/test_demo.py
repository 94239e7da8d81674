"""The demo as a user runs it: a process of its own, which must leave nothing behind however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from matplotlib.image import imread

from tests.environment import Environment
from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until

THEIRS = os.environ | {"ROBMON_MODEL__URI": "models:/somebody-elses/1", "MLFLOW_REGISTRY_URI": "http://nowhere"}
WHOLE_DEMO_SECONDS = 1500.0
"""Of which a quiet machine needs a tenth."""
TITLE = "ROBUSTNESS REGRESSED: digits version 2 against version 1"


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The only folder for temporary files that the demo, and all it starts, know of."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of an environment with the extra `demo`, which has no torch."""
    return Environment(tmp_path_factory.mktemp("demo") / "venv", "demo").python


@contextlib.contextmanager
def demo(
    temporary: Path, png: Path, python: Path | str = sys.executable, *flags: str
) -> Iterator[subprocess.Popen[str]]:
    """Run the demo without a terminal; whatever a failing test leaves is killed."""
    child = subprocess.Popen(
        [str(python), "-m", "robmon", "demo", "--png", str(png), *flags],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=THEIRS | {"TMPDIR": str(temporary)},
        start_new_session=True,
    )
    with child:
        try:
            yield child
        finally:
            for process in processes_of(temporary):
                with contextlib.suppress(psutil.Error):
                    process.kill()


def processes_of(temporary: Path) -> list[psutil.Process]:
    """All processes whose temporary folder is the demo's: every one that it started, in whatever group or session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR", "").startswith(str(temporary)):
                found.append(process)
    return found


def registry_of(temporary: Path) -> psutil.Process | None:
    """The leader of the registry's processes."""
    return next((each for each in processes_of(temporary) if each.cmdline()[1:4] == ["-m", "mlflow", "server"]), None)


def read_until(child: subprocess.Popen[str], text: str) -> str:
    """Read what the demo prints up to the first line with `text`, and return it."""
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"the demo ended before it said {text!r}:\n{''.join(lines)}")


def test_the_release_is_caught_and_can_be_accepted_and_nothing_is_left(
    temporary: Path, tmp_path: Path, python: Path
) -> None:
    """The whole story once, with nothing but what the extra brings, then what it says to do, as it is printed."""
    png = tmp_path / "picture.png"
    with demo(temporary, png, python, "--keep") as child:
        output = read_until(child, "models:/digits/2 --accept")
        printed = dict(re.findall(r"^  (metrics|roll back|accept version 2) +(.+)$", output, re.MULTILINE))
        shell = THEIRS | {"PATH": "/usr/bin:/bin"}
        done = subprocess.run(["sh", "-c", printed["accept version 2"]], cwd=tmp_path, env=shell, capture_output=True)
        assert (done.returncode, done.stdout[:18]) == (0, b"accepted: digits/2"), done.stderr
        quiet = 'robmon_regression_detected{kind="version",model_name="digits"} 0.0'
        wait_until(lambda: quiet in httpx.get(printed["metrics"]).text, what="the regression is cleared")
        done = subprocess.run(["sh", "-c", printed["roll back"]], cwd=tmp_path, env=shell, capture_output=True)
        assert (done.returncode, b"no regression stands" in done.stderr) == (2, True), done.stderr
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 0, rest
    assert TITLE in output.splitlines()
    assert "Traceback" not in output
    ratios = re.findall(r"([\d.]+) at level ([\d.]+)", output)  # of which two may be alike
    assert [level for _, level in ratios] == ["0.1", "0.2", "0.4", "0.8"]
    assert all(float(ratio) > 1 for ratio, _ in ratios)  # a busy machine assesses few rows in the time
    assert re.search(r"^Since: \d\d:\d\d:\d\d UTC, [\d.]+ s after the alias moved\.$", output, re.MULTILINE)
    assert '- robmon_regression_detected{kind="version",model_name="digits"} 0.0' in output
    assert '+ robmon_regression_detected{kind="version",model_name="digits"} 1.0' in output
    assert re.search(r"version 1: bound [\d.e-]+, agreement [\d.]+ % .* drift [\d.e-]+, regression none", output)
    picture = imread(png, format="png")
    pooled = r"version 2 moves ([\d.]+) times as far .* at the same confidence: ([\d.]+) over all levels"
    told = re.search(pooled, output, re.DOTALL)
    published = re.search(r"^\+ robmon_version_ratio\{.*\} ([\d.]+)$", output, re.MULTILINE)
    assert told is not None and published is not None
    ratio = float(published[1])
    assert (told[1], told[2]) == (f"{ratio:.2g}", f"{ratio:.2f}")
    assert re.search(r"an MLflow registry starts: \d+ s so far", output)
    assert picture.shape[0] > 500 and picture.shape[1] > 1000 and picture.std() > 0.01
    assert processes_of(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.long
def test_without_keep_the_demo_does_what_a_person_on_call_does(temporary: Path, tmp_path: Path) -> None:
    with demo(temporary, tmp_path / "picture.png") as child:
        output, _ = child.communicate(timeout=6 * PATIENCE_SECONDS)
    assert child.returncode == 0, output
    after = output.partition(TITLE)[2]
    told = ("$ robmon incident http://127.0.0.1:", "digits: version 2 is worse than version 1: ")
    told += ("$ robmon rollback digits@champion --yes", "champion of digits was moved from version 2 to version 1.")
    places = [after.find(text) for text in (*told, "RESOLVED: ")]
    assert -1 not in places and places == sorted(places), output
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        pytest.param(signal.SIGTERM, "an MLflow registry starts ...", marks=pytest.mark.long),
        (signal.SIGKILL, "two digit classifiers are trained and registered ..."),
        pytest.param(signal.SIGINT, "version 1 loaded in robmon's worker", marks=pytest.mark.long),
    ],
)
def test_an_interrupt_leaves_nothing(number: signal.Signals, moment: str, temporary: Path, tmp_path: Path) -> None:
    """Whichever signal comes, at whatever moment: no process, no folder, no picture."""
    png = tmp_path / "picture.png"
    with demo(temporary, png) as child:
        read_until(child, moment)
        wait_until(lambda: len(processes_of(temporary)) >= 3, PATIENCE_SECONDS, "the demo has started its processes")
        child.send_signal(number)
        child.wait(PATIENCE_SECONDS)
        if number == signal.SIGKILL:  # nobody is left to wait for the clean-up
            assert child.returncode == -number
            wait_until(lambda: not processes_of(temporary), PATIENCE_SECONDS, "the warden has ended everything")
        else:
            assert child.returncode == 128 + number
        assert processes_of(temporary) == []
        assert list(temporary.iterdir()) == []
    assert not png.exists()


def test_a_process_that_dies_is_told_with_what_it_printed(temporary: Path, tmp_path: Path) -> None:
    """Exit status 1 and the name of what failed, not a wait for something that cannot come."""
    with demo(temporary, tmp_path / "picture.png") as child:
        read_until(child, "an MLflow registry starts ...")
        registry = wait_until(lambda: registry_of(temporary), PATIENCE_SECONDS, "the registry is started")
        registry.kill()
        output, _ = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 1
    assert "MLflow registry ended with status -9." in output
    assert processes_of(temporary) == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "flags", "what", "extra"),
    [
        ("sklearn", [], "the demo", "demo"),
        ("torch", ["--images"], "the demo with images", "torch"),
        ("PIL", ["--images"], "the demo with images", "images"),
    ],
)
def test_missing_packages_are_one_sentence(module: str, flags: list[str], what: str, extra: str) -> None:
    """Exit status 2, and what to install."""
    hide = f"import sys; sys.modules['{module}'] = None; from robmon.cli.main import main; main({['demo', *flags]})"
    child = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert child.returncode == 2
    told = f"robmon: {what} needs {module}, which is not installed: pip install 'robmon[{extra}]'\n"
    assert child.stderr == told


@pytest.mark.long
def test_with_images_jpeg_and_thumbnails_take_their_turns(temporary: Path, tmp_path: Path) -> None:
    with demo(temporary, tmp_path / "picture.png", sys.executable, "--images") as child:
        output, _ = child.communicate(timeout=WHOLE_DEMO_SECONDS)
    assert child.returncode == 0, output
    assert TITLE in output.splitlines()
    row = r"^(\w+) ([\d.]+) +([\d.e-]+) -> ([\d.e-]+) +([\d.]+) +([\d.]+) % -> ([\d.]+) % +([\d.e-]+) -> ([\d.e-]+) *$"
    rows = {(noise, level): [*map(float, rest)] for noise, level, *rest in re.findall(row, output, re.MULTILINE)}
    gaussian = [("gaussian", level) for level in ("0.1", "0.2", "0.4", "0.8")]
    further = [("jpeg", "50"), ("jpeg", "75"), ("thumbnail", "0.25"), ("thumbnail", "0.5")]
    assert sorted(rows) == sorted([*gaussian, *further])
    for name, (old, new, ratio, *agreements, moves_less, moves_less_after) in rows.items():
        assert ratio == pytest.approx(new / old, rel=0.02), name
        assert all(20 < each <= 100 for each in agreements), name
        assert 0 < moves_less < 1 and 0 < moves_less_after < 1, name
    assert rows["gaussian", "0.8"][2] > 1.1, "the version that was trained without noise moves farther"
    assert rows["jpeg", "50"][0] < rows["jpeg", "75"][0] and rows["thumbnail", "0.25"][0] < rows["thumbnail", "0.5"][0]
    assert re.search(r"^Pictures: .* no trial bound", output, re.MULTILINE)
    assert imread(tmp_path / "picture.png", format="png").shape[1] > 2000, "a third panel"
    hold_candidate(output)
    assert processes_of(temporary) == []
    assert list(temporary.iterdir()) == []


def hold_candidate(output: str) -> None:
    """After the roll-back a candidate is made of the fragile version, served and judged, and is the better for it."""
    after = output.partition("RESOLVED: ")[2]
    told = (
        "$ robmon stabilise models:/digits/2 --data training.npy ",
        "registered: models:/digits/3. No alias was moved",
    )
    told += ("set_registered_model_alias('digits', 'champion', '3')", "champion is version 3")
    told += ("PASSED: ", "All three versions", "PASSED: digits version 3 against version 1")
    places = [after.find(text) for text in told[:-1]] + [after.rfind(told[-1])]
    assert -1 not in places and places == sorted(places), output
    [(old, fragile, candidate)] = re.findall(r"^noise MSE at 0.8 +(\S+) +(\S+) +(\S+) *$", after, re.MULTILINE)
    assert float(candidate) < float(fragile) and float(old) < float(fragile)
    [accuracies] = re.findall(r"^right without noise +(\S+) % +(\S+) % +(\S+) % *$", after, re.MULTILINE)
    assert all(float(each) > 90 for each in accuracies)
    [(worse, better)] = re.findall(
        r"^verdict against 1 +accepted +(\S+) regressed +(\S+) passed *$", after, re.MULTILINE
    )
    assert float(better) <= 1.1 < float(worse)


def test_a_picture_that_cannot_be_written_is_told_at_once(temporary: Path, tmp_path: Path) -> None:
    """Exit status 2 before anything is started."""
    with demo(temporary, tmp_path / "nowhere" / "picture.png") as child:
        output, _ = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 2
    assert "nowhere/picture.png cannot be written" in output
