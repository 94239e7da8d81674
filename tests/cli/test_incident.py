"""`robmon incident`: of a data folder, of a robmon that answers, and of one that does not."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry

from robmon.cli.main import main
from robmon.export.http import http_application
from robmon.export.incident import IncidentAnswers
from robmon.export.published import Published
from robmon.history.events import Event
from robmon.history.memory import Entry
from robmon.history.scope import Judged
from robmon.history.standing import VersionState
from robmon.history.store import History
from robmon.incident.archive import facts_in, pack, read, to_json
from robmon.incident.facts import IncidentFacts
from tests.asgi import served
from tests.cli.test_rollback import VERDICT

pytestmark = pytest.mark.usefixtures("no_settings")


def incident(*words: object, **environment: str) -> Result:
    return CliRunner().invoke(main, ["incident", *map(str, words)], env=environment)


def refusal(*words: object) -> str:
    """The one sentence."""
    done = incident(*words)
    assert done.exit_code == 2, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("robmon: ")]
    return line


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """What a daemon has left that found version 2 worse."""
    folder = tmp_path / "data"
    history = History(folder, "digits")
    now = time.time()
    accepted = Entry(version="1", run_id="a", accepted=True, by="first", at=now - 90)
    rejected = Entry(version="2", run_id="b", accepted=False, by="verdict", against="1", pooled_ratio=3.75, at=now)
    judged = Judged(version="2", run_id="b", verdict=VERDICT)
    history.write_scope("champion", (accepted, rejected), judged=judged, served=("2", "b"))
    told = {"robmon": "0.1.0", "settings": {"model.uri": "models:/digits@champion", "assess.trials": "39"}}
    history.past.add_events([Event(now - 100, "started", {"robmon": "0.1.0", "python": "3.11", "image": None})], told)
    return folder


def test_of_a_data_folder(data_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "incident.tar.gz"
    done = incident(data_dir, "-o", output)
    assert done.exit_code == 0, done.output
    assert "digits: version 2 is worse than version 1: 3.75 times its noise error, since 20" in done.stdout
    facts, files = facts_in(output.read_bytes())
    assert facts["source"] == "data_dir" and facts["missing"] and facts["model"]["alias"] == "champion"
    assert facts["settings"]["assess.trials"] == "39" and facts["verdict"]["pooled_ratio"] == 3.75
    assert [one["roles"] for one in facts["versions"]] == [["served", "worse"], ["reference", "accepted"]]
    assert b"robmon rollback digits@champion" in files["INCIDENT.md"] and b"started" in files["timeline.json"]
    assert stat.S_IMODE(output.stat().st_mode) & 0o077 == 0o044 & ~_umask()
    again = tmp_path / "again.tar.gz"
    assert incident(data_dir, "-o", again).exit_code == 0
    assert again.read_bytes() == output.read_bytes()
    done = CliRunner().invoke(main, ["assess", "--incident", str(output)])
    assert done.exit_code == 2 and "this bundle holds no inputs" in done.stderr


def _umask() -> int:
    text = Path("/proc/self/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("Umask:")).split()[1], 8)


def test_what_cannot_be_had_is_said_in_one_sentence(data_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tar.gz"
    assert "a data folder holds no inputs" in refusal(data_dir, "--with-inputs", "-o", output)
    assert "holds no history" in refusal(tmp_path / "nowhere", "-o", output)
    assert "did not answer" in refusal("http://127.0.0.1:1", "-o", output)
    assert not output.exists()


def bundle(with_inputs: bool) -> bytes:
    known = IncidentFacts(
        "daemon", "0.1.0", "digits", "champion", "models:/digits@champion", ("1", "a"), VersionState(), ()
    )
    facts = known.to_dict() | {"with_inputs": with_inputs}
    return pack("robmon-incident-digits-1", {"incident.json": to_json(facts)})


@pytest.mark.parametrize("needs_token", [False, True])
def test_of_a_running_robmon(tmp_path: Path, needs_token: bool) -> None:
    async def made(with_inputs: bool) -> bytes:
        return bundle(with_inputs)

    answers = IncidentAnswers(made, needs_token, lambda reason: None)
    application = http_application(Published("digits", 60, 3600), CollectorRegistry(), incident=answers)
    output = tmp_path / "incident.tar.gz"
    with served(application) as url:
        done = incident(url, "-o", output)
        assert done.exit_code == 0 and "no regression stands on version 1" in done.stdout, done.output
        done = incident(f"{url}/", "--with-inputs", "-o", output)
        assert done.exit_code == 0 and "this bundle holds production inputs" in done.stderr, done.output
        assert stat.S_IMODE(output.stat().st_mode) == 0o600
        token = tmp_path / "token"
        token.write_text("not/for a header\n")
        assert "must hold a token a line" in refusal(url, "--token-file", token, "-o", output)
        assert "cannot be read: No such file" in refusal(url, "--token-file", tmp_path / "none", "-o", output)
    older = http_application(Published("digits", 60, 3600), CollectorRegistry())
    with served(older) as url:
        assert "answered 404: there is no robmon, or an older one" in refusal(url, "-o", output)


@pytest.mark.parametrize("content", [b"", b"<html>", bundle(False)[:100], pack("x", {"incident.json": b"{}"})])
def test_what_is_no_bundle_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.tar.gz"
    file.write_bytes(content)
    done = CliRunner().invoke(main, ["assess", "--incident", str(file)])
    assert done.exit_code == 2 and done.stderr.startswith("robmon: "), done.output
    assert read(_written(tmp_path / "right.tar.gz", bundle(False))).keys() == {"incident.json"}


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def test_the_incident_says_all_that_is_assessed(tmp_path: Path) -> None:
    file = _written(tmp_path / "right.tar.gz", bundle(False))
    done = CliRunner().invoke(main, ["assess", "--incident", str(file), "--model", "models:/a/1"])
    assert done.exit_code == 2 and "--incident says all that is done: leave out --model" in done.stderr
