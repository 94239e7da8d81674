"""What has arrived so far, in plain numbers that cost next to nothing to keep."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from robmon.inputs.labels import LabelCounts
from robmon.inputs.routing import NO_SOURCE, SOURCES

BODY_BUCKETS_BYTES: Final = tuple(2**exponent for exponent in (10, 12, 14, 16, 18, 19, 20, 21, 22, 23))
"""1 KiB to 8 MiB, finer around 1 MiB: a larger body is by default dropped by Envoy's mirror without a word."""


class SizeHistogram:
    """How many sizes fell into which bucket, and their sum.

    >>> sizes = SizeHistogram()
    >>> sizes.observe(1024), sizes.observe(1025), sizes.counts[:3], sizes.total
    (None, None, [1, 1, 0], 2049)
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BODY_BUCKETS_BYTES) + 1)
        """Sizes of at most the bucket's limit, and more than the one before; the last bucket has none."""
        self.total = 0

    def observe(self, size: int) -> None:
        """Count one size in bytes."""
        self.counts[bisect_left(BODY_BUCKETS_BYTES, size)] += 1
        self.total += size


@dataclass
class InputCounts:
    """Requests since the start, by source. Each is counted once it has been answered or has failed.

    `received` are prediction requests, whatever became of them; `sampled` are among them, and `rejected` too, but for
    refused labels, refused events that tell an answer, and what never became a request. `skipped` are the others (GET,
    health checks, unknown paths), what the filters leave out, whatever its size, and prediction requests without a
    body. Labels and events that tell an answer are counted by `labels`.
    """

    received: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(SOURCES, 0)))
    sampled: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(SOURCES, 0)))
    skipped: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys((*SOURCES, NO_SOURCE), 0)))
    unnamed: int = 0
    """Skipped because they name no model, while `inputs.model` wants one."""
    of_other_models: int = 0
    """Skipped because they name another model."""
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By source and reason: too_large, inflight_full, timeout, disconnected, unsupported_llm; those of connections,
    with source `none`; of labels, with source `feedback`, also bad_feedback; whatever the codecs refuse later."""
    body_bytes: dict[str, SizeHistogram] = field(
        default_factory=lambda: {source: SizeHistogram() for source in SOURCES}
    )
    """Sizes of the bodies that arrived whole, as they arrived: not decompressed."""
    kafka_lag_messages: int | None = None
    """Messages of our partitions that have not come yet; None: that is not known."""
    labels: LabelCounts = field(default_factory=LabelCounts)
    repeated: Counter[str] | None = None
    """Requests that arrived with the body of an earlier one; None where that is not counted."""

    def count_repeated(self, source: str) -> None:
        """Count one, where they are counted."""
        if self.repeated is not None:
            self.repeated[source] += 1
