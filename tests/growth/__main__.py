"""Measure all readers up to their bounds: `python -m tests.growth [--most BYTES] [part of a reader's name ...]`."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings

import structlog

from tests.growth.criterion import Growth
from tests.growth.readers import LOOP_SECONDS, READERS, Reader, measured


def main() -> int:
    """Print a table, a line a reader; 1 where a reader is worse than linear, or holds the event loop too long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=None, help="largest size, in bytes; else the bound of each reader")
    parser.add_argument("--all", action="store_true", help="a line for each generator")
    parser.add_argument("readers", nargs="*", help="parts of names of readers; else all")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    chosen = [each for each in READERS if not arguments.readers or any(part in each.name for part in arguments.readers)]
    failures: list[str] = []
    began = time.monotonic()
    print(f"{'reader':<36}{'bytes':>12}{'ms there':>10}{'exponent':>10}  worst of what it reads")
    for reader in chosen:
        found = measured(reader, arguments.most)
        worst = sorted(found.items(), key=lambda item: (why(reader, item[1]) != "", item[1].seconds[-1]), reverse=True)
        for name, growth in worst if arguments.all else worst[:1]:
            print(_line(reader, name, growth), flush=True)
        failures += [_told(reader, name, growth) for name, growth in worst if why(reader, growth)]
    print(f"{len(chosen)} readers, {sum(len(each.hostile) for each in chosen)} generators, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    print("\n".join(failures) or "none is worse than linear, and none holds the event loop "
          f"for more than {LOOP_SECONDS * 1000:.0f} ms")  # fmt: skip
    return 1 if failures else 0


def _line(reader: Reader, name: str, growth: Growth) -> str:
    return (
        f"{reader.name:<36}{growth.sizes[-1]:>12}{growth.seconds[-1] * 1000:>10.2f}{growth.exponent:>10.2f}  {name}"
        f"{'' if not why(reader, growth) else '  FAILS: ' + why(reader, growth)}"
    )


def _told(reader: Reader, name: str, growth: Growth) -> str:
    recent = zip(growth.sizes[-4:], growth.seconds[-4:], strict=True)
    times = ", ".join(f"{size} B {took * 1000:.2f} ms" for size, took in recent)
    return f"{reader.name}: {name}: {why(reader, growth)} ({times})"


def why(reader: Reader, growth: Growth) -> str:
    """What is wrong with it; mostly nothing."""
    if growth.is_superlinear:
        return "worse than linear"
    if growth.error:
        return growth.error
    return "holds the event loop" if reader.on_loop and growth.seconds[-1] > LOOP_SECONDS else ""


if __name__ == "__main__":
    sys.exit(main())
