"""Learnt baselines go where the registry keeps the model, so that they outlive the pod and others begin with them."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

import structlog

from robmon.daemon.follow import Follower
from robmon.daemon.host import Backoff
from robmon.daemon.recorded_baselines import RecordedBaselines
from robmon.errors import RobmonError
from robmon.processes.messages import ModelVersion

log = structlog.get_logger("robmon.baselines")

BACKOFF_SECONDS: Final = (5.0, 600.0)
MOST_WAITING: Final = 8


class _Share(NamedTuple):
    version: str
    baseline: dict[str, Any]
    new_hours: dict[str, Any]


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
        self._backoff = Backoff(BACKOFF_SECONDS)
        self._failure = ""

    def put(self, model: ModelVersion, baseline: dict[str, Any], new_hours: dict[str, Any] | None) -> None:
        """Share these hours of a baseline, where there are any, and where verdicts are remembered in the registry."""
        if new_hours is not None and self._follower.memory_tag is not None:
            self._waiting.append(_Share(model.version, baseline, new_hours))

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
