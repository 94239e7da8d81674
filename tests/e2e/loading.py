"""How long this machine takes to load a model now: a worker that hangs must be told from one that is not let work."""

from __future__ import annotations

import datetime
from pathlib import Path

from tests.e2e.daemon import Daemon, running_daemon

MARGIN = 2
"""Between that and the time after which a worker is killed: a test has to wait so long."""


def patience_seconds(daemon: Daemon, at_least: float) -> float:
    """For a worker of the same model: more than the daemon's first assessment took, most of which is to load it."""
    ended = daemon.wait_for(lambda: [line for line in daemon.log("assessment") if line["outcome"] == "ok"], "its line")
    lines = (daemon.log("served version")[0], ended[0])
    began, end = (datetime.datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines)
    return max(at_least, MARGIN * (end - began))


def measured_patience_seconds(folder: Path, uri: str, tracking_uri: str, at_least: float) -> float:
    """The same, by a daemon that is run for it."""
    with running_daemon(folder, uri, tracking_uri) as daemon:
        daemon.send()
        daemon.wait_for_assessments()
        return patience_seconds(daemon, at_least)
