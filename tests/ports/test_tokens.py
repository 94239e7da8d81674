"""Who gets in with which header."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from robmon.errors import SettingsError
from robmon.ports.access import Access
from robmon.settings import HttpSettings
from tests.ports.conftest import Port, closed, status

TOKEN = "c2VjcmV0LXRva2Vu"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def access(file: Path) -> Access:
    return Access("http", HttpSettings(token_file=file))


@pytest.fixture
def port(access: Access) -> Iterator[Port]:
    with Port(access=access, open_paths={"/healthz"}) as served:
        yield served


def ask(port: Port, *headers: str, path: str = "/") -> int:
    with port.connection() as client:
        client.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1"))
        return status(client)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_opens(port: Port, scheme: str) -> None:
    assert ask(port, f"Authorization: {scheme} {TOKEN}") == 200
    assert port.refused == {}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Authorization:"],
        ["Authorization: Bearer"],
        ["Authorization: Bearer "],
        [f"Authorization: {TOKEN}"],
        [f"Authorization: Bearer {TOKEN}x"],
        [f"Authorization: Bearer {TOKEN[:-1]}"],
        [f"Authorization: Bearer {TOKEN.lower()}"],
        [f"Authorization: Basic {TOKEN}"],
        [f"Authorization: Bearer {TOKEN}, Bearer {TOKEN}"],
        [f"Authorization: Bearer {TOKEN}", "Authorization: Bearer other"],
        ["Authorization: Bearer \xff\xfe"],
        [f"X-Authorization: Bearer {TOKEN}"],
    ],
)
def test_nothing_else_does(port: Port, headers: list[str]) -> None:
    assert ask(port, *headers) == 401
    assert port.refused == {"unauthorized": 1}
    assert port.requests == []


def test_a_refusal_says_what_is_wanted_and_reads_no_body(port: Port) -> None:
    with port.connection() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
        answer = client.recv(4096).lower()
        assert answer.startswith(b"http/1.1 401 ") and b"\r\nwww-authenticate: bearer\r\n" in answer
        assert closed(client)


def test_open_paths_need_no_token(port: Port) -> None:
    assert ask(port, path="/healthz") == ask(port, path="/healthz?x") == 200
    for path in ("/", "/metrics", "/healthz/", "/healthz/../metrics", "//healthz", "/HEALTHZ", "/nix"):
        assert ask(port, path=path) == 401, path


def test_tokens_replace_one_another_without_a_gap(port: Port, access: Access, file: Path) -> None:
    old, new = f"Authorization: Bearer {TOKEN}", "Authorization: Bearer bmV3"
    for content, admitted in ((f"{TOKEN}\nbmV3\n", (200, 200)), ("bmV3", (401, 200))):
        file.write_text(content)
        access.renew()
        assert (ask(port, old), ask(port, new)) == admitted


def test_a_bad_file_takes_no_token_away(port: Port, access: Access, file: Path) -> None:
    for content in ("", "two words"):
        file.write_text(content)
        with capture_logs() as lines:
            access.renew()
            access.renew()
        assert [line["event"] for line in lines] == ["tokens not replaced"]
        assert "two words" not in str(lines)
        assert ask(port, f"Authorization: Bearer {TOKEN}") == 200


def test_a_pipe_or_a_huge_file_in_its_place_holds_nothing_up(port: Port, access: Access, file: Path) -> None:
    """The event loop reads it: a pipe would wait for its writer, and a huge file take memory and time."""
    file.unlink()
    for put, why in (
        (lambda: os.mkfifo(file), "it is no regular file"),
        (lambda: file.symlink_to("/dev/zero"), "it is no regular file"),
        (lambda: file.symlink_to(file), "Too many levels of symbolic links"),
        (lambda: file.write_bytes(b"a" * 65537), "it is larger than 64 KiB"),
    ):
        put()
        with capture_logs() as lines:
            access.renew()
        assert [line["error"].endswith(f"cannot be read: {why}") for line in lines] == [True]
        assert ask(port, f"Authorization: Bearer {TOKEN}") == 200
        file.unlink()
        file.write_text(TOKEN)
        access.renew()
        file.unlink()


def test_a_folder_in_its_place_takes_no_descriptors(access: Access, file: Path) -> None:
    """It is looked at every few seconds, for as long as it is there."""
    file.unlink()
    file.mkdir()
    before = len([*Path("/proc/self/fd").iterdir()])
    with capture_logs() as lines:
        for _ in range(5):
            access.renew()
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    assert [line["error"].endswith("Is a directory") for line in lines] == [True]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"two words", b"Bearer abc", b"caf\xc3\xa9", b"a\x00b"])
def test_a_bad_file_is_told_in_one_sentence(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^http.token_file = '.*' must hold a token a line") as caught:
        Access("http", HttpSettings(token_file=file))
    assert "abc" not in str(caught.value) and "\n" not in str(caught.value)
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        Access("http", HttpSettings(token_file=file))
