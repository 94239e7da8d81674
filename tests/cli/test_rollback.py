"""`robmon rollback` on a real MLflow server: what it refuses, what it moves, and who else moves at the same time."""

from __future__ import annotations

import itertools
import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from robmon.cli.main import main
from robmon.errors import ModelError, ModelNotFoundError
from robmon.history.detection import DetectionRecord
from robmon.history.memory import Entry, to_json
from robmon.history.scope import Judged
from robmon.history.store import History
from robmon.history.verdict import JudgedCurves, Verdict
from robmon.library.rollback import Rollback, move, plan_rollback
from robmon.models.registry.registry import Registry
from tests.e2e.proxies import Front, front, read_only
from tests.mlflow_client import quiet_mlflow

NUMBERS = itertools.count()
FOUND_AT = 1_795_700_000.0
VERDICT = Verdict(
    reference_version="1",
    worse=True,
    pvalue=1e-9,
    levels=[0.1, 0.2],
    ratio=[3.0, 4.0],
    detectable_ratio=1.2,
    pooled_ratio=3.75,
    pooled_low=3.1,
    pooled_high=4.4,
    confidence=0.98,
    score="mse",
    why="squared changes of the outputs",
)
OF_THIS_POD = VERDICT.model_copy(update={"pooled_ratio": 3.6})
"""Not that of the pod whose verdict the registry remembers."""

pytestmark = pytest.mark.usefixtures("no_settings")


@dataclass(frozen=True)
class Model:
    """A registered model with the versions 1 to 3 and without files; 2 is served and was found worse than 1."""

    client: MlflowClient
    url: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}@champion"

    def remember(self, *entries: Entry, scope: str = "champion") -> None:
        self.client.set_registered_model_tag(self.name, f"robmon.memory.{scope}", to_json(entries))

    def serve(self, version: str) -> None:
        self.client.set_registered_model_alias(self.name, "champion", version)

    @property
    def served(self) -> str:
        return str(self.client.get_registered_model(self.name).aliases["champion"])

    def tags(self, version: str) -> dict[str, str]:
        return dict(self.client.get_model_version(self.name, version).tags)


def accepted(version: str, at: float = FOUND_AT - 90) -> Entry:
    return Entry(version=version, accepted=True, by="verdict", against="0", pooled_ratio=1.0, at=at)


def rejected(version: str, at: float = FOUND_AT) -> Entry:
    return Entry(version=version, accepted=False, by="verdict", against="1", pooled_ratio=3.75, at=at)


@pytest.fixture
def model(tracking_server: tuple[str, Path]) -> Model:
    with quiet_mlflow():
        client = MlflowClient(tracking_server[0], tracking_server[0])
        name = f"rollback-{os.getpid()}-{next(NUMBERS)}"
        client.create_registered_model(name)
        for number in range(1, 4):
            client.create_model_version(name, source=f"s3://nowhere/{number}")
    made = Model(client, tracking_server[0], name)
    made.serve("2")
    made.remember(accepted("1"), rejected("2"))
    return made


def robmon(*words: str, **environment: str) -> str:
    done = CliRunner().invoke(main, list(words), env=environment)
    assert done.exit_code == 0, done.output
    return done.output


def refusal(*words: str, **environment: str) -> str:
    """The one sentence."""
    done = CliRunner().invoke(main, ["rollback", *words], env=environment)
    assert done.exit_code == 2, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("robmon: ")]
    return line


def test_it_shows_moves_tags_and_undoes(model: Model) -> None:
    told = robmon("rollback", str(model), "--tracking-uri", model.url)
    assert f"champion of {model.name} stands for version 2." in told
    assert "version 2 against version 1: 3.75 times its noise error." in told
    assert "since 2026-11-26 13:33 UTC" in told
    assert "run this there to see them" in told, "no data folder is here"
    assert model.served == "2" and model.tags("2") == {}, "a dry run"

    done = robmon(*shlex.split(told.splitlines()[-1])[1:])
    assert model.served == "1" and "moved from version 2 to version 1" in done
    tags = [json.loads(model.tags(version)["robmon.rollback.champion"]) for version in ("1", "2")]
    assert tags[0] == tags[1] and tags[0] | {"at": ""} == {
        "alias": "champion",
        "from": "2",
        "to": "1",
        "at": "",
        "kind": "version",
        "since": "2026-11-26 13:33 UTC",
        "against": "1",
        "pooled_ratio": "3.75",
    }
    assert "version 1, for which champion of" in refusal(str(model), "--yes", "--tracking-uri", model.url)

    undo = next(line for line in done.splitlines() if line.startswith("robmon rollback"))
    robmon(*shlex.split(undo)[1:])
    assert model.served == "2"


@pytest.mark.parametrize(
    ("entries", "served", "words", "sentence"),
    [
        ((accepted("1"),), "1", (), "no regression stands: version 1, for which champion of NAME stands, was accepted"),
        ((accepted("1"), rejected("2")), "3", (), "version 3, for which champion of NAME stands, has no verdict yet"),
        ((), "2", (), "nothing is remembered of version 2, for which champion of NAME stands, in the scope champion"),
        ((rejected("2"),), "2", ("--to", "9"), "version 9 of NAME does not exist"),
        ((accepted("1"), rejected("2"), rejected("3")), "2", ("--to", "3"), "version 3 of NAME was rejected too"),
        ((accepted("1"), rejected("2")), "2", ("--to", "2"), "is the one that the alias stands for"),
        ((accepted("2"),), "2", ("--force",), "no accepted version of NAME is remembered: choose one with --to"),
    ],
)
def test_what_is_not_clear_is_refused(
    model: Model, entries: tuple[Entry, ...], served: str, words: tuple[str, ...], sentence: str
) -> None:
    model.serve(served)
    model.remember(*entries)
    for yes in ((), ("--yes",)):
        told = refusal(str(model), *words, *yes, MLFLOW_TRACKING_URI=model.url)
        assert sentence.replace("NAME", model.name) in told
    assert model.served == served


def test_force_moves_without_a_regression(model: Model) -> None:
    model.serve("3")
    told = robmon("rollback", str(model), "--force", "--yes", MLFLOW_TRACKING_URI=model.url)
    assert "No regression stands: the move is forced." in told and model.served == "1"
    assert "A robmon that follows the alias takes version 1 as accepted" in told
    told = robmon("rollback", str(model), "--to", "2", "--force", "--yes", MLFLOW_TRACKING_URI=model.url)
    assert model.served == "2", "a rejected one"
    assert "clears the regression" not in told
    assert (
        "Version 2 was rejected, against version 1: a robmon that follows the alias alerts on that regression" in told
    )
    told = robmon("rollback", str(model), "--to", "3", "--yes", MLFLOW_TRACKING_URI=model.url)
    assert model.served == "3" and "Version 3 has no verdict yet: a robmon that follows the alias judges it" in told


def test_a_target_that_was_deleted(model: Model) -> None:
    words = (str(model), "--yes", "--tracking-uri", model.url)
    planned = plan(model)
    model.client.delete_model_version(model.name, "1")
    sentence = f"version 1 of {model.name}, which was accepted, does not exist in the registry at {model.url}"
    assert f"{sentence}, its versions are 2, 3: choose one with --to" in refusal(*words)
    with pytest.raises(ModelNotFoundError, match=r"champion was not moved: version 1 of .* does not exist"):
        move(Registry(model.url), planned)
    assert model.served == "2"


def plan(model: Model, **options: Any) -> Rollback:
    return plan_rollback(Registry(model.url), model.name, "champion", **options)


class Overtaking(Front):
    """A registry in which somebody else moves the alias right after we have."""

    overtaken = False

    def do_POST(self) -> None:  # noqa: N802 - the library's name
        body = self.body()
        answer = self.asked(body)
        if self.path.endswith("/alias") and not Overtaking.overtaken:
            Overtaking.overtaken = True
            self.asked(json.dumps(json.loads(body) | {"version": "3"}).encode())
        self.answer(answer.status_code, answer.content)


def test_somebody_else_moves_the_alias_too(model: Model) -> None:
    planned = plan(model)
    model.serve("3")
    with pytest.raises(ModelError, match=r"somebody else has moved champion of .* to version 3 meanwhile.* nothing"):
        move(Registry(model.url), planned)
    assert model.served == "3"

    model.client.delete_registered_model_alias(model.name, "champion")
    with pytest.raises(ModelError, match="somebody else has removed the alias champion"):
        move(Registry(model.url), planned)

    model.serve("2")
    with front(model.url, Overtaking) as url:
        told = refusal(str(model), "--yes", "--tracking-uri", url)
    assert "champion was moved to version 1, and then somebody else has moved champion of" in told
    assert model.served == "3" and model.tags("2") == {}


class AnswerLost(Front):
    """A registry that does what it is asked, of which nobody learns."""

    def do_POST(self) -> None:  # noqa: N802 - the library's name
        body = self.body()
        self.asked(body)
        self.answer(403, b"lost")


def test_a_write_that_is_refused_or_whose_answer_is_lost(model: Model) -> None:
    with read_only(model.url) as url:
        told = refusal(str(model), "--yes", "--tracking-uri", url)
        assert told == f"robmon: champion was not moved: the registry at {url} refused the credentials (status 403)"
    assert model.served == "2"
    with front(model.url, AnswerLost) as url:
        done = CliRunner().invoke(main, ["rollback", str(model), "--yes", "--tracking-uri", url])
    assert done.exit_code == 0 and model.served == "1", done.output
    assert "the alias was moved, and the versions could not be tagged" in done.stderr


def test_in_robmons_container_settings_and_folder_are_used(model: Model, tmp_path: Path) -> None:
    """Nothing but the name is needed, and both curves are shown."""
    folder = tmp_path / "data"
    settings = {
        "ROBMON_MODEL__URI": f"models:/{model}",
        "ROBMON_MLFLOW__TRACKING_URI": model.url,
        "ROBMON_DATA_DIR": str(folder),
        "ROBMON_HISTORY__SCOPE": "shop.models.champion",
    }
    model.client.delete_registered_model_tag(model.name, "robmon.memory.champion")
    assert "nothing is remembered" in refusal(model.name, **settings)
    history = History(folder, model.name)
    history.write_scope(
        "shop.models.champion", (accepted("1"), rejected("2")), judged=Judged(version="2", verdict=OF_THIS_POD)
    )
    for number, (version, errors) in enumerate([("1", (0.01, 0.04)), ("2", (0.03, 0.16))]):
        levels = [{"level": level, "mse": mse} for level, mse in zip((0.1, 0.2), errors, strict=True)]
        history.past.add({"at": FOUND_AT + number, "number": number, "version": version, "levels": levels})
    told = robmon("rollback", model.name, **settings)
    assert "3.6 times its noise error (98 % interval 3.1 to 4.4, p < 0.000001)" in told
    rows = [line.split() for line in told.splitlines()]
    assert [row for row in rows if row[:1] in (["0.1"], ["0.2"])] == [["0.1", "0.01", "0.03"], ["0.2", "0.04", "0.16"]]
    assert "each as it was assessed last" in told
    curves = JudgedCurves(
        space="output",
        noise="gaussian",
        confidence=0.95,
        levels=[0.1, 0.2],
        reference_mean=[0.011, 0.041],
        reference_bound=None,
        mean=[0.033, 0.164],
        bound=[0.04, 0.2],
    )
    judged = Judged(version="2", verdict=OF_THIS_POD.model_copy(update={"curves": curves}))
    history.write_scope("shop.models.champion", (), judged=judged)
    told = robmon("rollback", model.name, **settings)
    assert "  0.1      0.011      0.033\n" in told and "on the same rows, those of the verdict." in told
    model.remember(accepted("1"), rejected("2"), scope="shop.models.champion")
    assert "3.75 times" in robmon("rollback", str(model), MLFLOW_TRACKING_URI=model.url), "found by the alias' name"
    model.remember(rejected("2"), scope="other.champion")
    assert "in the scopes other.champion, shop.models.champion" in refusal(str(model), MLFLOW_TRACKING_URI=model.url)
    robmon("rollback", model.name, "--yes", **settings)
    assert model.served == "1"


def test_a_regression_over_time_names_no_other_version(model: Model, tmp_path: Path) -> None:
    model.remember(accepted("1"), accepted("2", FOUND_AT))
    record = DetectionRecord(identity={"version": ["2", None], "threshold": [1.0]}, since=FOUND_AT)
    History(tmp_path / "data", model.name).write_step("champion", record, "hours", {})
    words = (str(model), "--data-dir", str(tmp_path / "data"), "--tracking-uri", model.url)
    assert "has become worse over time" in refusal(*words) and "choose one with --to" in refusal(*words)
    assert "A regression over time stands since" in robmon("rollback", *words, "--to", "1")


def test_what_names_no_alias(model: Model) -> None:
    assert "names no alias" in refusal(f"{model.name}/2", MLFLOW_TRACKING_URI=model.url)
    watched = {"ROBMON_MODEL__URI": f"models:/{model.name}/2", "ROBMON_MLFLOW__TRACKING_URI": model.url}
    assert "give NAME@ALIAS" in refusal(model.name, **watched)
    model.client.set_registered_model_alias(model.name, "canary", "3")
    assert "its aliases are canary, champion: give NAME@ALIAS" in refusal(model.name, MLFLOW_TRACKING_URI=model.url)
    assert "does not exist in the registry" in refusal("no-such-model@champion", MLFLOW_TRACKING_URI=model.url)
