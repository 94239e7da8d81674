"""The bundle of a daemon: what is in it, what is never in it, and that its numbers come out again to the last bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from robmon.daemon.incident import NO_INPUTS, NOT_HELD, VERDICTS_NOT_HELD, Incidents
from robmon.daemon.results.evidence import Evidence, evidence_after
from robmon.daemon.results.kept import Kept
from robmon.daemon.results.publication import Finding
from robmon.daemon.worker.question import assessment_question, comparison_question
from robmon.errors import InvalidInputError
from robmon.export.published import Published, View
from robmon.history.memory import Entry
from robmon.history.scope import Judged
from robmon.history.standing import VersionState, version_state
from robmon.incident.archive import facts_in, read
from robmon.incident.markdown import summary
from robmon.incident.numbers import differences, numbers_of
from robmon.incident.queries import queries
from robmon.incident.replay import read_replay
from robmon.incident.reproduction import _against
from robmon.inputs.kept_headers import kept_headers
from robmon.inputs.sample import Feedback, Item
from robmon.models import loading
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.model import LoadedModel, ModelVersion
from robmon.settings import Settings, load
from robmon.worker.evaluation import evaluate
from tests import planted
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import tensor
from tests.worker.test_evaluation import NAMES, linear  # noqa: F401

ROWS = 64
PLANTED = {
    "inputs": planted.numbers(48, seed=5),
    "labels": planted.numbers(8, seed=6),
    "words": planted.words(8, seed=7),
}
AT = 1_795_700_000.0
SECRET = "canary-of-a-url"
OLD, NEW = (ModelVersion(name="digits", version=number, run_id=f"run-{number}") for number in ("1", "2"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    given = {
        "model.uri": "models:/digits@champion",
        "mlflow.tracking_uri": f"http://me:{SECRET}@registry.example",
        "data_dir": str(tmp_path),
        "assess.min_rows": "20",
        "assess.levels": "0.1 0.3",
        "assess.trials": "19",
        "baseline.min_rows": "40",
    }
    return load(given).settings


def requests(is_tensor: bool = False) -> list[Item]:
    """Each with an id, a label, an answer, and numbers that are found again."""

    def body(row: list[float]) -> bytes:
        told = {"inputs": [row]} if is_tensor else {"dataframe_split": {"columns": NAMES, "data": [row]}}
        return json.dumps(told).encode()

    rows = 1e4 + np.random.default_rng(4).normal(size=(ROWS, 3)) * 3e3
    return [
        Item(
            "mlflow",
            {"content-type": "application/json"},
            AT,
            seed=index,
            body=body(row.tolist()),
            feedback=Feedback((f"request-{index}",), b"98765.4321", b'{"predictions": [87654.321]}'),
        )
        for index, row in enumerate(rows)
    ]


def asked(settings: Settings, items: list[Item], baseline: dict[str, Any] | None) -> Any:
    return assessment_question(settings, items, number=7, seed=11, baseline=baseline, has_answer=lambda item: True)


def found_by(model: ServedModel, version: ModelVersion, question: Any, items: list[Item], blobs: Any) -> Any:
    answer, kept = evaluate(model, question, blobs)
    assert isinstance(answer, Assessed)
    return answer, kept[0], Finding.of(question, items, answer)


def bent(model: ServedModel, by: float) -> ServedModel:
    def call(x: pd.DataFrame) -> Any:
        return x["a"] * 2 + by * np.sin(x["b"] / 1e3) * 1e4

    return replace(model, _call=cast(Callable[[Any], Any], call))


@pytest.fixture
def models(linear: list[ServedModel]) -> list[ServedModel]:  # noqa: F811
    return [bent(linear[0], 0.1), bent(linear[0], 1.5)]


@pytest.fixture
def networks(tmp_path: Path) -> list[ServedModel]:
    """The same of torch: the second one's first layer is twice as steep."""
    import mlflow.pytorch
    import torch

    found = []
    for steepness in (1e-5, 2e-5):
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))
        with torch.no_grad():
            module[0].weight.mul_(steepness)
        with quiet_mlflow():
            mlflow.pytorch.save_model(
                module,
                tmp_path / f"network-{steepness:g}",
                signature=tensor("float32", (-1, 3)),
                pip_requirements=["torch"],
                serialization_format="pickle",
            )
        found.append(loading.load(tmp_path / f"network-{steepness:g}"))
    return found


@pytest.fixture
def evidence(settings: Settings, models: list[ServedModel]) -> Evidence:
    return verdict_on(settings, models, requests())


def verdict_on(settings: Settings, models: list[ServedModel], items: list[Item]) -> Evidence:
    """Of a verdict against a reference whose baseline counts."""
    question, blobs = asked(settings, items, None)
    learnt, _, _ = found_by(models[0], OLD, question, items, blobs)
    question, blobs = asked(settings, items, learnt.baseline)
    result, blob, finding = found_by(models[0], OLD, question, items, blobs)
    kept = Kept.of("1", items, 11, result, blob, Evidence.of(OLD, finding, blob))
    question, blobs = comparison_question(settings, kept, number=8, baseline=None, has_answer=lambda item: True)
    result, blob, finding = found_by(models[1], NEW, question, items, blobs)
    assert result.verdict is not None and result.verdict.worse
    made = Evidence.of(NEW, finding, blob, against=kept.evidence)
    assert made is not None
    return made


ENTRIES = (
    Entry(version="1", run_id="run-1", accepted=True, by="first", at=AT - 90),
    Entry(version="2", run_id="run-2", accepted=False, by="verdict", against="1", pooled_ratio=3.0, at=AT),
)


def standing(evidence: Evidence) -> VersionState:
    assert evidence.result.verdict is not None
    judged = Judged(version="2", run_id="run-2", verdict=evidence.result.verdict)
    return version_state(ENTRIES, ("2", "run-2"), judged=judged)


def incidents(settings: Settings, evidence: Evidence | None) -> Incidents:
    """Of a daemon that knows so much; its parts are asked for nothing but what stands here."""
    state = VersionState() if evidence is None else standing(evidence)
    loaded = LoadedModel(flavor="pyfunc", device="cpu", libraries={"numpy": np.__version__}, processor="a processor")
    facts = {number: {"run_id": f"run-{number}", "tags": {"stage": "x"}, "commit": "abcdef0"} for number in ("1", "2")}
    view = View(model=NEW, loaded=loaded, state=state)
    published = Published("digits", 60, 3600, alias="champion", view=view)
    follower, runner = SimpleNamespace(name="digits", facts=facts), SimpleNamespace(evidence=evidence)
    memory = SimpleNamespace(entries=() if evidence is None else ENTRIES)
    return Incidents(settings, cast(Any, follower), cast(Any, runner), cast(Any, memory), published, "digits")


@pytest.mark.parametrize("library", ["sklearn", "torch"])
async def test_the_numbers_of_a_verdict_come_out_again_to_the_last_bit(
    settings: Settings, library: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    models = request.getfixturevalue("networks" if library == "torch" else "models")
    evidence = verdict_on(settings, models, requests(is_tensor=library == "torch"))
    archive = tmp_path / "whole.tar.gz"
    archive.write_bytes(await incidents(settings, evidence).bundle(True))
    replay, bodies = read_replay(read(archive))
    assert [step.uri for step in replay.steps] == ["models:/digits/1", "models:/digits/2"]
    assert all(request.target is None and request.answer is None for request in replay.steps[0].question.requests)
    before: tuple[Assessed, bytes] | None = None
    for step, model in zip(replay.steps, models, strict=True):
        question, blobs = step.question, list(bodies)
        if before is not None:
            question, blobs = _against(question, before[0]), [*blobs, before[1]]
        answer, kept = evaluate(model, question, blobs)
        assert isinstance(answer, Assessed)
        again = json.loads(json.dumps(numbers_of(answer, hashlib.sha256(kept[0]).hexdigest())))
        assert list(differences(step.numbers, again)) == []
        before = answer, kept[0]
    assert before is not None and before[0].verdict == evidence.result.verdict


async def test_a_bundle_says_all_and_holds_no_input(settings: Settings, evidence: Evidence) -> None:
    made = incidents(settings, evidence)
    plain = await made.bundle(False)
    assert plain == await made.bundle(False), "the same state, the same bytes"
    facts, files = facts_in(plain)
    verdict = {
        name: facts["verdict"][name] for name in ("pooled_ratio", "pooled_low", "pooled_high", "pvalue", "score")
    }
    assert verdict["pooled_ratio"] != ENTRIES[1].pooled_ratio, "another pod's is remembered"
    assert facts["standing"] | {"since_utc": ""} == {
        "kind": "version", "version": "2", "against": "1", "since": AT, "since_utc": "", **verdict,
    }  # fmt: skip
    assert facts["worst_requests"] and facts["assessment"]["against"]["version"] == "1"
    assert facts["versions"][0]["commit"] == "abcdef0" and facts["versions"][0]["roles"] == ["served", "worse"]
    assert NO_INPUTS in facts["missing"] and any(each.startswith("the history: ") for each in facts["missing"])
    content = b"".join(files.values())
    numbers = [value for item in requests() for value in json.loads(item.body)["dataframe_split"]["data"][0]]
    assert not [value for value in numbers if repr(value).encode() in content or f"{value:.4f}".encode() in content]
    for word in (b"98765.4321", b"87654.321", SECRET.encode(), b"requests/"):
        assert word not in content
    lines = files["REPRODUCE.md"].decode().splitlines()
    assert [line for line in lines if line.startswith("robmon ")] == ["robmon assess --incident ."]
    assert b"robmon rollback digits@champion" in files["INCIDENT.md"]


@pytest.mark.parametrize("library", ["sklearn", "torch"])
async def test_none_of_64_planted_values_is_in_a_bundle_without_inputs(
    settings: Settings, library: str, request: pytest.FixtureRequest
) -> None:
    """In rows, labels, answers and headers."""
    models = request.getfixturevalue("networks" if library == "torch" else "models")
    items = [with_planted(index, item, library == "torch") for index, item in enumerate(requests())]
    evidence = verdict_on(settings, models, items)
    all_of_them = [value for values in PLANTED.values() for value in values]
    assert len(set(all_of_them)) == 64
    made = incidents(settings, evidence)
    assert planted.found_in(await made.bundle(False), all_of_them) == []
    assert planted.found_in(await made.bundle(True), all_of_them) == PLANTED["inputs"], "its rows, and nothing else"


def with_planted(index: int, item: Item, is_tensor: bool) -> Item:
    """A request of planted values alone."""
    numbers, labels, words = PLANTED.values()
    secrets = [("authorization", f"Bearer {words[index % 8]}"), ("cookie", words[(index + 1) % 8])]
    row = ", ".join(numbers[(3 * index + place) % 48] for place in range(3))
    columns = f'{{"dataframe_split": {{"columns": {json.dumps(NAMES)}, "data": [[{row}]]}}}}'
    label, answer = (labels[(index + place) % 8] for place in range(2))
    return replace(
        item,
        body=f'{{"inputs": [[{row}]]}}'.encode() if is_tensor else columns.encode(),
        headers=kept_headers([(name.encode(), value.encode()) for name, value in (*item.headers.items(), *secrets)]),
        feedback=Feedback(("id",), label.encode(), f'{{"predictions": [{answer}]}}'.encode()),
    )


async def test_what_is_not_known_is_said(settings: Settings, evidence: Evidence, tmp_path: Path) -> None:
    facts, files = facts_in(await incidents(settings, None).bundle(True))
    assert facts["assessment"] is None and facts["standing"] is None and not facts["with_inputs"]
    assert NOT_HELD in facts["missing"] and files["INCIDENT.md"].startswith(b"# digits: no regression stands")
    let_go = evidence.held_by([])
    facts, files = facts_in(await incidents(settings, let_go).bundle(True))
    assert facts["assessment"]["version"] == "2" and VERDICTS_NOT_HELD in facts["missing"]
    archive = tmp_path / "let-go.tar.gz"
    archive.write_bytes(await incidents(settings, let_go).bundle(True))
    with pytest.raises(InvalidInputError, match="this bundle holds no inputs"):
        read_replay(read(archive))


async def test_commands_and_queries_hold_for_every_name(settings: Settings, evidence: Evidence) -> None:
    facts, _ = facts_in(await incidents(settings, evidence).bundle(False))
    named = facts | {"model": facts["model"] | {"name": "house price é"}}
    assert b"`robmon rollback 'house price \xc3\xa9@champion'`" in summary(named, None)
    assert queries("é \U0001f3e0", None)[0]["query"] == 'robmon_regression_detected{model_name="é \U0001f3e0"}'
    assert facts["accepted"] == {"version": "1", "by": "first", "unseen": True}, "who accepted that version"


def test_the_evidence_of_a_verdict_stays_while_its_regression_stands(evidence: Evidence) -> None:
    later = replace(evidence, result=evidence.result.model_copy(update={"verdict": None}))
    assert evidence_after(evidence, later, standing(evidence)) is evidence
    assert evidence_after(evidence, later, VersionState()) is later
    assert evidence_after(evidence, None, VersionState()) is evidence
    assert evidence.items is not None and evidence.held_by(evidence.items) is evidence
