"""The heavy process of an audit, which examines one version and ends: `python -m robmon.audit.examine --fd N`.

It gets a local folder and a local file, and no credentials, as the daemon's worker does.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from robmon.errors import InvalidInputError, RobmonError
from robmon.models.devices.device import DeviceUse
from robmon.models.devices.threads import hold
from robmon.processes import heavy
from robmon.processes.channel import Channel
from robmon.processes.guest import be_expendable
from robmon.processes.messages.audit import Examine, Examined
from robmon.processes.messages.every_process import Rejections
from robmon.processes.strays import adopt_orphans
from robmon.worker.failing import failure

if TYPE_CHECKING:
    from robmon.models.served.served import ServedModel

DRAWS = "numpy"
"""Draws the noise of every model, whatever computes it: all are to have the same."""


def main() -> None:
    """Answer one question of the process at the other end of the socket."""
    heavy.main("robmon.audit.examine", "The process that audits.", behave, answer)


def behave() -> None:
    """Die with the driver, before whatever else needs memory, and keep what model code leaves behind below itself."""
    be_expendable()
    adopt_orphans()
    os.chdir(tempfile.gettempdir())  # what models write beside themselves goes with the process


def answer(channel: Channel) -> None:
    """One question, whatever the model does; then wait for the end, that all below this process may end with it."""
    question, _ = channel.receive()
    try:
        if not isinstance(question, Examine):
            return
        channel.send(Examined(content=examine(question)))
    except BaseException as error:  # model code may raise anything, even SystemExit
        channel.send(failure(error, Rejections()))
    channel.receive()


def examine(question: Examine) -> dict[str, Any]:
    """What is found of one version: strict JSON, without any input.

    Raises:
        RobmonError: it cannot be loaded, or be assessed on these inputs.
    """
    hold(question.threads)
    from robmon.inputs.files import read_inputs
    from robmon.library.advise import noise_gain
    from robmon.library.prepared_rows import open_predictor
    from robmon.library.scoring import raising_by_type
    from robmon.models.loading import load

    specification = question.specification
    inputs, targets = read_inputs(question.inputs, question.targets)
    model = load(question.path, device=DeviceUse(name=question.device), integers=specification.perturbed_integers)
    with open_predictor(model, inputs, specification) as rows:
        result = raising_by_type(rows).assess(
            specification, targets=targets, scale=question.scale, seed=question.seed, draws_as=DRAWS
        )
        gain = noise_gain(rows, specification.layout)
        score = _score(result, rows.kept, gain, has_targets=targets is not None)
    return {
        "outcome": "ok",
        "flavor": model.flavor,
        "device": model.device,
        "mismatches": model.mismatches,
        "assessment": result.to_dict(),
        **score,
        **_probes(question, model, inputs, targets),
    }


def _score(result: Any, kept: tuple[int, ...] | None, gain: float | None, *, has_targets: bool) -> dict[str, Any]:
    """What ranks it; or why nothing does."""
    from robmon.library.scoring import score_of
    from robmon.robustness.jsonable import jsonable

    if not has_targets and result.embedding is None:
        return {"score": None, "no_score": "there are no targets"}
    try:
        score = score_of(result, kept)
    except InvalidInputError as error:
        return {"score": None, "no_score": str(error)}
    content = vars(score) | {"noise_gain": gain} | {"conditions": vars(score.conditions), "notes": []}
    return {"score": jsonable(content), "no_score": ""}


def _probes(question: Examine, model: ServedModel, inputs: Any, targets: Any) -> dict[str, Any]:
    """What was asked for besides; one that cannot be made says why, and costs no other."""
    from robmon.library.advise import advise
    from robmon.library.attack import attack
    from robmon.library.certify import certify

    plain = question.specification
    shared: dict[str, Any] = {
        "output": plain.output,
        "output_column": plain.output_column,
        "scale_axis": plain.scale_axis,
        "scale": question.scale,
    }
    asked: dict[str, Callable[[], Any]] = {}
    if question.attack is not None:
        options = shared | {"layout": plain.layout, "integers": plain.integers or None, "seed": question.seed}
        given = question.attack
        asked["attack"] = lambda: attack(model, inputs, targets=targets, **options, **given)
    if question.certify is not None:
        radii = question.certify
        asked["certificate"] = lambda: certify(model, inputs, **shared, **radii)
    if question.advise:
        asked["advice"] = lambda: advise(model, inputs, layout=plain.layout, scale_axis=plain.scale_axis)
    return {name: _probe(probe) for name, probe in asked.items()}


def _probe(probe: Callable[[], Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = probe().to_dict()
    except RobmonError as error:
        return {"reason": str(error)}
    except Exception as error:  # its text may hold an input
        return {"reason": f"it raised {type(error).__name__}"}
    return found


if __name__ == "__main__":
    main()
