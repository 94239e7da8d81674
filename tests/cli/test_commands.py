"""The command line as a user meets it: real commands, real registry, real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from robmon.cli.main import main
from tests import commands
from tests.mlflow_client import quiet_mlflow, tracking
from tests.patience import PATIENCE_SECONDS
from tests.servers import free_port, local_registry

NAMES = ["a", "b"]
ENDPOINT = ["--model.uri", "http://127.0.0.1:1/invocations", "--model.name", "m"]
KAFKA = ["--kafka.bootstrap_servers", "a:1", "--kafka.topics", "t", "--kafka.tls", "true"]


def clean(environment: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROBMON_", "MLFLOW_TRACKING"))}
    return kept | environment


def python_m_robmon(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """In an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-m", "robmon", *map(str, words)],
        cwd=cwd,
        env=clean(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def robmon(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return commands.run(words, cwd=cwd, environment=clean(environment))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> str:
    """`linear` in two versions, the second one and a half times as steep."""
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from sklearn.linear_model import LinearRegression

    uri = local_registry(tmp_path_factory.mktemp("registry"), mlflow_template)
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=NAMES)
    signature = ModelSignature(Schema([ColSpec("double", name) for name in NAMES]), Schema([ColSpec("double")]))
    with tracking(uri), quiet_mlflow():
        for factor in (1.0, 1.5):
            with mlflow.start_run():
                mlflow.sklearn.log_model(
                    LinearRegression().fit(rows, factor * (rows["a"] - 2 * rows["b"])),
                    name="model",
                    signature=signature,
                    pip_requirements=["scikit-learn"],
                    serialization_format="cloudpickle",
                    registered_model_name="linear",
                )
    return uri


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("inputs") / "inputs.csv"
    rows = np.random.default_rng(1).normal(size=(200, 2))
    lines = [f"{a!r},{b!r},{a - 2 * b!r}" for a, b in rows.tolist()]
    file.write_text("\n".join(["a,b,y", *lines]) + "\n")
    return file


def test_assess_prints_a_table_and_writes_json_and_a_picture(registry: str, inputs: Path, tmp_path: Path) -> None:
    words = ["assess", "--model", "models:/linear/1", "--inputs", inputs, "--levels", "0, 0.1, 0.5", "--target", "y"]
    done = python_m_robmon(*words, "--seed", "3", cwd=tmp_path, MLFLOW_TRACKING_URI=registry)
    assert done.returncode == 0, done.stderr
    assert "mean MSE" in done.stdout and "200 rows, 39 trials of gaussian noise, output value, " in done.stdout
    assert done.stdout.startswith("95 % of requests are off by less than ")
    result = json.loads((tmp_path / "assessment.json").read_text())
    assert result["model"] == "models:/linear/1" and result["seed"] == 3
    assert result["slope"]["value"] == pytest.approx(5, rel=0.2)
    assert (tmp_path / "assessment.png").read_bytes().startswith(b"\x89PNG")


def test_assess_says_what_its_levels_count_and_what_it_left_alone(registry: str, tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(200, 2))
    rows[::20, 1] = -999.0
    np.save(tmp_path / "inputs.npy", rows)
    words = ["assess", "--model", "models:/linear/1", "--inputs", "inputs.npy", "--levels", "0.5", "--noise", "missing"]
    done = robmon(*words, cwd=tmp_path, MLFLOW_TRACKING_URI=registry)
    assert done.returncode == 0, done.stderr
    assert "not perturbed: 10 sentinel cells" in done.stdout
    result = json.loads((tmp_path / "assessment.json").read_text())
    assert (result["noise"], result["level_unit"]) == ("missing", "share of the cells")
    assert result["masked"]["sentinel_cells"] == 10
    assert result["curve"][1]["realised_level"] == pytest.approx(0.5**0.5, rel=0.05)


def test_assess_measures_in_units_of_the_recorded_baseline(registry: str, inputs: Path, tmp_path: Path) -> None:
    words = ["--model", "models:/linear/2", "--tracking-uri", registry]
    done = robmon("baseline", *words, "--inputs", inputs, "--log", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    wide = tmp_path / "wide.csv"
    header, *lines = inputs.read_text().splitlines()
    wide.write_text("\n".join([header, *(",".join(f"{10 * float(x)!r}" for x in line.split(",")) for line in lines)]))
    done = robmon("assess", *words, "--inputs", wide, "--mse-limit", "0.7", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "assessment.json").read_text())
    assert result["scale"] == pytest.approx(np.loadtxt(inputs, delimiter=",", skiprows=1).std(axis=0)[:2].tolist())
    means = {f"{point['level']:g}": point["mean_mse"] for point in result["curve"]}
    assert {f"{float(level):g}": mse for level, mse in result["baseline_mse"].items()} == pytest.approx(means)
    assert " baseline" in done.stdout and "noise margin 0.2: the bound first exceeds 0.7 at level 0.4" in done.stdout
    absolute = robmon("assess", *words, "--inputs", wide, "--absolute", cwd=tmp_path)
    assert absolute.returncode == 0 and " baseline" not in absolute.stdout, absolute.stderr


def test_compare_is_a_release_gate(registry: str, inputs: Path, tmp_path: Path) -> None:
    words = ["--inputs", inputs, "--tracking-uri", registry]
    worse = robmon("compare", "models:/linear/1", "models:/linear/2", *words, cwd=tmp_path)
    assert worse.returncode == 1, worse.stderr
    plain, first, what, header, *levels = worse.stdout.splitlines()[:8]
    assert "models:/linear/2 is worse than models:/linear/1 by more than the tolerated 10 %" in plain
    assert first.startswith("pooled ratio 2.25 (98 % interval 2.25 to 2.25)")
    assert what == "compared: squared changes of the outputs"
    assert header.split()[:3] == ["level", "MSE", "ratio"] and "98 % interval" in header
    assert [line.split()[:2] for line in levels] == [[f"{level:g}", "2.25"] for level in (0.05, 0.1, 0.2, 0.4)]
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert result["worse"] is True and result["ratio"] == pytest.approx([2.25] * 4)
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")
    better = robmon("compare", "models:/linear/2", "models:/linear/1", *words, cwd=tmp_path)
    assert better.returncode == 0, better.stderr
    assert "in nearly the same proportion on every row" in better.stdout
    assert "Levels count standard deviations of each feature, as in " in better.stdout
    assert "in units of twice the variance of the clean outputs of models:/linear/2" in better.stdout


def test_compare_measures_in_units_of_the_references_recorded_baseline(
    registry: str, inputs: Path, tmp_path: Path
) -> None:
    words = ["--tracking-uri", registry]
    done = robmon("baseline", "--model", "models:/linear/2", *words, "--inputs", inputs, "--log", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = np.loadtxt(inputs, delimiter=",", skiprows=1)
    np.save(tmp_path / "wide.npy", 10 * rows[:, :2])
    pair = ["compare", "models:/linear/2", "models:/linear/1", "--inputs", "wide.npy", *words]
    done = robmon(*pair, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "as in the baseline recorded with models:/linear/2." in done.stdout
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert result["recorded_baseline"] is True
    for each in ("a", "b"):
        assert result[each]["scale"] == pytest.approx(rows.std(axis=0)[:2].tolist())
    absolute = robmon(*pair, "--absolute", cwd=tmp_path)
    assert absolute.returncode == 0 and "Levels are in input units." in absolute.stdout, absolute.stderr
    assert json.loads((tmp_path / "comparison.json").read_text())["a"]["scale"] == [1.0]


def test_baselines_are_recorded_and_versions_accepted(registry: str, inputs: Path, tmp_path: Path) -> None:
    words = ["baseline", "--model", "models:/linear/2", "--tracking-uri", registry]
    local = robmon(*words, "--inputs", inputs, "--noise", "correlated", "--hash-names", cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    recorded = json.loads((tmp_path / "robmon-data/baselines/linear/2.json").read_text())
    assert (recorded["source"], recorded["rows"], recorded["noise"]) == ("local", 200, "correlated")
    assert recorded["inputs"]["products"]["count"] == 200 and len(recorded["salt"]) == 32
    logged = robmon(*words, "--inputs", inputs, "--log", cwd=tmp_path)
    assert logged.returncode == 0 and "runs:/" in logged.stdout, logged.stderr
    accepted = robmon(*words, "--accept", cwd=tmp_path)
    assert accepted.returncode == 0 and "linear/2" in accepted.stdout, accepted.stderr

    from mlflow import MlflowClient

    with quiet_mlflow():
        tags = MlflowClient(registry, registry).get_registered_model("linear").tags
    (entry,) = json.loads(tags["robmon.memory.pinned"])
    assert (entry["version"], entry["accepted"], entry["by"]) == ("2", True, "person")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["assess", "--model", "models:/nix/1", "--inputs", "INPUTS"], "models:/nix/1 does not exist"),
        (["assess", "--model", "models:/linear/1", "--inputs", "none.csv"], "none.csv"),
        (["assess", "--model", "models:/linear/1"], "--inputs"),
        (["assess", "--model", "models:/linear/1", "--inputs", "INPUTS", "--trials", "5"], "at least 19 are needed"),
        (["assess", "--model", "models:/linear/1", "--inputs", "INPUTS", "--levels", "x"], "levels are numbers"),
        (["baseline", "--model", "models:/linear/1"], "--inputs"),
        (["rank", "models:/linear", "--inputs", "INPUTS"], "--target"),
        (["rank", "models:/nix", "--inputs", "INPUTS", "--target", "y"], "the model nix does not exist"),
        (["run"], "model.uri is required"),
        (["run", "--model.uri", "models:/a@b", "--http.port", "x"], "http.port = 'x' is not allowed"),
        (["check-config", "--model.uri", "models:/a@b", "--config", "none.yaml"], "none.yaml cannot be read"),
        (
            ["check-config", "--model.uri", "models:/a@b", "--http.token_file", "/nix"],
            "http.token_file = '/nix' cannot",
        ),
        (
            ["check-config", "--model.uri", "models:/a@b", "--mlflow.webhook_secret_file", "/dev/null"],
            "mlflow.webhook_secret_file = '/dev/null' cannot",
        ),
        (["run", "--model.uri", "models:/a@b", "--inputs.token_file", "/nix"], "inputs.token_file = '/nix' cannot be"),
        (
            ["check-config", *ENDPOINT, "--model.token_file", "/nix"],
            "model.token_file = '/nix' cannot be read: No such file",
        ),
        (
            ["check-config", *ENDPOINT, *KAFKA, "--kafka.tls_ca_file", "/nix"],
            "kafka.tls_ca_file = '/nix' cannot be read: No such file",
        ),
        (["check-config", *ENDPOINT, *KAFKA, "--kafka.tls_ca_file", "/etc/hosts"], "kafka: "),
        (
            ["run", *ENDPOINT, "--model.token_file", "/dev/null"],
            "model.token_file = '/dev/null' cannot be read: it is no regular file",
        ),
        (
            ["assess", "--model", "models:/linear/1", "--inputs", "INPUTS", "--token-file", "x"],
            "--token-file is for endpoints",
        ),
        (
            ["run", *ENDPOINT, "--model.rows_per_second", "50"],
            "the smallest assessment needs 125 s, the budget is 10 s",
        ),
        (["check-config", *ENDPOINT, "--baseline", "none.json"], "none.json cannot be read"),
        (["baseline", "--without-hour", "19:00"], "--without-hour 19:00 is no hour such as 2026-11-26T19 (UTC)"),
        (["check-config", *ENDPOINT, "--model.rows_per_second", "50"], "the smallest assessment needs 125 s"),
        (["run", "--model.uri", "models:/a@b", "--http.tls_cert_file", "x"], "tls_key_file must be given together"),
        (["run", "--model.uri", "models:/a@b", "--data-dir", "x"], "No such option"),
        (["run", "--model.uri", "digits"], "model.uri = 'digits' is not allowed"),
        (["assess", "--model", "models:/linear/1", "--inputs", "INPUTS", "--json", "/nix/x.json"], "/nix/x.json"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    words: list[str], sentence: str, registry: str, inputs: Path, tmp_path: Path
) -> None:
    words = [str(inputs) if word == "INPUTS" else word for word in words]
    done = robmon(*words, cwd=tmp_path, MLFLOW_TRACKING_URI=registry)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_registry_is_told_within_seconds(inputs: Path, tmp_path: Path) -> None:
    nowhere = f"http://me:secret@127.0.0.1:{free_port()}"
    started = time.monotonic()
    words = ["assess", "--model", "models:/linear/1", "--inputs", inputs]
    done = robmon(*words, cwd=tmp_path, MLFLOW_TRACKING_URI=nowhere)
    assert (done.returncode, "did not answer" in done.stderr) == (2, True)
    assert "secret" not in done.stderr + done.stdout
    assert time.monotonic() - started < 90


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--model.uri", "models:/a@b", "--http.port=0", "--inputs.port=0"],
        ["run", "--model.uri", "runs:/1f/model", "--http.port=0", "--inputs.port=0"],
        ["check-config", "--model.uri", "models:/a@b"],
        ["rank", "models:/linear", "--inputs", "INPUTS", "--target", "y"],
    ],
)
def test_where_no_registry_is_named_the_sentence_says_what_to_set(
    words: list[str], inputs: Path, tmp_path: Path
) -> None:
    done = robmon(*[str(inputs) if word == "INPUTS" else word for word in words], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"robmon: there is no model registry at sqlite:///{tmp_path}/mlflow.db: the file does not exist; "
        "set MLFLOW_TRACKING_URI, or mlflow.tracking_uri (--tracking-uri on the command line)"
    )
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("file", ["mlflow.db", "mlruns/0/meta.yaml"])
def test_the_default_registry_is_no_refusal(file: str, tmp_path: Path) -> None:
    """The database in the working folder, or the folder of files that older versions of MLflow left."""
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    done = robmon("check-config", "--model.uri", "models:/a@b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_registry_of_mlflows_own_variable_is_told(tmp_path: Path) -> None:
    done = robmon(
        "check-config", "--model.uri", "models:/a@b", cwd=tmp_path, MLFLOW_TRACKING_URI="http://me:secret@m:5/[/x]"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "mlflow.tracking_uri is not set: the registry is that of MLFLOW_TRACKING_URI, http://***@m:5/[/x]"
    )


@pytest.mark.parametrize(
    "flags", [ENDPOINT, ["--model.uri", "models:/a@b", "--mlflow.tracking_uri", "sqlite:///no.db"]]
)
def test_a_registry_that_is_named_or_not_needed_is_no_refusal(flags: list[str], tmp_path: Path) -> None:
    done = robmon("check-config", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_port_that_is_taken_is_told_as_the_setting_it_is(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = python_m_robmon("run", "--model.uri", "models:/a@b", "--http.port", str(port), cwd=tmp_path)
    assert done.returncode == 2
    assert f"http.port = {port} cannot be bound" in done.stderr


def test_check_config_shows_sources_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "robmon.yaml").write_text("model: {uri: 'models:/digits@champion'}\n")
    done = python_m_robmon(
        *["check-config", "--config", "robmon.yaml", "--assess.trials", "99"],
        cwd=tmp_path,
        ROBMON_MLFLOW__TRACKING_URI="http://me:secret@mlflow:5000",
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["model.uri"] == ["models:/digits@champion", "file"]
    assert rows["assess.trials"] == ["99", "flag"]
    assert rows["mlflow.tracking_uri"] == ["http://***@mlflow:5000", "environment"]
    assert rows["assess.levels"] == ["0", "0.05", "0.1", "0.2", "0.4", "default"]
    assert "one false alarm in 30 days, over all pods: an alarm begins at evidence 43200; what is seen" in done.stdout


def test_check_config_says_what_the_filter_of_the_model_leaves_out(tmp_path: Path) -> None:
    done = robmon(
        "check-config",
        "--model.uri",
        "models:/a@b",
        "--inputs.model",
        "digits",
        cwd=tmp_path,
        MLFLOW_TRACKING_URI="http://mlflow",
    )
    told = "inputs.model = 'digits': requests that name no model, as all those to /invocations, are left out"
    assert done.returncode == 0 and told in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", ["run", "assess", "compare", "rank", "baseline", "demo", "check-config"])
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    done = robmon(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage: robmon" in done.stdout


def test_a_picture_of_no_known_kind_is_refused_before_the_work(tmp_path):
    done = CliRunner().invoke(main, ["assess", "--model", "models:/m/1", "--png", str(tmp_path / "x.foo")])
    assert done.exit_code == 2
    assert "x.foo is of no known kind of picture" in done.output
