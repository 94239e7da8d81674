"""How fast messages of Kafka come into the sample, beside the bare client: prints a table.

    python tests/benchmarks/kafka.py [--messages 1000000] [--bytes 150]

Both take the same messages in the same run, one chunk after the other, in random order. The brokers are the client
library's test double, in this process: what they take counts for neither, since the client fetches ahead.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from robmon.daemon.inputs.kafka_consumer import MESSAGES_AT_ONCE, WAIT_SECONDS, KafkaConsumer
from robmon.daemon.inputs.sources import kept_offsets
from robmon.daemon.memory.writer import Writer
from robmon.history.store import History
from robmon.inputs.counts import InputCounts
from robmon.inputs.labels import Labels
from robmon.inputs.routing import NO_FILTERS
from robmon.inputs.sample import Sample
from robmon.inputs.sources.kafka import KafkaSource
from robmon.settings import KafkaSettings
from tests.kafka import PARTITIONS, Brokers

TOPIC = "requests"
CHUNK = 80_000
"""Messages at a time: more the double does not keep."""


async def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=150)
    asked = parser.parse_args()
    brokers, counts, writer, order = Brokers(), InputCounts(), Writer(), random.Random(0)
    sample = Sample(sample_rows=256, max_age_seconds=3600, sample_bytes=32 * 2**20)
    body = b'{"inputs": [' + b"1," * ((asked.bytes - 15) // 2) + b"1]}"
    brokers.send(TOPIC, [body])
    bare = brokers.consumer("bare")
    bare.subscribe([TOPIC])
    with tempfile.TemporaryDirectory() as folder:
        settings = KafkaSettings(bootstrap_servers=brokers.addresses, topics=(TOPIC,), auto_offset_reset="earliest")
        source = KafkaSource(
            KafkaConsumer(settings, "robmon", 16 * 2**20),
            kept_offsets("robmon", History(Path(folder), "m"), writer),
            *(sample, counts),
            filters=NO_FILTERS, labels=Labels(max_bytes=2**20, window_seconds=60), max_body_bytes=2**20,
            max_age_seconds=3600,
        )  # fmt: skip
        sample.attach(source)
        taken = 0

        async def by_client(until: int) -> None:
            nonlocal taken
            while taken < until:
                taken += len(bare.consume(MESSAGES_AT_ONCE, WAIT_SECONDS))

        async def by_robmon(until: int) -> None:
            while counts.received["kafka"] < until:
                await source.poll()

        runs = {"bare client": by_client, "robmon": by_robmon}
        for run in runs.values():
            await run(1)
        seconds, process_seconds, sent = dict.fromkeys(runs, 0.0), dict.fromkeys(runs, 0.0), 1
        before = psutil.Process().memory_info().rss
        while sent < asked.messages:
            for partition in range(PARTITIONS):
                brokers.send(TOPIC, [body] * (CHUNK // PARTITIONS), partition=partition)
            sent += CHUNK
            for name in order.sample(list(runs), len(runs)):
                began, used = time.perf_counter(), time.process_time()
                await runs[name](sent)
                seconds[name] += time.perf_counter() - began
                process_seconds[name] += time.process_time() - used
            sample.snapshot(time.time())
            sample.turn_over(time.time())
        for name in runs:
            print(
                f"{name:12s} {sent:>9,} messages of {len(body)} bytes {sent / seconds[name]:>9,.0f} a second"
                f"  {process_seconds[name] / sent * 1e6:.1f} microseconds of the processor each"
            )
        grown = (psutil.Process().memory_info().rss - before) / 2**20
        print(f"lag {counts.kafka_lag_messages}, sampled {len(sample.snapshot(time.time()))} rows, "
              f"resident memory grew by {grown:.0f} MiB, brokers and both clients counted")  # fmt: skip
        await source.close()
        bare.close()
        await writer.close()


if __name__ == "__main__":
    asyncio.run(main())
