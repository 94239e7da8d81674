"""Files of tokens that are replaced by something else: nothing is held up, and the token before stays in force."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.campaign.test_clock import status, use_token
from tests.campaign.watch import watched
from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import summed
from tests.endpoint import V2Model, serving

TOKEN = "bXktc2VjcmV0LXRva2Vu"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Path]]:
    """A daemon and its file of tokens."""
    file = tmp_path_factory.mktemp("secret") / "token"
    file.write_text(TOKEN)
    folder = tmp_path_factory.mktemp("secrets")
    with serving(V2Model(summed, "kserve", [])) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(folder, url, NO_REGISTRY, http__token_file=file, **QUICK) as daemon:
            use_token(daemon, TOKEN)
            daemon.send()
            daemon.wait_for_assessments()
            yield daemon, file


def huge(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(300 * 2**20)


PUT: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "of 300 MB": huge,
    "empty": Path.touch,
    "removed": lambda file: None,
    "a folder": Path.mkdir,
    "garbage": lambda file: file.write_bytes(b"\x00\xff two words"),
}
RED = ("a FIFO", "of 300 MB")


@pytest.mark.campaign
@pytest.mark.parametrize("put", [pytest.param(name, marks=[pytest.mark.red] if name in RED else []) for name in PUT])
def test_a_file_of_tokens(put: str, shared: tuple[Daemon, Path]) -> None:
    daemon, file = shared
    told = len(daemon.log("tokens not replaced"))
    try:
        with watched(daemon, f"token file {put}"):
            file.unlink()
            PUT[put](file)
            daemon.wait_for(lambda: len(daemon.log("tokens not replaced")) > told, "a word of it")
            assert status(daemon, TOKEN) == 200
            daemon.wait_for_assessments()
    finally:
        if file.is_dir():
            file.rmdir()
        file.unlink(missing_ok=True)
        file.write_text(TOKEN)


@pytest.mark.campaign
def test_a_file_of_tokens_is_replaced(shared: tuple[Daemon, Path]) -> None:
    """Whatever has been in its place before."""
    daemon, file = shared
    with watched(daemon, "token replaced, and put back", 2):
        for token in ("other", TOKEN):
            file.write_text(token)
            daemon.wait_for(lambda token=token: status(daemon, token) == 200, "the new token")
        assert status(daemon, "other") == 401
