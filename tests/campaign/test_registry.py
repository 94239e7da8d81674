"""A registry, or what stands before it, that answers too much, too slowly, nonsense, or something else each time."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import pytest

from tests.campaign.test_kills import left_over
from tests.campaign.watch import watched
from tests.daemon.registry.test_follow import dripping, endless, with_body
from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.proxies import Front, front
from tests.e2e.registry import RegisteredModel, Registry

QUESTION = "/api/2.0/mlflow/registered-models/get"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
Answers = Callable[[Any], None]
Odd = SimpleNamespace
"""`answers`: what is done instead of passing the request on; `to`: the requests to which that happens."""


@contextlib.contextmanager
def odd_front(registry: Registry) -> Iterator[tuple[Registry, Odd]]:
    """The registry behind a proxy that does as it is told."""
    odd = Odd(answers=None, to=lambda _path: True)

    class OddFront(Front):
        def handle_one_request(self) -> None:
            with contextlib.suppress(OSError):  # who asked has gone
                super().handle_one_request()

        def pass_on(self, body: bytes | None) -> None:
            answers = odd.answers
            if answers is not None and odd.to(unquote(self.path)):
                answers(self)
            else:
                super().pass_on(body)

    with front(registry.tracking_uri, OddFront) as url:
        yield Registry(url, registry.folder), odd


def loop(handler: Any) -> None:
    handler.answer(302, b"", Location=handler.path)


def slow(handler: Any) -> None:
    time.sleep(9)
    Front.pass_on(handler, None)


@functools.cache
def packed_spaces() -> bytes:
    """1.5 GiB of them."""
    packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)
    return b"".join(packer.compress(b" " * 2**24) for _ in range(96)) + packer.flush()


def bomb(handler: Any) -> None:
    with_body(packed_spaces(), "gzip")(handler)


def aliased(version: Any) -> Answers:
    def answer(handler: Any) -> None:
        name = urlsplit(handler.path).query.removeprefix("name=")
        aliases = [{"alias": "champion", "version": version}]
        handler.answer(200, json.dumps({"registered_model": {"name": name, "aliases": aliases}}).encode())

    return answer


ANSWERS: dict[str, Answers] = {
    "endless": endless,
    "gzip of 1.5 GiB": bomb,
    "one byte after the other": dripping,
    "a page in HTML": lambda handler: handler.answer(200, b"<html><body>Log in, please.</body></html>", "text/html"),
    "status 500": lambda handler: handler.answer(500, b"{}"),
    "a redirection to itself": loop,
    "a list": lambda handler: handler.answer(200, b"[]"),
    "200,000 brackets": with_body(b"[" * 200_000),
    "a version that is a path": aliased("../../../tmp/x"),
    "a version that is null": aliased(None),
    "after 9 s": slow,
}
RED = ("endless", "gzip of 1.5 GiB", "one byte after the other")
TOTAL_SECONDS = 30.0


@pytest.fixture(scope="module")
def shared(
    served: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Daemon, RegisteredModel, list[str], Odd]]:
    """A daemon that looks every second, its model, two versions of it, and what stands before the registry."""
    model = served.model()
    versions = [model.add(), model.add(1.01)]
    model.serve(versions[0])
    with (
        odd_front(served) as (fronted, odd),
        running_daemon(tmp_path_factory.mktemp("registry"), model.uri, fronted.tracking_uri) as daemon,
    ):
        daemon.send()
        daemon.wait_for_assessments()
        yield daemon, model, versions, odd


@pytest.mark.campaign
@pytest.mark.parametrize(
    "answers", [pytest.param(name, marks=[pytest.mark.red] if name in RED else []) for name in ANSWERS]
)
def test_answers(answers: str, shared: tuple[Daemon, RegisteredModel, list[str], Odd]) -> None:
    """The version before is assessed on, it is told, and once the registry is sound the other version is found."""
    daemon, model, versions, odd = shared
    served, other = versions if daemon.assessed_version == versions[0] else reversed(versions)
    unknown = len(daemon.log("served version unknown"))
    with watched(daemon, f"registry answers {answers}"):
        odd.answers, odd.to = ANSWERS[answers], lambda path: path.startswith(QUESTION)
        try:
            counted = daemon.assessments()
            if answers != "after 9 s":
                daemon.wait_for(lambda: len(daemon.log("served version unknown")) > unknown, "a word of it")
            daemon.wait_for(lambda: daemon.assessments() > counted, "an assessment meanwhile")
            assert daemon.assessed_version == served
            model.serve(other)
        finally:
            odd.answers = None
        daemon.wait_for(lambda: daemon.assessed_version == other, "the other version")
        daemon.wait_for_assessments()


def is_artifact_of(model: RegisteredModel, version: str) -> Callable[[str], bool]:
    """Whether a path is of an artifact of that version."""
    with model.registry.client() as client:
        folder = client.get_model_version(model.name, version).source.rpartition("/")[2]
    return lambda path: path.startswith(ARTIFACTS) and (folder in path)


@pytest.mark.campaign
@pytest.mark.red
def test_the_reference_comes_slowly(served: Registry, tmp_path: Path) -> None:
    """A new pod, the accepted version of which is downloaded a byte at a time: the served one is assessed meanwhile."""
    model = served.model()
    versions = [model.add(), model.add(1.01)]
    model.serve(versions[0])
    with odd_front(served) as (fronted, odd):
        with running_daemon(tmp_path, model.uri, fronted.tracking_uri) as daemon:
            daemon.send()
            daemon.wait_for_assessments()
            daemon.wait_for(lambda: model.memory() or True, "the memory")
            daemon.kill()
        shutil.rmtree(tmp_path / "data" / "models")
        model.serve(versions[1])
        odd.answers, odd.to = dripping, is_artifact_of(model, versions[0])
        with running_daemon(tmp_path, model.uri, fronted.tracking_uri) as daemon:
            daemon.send()
            daemon.worker()  # which counts as a process that was there before
            with watched(daemon, "the accepted version is downloaded a byte at a time", healthz_seconds=3.0):
                daemon.wait_for(lambda: daemon.assessed_version == versions[1], "the served version")
                daemon.wait_for_assessments(2)
            odd.answers = None


@pytest.mark.campaign
@pytest.mark.red
def test_a_flavour_that_is_another_at_the_second_look(served: Registry, tmp_path: Path) -> None:
    """`model.allowed_flavors` holds for what is loaded, whatever the first answer was."""
    model = served.model()
    model.serve(model.add())
    looks: list[str] = []

    def answer(handler: Any) -> None:
        looks.append(handler.path)
        if len(looks) % 2:
            loader = b"flavors: {python_function: {loader_module: mlflow.sklearn}, sklearn: {}}\n"
            handler.answer(200, loader, "application/octet-stream")
        else:
            Front.pass_on(handler, None)

    with odd_front(served) as (fronted, odd):
        odd.answers = answer
        odd.to = lambda path: path.startswith(ARTIFACTS) and path.endswith("/MLmodel")
        with running_daemon(tmp_path, model.uri, fronted.tracking_uri, model__allowed_flavors="sklearn") as daemon:
            daemon.send()
            with watched(daemon, "MLmodel differs between two reads"):
                daemon.wait_for(lambda: len(looks) >= 7 or daemon.assessed_version, "seven looks, or what it loaded")
                assert daemon.assessed_version is None, "only sklearn is allowed"
            assert not list(daemon.data_dir.rglob("MLmodel"))


@pytest.mark.campaign
@pytest.mark.red
def test_a_fetch_is_killed_in_its_download(served: Registry, tmp_path: Path) -> None:
    """What it held goes with the next one."""
    model = served.model()
    versions = [model.add(), model.add(1.01)]
    model.serve(versions[0])
    kills = 4
    with (
        odd_front(served) as (fronted, odd),
        running_daemon(tmp_path, model.uri, fronted.tracking_uri) as daemon,
    ):
        daemon.send()
        daemon.wait_for_assessments()
        is_artifact, seen = is_artifact_of(model, versions[1]), set[Path]()
        # MLflow begins no file before it has the list of them.
        odd.answers, odd.to = dripping, lambda path: is_artifact(path) and urlsplit(path).path != ARTIFACTS
        with watched(daemon, "kill -9 of fetch in its download", kills):
            model.serve(versions[1])
            for _ in range(kills):
                seen |= daemon.wait_for(lambda known=frozenset(seen): downloads(daemon) - known, "another download")
                for child in daemon.children("robmon.fetch"):
                    with contextlib.suppress(psutil.Error):
                        child.kill()
            odd.answers = None
            daemon.wait_for(lambda: daemon.assessed_version == versions[1], "the other version")
            daemon.wait_for_assessments()
        daemon.wait_for(lambda: not left_over(daemon), "that nothing is left", 5)
        assert len(list(daemon.data_dir.rglob("MLmodel"))) <= 2


def downloads(daemon: Daemon) -> set[Path]:
    """Files that a fetch has begun to write, while one runs."""
    if not daemon.children("robmon.fetch"):
        return set()
    return {path for path in daemon.temporary.rglob("*") if path.is_file() and path.name != ".lock"}


def listing(*entries: str) -> Answers:
    """The list of the artifacts with some more in it, which can be had; what is no folder has no list."""

    def answer(handler: Any) -> None:
        if "evil" in unquote(handler.path):
            handler.answer(200, b"a stranger's file", "application/octet-stream")
        elif urlsplit(handler.path).path == ARTIFACTS and (found := handler.asked(None).json()).get("files"):
            found["files"] += [{"path": entry, "is_dir": False, "file_size": 17} for entry in entries]
            handler.answer(200, json.dumps(found).encode())
        else:
            Front.pass_on(handler, None)

    return answer


def truncated(handler: Any) -> None:
    if urlsplit(handler.path).path == ARTIFACTS:
        Front.pass_on(handler, None)
        return
    content = handler.asked(None).content
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])
    handler.close_connection = True


ARTIFACT_ANSWERS = {
    "truncated": truncated,
    "named ../../evil": listing("../../evil", "../../../../../../evil"),
    "with an absolute name": listing("/tmp/robmon-evil"),
    "named %2e%2e%2fevil": listing("%2e%2e%2fevil", "%2e%2e/%2e%2e/evil"),
}


@pytest.mark.campaign
@pytest.mark.parametrize("answers", ARTIFACT_ANSWERS)
def test_artifacts(answers: str, shared: tuple[Daemon, RegisteredModel, list[str], Odd]) -> None:
    """They are refused or do no harm; nothing lies outside the data folder, and the version before stays."""
    daemon, model, versions, odd = shared
    version = model.add(1.02)
    served = daemon.assessed_version
    with watched(daemon, f"artifacts {answers}"):
        is_artifact = is_artifact_of(model, version)
        odd.answers, odd.to = ARTIFACT_ANSWERS[answers], lambda path: is_artifact(path) or "evil" in path
        unknown = len(daemon.log("served version unknown"))
        try:
            model.serve(version)
            daemon.wait_for(
                lambda: len(daemon.log("served version unknown")) > unknown or daemon.assessed_version == version,
                "a word of it, or the version",
                90,
            )
        finally:
            odd.answers = None
        outside = [*daemon.folder.rglob("*evil*"), *Path("/tmp").glob("*robmon-evil*"), *Path("/").glob("*evil*")]
        assert not [path for path in outside if not path.is_relative_to(daemon.data_dir / "models")], outside
        assert daemon.assessed_version in (served, version)
        daemon.wait_for(lambda: daemon.assessed_version == version, "the version once it is whole")
        daemon.wait_for_assessments()
        model.serve(versions[0])
        daemon.wait_for(lambda: daemon.assessed_version == versions[0], "the first version again")


BOMBS = {
    "a bomb of aliases": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)),
    "a tag of Python": "flavors: !!python/object/apply:os.system ['touch /tmp/robmon-evil']\n",
    "depth": "flavors: " + "[" * 20_000,
    "a deep signature": "flavors: {python_function: {}}\nsignature: {inputs: '" + "[" * 20_000 + "'}\n",
    "bytes": "\x00\x01\x02",
    "a list": "- flavors\n- python_function\n",
}


@pytest.mark.campaign
@pytest.mark.parametrize("bomb", BOMBS)
def test_mlmodel(bomb: str, shared: tuple[Daemon, RegisteredModel, list[str], Odd]) -> None:
    """It costs a sentence; no code of it is run."""
    daemon, model, versions, _ = shared
    served = daemon.assessed_version
    version = model.add()
    (model.files(version) / "MLmodel").write_text(BOMBS[bomb], encoding="latin-1")
    told = len(daemon.log("served version unknown")) + len(daemon.log("model version cannot be loaded"))

    def is_told() -> bool:
        return len(daemon.log("served version unknown")) + len(daemon.log("model version cannot be loaded")) > told

    def answers() -> int:
        return len(daemon.log("served version")) + len(daemon.log("registry answers again"))

    with watched(daemon, f"MLmodel that is {bomb}"):
        model.serve(version)
        daemon.wait_for(is_told, "a word of it")
        assert not Path("/tmp/robmon-evil").exists()
        daemon.wait_for_assessments()
        assert daemon.assessed_version == served
        before = answers()
        model.serve(versions[0])
        # A failure is told when it begins: the next is one of its own only once this one has ended.
        daemon.wait_for(lambda: answers() > before, "a sound version")
        daemon.wait_for(lambda: daemon.assessed_version == versions[0], "its assessments")
        daemon.wait_for_assessments()


@pytest.mark.campaign
def test_the_registry_changes_all_the_time(
    shared: tuple[Daemon, RegisteredModel, list[str], Odd],
) -> None:
    """An alias that flaps, an alias that is lost, a version that is deleted: it settles on what is served."""
    daemon, model, versions, _ = shared
    moves = 24
    with watched(daemon, "two versions change places each second", moves):
        for move in range(moves):
            model.serve(versions[move % 2])
            time.sleep(1)
        daemon.wait_for(lambda: daemon.assessed_version == versions[1], "the last one")
        daemon.wait_for_assessments(2)
    with watched(daemon, "the alias, then the version served, are deleted", 2):
        with model.registry.client() as client:
            client.delete_registered_model_alias(model.name, "champion")
            daemon.wait_for_assessments(2)
            gone = model.add()
            model.serve(gone)
            daemon.wait_for(lambda: daemon.assessed_version == gone, "a new version")
            client.delete_model_version(model.name, gone)
        daemon.wait_for_assessments(2)
        assert daemon.assessed_version == gone, "what is loaded is assessed on"
        model.serve(versions[0])
        daemon.wait_for(lambda: daemon.assessed_version == versions[0], "the first version")
