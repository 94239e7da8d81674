"""Objects in a bucket, read with the real driver from a server that speaks S3 over HTTP."""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Iterator

import fsspec
import pandas as pd
import pytest

from robmon.inputs.readers.answers import NoMoreRows, ReadFailure
from robmon.inputs.readers.listing import BLOCK_BYTES, find_files
from robmon.processes.messages.reader import Tail
from robmon.reader.tailer import WHOLE_SECONDS, Tailer
from tests.inputs.readers.test_tailer import Reader, line, numbers
from tests.object_store import ObjectStore, object_store

FOLDER = "s3://captures/digits/"


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An empty bucket, and an environment that has the credentials of one who may read it."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield server
    found = server.client.list_objects_v2(Bucket="captures").get("Contents", [])
    for each in found:
        server.client.delete_object(Bucket="captures", Key=each["Key"])


def reader(url: str = FOLDER, max_body_bytes: int = 1000) -> Reader:
    """A reader at this moment, as the server tells the time."""
    return Reader(url, max_body_bytes=max_body_bytes, now=time.time())


def why(url: str) -> str:
    """What the answer to a first look says of a store that cannot be read."""
    tailer = Tailer(Tail(url=url, max_age_seconds=3600, max_body_bytes=1000, positions={}))
    answer, _ = tailer.next()
    assert isinstance(answer, ReadFailure) and answer.reason == "unavailable"
    return answer.message or answer.error


def test_new_objects_are_found_and_read_once(store: ObjectStore) -> None:
    looks = reader()
    assert looks.look() == []
    store.put("digits/2026/11/a.jsonl", line(1) + line(2))
    store.put("digits/", "")  # as consoles mark a folder
    store.put("other/b.jsonl", line(9))
    assert numbers(looks.look()) == [1, 2]
    store.put("digits/2026/12/b.jsonl", line(3))
    assert numbers(looks.look()) == [3]
    looks.restart()
    assert looks.look() == [] and looks.failures == []


@pytest.mark.parametrize(
    "url", ["s3://captures/digits/**/*.jsonl", "s3://captures/**", "s3://captures/digits/x/a.jsonl"]
)
def test_globs_and_single_objects(store: ObjectStore, url: str) -> None:
    store.put("digits/x/a.jsonl", line(1))
    store.put("digits/x/", "")
    assert numbers(reader(url).look()) == [1]


def test_an_object_that_is_written_anew_with_more_lines(store: ObjectStore) -> None:
    """Objects are not appended to: a logger that adds a line writes all of them."""
    store.put("digits/a.jsonl", line(1) + line(2))
    looks = reader()
    looks.look()
    store.put("digits/a.jsonl", line(1) + line(2) + line(3))
    assert numbers(looks.look()) == [3]
    looks.restart()
    assert looks.look() == []


def test_an_object_that_is_replaced_within_the_same_second_by_one_of_the_same_size(store: ObjectStore) -> None:
    store.put("digits/a.jsonl", line(1))
    looks = reader()
    looks.look()
    store.put("digits/a.jsonl", line(2))
    assert numbers(looks.look()) == [2]


def test_tables(store: ObjectStore) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    parquet = io.BytesIO()
    frame.to_parquet(parquet, index=False)
    store.put("digits/a.parquet", parquet.getvalue())
    assert numbers(reader().look()) == [1, 2, 3]
    store.client.delete_object(Bucket="captures", Key="digits/a.parquet")
    store.put("digits/b.csv", frame.to_csv(index=False))
    assert reader().look() == [b"a\n1", b"a\n2", b"a\n3"]


def test_compressed_objects(store: ObjectStore) -> None:
    store.put("digits/a.jsonl.gz", gzip.compress("".join(map(line, range(20_000))).encode()))
    looks = reader()
    assert looks.look() == []
    looks.now += WHOLE_SECONDS + 1
    assert numbers(looks.look()) == list(range(20_000))
    assert looks.look() == [] and looks.failures == []


def test_the_last_line_of_an_object(store: ObjectStore) -> None:
    store.put("digits/a.jsonl", line(1) + '{"a": 2}')
    looks = reader()
    assert numbers(looks.look()) == [1]
    looks.now += WHOLE_SECONDS + 1
    assert numbers(looks.look()) == [2]


def test_of_a_large_object_no_more_is_fetched_than_is_read(store: ObjectStore) -> None:
    record = '{"a": "' + "x" * 2**16 + '"}\n'
    store.put("digits/a.jsonl", record * 400)
    (found,) = find_files(FOLDER)
    assert found.size > 6 * BLOCK_BYTES
    with found.open() as opened:
        opened.read(1024)
        opened.seek(found.size - 10)
        opened.read(10)
        assert opened.cache.total_requested_bytes < 2 * BLOCK_BYTES  # type: ignore[attr-defined]
    assert len(reader(max_body_bytes=2**20).look()) == 400


def test_a_bucket_that_is_not_there(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = store.client._request_signer._credentials
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", writer.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", writer.secret_key)
    for url in ("s3://nosuch/digits/", "s3://nosuch/*.jsonl", "s3://nosuch/a.jsonl"):
        assert why(url) == "there is no bucket nosuch"


def test_a_folder_that_is_not_there_yet(store: ObjectStore) -> None:
    tailer = Tailer(Tail(url="s3://captures/later/", max_age_seconds=3600, max_body_bytes=1000, positions={}))
    assert tailer.next()[0] == NoMoreRows(gone=[], files=0)
    store.put("later/a.jsonl", line(1))
    assert numbers(reader("s3://captures/later/").look()) == [1]


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "wrong-9421")
    for url in (FOLDER, f"{FOLDER}*.jsonl", f"{FOLDER}a.jsonl"):
        assert why(url) == "access is refused: check the credentials, and that they allow to list and read"


def test_objects_that_these_credentials_may_not_list(store: ObjectStore) -> None:
    assert why("s3://nosuch/").startswith("access is refused")


def test_a_server_that_is_down_and_comes_back(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # the driver tries again often enough
    looks = reader()
    store.put("digits/a.jsonl", line(1))
    assert numbers(looks.look()) == [1]
    with store.stopped():
        assert why(FOLDER) == "EndpointConnectionError"
        assert looks.look() == [] and looks.failures == ["unavailable"]
    store.put("digits/b.jsonl", line(2))
    assert numbers(looks.look()) == [2]
