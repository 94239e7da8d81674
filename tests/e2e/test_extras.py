"""robmon as it is installed, without extras and with each of them alone: what they promise, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.e2e.daemon import PASSWORD, ROWS, running_daemon
from tests.e2e.registry import COLUMNS, Registry
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import lines, wait_for_rows
from tests.endpoint import Reply, Request, reply_json, serving
from tests.environment import Environment
from tests.object_store import object_store
from tests.servers import free_port

QUICKLY = [
    "--levels",
    "0.1",
    "--trials",
    "3",
    "--confidence",
    "0.75",
    "--rows-per-second",
    "20000",
    "--batch-rows",
    "64",
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """robmon without any extra."""
    return Environment(tmp_path_factory.mktemp("bare") / "venv")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An endpoint of MLflow's protocol that adds up rows, with and without names."""

    def answer(request: Request) -> Reply:
        body = json.loads(request.body)
        rows = body["inputs"] if "inputs" in body else body["dataframe_split"]["data"]
        return reply_json({"predictions": [sum(map(float, row)) for row in rows]})

    with serving(answer) as server:
        yield f"{server.url}/invocations"


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A file of named rows."""
    file = tmp_path / "inputs.jsonl"
    file.write_text("".join(json.dumps({"a": a, "b": b}) + "\n" for a, b in _rows()))
    return file


def _rows() -> list[list[float]]:
    rows: list[list[float]] = np.random.default_rng(0).normal(size=(64, 2)).tolist()
    return rows


def test_the_bare_install_assesses_compares_and_records_at_an_endpoint(
    bare: Environment, url: str, inputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "unnamed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows()))
    np.save(tmp_path / "array.npy", np.array(_rows()))
    for file in ("inputs.jsonl", "unnamed.jsonl", "array.npy"):
        words = ["assess", "--model", url, "--inputs", file, "--no-picture", *QUICKLY]
        done = bare.run("-m", "robmon", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "assessment.json").read_text())["slope"]["value"] == pytest.approx(2, rel=0.3)
    assert not (tmp_path / "assessment.png").exists()
    done = bare.run("-m", "robmon", "compare", url, url, "--inputs", inputs, "--no-picture", *QUICKLY, cwd=tmp_path)
    assert done.returncode == 0 and "is not shown to be worse" in done.stdout, done.stderr
    done = bare.run(
        "-m", "robmon", "baseline", "--model", url, "--name", "m", "--inputs", inputs, *QUICKLY, cwd=tmp_path
    )
    assert done.returncode == 0 and list((tmp_path / "robmon-data" / "baselines").glob("m-*/unknown.json")), done.stderr


def test_the_bare_install_runs_at_an_endpoint(bare: Environment, url: str, tmp_path: Path) -> None:
    with running_daemon(tmp_path, url, NO_REGISTRY, python=bare.python, **QUICK, model__name="sums") as daemon:
        daemon.send(ROWS[:60])
        daemon.wait_for_assessments()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("assess --model URL --inputs inputs.jsonl", "a picture needs matplotlib, which is not installed: "
         "pip install 'robmon[plot]', or give --no-picture"),
        ("compare URL URL --inputs inputs.jsonl", "pip install 'robmon[plot]', or give --no-picture"),
        ("demo", "pip install 'robmon[demo]'"),
        ("demo --no-picture", "pip install 'robmon[demo]'"),
        ("assess --model models:/m/1 --inputs inputs.jsonl --no-picture",
         "models:/m/1 needs mlflow, which is not installed: pip install 'robmon[mlflow]'"),
        ("assess --model models:/m/1 --inputs inputs.csv", "pip install 'robmon[mlflow,files,plot]'"),
        ("assess --model FOLDER --inputs inputs.jsonl --no-picture", "pip install 'robmon[mlflow]'"),
        ("compare models:/m/1 URL --inputs inputs.jsonl --no-picture", "pip install 'robmon[mlflow]'"),
        ("rank models:/m --inputs inputs.jsonl --target b --no-picture", "pip install 'robmon[mlflow]'"),
        ("rank models:/m/1 models:/m/2 --inputs inputs.jsonl --target b --no-picture", "pip install 'robmon[mlflow]'"),
        ("baseline --model models:/m/1 --inputs inputs.jsonl", "pip install 'robmon[mlflow]'"),
        ("baseline --model models:/m/1 --accept", "pip install 'robmon[mlflow]'"),
        ("assess --model URL --inputs inputs.csv --no-picture",
         "inputs.csv needs pandas, which is not installed: pip install 'robmon[files]'"),
        ("assess --model URL --inputs inputs.parquet --no-picture", "pip install 'robmon[files]'"),
        ("run --model.uri models:/m@champion",
         "model.uri = 'models:/m@champion' needs mlflow, which is not installed: pip install 'robmon[mlflow]'"),
        ("run --model.uri runs:/1f/model", "pip install 'robmon[mlflow]'"),
        ("run --model.uri URL --model.name m --inputs.files x", "inputs.files needs fsspec, which is not installed: "
         "pip install 'robmon[files]'"),
        ("check-config --model.uri models:/m@champion", "pip install 'robmon[mlflow]'"),
    ],
)  # fmt: skip
def test_what_is_missing_is_one_sentence_with_the_command(
    words: str, sentence: str, bare: Environment, url: str, inputs: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {python_function: {loader_module: nix}}\n")
    for suffix in (".csv", ".parquet"):
        inputs.with_suffix(suffix).write_text("a,b\n1.5,2.5\n")
    given = words.replace("URL", url).replace("FOLDER", str(tmp_path / "model")).split()
    done = bare.run("-m", "robmon", *given, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_version_at_an_endpoint_is_accepted_without_mlflow(bare: Environment, url: str, tmp_path: Path) -> None:
    """As alerts name it, which know no URL."""
    words = ["baseline", "--model", "models:/sums/2", "--accept"]
    given = {"ROBMON_MODEL__URI": url, "ROBMON_MODEL__NAME": "sums", "ROBMON_DATA_DIR": str(tmp_path)}
    done = bare.run("-m", "robmon", *words, cwd=tmp_path, **given)
    assert done.returncode == 2 and f"{tmp_path} holds no history of the model sums at" in done.stderr


def test_the_extra_plot_draws(url: str, inputs: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", "plot")
    words = ["assess", "--model", url, "--inputs", inputs, *QUICKLY]
    done = environment.run("-m", "robmon", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "assessment.png").read_bytes().startswith(b"\x89PNG")


def test_the_extra_files_reads_tables_and_logs(url: str, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", "files")
    frame = pd.DataFrame(_rows(), columns=["a", "b"])
    frame.to_parquet(tmp_path / "inputs.parquet")
    frame.to_csv(tmp_path / "inputs.csv", index=False)
    for file in ("inputs.parquet", "inputs.csv"):
        words = ["assess", "--model", url, "--inputs", file, "--no-picture", *QUICKLY]
        done = environment.run("-m", "robmon", *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    logged = tmp_path / "logged"
    logged.mkdir()
    (logged / "a.jsonl").write_text(lines(ROWS[:15]))
    pd.DataFrame(ROWS[15:40], columns=list(COLUMNS)).to_parquet(logged / "b.parquet")
    settings = QUICK | {"inputs__files": str(logged), "inputs__files_poll_seconds": 0.2, "model__name": "sums"}
    folder = tmp_path / "daemon"
    folder.mkdir()
    with running_daemon(folder, url, NO_REGISTRY, python=environment.python, **settings) as daemon:
        wait_for_rows(daemon, 40)
        daemon.wait_for_assessments()


@pytest.mark.long
def test_the_extra_s3_reads_buckets(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Environment(tmp_path / "venv", "s3")
    settings = QUICK | {"inputs__files": "s3://captures/", "inputs__files_poll_seconds": 0.2, "model__name": "sums"}
    folder = tmp_path / "daemon"
    folder.mkdir()
    with object_store(secret=PASSWORD) as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        store.put("a.jsonl", lines(ROWS[:40]))
        with running_daemon(folder, url, NO_REGISTRY, python=environment.python, **settings) as daemon:
            wait_for_rows(daemon, 40)
            daemon.wait_for_assessments()


def test_s3_without_its_driver_is_refused_at_the_start(url: str, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", "files")
    words = ["run", "--model.uri", url, "--model.name", "m", "--inputs.files", "s3://captures/"]
    done = environment.run("-m", "robmon", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "robmon: inputs.files needs s3fs, which is not installed: pip install 'robmon[s3]'\n"


def test_the_extra_torch_assesses_modules(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", "torch")
    code = (
        "import robmon, torch; "
        "result = robmon.assess(torch.nn.Linear(2, 1), torch.randn(64, 2), levels=[0.1, 0.2], trials=19); "
        "print(result.curve[-1].bound > 0)"
    )
    done = environment.run("-c", code, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_the_extra_mlflow_assesses_registered_models(local: Registry, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", "mlflow")
    model = local.model()
    model.serve(model.add())
    rows = pd.DataFrame(ROWS[:64], columns=list(COLUMNS))
    rows.to_parquet(tmp_path / "inputs.parquet")
    words = ["assess", "--model", model.uri, "--tracking-uri", local.tracking_uri, "--inputs", "inputs.parquet"]
    done = environment.run("-m", "robmon", *words, "--levels", "0.1", "--trials", "19", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "daemon"
    folder.mkdir()
    with running_daemon(folder, model.uri, local.tracking_uri, python=environment.python) as daemon:
        daemon.send(ROWS[:60])
        daemon.wait_for_assessments()


def test_the_library_says_what_is_missing_in_one_sentence(bare: Environment, tmp_path: Path) -> None:
    """A caller can catch it as any error of robmon's."""
    code = (
        "import numpy, robmon\n"
        "try: robmon.assess('models:/m/1', numpy.ones((9, 2)))\n"
        "except robmon.RobmonError as error: print(error)"
    )
    done = bare.run("-c", code, cwd=tmp_path, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    assert done.stdout == "the model registry needs mlflow, which is not installed: pip install 'robmon[mlflow]'\n"
