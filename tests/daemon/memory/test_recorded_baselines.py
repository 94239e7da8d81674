"""The baselines of versions, as they lie on disk."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from robmon.daemon.memory.recorded_baselines import RecordedBaselines
from robmon.daemon.memory.writer import Writer
from robmon.history.baseline.checksum import with_checksum
from robmon.history.baseline.files import BaselineFiles
from robmon.processes.messages.model import ModelVersion
from tests.patience import PATIENCE_SECONDS

MODEL = ModelVersion(name="m", version="1")
WRITTEN = with_checksum({"format": 2, "source": "local", "rows": 7, "at": 1.0})


def read(files: BaselineFiles, model: ModelVersion = MODEL) -> RecordedBaselines:
    async def run() -> RecordedBaselines:
        writer = Writer()
        baselines = RecordedBaselines(files, writer)
        await baselines.read(model)
        await writer.close()
        return baselines

    return asyncio.run(run())


def test_what_is_on_disk_is_known_and_published(tmp_path: Path) -> None:
    files = BaselineFiles(tmp_path, "m")
    files.write("1", WRITTEN)
    baselines = read(files)
    assert baselines.of("1") == WRITTEN
    assert (baselines.info("1").source, baselines.info("1").rows, baselines.info("1").problem) == ("local", 7, "")


@pytest.mark.parametrize("odd", ["never", None, [], {}, -1, 10**400, 1e308, math.inf, math.nan])
def test_what_is_no_number_is_not_published(odd: object, tmp_path: Path) -> None:
    """Whoever writes a run's artifacts writes what he likes: it would be in the way of every other metric."""
    baselines = read(BaselineFiles(tmp_path, "m"), MODEL.model_copy(update={"baseline": {"rows": odd, "at": odd}}))
    assert (baselines.info("1").rows, baselines.info("1").at) == (0, None)


def test_a_damaged_one_is_set_aside_and_told_on_the_page(tmp_path: Path) -> None:
    files = BaselineFiles(tmp_path, "m")
    files.write("1", {**WRITTEN, "rows": 8})
    baselines = read(files)
    (aside,) = files.path("1").parent.glob("*.damaged-*")
    assert baselines.of("1") is None
    assert baselines.info("1").problem == f"The baseline is damaged, was set aside as {aside.name}, and is learnt anew."


def test_one_that_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    files = BaselineFiles(tmp_path, "m")
    files.path("1").mkdir(parents=True)
    baselines = read(files)
    baselines.learn("1", WRITTEN)
    assert files.path("1").is_dir() and baselines.of("1") == WRITTEN


@pytest.mark.parametrize(("source", "comes_back"), [("learnt", True), ("local", False)])
def test_one_that_was_learnt_is_written_again_where_its_file_was_removed(
    source: str, comes_back: bool, tmp_path: Path
) -> None:
    """What a person has recorded he may remove."""
    files, baseline = BaselineFiles(tmp_path, "m"), with_checksum({**WRITTEN, "source": source})

    async def run() -> None:
        writer = Writer()
        baselines = RecordedBaselines(files, writer)
        baselines.learn("1", baseline)
        await writer.settle(PATIENCE_SECONDS)
        assert files.read("1") == baseline
        written = files.path("1").stat().st_mtime_ns
        baselines.learn("1", baseline)
        await writer.settle(PATIENCE_SECONDS)
        assert files.path("1").stat().st_mtime_ns == written, "it is there"
        files.path("1").unlink()
        baselines.learn("1", baseline)
        await writer.close()

    with capture_logs() as logs:
        asyncio.run(run())
    assert files.read("1") == (baseline if comes_back else None)
    assert [line["event"] for line in logs] == ["baseline was removed, and is written again"] * comes_back


def test_what_was_found_since_one_was_recorded_outlives_a_restart(tmp_path: Path) -> None:
    files = BaselineFiles(tmp_path, "m")
    recorded = with_checksum({**WRITTEN, "source": "artifact", "inputs": {"mean": [1.0]}})
    since = with_checksum({**recorded, "canary": {"rows": 64}})
    model = MODEL.model_copy(update={"baseline": recorded})
    assert read(files, model).of("1") == recorded
    files.write("1", since)
    assert read(files, model).of("1") == since
    other = with_checksum({**recorded, "inputs": {"mean": [2.0]}})
    assert read(files, MODEL.model_copy(update={"baseline": other})).of("1") == other, "it was recorded anew"


def test_what_a_first_baseline_has_none_of_is_kept_as_none(tmp_path: Path) -> None:
    """Of labels there are no moments of outputs."""
    baselines = read(BaselineFiles(tmp_path, "m"))
    first = with_checksum({**WRITTEN, "outputs": None, "inputs": {"mean": [1.0]}})
    baselines.learn("1", first)
    assert baselines.of("1") == first
    baselines.learn("1", with_checksum({**first, "rows": 9}))
    now = baselines.of("1")
    assert now is not None and now["rows"] == 9 and now["inputs"] is first["inputs"]
