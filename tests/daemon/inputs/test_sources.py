"""The sources that a daemon has by its settings."""

from __future__ import annotations

from pathlib import Path

from robmon.daemon.inputs.sources import sources_of
from robmon.daemon.memory.writer import Writer
from robmon.history.store import History
from robmon.inputs.counts import InputCounts
from robmon.inputs.labels import Labels
from robmon.inputs.routing import NO_FILTERS
from robmon.inputs.sample import Sample
from robmon.inputs.sources.kafka import POLL_SECONDS
from robmon.settings import load


async def test_the_settings_name_the_sources_and_the_sample_knows_them(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": 1}\n')
    sample, writer = Sample(sample_rows=10, max_age_seconds=3600, sample_bytes=2**20), Writer()

    async def polled(**flags: object) -> tuple[list[float], int]:
        """How often each source is looked at, and the rows that are there after one look at all of them."""
        settings = load({"model.uri": "models:/m/1", **flags}).settings
        labels = Labels(max_bytes=2**20, window_seconds=60)
        sources = sources_of(
            *(settings, "m", sample, InputCounts(), NO_FILTERS, labels, None, History(tmp_path, "m"), writer)
        )
        for source in sources:
            await source.poll()
            await source.close()
        return [source.poll_seconds for source in sources], len(sample.snapshot(now=0))

    kafka = {"kafka.bootstrap_servers": "127.0.0.1:1", "kafka.topics": "requests"}
    assert await polled() == ([], 0)
    assert await polled(**kafka) == ([POLL_SECONDS], 0)
    assert await polled(**{"inputs.files": str(file), "inputs.files_poll_seconds": 7}) == ([7], 1)
    assert History(tmp_path, "m").read_positions(str(file)) == {}
    sample.turn_over(now=0)
    await writer.close()
    (position,) = History(tmp_path, "m").read_positions(str(file)).values()
    assert position.offset == len(file.read_bytes())
