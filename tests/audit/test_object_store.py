"""An audit whose inputs and results lie in an object store: moto's S3 server, asked by s3fs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from robmon.audit.audit import audit, plan
from robmon.audit.inputs_map import AuditedOn
from robmon.audit.store import open_place
from robmon.audit.task import failed
from robmon.errors import RobmonError
from robmon.models.registry.listing import ListedVersion
from tests.audit.registries import ManyVersions, many_versions
from tests.cli.test_commands import robmon
from tests.object_store import ObjectStore, object_store

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'robmon[s3]'")

VERSIONS = [ListedVersion("m", number, (), {}, str(number)) for number in (1, 2, 3)]
ENTRY = AuditedOn("*", "s3://captures/rows.csv")


def use(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)


def failing(tasks: Any, inputs: Any, tell: Any) -> None:
    for task in tasks:
        tell(task, failed("crash", "it ended"), 0.1)


def test_results_are_written_whole_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store(may_write=True) as store:
        use(store, monkeypatch)
        store.put("rows.csv", "a\n1.5\n2.5\n")
        place = open_place("s3://captures/audit")
        with store.stopped(), pytest.raises(RobmonError, match=r"^s3://captures/audit cannot be written any more: .*"):
            made = plan(VERSIONS[:1], [AuditedOn("*", str(written(tmp_path)))], Forgetful(place), tmp_path)
            audit(made, place, failing)
        for expected in (3, 0):
            made = plan(VERSIONS, [ENTRY], open_place("s3://captures/audit"), tmp_path)
            assert len(made.missing) == expected
            found = audit(made, place, failing)
            assert len(found.failures) == 3
        listed = store.client.list_objects_v2(Bucket="captures", Prefix="audit/")["Contents"]
        names = sorted(each["Key"] for each in listed)
        assert len(names) == 4 and names[0] == "audit/README.txt"
        body = store.client.get_object(Bucket="captures", Key=names[1])["Body"].read()
        assert json.loads(body)["reason"] == "crash"
        place.write(names[1].removeprefix("audit/"), body[: len(body) // 2])  # as of a store that does not write whole
        assert len(plan(VERSIONS, [ENTRY], place, tmp_path).missing) == 1


class Forgetful:
    """A place of which nothing is read: the store does not answer."""

    def __init__(self, place: Any) -> None:
        self.url, self.write = place.url, place.write

    def read(self, name: str) -> None:
        return None


def written(folder: Path) -> Path:
    (folder / "rows.csv").write_text("a\n1.5\n2.5\n")
    return folder / "rows.csv"


def test_who_may_only_read_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store() as store:
        use(store, monkeypatch)
        with pytest.raises(RobmonError, match=r"^s3://captures/audit cannot be written: "):
            open_place("s3://captures/audit")
        with pytest.raises(RobmonError, match=r"^s3://nowhere/audit cannot be written: "):
            open_place("s3://nowhere/audit")


@pytest.mark.long
def test_an_audit_from_store_to_store_goes_on_and_is_that_of_a_folder(tmp_path: Path, mlflow_template: Path) -> None:
    made = many_versions(tmp_path, mlflow_template)
    made.add("plain", [(1.0, "behaves"), (1.2, "behaves"), (0.9, "exits")])
    assert run(made, "out").returncode == 1
    with object_store(may_write=True) as store:
        store.put("in/rows.csv", (tmp_path / "rows.csv").read_text())
        made.map.write_text('"*": {inputs: s3://captures/in/rows.csv, target: y, trials: 19, levels: [0.1, 0.3]}\n')
        first = run(made, "s3://captures/audit", "--versions", "latest:2", **store.environment)
        assert first.returncode == 1, first.stderr
        second = run(made, "s3://captures/audit", **store.environment)
        assert "2 of 3 versions have their result already" in second.stderr
        for file in (tmp_path / "out" / "versions").rglob("*.json"):
            key = f"audit/{file.relative_to(tmp_path / 'out')}"
            assert store.client.get_object(Bucket="captures", Key=key)["Body"].read() == file.read_bytes()
        content = json.loads(store.client.get_object(Bucket="captures", Key="audit/audit.json")["Body"].read())
        local = json.loads((tmp_path / "out" / "audit.json").read_text())
        assert content["groups"][0].pop("inputs") == "s3://captures/in/rows.csv"
        del local["groups"][0]["inputs"]
        assert content == local
        assert b"<html" in store.client.get_object(Bucket="captures", Key="audit/audit.html")["Body"].read()
        assert store.secret not in second.stdout + second.stderr


def run(registry: ManyVersions, out: str, *words: str, **environment: str) -> Any:
    given = ["--inputs", str(registry.map), "--out", out, "--tracking-uri", registry.tracking_uri, *words]
    return robmon("audit", "models:/*", *given, cwd=registry.folder, **environment)
