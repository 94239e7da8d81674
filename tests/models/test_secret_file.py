"""A secret's file, and what may lie in its place."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from robmon.errors import SettingsError
from robmon.models.access import EndpointAccess
from robmon.models.bearer import bearer_token
from robmon.models.secret_file import MAX_SECRET_BYTES, read_secret


def _socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(file))


@pytest.mark.parametrize(
    ("put", "why"),
    [
        (os.mkfifo, "it is no regular file"),
        (Path.mkdir, "Is a directory"),
        (lambda file: file.symlink_to("/dev/zero"), "it is no regular file"),
        (lambda file: file.symlink_to(file), "Too many levels of symbolic links"),
        (_socket, "No such device or address"),
        (lambda file: file.write_bytes(b"a" * (MAX_SECRET_BYTES + 1)), "it is larger than 64 KiB"),
    ],
)
def test_what_is_no_secret_is_told_at_once_and_leaves_nothing_open(
    put: Callable[[Path], object], why: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    put(file)
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(OSError) as caught:
        read_secret(file)
    assert caught.value.strerror == why
    with pytest.raises(SettingsError, match=f"model.token_file = '.*' cannot be read: {why}"):
        bearer_token(EndpointAccess(token_file=str(file)), "model.token_file")
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_the_largest_secret(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"a" * MAX_SECRET_BYTES)
    assert read_secret(file) == b"a" * MAX_SECRET_BYTES
