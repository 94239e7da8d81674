"""A clock that steps, in either direction, stops nothing for longer than one interval."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.campaign.watch import not_run, watched
from tests.e2e.daemon import Daemon, running_daemon
from tests.e2e.registry import Registry
from tests.e2e.test_endpoint import NO_REGISTRY
from tests.e2e.test_files import summed
from tests.endpoint import V2Model, serving

LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
HOUR, DAY = 3600, 86_400
Step = Callable[[int], None]


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Step]:
    """Set the wall clock of what is started from now on that many seconds off; other clocks go on."""
    if not LIBRARIES or shutil.which("faketime") is None:
        not_run("clock steps", "there is no libfaketime")
        pytest.skip("there is no libfaketime")
    offset = tmp_path / "offset"

    def by(seconds: int) -> None:
        offset.with_suffix(".new").write_text(f"{seconds:+d}\n", encoding="ascii")
        offset.with_suffix(".new").replace(offset)

    by(0)
    monkeypatch.setenv("LD_PRELOAD", str(LIBRARIES[0]))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
    for name in ("FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("FAKETIME_CACHE_DURATION", "1")  # without it a file is read at each look at a clock
    yield by


@pytest.fixture
def alias(served: Registry) -> tuple[str, str]:
    """A model that is followed in a registry."""
    model = served.model()
    model.serve(model.add())
    return model.uri, served.tracking_uri


@pytest.fixture
def endpoint() -> Iterator[tuple[str, str]]:
    """A model that takes no time to load: under the library, to import MLflow takes half a minute."""
    with serving(V2Model(summed, "kserve", [])) as server:
        yield f"{server.url}/v2/models/digits/infer", NO_REGISTRY


STEPS = {
    "back an hour": [-HOUR],
    "back a day for a moment": [-DAY, 0],
    "forward a day": [DAY],
    "forward a day and back": [DAY, 0],
    "back and forth": [-HOUR, HOUR, -DAY, DAY, 0],
}
SHORT = ("forward a day and back",)


@pytest.mark.red
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in SHORT else pytest.mark.campaign) for name in STEPS]
)
def test_a_step_of_the_clock(name: str, step: Step, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Assessments, look-ups, the token's renewal and all ages go on; what is shown follows the wall clock."""
    uri, tracking_uri = request.getfixturevalue("endpoint" if name in SHORT else "alias")
    token = tmp_path / "token"
    token.write_text("first-token\n", encoding="ascii")
    settings = {"http__token_file": token, "inputs__max_age_seconds": 1000, "model__rows_per_second": 20_000}
    with running_daemon(tmp_path / "daemon", uri, tracking_uri, **settings) as daemon:
        use_token(daemon, "first-token")
        daemon.send()
        daemon.wait_for_assessments(2)
        # The library stands before every look at a clock: that is slow on a busy machine.
        with watched(daemon, f"clock {name}", len(STEPS[name]), healthz_seconds=10):
            for seconds in STEPS[name]:
                step(seconds)
                time.sleep(1.5)  # the library looks for it once a second
            counted = daemon.assessments()
            token.write_text("second-token\n", encoding="ascii")
            daemon.wait_for(lambda: status(daemon, "second-token") == 200, "the new token", 60)
            assert status(daemon, "first-token") == 401
            use_token(daemon, "second-token")
            daemon.wait_for(lambda: daemon.assessments() > counted, "assessments that go on", 60)
            daemon.send()
            daemon.wait_for_assessments(3)
            assert daemon.value("robmon_sample_rows") == 41, "requests from before the step have their true age"
            shown = daemon.value("robmon_last_assessment_timestamp_seconds")
            assert shown is not None and abs(shown - (time.time() + STEPS[name][-1])) < 30
            # Each assessment counts for a few intervals: on a busy machine the next one, or this look, may take longer.
            daemon.wait_for(
                lambda: daemon.value("robmon_noise_mse", level="0.1") is not None, "a result that counts", 60
            )
        use_token(daemon, "second-token")


def status(daemon: Daemon, token: str) -> int:
    url = f"http://127.0.0.1:{daemon.port('http_port')}/metrics"
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False).status_code


def use_token(daemon: Daemon, token: str) -> None:
    daemon.client.headers["Authorization"] = f"Bearer {token}"
