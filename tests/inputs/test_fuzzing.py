"""A small share of `make fuzz`: whatever arrives, rows or a counted reason, and no word of the input."""

from __future__ import annotations

import pytest

from tests.inputs.fuzzed_readers import READERS
from tests.inputs.fuzzing import SEEDS, SIGNATURES, STRATEGIES, TABLE, check, fuzz
from tests.inputs.reasons import REASONS


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hostile_requests(strategy: str) -> None:
    outcomes = fuzz(strategy, examples=400)
    assert outcomes.total() >= 200  # of some strategies there are fewer different ones
    assert len(outcomes) >= 4


@pytest.mark.parametrize("strategy", ["mutated", "json"])
def test_hostile_requests_to_a_model_of_columns(strategy: str) -> None:
    assert fuzz(strategy, examples=60, signatures=(TABLE,)).total() >= 60


@pytest.mark.parametrize("reader", READERS)
def test_hostile_bytes_for_every_other_reader(reader: str) -> None:
    """Hypothesis chooses among all formats; here each reader gets its share."""
    for request_format, headers, body in SEEDS:
        for end in range(0, len(body), 1 + len(body) // 40):
            spoilt = body[:end] + bytes([body[end] ^ 0x55]) + body[end + 1 :]
            for sent in (body[:end], spoilt, body[:end] * 2):
                if reader == request_format or end == 0:
                    check((reader, headers, sent))


def test_real_requests_are_among_the_beginnings() -> None:
    assert {check(sent, (*SIGNATURES, TABLE)) for sent in SEEDS} == {"rows"}


def test_reasons_are_found_in_the_source() -> None:
    assert {"not_json", "bad_size", "shared_memory", "too_large_decompressed", "unsupported_llm"} < REASONS
