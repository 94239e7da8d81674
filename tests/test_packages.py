"""What robmon imports, held against what it declares."""

from __future__ import annotations

import ast
import importlib
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import robmon
from robmon import extras
from robmon.cli.main import main
from tests.environment import REPOSITORY

PACKAGE = Path(robmon.__file__).parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ONLY_OF_THE_DEMO = {"sklearn": "demo"}


def declared(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def imported() -> dict[str, set[str]]:
    """Every module of others that robmon imports, at whatever depth, with the files that do."""
    found: dict[str, set[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names} - {"robmon"} - sys.stdlib_module_names:
                found.setdefault(top, set()).add(str(file.relative_to(PACKAGE)))
    return found


def test_every_import_is_of_a_declared_package() -> None:
    """In the dependencies, or in the extra that the sentence on a missing one names."""
    names, base = metadata.packages_distributions(), declared(PROJECT["dependencies"])
    for module, files in imported().items():
        distributions = set(map(canonicalize_name, names[module]))
        if distributions & base:
            continue
        extra = (extras.EXTRAS | ONLY_OF_THE_DEMO).get(module)
        assert extra is not None, f"{module} is in no dependency and no extra; imported by {', '.join(sorted(files))}"
        assert distributions & declared(PROJECT["optional-dependencies"][extra]), f"{module} is not in {extra}"
        if module in ONLY_OF_THE_DEMO:
            assert all(file.startswith("demo/") for file in files)


def test_every_dependency_is_imported() -> None:
    names = metadata.packages_distributions()
    used = {canonicalize_name(each) for module in imported() for each in names[module]}
    assert declared(PROJECT["dependencies"]) - {"httptools"} <= used  # that one by uvicorn's protocol


@pytest.mark.parametrize("module", extras.EXTRAS)
def test_a_failed_import_is_told_only_where_an_extra_is_missing(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert extras.missing_extra(ImportError(name=module)) is None, "it is installed: the fault is another"
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        importlib.import_module(module)
    missing = extras.missing_extra(caught.value)
    assert str(missing) == f"{module} is not installed: pip install 'robmon[{extras.EXTRAS[module]}]'"
    assert extras.missing_extra(ImportError(name="no_such_module")) is None
    assert extras.missing_extra(ImportError("a broken library")) is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "assess --model models:/m/1 --inputs x.csv",
            "models:/m/1 needs mlflow, x.csv needs pandas, a picture needs matplotlib (or give --no-picture), which "
            "are not installed: pip install 'robmon[mlflow,files,plot]'",
        ),
        ("compare http://h/invocations runs:/1/m --inputs x.jsonl", "pip install 'robmon[mlflow,plot]'"),
        ("rank models:/m --inputs x.parquet --target y --no-picture", "pip install 'robmon[mlflow,files]'"),
        ("baseline --model models:/m/1 --inputs x.csv", "pip install 'robmon[mlflow,files]'"),
        ("check-config --model.uri models:/m@a --inputs.files s3://b/*.csv", "pip install 'robmon[mlflow,files,s3]'"),
        ("assess --model http://h/invocations --inputs x.csv --no-picture",
         "x.csv needs pandas, which is not installed: pip install 'robmon[files]'"),
    ],
)  # fmt: skip
def test_all_that_is_missing_is_told_at_once(
    words: str, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for module in extras.EXTRAS:
        monkeypatch.setitem(sys.modules, module, None)
    done = CliRunner().invoke(main, words.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("robmon: ") and done.stderr.endswith(f"{sentence}\n")
