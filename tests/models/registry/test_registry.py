from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robmon.errors import ModelNotFoundError, ModelRefusedError, RegistryError
from robmon.history.memory import MAX_BYTES
from robmon.models import mlmodel
from robmon.models.loading import load, load_uri
from robmon.models.registry import baseline_artifact
from robmon.models.registry.download import Requirements, check_version, download_version
from robmon.models.registry.path_safe import path_safe
from robmon.models.registry.registry import Registry
from tests.models.conftest import Store
from tests.servers import free_port, wait_until


def test_version_and_alias(store: Store) -> None:
    name = store.register(versions=11)
    registry = Registry(store.tracking_uri)
    store.client.set_registered_model_alias(name, "champion", "11")

    eleventh = registry.resolve(f"models:/{name}@champion")
    assert (eleventh.name, eleventh.version, eleventh.run_id) == (name, "11", store.run_id)
    assert eleventh.aliases == {"champion": "11"}

    store.client.set_registered_model_alias(name, "champion", "2")
    assert registry.resolve(f"models:/{name}@champion").version == "2"


def test_all_versions_of_a_model(store: Store) -> None:
    name = store.register(versions=11, reviewed="yes")
    registry = Registry(store.tracking_uri)
    for alias in ("old", "champion"):
        store.client.set_registered_model_alias(name, alias, "2")
    versions = registry.versions(name)
    assert [version.number for version in versions] == list(range(1, 12))
    assert (versions[0].aliases, versions[1].aliases) == ((), ("champion", "old"))
    assert versions[10].tags == {"reviewed": "yes"}
    assert registry.resolve(versions[10].uri).version == "11"
    with pytest.raises(ModelNotFoundError, match="the model nobody does not exist"):
        registry.versions("nobody")


def test_run_and_logged_model(store: Store, tmp_path: Path) -> None:
    registry = Registry(store.tracking_uri)
    of_run = registry.resolve(f"runs:/{store.run_id}/model")
    logged = registry.resolve(f"models:/{store.model_id}")
    assert (of_run.name, of_run.version, of_run.run_id) == ("model", store.run_id, store.run_id)
    assert (logged.version, logged.run_id) == (store.model_id, store.run_id)
    for resolved in (of_run, logged):
        assert (download_version(registry, resolved, tmp_path) / "MLmodel").exists()


def test_model_among_the_artifacts_of_a_run(sqlite_store: Store, tmp_path: Path) -> None:
    """As MLflow 2 logged them."""
    registry = Registry(sqlite_store.tracking_uri)
    folder = download_version(registry, registry.resolve(f"models:/{sqlite_store.model_id}"), tmp_path)
    sqlite_store.client.log_artifacts(sqlite_store.run_id, str(folder), "nested/old")
    old = registry.resolve(f"runs:/{sqlite_store.run_id}/nested/old")
    assert old.name == "old"
    assert mlmodel.read(download_version(registry, old, tmp_path)).loaded_flavor == "python_function"


def test_an_alias_that_is_not_there_is_told_with_those_that_are(sqlite_store: Store) -> None:
    name, registry = sqlite_store.register(), Registry(sqlite_store.tracking_uri)
    with pytest.raises(ModelNotFoundError, match=r"@gone does not exist in the registry at .*: it has no alias\Z"):
        registry.resolve(f"models:/{name}@gone")
    for alias in ("shadow", "champion"):
        registry.client.set_registered_model_alias(name, alias, "1")
    with pytest.raises(ModelNotFoundError, match=r": its aliases are champion, shadow\Z"):
        registry.resolve(f"models:/{name}@gone")


def test_a_version_that_is_not_there_is_told_with_those_that_are(store: Store) -> None:
    name, registry = store.register(), Registry(store.tracking_uri)
    with pytest.raises(ModelNotFoundError, match=r"/7 does not exist in the registry at .*: its only version is 1\Z"):
        registry.resolve(f"models:/{name}/7")
    with pytest.raises(ModelNotFoundError, match=r"models:/nobody/1 does not exist in the registry at \S+\Z"):
        registry.resolve("models:/nobody/1")


@pytest.mark.parametrize(("bars", "is_drawn"), [("true", True), (None, False)])
def test_mlflow_draws_no_bars_of_its_own_unless_it_is_told_to(
    http_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bars: str | None, is_drawn: bool
) -> None:
    """MLflow draws them where tqdm happens to be installed, in whose place a class notes that it was asked to."""
    drawn: list[str] = []

    class Bar:
        def __init__(self, desc: str, **_: object) -> None:
            drawn.append(desc)

        def update(self, step: int) -> None: ...

        refresh = close = lambda self: None

    tqdm = types.ModuleType("tqdm.auto")
    vars(tqdm)["tqdm"] = Bar
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", tqdm)
    variable = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
    monkeypatch.setenv(variable, bars or "")
    if bars is None:
        monkeypatch.delenv(variable)
    registry = Registry(http_store.tracking_uri)
    download_version(registry, registry.resolve(f"models:/{http_store.model_id}"), tmp_path)
    assert ("Downloading artifacts" in drawn) == is_drawn
    assert os.environ.get(variable) == bars


@pytest.mark.parametrize("uri", ["models:/{}/7", "models:/{}@gone", "models:/nobody/1", "models:/nobody@champion"])
def test_not_found(store: Store, uri: str) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist in the registry"):
        Registry(store.tracking_uri).resolve(uri.format(store.register()))


@pytest.mark.parametrize("uri", ["runs:/0123456789abcdef0123456789abcdef/model", "models:/m-0123456789abcdef"])
def test_run_or_logged_model_not_found(store: Store, uri: str) -> None:
    with pytest.raises(ModelNotFoundError):
        Registry(store.tracking_uri).resolve(uri)


def test_files_not_found(store: Store, tmp_path: Path) -> None:
    registry = Registry(store.tracking_uri)
    with pytest.raises(ModelNotFoundError, match="the files of"):
        download_version(registry, registry.resolve(f"runs:/{store.run_id}/elsewhere"), tmp_path)


def test_no_database_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="does not exist"):
        Registry(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_no_database_at_all(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, but a file of another kind\n" * 50)
    with pytest.raises(RegistryError, match=r"cannot be used|did not answer"):
        Registry(f"sqlite:///{tmp_path}/text.db").resolve("models:/digits/1")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `bound_waiting` sets in the fetch process, shorter."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


def test_nobody_listens(impatient: None) -> None:
    with pytest.raises(RegistryError, match=r"did not answer: connection refused\Z") as raised:
        Registry(f"http://user:secret@127.0.0.1:{free_port()}").resolve("models:/digits/1")
    assert "secret" not in str(raised.value)


def test_nobody_answers(impatient: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RegistryError, match=r"did not answer: no answer in time\Z"):
            Registry(url).resolve("models:/digits@champion")


@pytest.fixture
def answering(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A server that answers every request with the given status."""
    program = (
        "import sys, http.server as h\n"
        "class Handler(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_error(int(sys.argv[1]))\n"
        "    do_POST = do_GET\n"
        "server = h.HTTPServer(('127.0.0.1', 0), Handler)\n"
        "print(server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    command = [sys.executable, "-c", program, str(request.param)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{child.stdout.readline().strip()}"
        child.kill()


@pytest.mark.parametrize(
    ("answering", "sentence"),
    [(401, "refused the credentials"), (403, "refused the credentials"), (404, "is not an MLflow registry")],
    indirect=["answering"],
)
def test_answers_that_are_refusals(answering: str, sentence: str, impatient: None) -> None:
    with pytest.raises(RegistryError, match=sentence):
        Registry(answering).resolve("models:/digits/1")


def test_allowed_flavors(store: Store) -> None:
    registry = Registry(store.tracking_uri)
    model = registry.resolve(f"models:/{store.register()}/1")
    assert "python_function" in check_version(registry, model, Requirements()).flavors
    check_version(registry, model, Requirements(allowed_flavors=["sklearn", "python_function"]))
    with pytest.raises(ModelRefusedError, match="loaded by the flavour python_function, and only sklearn, pytorch"):
        check_version(registry, model, Requirements(allowed_flavors=["sklearn", "pytorch"]))


def test_required_tags(store: Store) -> None:
    registry = Registry(store.tracking_uri)
    model = registry.resolve(f"models:/{store.register(reviewed='yes')}/1")
    check_version(registry, model, Requirements(tags=["reviewed=yes"]))
    with pytest.raises(ModelRefusedError, match="lacks the tag reviewed=no"):
        check_version(registry, model, Requirements(tags=["reviewed=yes", "reviewed=no"]))
    with pytest.raises(ModelRefusedError, match="not a registered version"):
        check_version(registry, registry.resolve(f"runs:/{store.run_id}/model"), Requirements(tags=["reviewed=yes"]))


def test_download_once_and_keep_what_is_needed(store: Store, tmp_path: Path) -> None:
    name = store.register(versions=3)
    registry = Registry(store.tracking_uri)
    first, second, third = (registry.resolve(f"models:/{name}/{version}") for version in (1, 2, 3))

    folder = download_version(registry, first, tmp_path)
    assert folder == tmp_path / "models" / path_safe(name) / "1"
    assert load(folder).predict is not None
    (folder / "mark").touch()
    assert download_version(registry, first, tmp_path, keep_versions=["2"]) == folder
    assert (folder / "mark").exists(), "what is there is used again"

    download_version(registry, second, tmp_path, keep_versions=["1"])
    download_version(registry, third, tmp_path, keep_versions=["1"])
    assert sorted(path.name for path in folder.parent.iterdir() if path.is_dir()) == ["1", "3"]


@pytest.mark.parametrize("file", ["zeros", "MLmodel"])
def test_a_device_or_pipe_for_a_file_is_refused_before_it_is_copied(
    file: str, sqlite_store: Store, tmp_path: Path
) -> None:
    registry = Registry(sqlite_store.tracking_uri)
    model = registry.resolve(f"models:/{sqlite_store.register()}/1")
    path, kept = Path(model.source) / file, tmp_path / "kept"
    if path.exists():
        path.rename(kept)
    path.symlink_to("/dev/zero")
    try:
        with pytest.raises(ModelRefusedError, match="has a device or a pipe for a file"):
            check_version(registry, model, Requirements())
            download_version(registry, model, tmp_path)
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(ModelRefusedError, match="pipe"):
            download_version(registry, model, tmp_path)
        path.unlink()
        path.symlink_to(".")
        with pytest.raises((ModelRefusedError, RegistryError, ModelNotFoundError)):
            download_version(registry, model, tmp_path)
    finally:
        path.unlink()
        if kept.exists():
            kept.rename(path)
    assert download_version(registry, model, tmp_path).is_dir()


def test_another_registry_with_the_same_names(sqlite_store: Store, tmp_path: Path) -> None:
    """A new registry that starts at version 1 again: the old version's files are not used for it."""
    registry = Registry(sqlite_store.tracking_uri)
    name = sqlite_store.register()
    folder = download_version(registry, registry.resolve(f"models:/{name}/1"), tmp_path)
    (folder / "mark").touch()

    sqlite_store.client.delete_registered_model(name)
    sqlite_store.client.create_registered_model(name)
    time.sleep(0.002)  # versions are told apart by the millisecond in which they were made
    sqlite_store.add_version(name)
    assert download_version(registry, registry.resolve(f"models:/{name}/1"), tmp_path) == folder
    assert (folder / "MLmodel").exists()
    assert not (folder / "mark").exists()


def test_killed_in_the_middle_of_a_download(sqlite_store: Store, tmp_path: Path) -> None:
    """A model with a file so large that its download is surely seen halfway."""
    registry = Registry(sqlite_store.tracking_uri)
    uri = f"models:/{sqlite_store.register()}/1"
    model = registry.resolve(uri)
    large = Path(model.source) / "large"
    large.touch()
    os.truncate(large, 8 * 2**30)  # sparse: takes no room
    home = tmp_path / "models" / path_safe(model.name)
    program = (
        "import sys; from pathlib import Path\n"
        "from robmon.models.registry.download import download_version\n"
        "from robmon.models.registry.registry import Registry\n"
        "registry = Registry(sys.argv[1])\n"
        "download_version(registry, registry.resolve(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, sqlite_store.tracking_uri, uri, str(tmp_path)])
    try:
        wait_until(lambda: list(home.glob(".unfinished-*/*/large")), what="a half download")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        large.unlink()

    assert not (home / "1").exists()
    assert list(home.glob(".unfinished-*"))
    folder = download_version(registry, model, tmp_path)
    assert (folder / "MLmodel").exists()
    assert list(home.glob(".unfinished-*")) == []


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "a/../b", "naïve model", "x" * 256, "ü" * 256, "%2E"])
def test_names_are_safe_in_paths(name: str, tmp_path: Path) -> None:
    safe = path_safe(name)
    (tmp_path / safe).mkdir()
    assert (tmp_path / safe).parent.resolve() == (tmp_path / safe).resolve().parent == tmp_path.resolve()
    assert not safe.startswith(".")


def test_names_stay_different() -> None:
    names = ["a", "A", "a ", "a%20", "%2E", ".", "x" * 255, "x" * 256]
    assert len({path_safe(name) for name in names}) == len(names)


def test_baseline_beside_its_version(store: Store) -> None:
    name = store.register(versions=2)
    registry = Registry(store.tracking_uri)
    first, second = (registry.resolve(f"models:/{name}/{version}") for version in (1, 2))
    assert baseline_artifact.read_baseline(registry, second) is None

    baseline = {"rows": 3, "scale": [0.5, 1e-300], "nested": {"levels": [0.0, 0.1]}}
    place = baseline_artifact.log_baseline(f"models:/{name}/2", store.tracking_uri, baseline)
    assert place == f"runs:/{store.run_id}/robmon/{path_safe(name)}/2/baseline.json"
    assert baseline_artifact.read_baseline(registry, second) == baseline
    assert baseline_artifact.read_baseline(registry, first) is None


def test_baseline_of_a_run(store: Store) -> None:
    uri = f"runs:/{store.run_id}/model"
    baseline_artifact.log_baseline(uri, store.tracking_uri, {"rows": 1})
    registry = Registry(store.tracking_uri)
    assert baseline_artifact.read_baseline(registry, registry.resolve(uri)) == {"rows": 1}


def test_tags_and_runs(store: Store) -> None:
    name = store.register(versions=2)
    registry = Registry(store.tracking_uri)
    assert registry.read_tag(name, "robmon.memory.champion") is None
    longest = "x" * MAX_BYTES
    registry.write_tag(name, "robmon.memory.champion", longest)
    assert registry.read_tag(name, "robmon.memory.champion") == longest
    assert registry.resolve(f"models:/{name}/2").model_tags == {"robmon.memory.champion": longest}
    assert registry.run_ids(name, ["2", "7"]) == {"2": store.run_id}
    for ask in (lambda: registry.read_tag("nix", "t"), lambda: registry.write_tag("nix", "t", "")):
        with pytest.raises(ModelNotFoundError):
            ask()


def test_load_uri(store: Store) -> None:
    model = load_uri(f"models:/{store.register()}/1", tracking_uri=store.tracking_uri)
    assert model.predict(np.array([[1.0, 2.0]])).tolist() == [[2.0, 4.0]]
