"""Hostile bytes for all that reads strangers' bytes, guided by coverage: no exception but its own (`make fuzz`).

The first byte of an input chooses the format or the reader, the second the headers; the rest is the body. libFuzzer's
own options may follow, such as `-runs=1000000` or `-seed=7`. An input that fails is written to the working directory.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import atheris

READ = ["robmon.inputs.codecs", "robmon.inputs.feedback", "robmon.inputs.join_keys", "robmon.inputs.readers"]

with atheris.instrument_imports(include=[*READ, "robmon.models.signature.signature"]):
    from tests.inputs.fuzzing import FORMATS, PIECES, SEEDS, Sent, check

RUNS = 200_000
TOLD_RUNS = 50_000
OPTIONS = [
    "-seed=1",
    "-artifact_prefix=.fuzz-",
    "-max_len=4096",
    "-timeout=10",
    "-rss_limit_mb=2048",
    "-print_final_stats=1",
    "-verbosity=0",
]

HEADERS = [dict(pairs) for pairs in sorted({tuple(sorted(headers.items())) for _, headers, _ in SEEDS})]
SQUEEZES: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, zlib.compress]
VARIANTS = [(headers, squeeze) for squeeze in SQUEEZES for headers in HEADERS]


def request(data: bytes) -> Sent:
    """The request that an input stands for."""
    headers, squeeze = VARIANTS[data[1] % len(VARIANTS)]
    return FORMATS[data[0] % len(FORMATS)], headers, squeeze(data[2:])


def corpus(folder: Path) -> None:
    """Real requests, and what may be put into them."""
    for number, (request_format, headers, body) in enumerate(SEEDS):
        chosen = bytes([FORMATS.index(request_format), VARIANTS.index((headers, bytes))])
        (folder / f"seed-{number}").write_bytes(chosen + body)
    for number, piece in enumerate(PIECES):
        (folder / f"piece-{number}").write_bytes(b"\0\0" + piece)


def main() -> None:
    formats: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    started = time.perf_counter()

    def run(data: bytes) -> None:
        if len(data) >= 2:
            sent = request(data)
            formats[sent[0]] += 1
            outcomes[check(sent)] += 1
        else:
            outcomes["none"] += 1
        if outcomes.total() % TOLD_RUNS == 0:
            print(f"{outcomes.total()} inputs in {time.perf_counter() - started:.0f} s", flush=True)
            for counts in (formats, outcomes):
                print("  " + ", ".join(f"{name} {count}" for name, count in counts.most_common()), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        corpus(Path(folder))
        runs = [] if any(option.startswith("-runs=") for option in sys.argv) else [f"-runs={RUNS}"]
        atheris.Setup([sys.argv[0], *OPTIONS, *runs, *sys.argv[1:], folder], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
