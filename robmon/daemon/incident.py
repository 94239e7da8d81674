"""The bundle of a running daemon: what it knows at one moment, put together on a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from robmon.daemon.memory.verdict_memory import VerdictMemory
from robmon.daemon.registry.follow import Follower
from robmon.daemon.results.evidence import Evidence
from robmon.daemon.results.publication import shown_ids
from robmon.daemon.runner import Runner
from robmon.daemon.worker.question import load_question
from robmon.export.published import Published, View
from robmon.history.reading import HistoryError, HistoryReader
from robmon.history.state.kept import NewerStateError
from robmon.incident import markdown
from robmon.incident.archive import folder_name, pack, to_json
from robmon.incident.facts import IncidentFacts
from robmon.incident.numbers import numbers_of
from robmon.incident.replay import Replay, Sample, Step, files_of, to_ask_again
from robmon.incident.timeline import timeline
from robmon.models.uri import ModelUri, mask, parse
from robmon.settings import Settings, as_text, leaves, value_of

NO_INPUTS: Final = "production inputs: robmon incident --with-inputs adds the requests of the sample"
NOT_HELD: Final = "the sample: its requests are held no longer, wait for the next assessment"
VERDICTS_NOT_HELD: Final = (
    "the sample: the requests of the verdict are held no longer, and later ones do not give its numbers: run robmon "
    "compare with both versions on a file of inputs"
)
NOT_REPRODUCED: Final = (
    "labels and answers that were served, and what is computed from them; further noises (assess.noises); the state of "
    "the detector over time"
)


class Incidents:
    """Makes bundles.

    Args:
        settings: the daemon's.
        follower: knows what the registry says of versions.
        runner: has the evidence.
        memory: of verdicts.
        published: what is told.
        history_key: under which the history is kept.
    """

    def __init__(
        self,
        settings: Settings,
        follower: Follower,
        runner: Runner,
        memory: VerdictMemory,
        published: Published,
        history_key: str,
    ) -> None:
        self._settings = settings
        self._follower = follower
        self._runner = runner
        self._memory = memory
        self._published = published
        self._history_key = history_key

    async def bundle(self, with_inputs: bool) -> bytes:
        """The archive. What is known is taken here, at once; all else is done on a thread."""
        view, evidence = self._published.view, self._runner.evidence
        entries, facts = self._memory.entries, dict(self._follower.facts)

        def make() -> bytes:
            replay = _replay(self._settings, evidence) if with_inputs and evidence is not None else None
            happened, problem = self._timeline(view)
            missing = [NO_INPUTS] if not with_inputs else [] if replay is not None else [_not_held(evidence)]
            known = IncidentFacts(
                source="daemon",
                robmon=metadata.version("robmon"),
                model=self._follower.name,
                alias=self._published.alias,
                uri=mask(self._settings.model.uri),
                served=None if view.model is None else (view.model.version, view.model.run_id),
                state=view.state,
                entries=entries,
                detection=view.detection,
                registry=facts,
                assessment=None if evidence is None else _assessment(evidence),
                settings=told_settings(self._settings),
                details=_details(self._settings, view, evidence),
                missing=[*missing, NOT_REPRODUCED, *filter(None, [problem])],
                with_inputs=replay is not None,
            )
            return pack(
                folder_name(known.model, known.served and known.served[0]), contents(known, happened, replay, evidence)
            )

        return await asyncio.to_thread(make)

    def _timeline(self, view: View) -> tuple[dict[str, Any] | None, str]:
        since = view.worse_since
        try:
            reader = HistoryReader(Path(self._settings.data_dir), self._history_key)
            return timeline(reader, None if since is None else since[2]), ""
        except (HistoryError, NewerStateError) as error:
            return None, f"the history: {error}"


def contents(
    known: IncidentFacts, happened: Mapping[str, Any] | None, replay: Replay | None, evidence: Evidence | None
) -> dict[str, bytes]:
    """The files of the bundle."""
    facts = known.to_dict()
    files = {
        "incident.json": to_json(facts),
        "INCIDENT.md": markdown.summary(facts, happened),
        "REPRODUCE.md": markdown.reproduce(facts),
    }
    if happened is not None:
        files["timeline.json"] = to_json(happened)
    if replay is not None and evidence is not None and evidence.items is not None:
        files |= files_of(replay, Sample([item.body for item in evidence.items]))
    return files


def told_settings(settings: Settings) -> dict[str, str]:
    """All of them as `check-config` prints them: of secrets the names of their files alone."""
    return {leaf.name: mask(as_text(value_of(settings, leaf.name))) for leaf in leaves()}


def _assessment(evidence: Evidence) -> dict[str, Any]:
    """How it was made, and what came of it; of the reference's, if there is one, likewise."""
    result, plan = evidence.result, evidence.result.plan
    told: dict[str, Any] = {
        "version": evidence.model.version,
        "run_id": evidence.model.run_id,
        "number": result.number,
        "seed": result.seed,
        "at": evidence.at,
        "draws": result.draws,
        "requests": len(evidence.question.requests),
        "batch_rows": plan.batch_rows,
        "specification": evidence.question.specification.to_dict(),
        "masked": result.masked,
        "notes": result.notes,
        "numbers": numbers_of(result, evidence.row_errors_sha256),
    }
    return told | ({} if evidence.against is None else {"against": _assessment(evidence.against)})


def _details(settings: Settings, view: View, evidence: Evidence | None) -> dict[str, Any]:
    """Parts that only a running daemon knows."""
    loaded, result = view.loaded, None if evidence is None else evidence.result
    computed_by = None
    if loaded is not None:
        computed_by = loaded.model_dump(exclude={"type"}) | {"threads": settings.device.threads}
    items = evidence.items if evidence is not None else None
    worst = () if items is None or result is None else shown_ids([items[index] for index in result.worst_requests])
    measurement = view.measurement
    return {
        "baseline": {"source": view.baseline.source, "rows": view.baseline.rows, "at": view.baseline.at},
        "attribution": {
            "baseline": None if view.shares is None else view.shares.model_dump(),
            "now": None if view.alert_shares is None else view.alert_shares.model_dump(),
        },
        "canary": None if view.canary is None else view.canary.model_dump(),
        "worst_requests": list(worst or (() if measurement is None else measurement.fragile_requests)),
        "nonfinite_requests": list(() if measurement is None else measurement.nonfinite_requests),
        "computed_by": computed_by,
        "problem": view.problem,
    }


def _replay(settings: Settings, evidence: Evidence) -> Replay | None:
    """How it is made again; None where the requests are held no longer."""
    if evidence.items is None or (evidence.question.comparison is not None and evidence.against is None):
        return None
    steps = [_step(settings, each) for each in (evidence.against, evidence) if each is not None]
    return Replay(steps=steps, requests=len(evidence.items))


def _not_held(evidence: Evidence | None) -> str:
    """Why there is no sample, and what to do: the numbers of a verdict stay while its regression stands."""
    verdict = None if evidence is None else evidence.result.verdict
    return VERDICTS_NOT_HELD if verdict is not None and verdict.worse else NOT_HELD


def _step(settings: Settings, evidence: Evidence) -> Step:
    uri = parse(settings.model.uri)
    is_registered = isinstance(uri, ModelUri) and uri.is_registered
    model = evidence.model.model_copy(
        update={"path": "", "endpoint": None, "learnt": None, "learnt_before": {}, "tags": {}, "flavors": []}
    )
    load = load_question(settings, model)
    return Step(
        uri=uri.with_version(model.version) if is_registered else mask(settings.model.uri),
        run_id=model.run_id,
        load=load.model_copy(update={"access": type(load.access)()}),
        question=to_ask_again(evidence.question, evidence.result.plan),
        numbers=numbers_of(evidence.result, evidence.row_errors_sha256),
    )
