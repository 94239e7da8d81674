"""Models that are assessed at their own endpoint: no weights and none of their libraries in robmon's processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import robmon
from robmon.cli.main import main
from robmon.inputs.codecs import decode
from tests.e2e import proxies
from tests.e2e.daemon import PASSWORD, ROWS, Daemon, running_daemon
from tests.e2e.registry import CODE, COLUMNS, SIGNATURE
from tests.endpoint import Arrays, Reply, Request, V2Model, reply_json, serving
from tests.mlflow_client import quiet_mlflow
from tests.models.remote.conftest import connect, outputs
from tests.patience import PATIENCE_SECONDS
from tests.servers import free_port, model_server

NO_REGISTRY = "http://127.0.0.1:1"
WORKER_MEMORY_BYTES = 120 * 2**20
AS_FAST = {"model__rows_per_second": 20_000}
QUICK = {"inputs__sample_rows": 25, "assess__trials": 9, "assess__confidence": 0.9, **AS_FAST}


def test_a_model_server_behind_a_mirror(tmp_path: Path) -> None:
    """What robmon asks comes back to it through the mirror, and is never sampled."""
    with quiet_mlflow():
        mlflow.pyfunc.save_model(
            tmp_path / "model",
            python_model=str(CODE),
            model_config={"weight": 2.0, "on_load": "behaves"},
            signature=SIGNATURE,
            pip_requirements=[],
        )
    inputs_port = free_port()
    with contextlib.ExitStack() as stack:
        serving_model = stack.enter_context(contextlib.ExitStack())
        url = serving_model.enter_context(model_server(tmp_path / "model", tmp_path))
        proxy = stack.enter_context(proxies.nginx(tmp_path / "nginx", url, inputs_port))
        endpoint = f"{proxy.replace('//', f'//robmon:{PASSWORD}@')}/invocations"
        settings = QUICK | {"inputs__port": inputs_port, "model__name": "sums"}
        daemon = stack.enter_context(running_daemon(tmp_path, endpoint, NO_REGISTRY, **settings))
        client = stack.enter_context(httpx.Client(base_url=proxy, trust_env=False))
        for row in ROWS[:60]:
            body = {"dataframe_split": {"columns": list(COLUMNS), "data": [row]}}
            assert client.post("/invocations", json=body).json()["predictions"] == [2 * (row[0] + row[1])]
        daemon.wait_for_assessments()
        of = {"model_name": "sums", "model_version": "unknown"}
        spread = np.array([row[:2] for row in ROWS[:60]]).std(axis=0)
        expected = 4 * 0.3**2 * float(np.sum(spread**2))
        measured = daemon.value("robmon_noise_mse", level="0.3", **of)
        assert measured is not None and 0.4 * expected < measured < 2.5 * expected
        assert daemon.value("robmon_model_info", flavor="remote", device=proxy.removeprefix("http://"), **of) == 1
        assert daemon.count("robmon_inputs_received_total", source="mlflow") == 60
        assert daemon.count("robmon_inputs_skipped_total", source="mlflow") >= 20, "robmon's own"
        assert_light(daemon)

        frame = pd.DataFrame(ROWS[60:90], columns=list(COLUMNS))
        asked = robmon.assess(f"{url}/invocations", frame, levels=(0.1,), trials=19)
        with quiet_mlflow():
            loaded = robmon.assess(tmp_path / "model", frame, levels=(0.1,), trials=19)
        assert np.array_equal(asked.row_errors, loaded.row_errors), "to the last bit"

        serving_model.close()
        daemon.wait_for_assessments(outcome="failed", reason="endpoint_status")  # of the proxy: 502


def assert_light(daemon: Daemon) -> None:
    worker = daemon.worker()
    mapped = {Path(each.path).name for each in worker.memory_maps()}
    assert not [name for name in mapped if "torch" in name or "pandas" in name or "arrow" in name]
    assert worker.memory_info().rss < WORKER_MEMORY_BYTES


def send(daemon: Daemon) -> None:
    for row in ROWS[:40]:
        assert daemon.post(json.dumps({"inputs": [row[:2]]}).encode()) == 202


def weighted(weight: float) -> Any:
    def predict(arrays: Arrays) -> Arrays:
        return {"y": weight * arrays["x"].sum(axis=1)}

    return predict


def test_a_version_changes_behind_the_endpoint(tmp_path: Path) -> None:
    """The server tells versions in its answers alone, so the first of them is learnt from the first answer."""
    model = V2Model(weighted(1.0), "mlserver", [("x", "FP64", [-1, 2])], "1")
    with serving(model) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path, url, NO_REGISTRY, **QUICK) as daemon:
            send(daemon)
            daemon.wait_for_assessments()
            assert daemon.assessed_version == "1"

            server.answer = lambda request: Reply(500)
            daemon.wait_for_assessments(outcome="failed", reason="endpoint_status")
            server.answer = model
            daemon.wait_for_assessments()

            model.predict, model.version = weighted(2.0), "2"
            daemon.wait_for(lambda: daemon.regression_stands, "the regression")
            assert daemon.assessed_version == "2"
            accept = f"robmon baseline --model {server.url}/v2/models/digits/versions/2/infer --accept"
            assert accept in daemon.get("/").text

            model.predict, model.version = weighted(1.0), "1"
            daemon.wait_for(lambda: not daemon.regression_stands, "the end of the regression")
            assert daemon.assessed_version == "1"

            model.predict, model.version = weighted(2.0), "2"
            daemon.wait_for(lambda: daemon.regression_stands, "the regression again")

        with running_daemon(tmp_path, url, NO_REGISTRY, **QUICK) as daemon:
            send(daemon)
            daemon.wait_for_assessments()
            assert daemon.regression_stands, "a restart does not forget it"
            assert "accepted: " in daemon.run_printed_command()
            daemon.wait_for(lambda: not daemon.regression_stands, "the end of the regression")


@pytest.mark.long
def test_what_was_accepted_of_one_endpoint_is_not_taken_for_another_of_that_name(tmp_path: Path) -> None:
    inputs = [("x", "FP64", [-1, 2])]
    with (
        serving(V2Model(weighted(1.0), "triton", inputs, "7")) as one,
        serving(V2Model(weighted(3.0), "triton", inputs, "2")) as two,
    ):
        for server, version in ((one, "7"), (two, "2"), (one, "7")):
            url = f"{server.url}/v2/models/digits/infer"
            with running_daemon(tmp_path, url, NO_REGISTRY, **QUICK) as daemon:
                send(daemon)
                daemon.wait_for_assessments()
                assert f"Accepted version: {version}." in daemon.get("/").text
                assert daemon.log("reference version not assessed") == []
            because = [line["because"] for line in daemon.log("version accepted")]
            is_first = server is two or len(list(tmp_path.glob("daemon-*.log"))) == 1
            assert because == (["there is none to compare it with"] if is_first else []), "it is remembered by its own"


def test_a_version_is_accepted_when_it_has_answered(tmp_path: Path) -> None:
    with serving(lambda request: Reply(500)) as server:
        settings = QUICK | {"model__name": "digits"}
        with running_daemon(tmp_path, f"{server.url}/invocations", NO_REGISTRY, **settings) as daemon:
            daemon.send(ROWS[:40])
            daemon.wait_for_assessments(outcome="failed", reason="endpoint_status")
            assert daemon.log("version accepted") == []
            server.answer = summed
            daemon.wait_for_assessments()
            (accepted,) = daemon.told("version accepted")
            assert (accepted["version"], accepted["because"]) == ("unknown", "there is none to compare it with")


def test_rows_without_names_are_asked_about_under_the_names_of_the_others(model_url: str) -> None:
    """The model server takes its columns by name; clients of another protocol send the same ones in their order."""
    table = {"dataframe_split": {"columns": list(COLUMNS), "data": ROWS[:20]}}
    json_type = {"content-type": "application/json"}
    rows = [
        *decode("mlflow", json_type, json.dumps(table).encode()),
        *decode("v1", json_type, json.dumps({"instances": ROWS[20:30]}).encode()),
    ]
    answered = outputs(connect(f"{model_url}/invocations"), rows)
    with quiet_mlflow():
        frame = pd.DataFrame(ROWS[:30], columns=list(COLUMNS))
        expected = httpx.post(
            f"{model_url}/invocations", json={"dataframe_split": frame.to_dict("split", index=False)}, trust_env=False
        )
    assert answered.tolist() == expected.json()["predictions"]


def command(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command of robmon, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "robmon", *map(str, words)],
        cwd=cwd, env=os.environ, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip


def test_the_daemon_says_what_it_lacks_and_what_to_raise(tmp_path: Path) -> None:
    """No model, then no inputs, then no time for all rows; each once, and as loud as it matters."""
    token = tmp_path / "token"
    token.write_text("right\n")
    settings = QUICK | {"model__rows_per_second": 100, "assess__levels": "0.1", "assess__max_seconds": 2}
    settings |= {"assess__min_rows": 4, "model__token_file": token}
    with serving(summed) as server:
        server.answer = lambda request: Reply(500)
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            daemon.wait_for_assessments(outcome="skipped", reason="model_not_ready")
            (told, *_) = daemon.told("assessment")
            assert (told["level"], told["reason"]) == ("warning", "model_not_ready")

            server.answer = V2Model(weighted(1.0), "triton", [("x", "FP64", [-1, 2])], "1")
            daemon.wait_for_assessments(4, outcome="skipped", reason="too_few_inputs")
            (few,) = daemon.told("too few inputs")
            assert few["error"] == "0 rows of 4 are there" and "inputs.port" in few["advice"]
            send(daemon)
            daemon.wait_for_assessments()
            (again,) = daemon.told("enough inputs again")
            assert again["rows"] >= 4 and len(daemon.log("too few inputs")) == 1

            def of_all_rows() -> dict[str, Any] | None:
                done = [line for line in daemon.log("assessment") if line["outcome"] == "ok"]
                return next((line for line in done if " of 25 rows; " in (line["cut"] or "")), None)

            last = daemon.wait_for(of_all_rows, "an assessment with all requests")
            assert last["cut"].startswith("cut to fit assess.max_seconds = 2: the first ")
            higher = "assess.max_seconds, or model.rows_per_second and model.batch_rows if the endpoint can take it"
            assert last["cut"].endswith(f" of 25 rows; raise {higher}")
            assert "<p>Cut to fit assess.max_seconds = 2: the first " in daemon.get("/").text


@pytest.fixture
def recent(tmp_path: Path) -> Path:
    """More rows than ten seconds are enough for."""
    file = tmp_path / "recent.parquet"
    pd.DataFrame([*ROWS, *ROWS], columns=list(COLUMNS)).to_parquet(file)
    return file


def test_the_command_line_keeps_to_its_budget_and_tells_how_far_it_is(
    model_url: str, recent: Path, tmp_path: Path
) -> None:
    began = time.monotonic()
    done = command("assess", "--model", f"{model_url}/invocations", "--inputs", recent, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 70, "all rows would take 78 s at the endpoint's rate"
    cut = json.loads((tmp_path / "assessment.json").read_text())["cut"]
    assert cut.startswith("cut to fit max_seconds = 15: the first ") and cut in done.stdout
    assert cut.endswith("; raise max_seconds, or rows_per_second and batch_rows if the endpoint can take it")
    assert re.search(r"^assessing: this takes about [0-9.]+ s$", done.stderr, re.MULTILINE)
    assert re.search(r"^assessing: [0-9]+ of [0-9]+ trials, [0-9]+ s, about [0-9.]+ s left$", done.stderr, re.MULTILINE)

    words = ["--rows-per-second", "50000", "--batch-rows", "400", "--levels", "0.1", "--trials", "19"]
    done = command("assess", "--model", f"{model_url}/invocations", "--inputs", recent, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "400 rows, 19 trials" in done.stdout and "cut to fit" not in done.stdout


def test_the_smallest_assessment_does_not_fit(model_url: str, recent: Path, tmp_path: Path) -> None:
    words = ["--inputs", recent, "--max-seconds", "1", "--rows-per-second", "500"]
    done = command("assess", "--model", f"{model_url}/invocations", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "raise max_seconds, or rows_per_second and batch_rows if the endpoint can take it" in done.stderr


def summed(request: Request) -> Reply:
    table = json.loads(request.body)["dataframe_split"]
    return reply_json({"predictions": [row[0] + row[1] for row in table["data"]]})


@pytest.mark.parametrize("words", [["assess", "--model"], ["compare"], ["rank", "--target", "y"]])
def test_who_asks_is_told_to_the_server_and_to_nobody_else(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(3).normal(size=(30, 2))
    pd.DataFrame({"a": rows[:, 0], "b": rows[:, 1], "y": rows.sum(axis=1)}).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "token").write_text(f"{PASSWORD}\n")
    monkeypatch.chdir(tmp_path)
    options = ["--inputs", "rows.csv", "--levels", "0.1", "--trials", "19", "--rows-per-second", "9000"]
    with serving(summed) as server:
        user = server.url.replace("//", f"//robmon:{PASSWORD}@")
        for base, more, scheme in ((server.url, ["--token-file", "token"], "Bearer"), (user, [], "Basic")):
            urls = [f"{base}/invocations"] if words[0] == "assess" else [f"{base}/{n}/invocations" for n in "ab"]
            server.answer = summed
            done = CliRunner().invoke(main, [*words, *urls, *options, *more])
            assert done.exit_code == 0, done.output
            assert server.posts[-1].headers["authorization"].startswith(scheme)
            server.answer = lambda request: Reply(401)
            refused = CliRunner().invoke(main, [*words, *urls, *options, *more])
            assert refused.exit_code == 2 and "answered 401" in refused.output
            written = [file.read_text(encoding="utf-8") for file in tmp_path.glob("*.json")]
            assert PASSWORD not in "".join([done.output, refused.output, *written])


def test_a_library_user_says_how_an_endpoint_is_asked(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(30, 2)), columns=["a", "b"])
    with serving(summed) as server:
        url = f"{server.url}/invocations"
        quick = {"rows_per_second": 9000, "batch_rows": 30}
        one = robmon.endpoint(url, token=PASSWORD, **quick)
        two = robmon.endpoint(url.replace("//", "//robmon:secret@"), **quick)
        options = {"levels": (0.1,), "trials": 19}
        result = robmon.assess(one, frame, **options)
        assert server.posts[-1].headers["authorization"] == f"Bearer {PASSWORD}"
        assert len(server.posts) == 2 + 2 + 19, "all rows in one request, but once in two, to compare"
        assert not robmon.compare(one, two, frame, **options).worse
        ranking = robmon.rank([one, f"{server.url}/two/invocations"], frame, frame.sum(axis=1), **options)
    assert result.cut == "" and PASSWORD not in repr(one) and "secret" not in repr(two)
    assert ranking.names == (url, f"{server.url}/two/invocations")
    for wrong in (
        {"token": "a b"},
        {"token_file": tmp_path / "none"},
        {"token": "a", "token_file": "b"},
        {"batch_rows": 0},
    ):
        with pytest.raises(robmon.InvalidInputError):
            robmon.endpoint(url, **wrong)
