"""Fresh virtual environments that hold robmon and what it declares, and nothing else.

robmon itself is built as a wheel and unpacked. Everything else is linked from the environment of the tests: of each
distribution that `Requires-Dist` reaches, its own files. So a package that is imported and not declared is not there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import cache_from_source
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.patience import PATIENCE_SECONDS

REPOSITORY = Path(__file__).resolve().parents[1]


class Environment:
    """A virtual environment with robmon and some of its extras."""

    def __init__(self, folder: Path, *extras: str) -> None:
        """Makes it in `folder`, which must not be there yet."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self._packages = folder / "lib" / version / "site-packages"
        with zipfile.ZipFile(_wheel(folder)) as wheel:
            wheel.extractall(self._packages)
        _share_compiled(self._packages)
        robmon = next(iter(metadata.distributions(name="robmon", path=[str(self._packages)])))
        found = {"robmon": robmon}
        for name in _closure(robmon, extras, found):
            _link(found[name], self._packages)
        for distribution in found.values():
            self._write_scripts(distribution)

    def run(self, *command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run its Python."""
        return subprocess.run(
            [str(self.python), *map(str, command)],
            cwd=cwd,
            env=self.variables | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables in which nothing of the tests' own environment is found."""
        dropped = ("ROBMON_", "MLFLOW_TRACKING", "PYTHON", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        return kept | {"PATH": f"{self.python.parent}{os.pathsep}/usr/bin:/bin"}

    def _write_scripts(self, distribution: metadata.Distribution) -> None:
        for entry in distribution.entry_points.select(group="console_scripts"):
            script = self.python.parent / entry.name
            module, _, attribute = entry.value.partition(" [")[0].partition(":")
            script.write_text(
                f"#!{self.python}\nimport sys\nfrom {module} import {attribute}\nsys.exit({attribute}())\n"
            )
            script.chmod(0o755)


@cache
def _built() -> bytes:
    """The wheel of the repository as it stands."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
        subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.read_bytes()


def _wheel(folder: Path) -> Path:
    file = folder / "robmon.whl"
    file.write_bytes(_built())
    return file


def _share_compiled(packages: Path) -> None:
    """Let robmon's modules be as old as those of the repository, so that what is compiled of those is used."""
    for target in packages.glob("robmon/**/*.py"):
        source = REPOSITORY / target.relative_to(packages)
        if source.exists() and source.read_bytes() == target.read_bytes():
            times = source.stat()
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
            _link_compiled(source, target)


def _link_compiled(source: Path, target: Path) -> None:
    """What Python keeps of a module beside it, and writes anew, in place of the link, where that is no more true."""
    compiled, link = (Path(cache_from_source(str(file))) for file in (source, target))
    if source.suffix == ".py" and compiled.exists():
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(compiled)


def _closure(
    distribution: metadata.Distribution, extras: tuple[str, ...], found: dict[str, metadata.Distribution]
) -> Iterator[str]:
    """The names of all that a distribution requires with these extras, each once; added to `found`."""
    for text in distribution.requires or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in (*extras, "")
        ):
            continue
        name = canonicalize_name(requirement.name)
        is_new = name not in found
        if is_new:
            found[name] = metadata.distribution(requirement.name)
            assert requirement.specifier.contains(found[name].version, prereleases=True), f"{text} is not met"
            yield name
        if is_new or requirement.extras:
            yield from _closure(found[name], tuple(requirement.extras), found)


@cache
def _owners() -> Counter[str]:
    """How many distributions have files below each top-level name."""
    return Counter(top for each in metadata.distributions() for top in _tops(each))


@cache
def _tops(distribution: metadata.Distribution) -> frozenset[str]:
    return frozenset(file.parts[0] for file in distribution.files or () if file.parts[0] != "..")


def _link(distribution: metadata.Distribution, packages: Path) -> None:
    """Link a distribution's files: whole folders where they are its own alone."""
    for top in _tops(distribution):
        source = Path(str(distribution.locate_file(top)))
        if _owners()[top] == 1 or not source.is_dir():
            target = packages / top
            if not target.exists():
                target.symlink_to(source)
            continue
        for file in distribution.files or ():
            if PurePosixPath(file).parts[0] == top:
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():  # mlflow and mlflow-skinny both list some
                    source = Path(str(distribution.locate_file(file)))
                    target.symlink_to(source)
                    _link_compiled(source, target)
