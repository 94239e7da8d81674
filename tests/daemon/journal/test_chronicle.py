"""What the daemon tells its history."""

from __future__ import annotations

import time

import pytest

from robmon.daemon.journal.chronicle import unix_seconds_at_most


@pytest.mark.parametrize("step", [-365, 0, 365])
def test_a_clock_that_steps_forward_makes_nothing_of_the_past_too_old(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = time.time()
    monkeypatch.setattr(time, "time", lambda: before + step * 86_400)
    assert unix_seconds_at_most() == pytest.approx(before + min(step, 0) * 86_400, abs=600)
