"""Learnt baselines go where the registry keeps the model, so that they outlive the pod and others begin with them."""

from __future__ import annotations

import secrets
from collections import deque
from typing import Any, Final, NamedTuple

import structlog

from robmon.daemon.memory.recorded_baselines import RecordedBaselines
from robmon.daemon.registry.follow import Follower
from robmon.daemon.timing.backoff import Backoff
from robmon.errors import RobmonError
from robmon.processes.messages.model import ModelVersion

log = structlog.get_logger("robmon.baselines")

BACKOFF_SECONDS: Final = (5.0, 600.0)
MOST_WAITING: Final = 8
MOST_VERSIONS, MOST_OFFERED = 4, 2
"""Versions of which is known what this process has shared, and parts of each: with a new part the one before it is
offered again, in case another pod's write took it away after it was seen to be there."""


class _Share(NamedTuple):
    version: str
    baseline: dict[str, Any]
    new_hours: dict[str, dict[str, Any]]


class BaselineSharing:
    """Shares what was learnt, as soon as the registry lets us; nothing raises.

    Args:
        follower: asks the registry.
        baselines: take over what others have learnt, and say on the page what is not shared.
    """

    def __init__(self, follower: Follower, baselines: RecordedBaselines) -> None:
        self._follower = follower
        self._baselines = baselines
        self._waiting: deque[_Share] = deque(maxlen=MOST_WAITING)
        self._offered: dict[str, dict[str, dict[str, Any]]] = {}
        self._backoff = Backoff(BACKOFF_SECONDS)
        self._failure = ""

    def put(self, model: ModelVersion, baseline: dict[str, Any], new_hours: dict[str, Any] | None) -> None:
        """Share these hours of a baseline, where there are any, and where verdicts are remembered in the registry."""
        if new_hours is None or self._follower.memory_tag is None:
            return
        before = list(self._offered.pop(model.version, {}).items())[1 - MOST_OFFERED :]
        offered = dict([*before, (secrets.token_hex(6), new_hours)])
        self._offered = dict([*self._offered.items(), (model.version, offered)][-MOST_VERSIONS:])
        self._waiting.append(_Share(model.version, baseline, offered))

    async def write(self) -> None:
        """Write the next of what waits, after a failure not at once again."""
        if not self._waiting or self._backoff.waiting:
            return
        share = self._waiting[0]
        try:
            shared = await self._follower.share(*share)
        except RobmonError as error:
            self._backoff.failed()
            if str(error) != self._failure:
                log.warning("learnt baseline not shared", version=share.version, error=str(error))
            self._failure = str(error)
            self._baselines.tell_not_shared(share.version, str(error))
            return
        self._waiting.popleft()
        self._backoff.succeeded()
        self._failure = ""
        self._baselines.take_shared(share.version, shared)
        log.info("learnt baseline shared", version=share.version)
