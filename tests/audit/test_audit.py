"""A registry audited on this machine: real versions, real processes, killed for what their models do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import psutil
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from robmon.audit.audit import audit, plan
from robmon.audit.inputs_map import AuditedOn
from robmon.audit.selection import pick
from robmon.audit.store import file_of, open_place, result_of
from robmon.audit.task import Task, failed
from robmon.errors import InvalidInputError
from robmon.models.registry.listing import ListedVersion, list_versions
from robmon.models.registry.registry import Registry
from tests.audit.registries import ManyVersions, many_versions
from tests.cli.test_commands import clean, robmon
from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until

NAME = "odd <script>alert(1)"
DEADLINE = 60
MEMORY_BYTES = 1_000_000_000


def run(registry: ManyVersions, *words: str, out: str = "out", **environment: str) -> Any:
    given = ["--inputs", str(registry.map), "--out", out, "--tracking-uri", registry.tracking_uri]
    return robmon("audit", *(words or ("models:/*",)), *given, cwd=registry.folder, **environment)


def results(folder: Path) -> dict[int, dict[str, Any]]:
    found = [json.loads(file.read_text()) for file in folder.rglob("versions/*/*.json")]
    return {int(result["version"]): result for result in found}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> ManyVersions:
    """Two versions that behave, one that exits and one that raises, all audited once."""
    made = many_versions(tmp_path_factory.mktemp("audit"), mlflow_template)
    made.add(NAME, [(1.0, "behaves"), (0.8, "exits"), (1.3, "behaves"), (1.0, "raises")])
    made.client().set_registered_model_alias(NAME, "champion", "3")
    return made


@pytest.fixture(scope="module")
def audited(registry: ManyVersions) -> Any:
    return run(registry, "models:/*", "--workers", "2", "--json", "copy.json", MLFLOW_TRACKING_PASSWORD="hush-hush")


def test_a_version_that_dies_costs_its_own_result(registry: ManyVersions, audited: Any) -> None:
    assert audited.returncode == 1, audited.stderr
    found = results(registry.folder / "out")
    assert {number: result["outcome"] for number, result in found.items()} == {
        1: "ok",
        2: "failed",
        3: "ok",
        4: "failed",
    }
    assert (found[2]["reason"], found[2]["why"]) == ("crash", "it exited with status 3")
    assert found[4]["reason"] == "not_loadable" and "ValueError" in found[4]["why"]
    assert "not to my taste" not in json.dumps(found)  # the text of the model's own exception may hold inputs
    assert "2 of 4 versions have a result." in audited.stdout


def test_versions_are_ranked_as_robmon_rank_ranks_them(registry: ManyVersions, audited: Any) -> None:
    content = json.loads((registry.folder / "out" / "audit.json").read_text())
    (group,) = content["groups"]
    models = {model["name"]: model for model in group["ranking"]["models"]}
    assert list(models) == [f"{NAME}/1", f"{NAME}/3 (champion)"]
    uris = [f"models:/{NAME}/{number}" for number in (1, 3)]
    options = ["--inputs", "rows.csv", "--target", "y", "--trials", "19", "--levels", "0.1 0.3", "--no-picture"]
    done = robmon("rank", *uris, *options, "--tracking-uri", registry.tracking_uri, cwd=registry.folder)
    assert done.returncode == 0, done.stderr
    ranked = json.loads((registry.folder / "ranking.json").read_text())
    assert [model["scores"] for model in ranked["models"]] == [model["scores"] for model in models.values()]
    assert [model["slope"] for model in ranked["models"]] == [model["slope"] for model in models.values()]
    assert [each["reason"] for each in content["failures"]] == ["crash", "not_loadable"]
    assert json.loads((registry.folder / "copy.json").read_text()) == content


def test_the_page_needs_no_network_and_takes_names_for_text(registry: ManyVersions, audited: Any) -> None:
    page = (registry.folder / "out" / "audit.html").read_text()
    assert "<script" not in page and "&lt;script&gt;alert(1)/3 (champion)" in page
    assert "prefers-color-scheme: dark" in page and "default-src 'none'" in page
    assert "it exited with status 3" in page
    assert "http" not in page.replace("http-equiv", "")


def test_no_credential_is_in_what_is_written(registry: ManyVersions, audited: Any) -> None:
    written = [file.read_text() for file in (registry.folder / "out").rglob("*.*") if file.is_file()]
    assert len(written) == 7 and not any("hush" in text for text in written)


def test_what_is_there_is_not_done_again_and_comes_out_the_same(registry: ManyVersions, audited: Any) -> None:
    before = {file: file.stat().st_mtime_ns for file in (registry.folder / "out").rglob("versions/*/*.json")}
    again = run(registry, "models:/*")
    assert again.returncode == 1 and "4 of 4 versions have their result already" in again.stderr
    assert {file: file.stat().st_mtime_ns for file in (registry.folder / "out").rglob("versions/*/*.json")} == before

    alone = run(registry, "models:/odd*", "--versions", "alias:champion", "--workers", "1", out="other")
    assert alone.returncode == 0, alone.stderr
    (file,) = (registry.folder / "other").rglob("versions/*/*.json")
    assert file.read_bytes() == next(each for each in before if each.name == file.name).read_bytes()
    assert "there is one version alone" in alone.stdout


def test_a_version_that_hangs_is_killed_at_its_deadline(tmp_path: Path, mlflow_template: Path) -> None:
    made = many_versions(tmp_path, mlflow_template)
    made.add("sleeper", [(1.0, "hangs")])
    began = time.monotonic()
    done = run(made, "models:/*", "--max-seconds", "5")
    assert done.returncode == 1
    assert results(tmp_path / "out")[1]["why"] == "no result within 5 s"
    assert time.monotonic() - began < PATIENCE_SECONDS


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_gpu_that_is_not_there_is_told_before_anything_is_looked_at(tmp_path: Path, engine: str) -> None:
    """Before the registry is asked, and before Ray is started: neither is there."""
    (tmp_path / "map.yaml").write_text('"*": nowhere.csv\n')
    given = ["--inputs", "map.yaml", "--out", "out", "--tracking-uri", "http://127.0.0.1:1", "--engine", engine]
    done = robmon("audit", "models:/*", *given, "--gpus", "1", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert done.stderr == "robmon: 1 GPUs are requested for each version, and this machine has 0\n"
    assert not (tmp_path / "out").exists()


def test_a_mistake_in_the_map_is_told_before_any_version_is_loaded(registry: ManyVersions, tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(f'"odd*": {{inputs: {registry.folder}/rows.csv, target: why}}\n')
    given = ["--inputs", "map.yaml", "--out", "out", "--tracking-uri", registry.tracking_uri]
    done = robmon("audit", "models:/*", *given, cwd=tmp_path)
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert sentence == f"robmon: odd* of the map: {registry.folder}/rows.csv has no column why for the targets"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["models:/*", "--versions", "newest"], "versions 'newest' are not known: say all, latest:3"),
        (["models:/nix"], "nothing to audit"),
        (["models:/odd*/1"], "names no registered models"),
        (["models:/*", "--filter", "nonsense !!"], "does not understand the filter 'nonsense !!'"),
        (["models:/*", "--filter", "tags.stage = 'none'"], "nothing to audit"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(registry: ManyVersions, words: list[str], sentence: str) -> None:
    done = run(registry, *words)
    assert done.returncode == 2 and sentence in done.stderr, done.stderr


def test_versions_are_picked_by_alias_number_tag_and_name(registry: ManyVersions) -> None:
    source = Registry(registry.tracking_uri)
    listed = list_versions(source)
    assert [each.number for each in pick(listed, ["models:/*"], "latest:3")] == [2, 3, 4]
    assert [each.number for each in pick(listed, ["models:/odd*"], "alias:champion")] == [3]
    assert [each.number for each in list_versions(source, "tags.stage = 'even'")] == [2, 4]
    assert len({each.identity for each in listed}) == 4


@pytest.mark.parametrize("out", ["memory://audits/{name}", "file://{folder}/{name}", "{folder}/{name}"])
def test_results_are_kept_in_any_place(registry: ManyVersions, tmp_path: Path, out: str) -> None:
    url = out.format(folder=tmp_path, name="kept")
    rows = registry.folder / "rows.csv"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    versions = list_versions(Registry(registry.tracking_uri))
    done: list[Task] = []

    def engine(tasks, inputs, tell):
        for task in tasks:
            assert inputs[task.inputs_sha256].read_bytes() == rows.read_bytes()
            done.append(task)
            tell(task, failed("crash" if task.number != 2 else "registry_unreachable", "it ended"), 0.1)

    for expected in (4, 1):  # nothing is known of the one that the registry did not give
        place = open_place(url)
        made = plan(versions, [AuditedOn("*", str(rows))], place, scratch)
        found = audit(made, place, engine)
        assert len(done) == expected and len(found.failures) == 4
        done.clear()
    task = made.tasks[0][0]
    assert result_of(place, task)["reason"] == "crash"
    place.write(file_of(task), b'{"half')
    assert result_of(place, task) is None
    other = plan(versions, [AuditedOn("*", str(rows), seed=1)], place, scratch)
    assert len(other.missing) == 4  # other settings, other results


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be written"):
        open_place(str(tmp_path / "file" / "out"))


def test_an_error_of_a_stores_own_is_told_by_its_kind(tmp_path: Path) -> None:
    """Those of a store's driver derive from no common class, and their text may hold credentials."""

    class NoCredentialsError(Exception):
        pass

    class Refusing(MemoryFileSystem):
        def _open(self, path, mode="rb", **options):
            raise NoCredentialsError("key hush-hush")

        pipe_file = _open

    fsspec.register_implementation("refusing", Refusing, clobber=True)
    with pytest.raises(InvalidInputError, match=r"^refusing://a/out cannot be written: NoCredentialsError$"):
        open_place("refusing://a/out")
    version = ListedVersion("m", 1, (), {}, "")
    with pytest.raises(
        InvalidInputError, match=r"^\* of the map: refusing://a/rows\.csv cannot be read: NoCredentialsError$"
    ):
        plan([version], [AuditedOn("*", "refusing://a/rows.csv")], open_place(str(tmp_path / "out")), tmp_path)


def driver(registry: ManyVersions, *words: str) -> subprocess.Popen[bytes]:
    given = ["--inputs", str(registry.map), "--out", "out", "--tracking-uri", registry.tracking_uri]
    command = [sys.executable, "-m", "robmon", "audit", "models:/*", *given, *words]
    return subprocess.Popen(
        command, cwd=registry.folder, env=clean({}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill_after(registry: ManyVersions, count: int, *words: str) -> dict[Path, int]:
    """Kill the driver once so many results are there; returns them, with their times."""
    process = driver(registry, *words)
    try:
        wait_until(lambda: len(results(registry.folder / "out")) >= count, what=f"{count} results")
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert alive == []  # nothing outlives the driver
    return {file: file.stat().st_mtime_ns for file in (registry.folder / "out").rglob("versions/*/*.json")}


@pytest.mark.long
def test_a_driver_killed_half_way_does_only_the_rest(tmp_path: Path, mlflow_template: Path) -> None:
    made = many_versions(tmp_path, mlflow_template)
    made.add("plain", [(1.0 + 0.1 * place, "behaves") for place in range(3)])
    before = kill_after(made, 1, "--workers", "1")
    assert 1 <= len(before) < 3
    done = run(made, "models:/*")
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} of 3 versions have their result already" in done.stderr
    assert len(results(tmp_path / "out")) == 3
    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.long
def test_thirty_versions_of_which_three_misbehave(tmp_path: Path, mlflow_template: Path) -> None:
    made = many_versions(tmp_path, mlflow_template)
    odd = {7: "exits", 13: "hangs", 21: "leaks"}
    made.add("many", [(1.0 + 0.01 * place, odd.get(place, "behaves")) for place in range(30)])
    limits = ["--workers", "2", "--max-seconds", str(DEADLINE), "--memory-bytes", str(MEMORY_BYTES)]
    before = kill_after(made, 12, *limits)
    done = run(made, "models:/*", *limits)
    assert done.returncode == 1, done.stderr
    found = results(tmp_path / "out")
    reasons = {number - 1: result["reason"] for number, result in found.items() if result["outcome"] != "ok"}
    assert reasons == {7: "crash", 13: "timeout", 21: "out_of_memory"}
    assert sum(result["outcome"] == "ok" for result in found.values()) == 27
    assert {file: file.stat().st_mtime_ns for file in before} == before
    content = json.loads((tmp_path / "out" / "audit.json").read_text())
    ranked = [model["name"] for model in content["groups"][0]["ranking"]["models"]]
    assert len(ranked) == 27 and content["groups"][0]["versions"][0]["version"] == "1"
