"""Verdicts as state, and the files that keep them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robmon.history import store
from robmon.history.store import History, VersionState
from robmon.messages import Verdict


def verdict(reference: str, *, worse: bool) -> Verdict:
    return Verdict(
        reference_version=reference, worse=worse, pvalue=0.001, levels=[0.1], ratio=[2.0], detectable_ratio=1.1
    )


def test_a_version_that_passes_becomes_the_accepted_one() -> None:
    state = VersionState().accept("1").judge("2", verdict("1", worse=False), now=10)
    assert (state.accepted_version, state.regression) == ("2", None)


def test_a_third_version_as_bad_as_the_second_does_not_clear_the_alert() -> None:
    state = VersionState().accept("1").judge("2", verdict("1", worse=True), now=10)
    state = state.judge("3", verdict("1", worse=True), now=20)
    assert state.accepted_version == "1"
    assert state.regression is not None
    assert (state.regression.version, state.regression.reference_version, state.regression.since) == ("3", "1", 10)


def test_a_regression_ends_when_a_version_passes_or_a_person_accepts() -> None:
    standing = VersionState().accept("1").judge("2", verdict("1", worse=True), now=10)
    assert standing.judge("3", verdict("1", worse=False), now=20).regression is None
    accepted = standing.accept("2")
    assert (accepted.accepted_version, accepted.regression) == ("2", None)


def test_state_baseline_and_log_survive_a_restart(tmp_path: Path) -> None:
    history = History(tmp_path, "team/digits model")
    state = VersionState().accept("1").judge("2", verdict("1", worse=True), now=10)
    history.write_state(state)
    history.write_baseline("2", {"format": 1})
    history.append({"number": 1})
    history.append({"number": 2})
    again = History(tmp_path, "team/digits model")
    assert again.read_state() == state
    assert again.read_baseline("2") == {"format": 1}
    assert again.read_baseline("3") is None
    assert again.last_number() == 2
    assert all(tmp_path in file.parents for file in (again.state_file, again.log_file, again.baseline_file("../../x")))


@pytest.mark.parametrize("content", [b"", b"{", b'{"accepted_version": 3}', b"[]", b"\xff"])
def test_a_damaged_file_counts_as_none(content: bytes, tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    for file in (history.state_file, history.log_file, history.baseline_file("1")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert history.read_state() == VersionState()
    assert history.read_baseline("1") in (None, {"accepted_version": 3})
    assert history.last_number() == 0


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    history = History(tmp_path, "m")
    history.write_state(VersionState().accept("1"))
    blocker = history.state_file.with_name(f".{history.state_file.name}.tmp")
    blocker.mkdir()  # stands in the way of the new file, as a full disk would
    with pytest.raises(OSError):
        history.write_state(VersionState().accept("2"))
    assert history.read_state().accepted_version == "1"


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_LOG_BYTES", 1000)
    history = History(tmp_path, "m")
    for number in range(200):
        history.append({"number": number})
    files = list((tmp_path / "history").iterdir())
    assert sum(file.stat().st_size for file in files) < 2200
    assert history.last_number() == 199
    assert json.loads(history.log_file.read_text().splitlines()[0])["number"] > 0
