"""A daemon that reads its inputs from files, and is killed while it does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.daemon import PASSWORD, ROWS, Daemon, Row, running_daemon
from tests.e2e.registry import COLUMNS
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.endpoint import Arrays, V2Model, serving
from tests.object_store import object_store


def lines(rows: Sequence[Row]) -> str:
    """Rows as a service's log has them."""
    return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows)


def append(file: Path, rows: Sequence[Row]) -> None:
    """Rows are logged in pieces that are no lines."""
    text = lines(rows)
    for at in range(0, len(text), 1000):
        with file.open("a") as stream:
            stream.write(text[at : at + 1000])


def received(daemon: Daemon) -> float:
    return daemon.count("robmon_inputs_received_total", source="file")


def wait_for_rows(daemon: Daemon, count: int) -> None:
    daemon.wait_for(lambda: received(daemon) >= count, f"{count} rows")
    assert received(daemon) == count


def summed(arrays: Arrays) -> Arrays:
    return {"y": arrays["length"] + arrays["width"]}


@pytest.fixture
def url() -> Iterator[str]:
    """An endpoint, because it takes no time to load."""
    with serving(V2Model(summed, "kserve", [])) as server:
        yield f"{server.url}/v2/models/digits/infer"


def test_no_row_is_lost_or_used_twice(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, url: str) -> None:
    files = tmp_path_factory.mktemp("files")
    log = files / "inputs.jsonl"
    settings = QUICK | {"inputs__files": str(files), "inputs__files_poll_seconds": 0.2}

    append(log, ROWS[:15])
    (files / "garbage.parquet").write_bytes(b"no table")
    with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
        wait_for_rows(daemon, 15)
        daemon.wait_for_assessments(outcome="skipped", reason="too_few_inputs")
        daemon.kill()

    with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
        wait_for_rows(daemon, 15)  # they were in the lost sample only
        append(log, ROWS[15:30])
        wait_for_rows(daemon, 30)
        daemon.wait_for_assessments()
        daemon.kill()

    with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
        log.rename(files / "yesterday.jsonl")
        append(log, ROWS[30:60])
        wait_for_rows(daemon, 30)  # of the new file alone
        daemon.wait_for_assessments()
        (reader,) = daemon.children("robmon.reader")
        reader.kill()
        append(log, ROWS[60:70])
        wait_for_rows(daemon, 40)
        daemon.wait_for_assessments()


@pytest.mark.long
def test_an_object_store_that_fails_and_comes_back(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = QUICK | {"inputs__files": "s3://captures/digits/", "inputs__files_poll_seconds": 0.2}
    with object_store(secret=PASSWORD) as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)

        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            daemon.told("no file of inputs found so far")
            store.put("digits/a.jsonl", lines(ROWS[:15]))
            store.put("digits/garbage.parquet", b"no table")
            wait_for_rows(daemon, 15)
            store.put("digits/a.jsonl", lines(ROWS[:30]))  # objects grow by being written anew
            wait_for_rows(daemon, 30)
            daemon.wait_for_assessments()
            daemon.kill()

        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            store.put("digits/b.jsonl", lines(ROWS[30:40]))
            wait_for_rows(daemon, 10)
            with store.stopped():
                daemon.told("files of inputs unavailable")
            store.put("digits/c.jsonl", lines(ROWS[40:60]))
            wait_for_rows(daemon, 30)
            (told,) = daemon.log("files of inputs unavailable")
            assert told["error"] == "they cannot be listed: EndpointConnectionError"
            daemon.told("files of inputs available again")
            daemon.wait_for_assessments()
            daemon.kill()

        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-nobody")
        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            (told,) = daemon.told("files of inputs unavailable")
            assert told["error"].startswith("access is refused")
            assert daemon.get("/healthz").status_code == 200 and received(daemon) == 0
