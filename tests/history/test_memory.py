"""What is remembered of versions: whose word counts, what the reference is, what stands."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest

from robmon.errors import InvalidInputError
from robmon.history import memory
from robmon.history.memory import (
    MAX_READ_BYTES,
    Entry,
    from_json,
    judged,
    later_than,
    merge,
    reference,
    standing_rejection,
    to_json,
)
from robmon.history.shared import remember

RUN = "0123456789abcdef0123456789abcdef"


def entry(version: str, word: str, at: float = 0.0, run_id: str | None = RUN, **more: Any) -> Entry:
    """`word` is first, person, passed or failed."""
    by = word if word in ("first", "person") else "verdict"
    return Entry(version=version, run_id=run_id, accepted=word != "failed", by=by, at=at, **more)


def words(entries: memory.Entries) -> dict[str, str]:
    return {each.version: each.by if each.accepted else "failed" for each in entries}


@pytest.mark.parametrize(
    ("told", "remembered"),
    [
        (["passed", "failed"], "failed"),
        (["failed", "passed"], "failed"),
        (["failed", "person"], "person"),
        (["person", "failed"], "person"),
        (["first", "failed"], "failed"),
        (["first", "passed"], "verdict"),
        (["passed", "passed", "passed", "passed", "failed"], "failed"),
        (["first", "person"], "person"),
    ],
)
def test_of_one_version_a_person_outranks_verdicts_and_one_rejection_all_acceptances(
    told: list[str], remembered: str
) -> None:
    entries = [entry("2", word, at) for at, word in enumerate(told)]
    merged = {merge(*([each] for each in order)) for order in itertools.permutations(entries)}
    assert len(merged) == 1, "whatever the order"
    assert words(merged.pop())["2"] == remembered


def test_merging_is_the_same_in_whatever_order_memories_meet() -> None:
    pods = [
        [entry("1", "first", 1), entry("2", "failed", 5), entry("3", "person", 9)],
        [entry("1", "first", 1), entry("2", "passed", 4), entry("4", "failed", 7)],
        [entry("5", "first", 2), entry("6", "passed", 8)],
    ]
    merged = {merge(*order) for order in itertools.permutations(pods)}
    merged |= {merge(merge(one, two), three) for one, two, three in itertools.permutations(pods)}
    assert len(merged) == 1
    again = merged.pop()
    assert merge(again, again) == again
    assert words(again) == {"1": "first", "2": "failed", "4": "failed", "6": "verdict", "3": "person"}


def test_of_two_versions_accepted_unseen_the_older_one_keeps_that() -> None:
    assert words(merge([entry("1", "first", 2)], [entry("2", "first", 1)])) == {"2": "first"}
    assert words(merge([entry("1", "person", 1)], [entry("2", "first", 2)])) == {"1": "person"}


def test_the_reference_is_the_newest_accepted_version_and_none_for_its_number() -> None:
    assert reference(()) is None
    assert reference((entry("9", "failed", 1),)) is None
    entries = merge([entry("9", "first", 1), entry("3", "passed", 2), entry("12", "failed", 3)])
    newest = reference(entries)
    assert newest is not None and newest.version == "3"
    newest = reference(merge(entries, [entry("9", "person", 4)]))
    assert newest is not None and newest.version == "9"


STANDS: list[tuple[list[Entry], str, str | None]] = [
    ([], "1", None),
    ([entry("1", "first", 1)], "1", None),
    ([entry("1", "first", 1), entry("2", "failed", 2)], "1", None),  # rolled back
    ([entry("1", "first", 1), entry("2", "failed", 2)], "2", "2"),
    ([entry("1", "first", 1), entry("2", "failed", 2)], "3", "2"),  # not judged yet
    ([entry("1", "first", 1), entry("2", "failed", 2), entry("3", "failed", 3)], "3", "3"),
    ([entry("1", "first", 1), entry("2", "failed", 2), entry("3", "passed", 3)], "3", None),
    ([entry("1", "first", 1), entry("2", "failed", 2), entry("3", "passed", 3)], "2", "2"),  # loaded again
    ([entry("1", "first", 1), entry("2", "failed", 2), entry("3", "passed", 3)], "4", None),
    ([entry("1", "first", 1), entry("2", "person", 2)], "2", None),
]


@pytest.mark.parametrize(("entries", "served", "stands"), STANDS)
def test_what_stands_while_a_version_is_served(entries: list[Entry], served: str, stands: str | None) -> None:
    found = standing_rejection(tuple(entries), served, RUN)
    assert (found.version if found is not None else None) == stands


def test_a_clock_that_was_set_back_makes_nothing_older() -> None:
    """Version 1 was accepted while the clock was a day ahead."""
    entries = (entry("1", "first", at=86_400.0),)
    for version, word in (("2", "passed"), ("3", "failed"), ("4", "passed")):
        entries = merge(entries, [entry(version, word, at=later_than(entries, 60.0))])
    assert [each.version for each in entries] == ["1", "2", "3", "4"]
    newest = reference(entries)
    assert newest is not None and newest.version == "4"
    assert later_than(entries, 90_000.0) == 90_000.0


def test_a_rollback_ends_the_regression_for_what_comes_after() -> None:
    entries = (entry("1", "first", 1), entry("2", "failed", 2))
    assert standing_rejection(entries, "3", RUN, quiet_at=3) is None
    assert standing_rejection(entries, "3", RUN, quiet_at=1) is not None
    assert standing_rejection(entries, "2", RUN, quiet_at=3) is not None, "its own rejection stands"


def test_an_entry_of_another_run_is_none_of_that_version() -> None:
    entries = (entry("1", "first", 1), entry("2", "failed", 2, run_id="another"))
    assert memory.of_version(entries, "2", RUN) is None
    assert merge(entries, without=[("2", "another")]) == entries[:1]


def test_a_further_bad_version_renews_the_regression_only_where_the_one_before_it_had_ended() -> None:
    """Rejections alone do not tell: an accepted version may have been served between, which is judged no more."""
    entries: memory.Entries = (entry("1", "first", 1), entry("2", "failed", 2))
    after_rollback = verdict(entries, "3", 1.4, accepted=False)
    assert after_rollback.stands_since == 3
    at_once = verdict(entries, "3", 1.4, accepted=False, stood_since=entries[1].stands_since)
    assert at_once.stands_since == 2
    assert from_json(to_json((*entries, at_once)))[-1].stands_since == 2, "a new pod knows it by the registry's tag"
    assert verdict(entries, "3", 1.0, stood_since=2.0).goes_on_since is None, "a version that passes ends it"


def verdict(entries: memory.Entries, version: str, ratio: float, specification: str = "a", **more: Any) -> Entry:
    newest = reference(entries)
    assert newest is not None
    told = {"accepted": True, "pvalue": 0.5, "rows": 256, "run_id": RUN, "against": newest.version}
    at = float(version)
    return judged(entries, version=version, pooled_ratio=ratio, at=at, specification=specification, **(told | more))


def test_twelve_small_steps_are_one_large_one() -> None:
    """No single one is flagged; the product outlives the entries that it was made of."""
    entries = merge([entry("1", "first", 1)])
    for version in range(2, 14):
        entries = merge(entries, [verdict(entries, str(version), 1.09)])
    assert len(entries) == memory.MAX_ENTRIES
    found = memory.ratio_since(entries, entries[-1], "a")
    assert found == ("1", pytest.approx(1.09**12))
    assert found[1] > 2.8


def test_a_persons_word_begins_the_product_anew() -> None:
    entries = merge([entry("1", "first", 1)])
    entries = merge(entries, [verdict(entries, "2", 1.09)])
    entries = merge(entries, [entry("2", "person", 2.5)])
    assert memory.ratio_since(entries, entries[-1], "a") == ("2", 1.0)
    entries = merge(entries, [verdict(entries, "3", 1.05)])
    assert memory.ratio_since(entries, entries[-1], "a") == ("2", 1.05)


def test_ratios_found_under_other_settings_enter_no_product() -> None:
    entries = merge([entry("1", "first", 1)])
    for version, ratio, specification in (("2", 1.5, "a"), ("3", 1.25, "b"), ("4", 2.0, "a")):
        entries = merge(entries, [verdict(entries, version, ratio, specification)])
    newest = entries[-1]
    assert memory.ratio_since(entries, newest, "a") == ("1", 3.0)
    assert memory.ratio_since(entries, newest, "b") == ("1", 1.25)
    assert memory.ratio_since(entries, newest, "c") is None
    assert [each.accepted for each in entries] == [True] * 4, "they count all the same"


def test_a_memory_is_a_short_json_list() -> None:
    entries = merge([entry("1", "first", 1)])
    for version in range(2, 30):
        entries = merge(entries, [verdict(entries, str(version), 1 / 3, accepted=version % 3 != 0)])
    text = to_json(entries)
    assert text.isascii() and len(text) <= memory.MAX_BYTES
    assert from_json(text) == entries
    assert len(json.loads(text)) == memory.MAX_ENTRIES
    assert set(json.loads(text)[0]) >= {
        *("version", "run_id", "by", "against", "pooled_ratio", "pvalue", "rows", "at", "specification")
    }
    infinite = merge([entry("1", "failed", 1, pooled_ratio=math.inf)])
    assert from_json(to_json(infinite)) == infinite
    assert "Infinity" in json.loads(to_json(infinite))[0]["pooled_ratio"]


def test_what_is_too_long_loses_its_oldest_but_never_the_reference() -> None:
    accepted = entry("1", "person", 1)
    bad = [entry(f"{number:0>600}", "failed", number) for number in range(2, 12)]
    entries = merge([accepted], bad)
    assert entries[0] == accepted and len(to_json(entries)) <= memory.MAX_BYTES
    assert [each.at for each in entries[1:]] == [7, 8, 9, 10, 11][-len(entries) + 1 :]
    many = merge([accepted], [entry(str(number), "failed", number) for number in range(2, 100)])
    assert len(many) == memory.MAX_ENTRIES and reference(many) == accepted


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "{}", "3", "null", '"x"', '[{"version":"1"}]', "[1]", b"\xff", "[" * 3000),
        '[{"version":"1","accepted":true,"by":"nobody","at":1}]',
        '[{"version":"1","accepted":false,"by":"first","at":1}]',
        '[{"version":"1","accepted":true,"by":"person","at":NaN}]',
    ],
)
def test_what_cannot_be_understood_is_not_taken_for_an_empty_memory(text: str | bytes) -> None:
    with pytest.raises(InvalidInputError):
        from_json(text)


class Place:
    """A tag, and others who write it at the worst moments."""

    def __init__(self, *intruders: memory.Entries) -> None:
        self.text: str | None = None
        self._intruders = list(intruders)

    def read(self) -> str | None:
        return self.text

    def write(self, text: str) -> None:
        self.text = text

    def pause(self, _: float) -> None:
        if self._intruders:
            self.text = to_json(self._intruders.pop(0))


def test_writers_who_overwrite_one_another_lose_nothing() -> None:
    mine, theirs = (entry("2", "failed", 2),), (entry("1", "person", 1), entry("2", "passed", 3))
    place = Place(theirs, theirs)
    found = remember(place.read, place.write, mine, pause=place.pause)
    assert words(found) == {"1": "person", "2": "failed"}
    assert place.text == to_json(found)


def test_a_place_that_keeps_nothing_is_told() -> None:
    place = Place()
    with pytest.raises(Exception, match="read again"):
        remember(place.read, lambda text: None, (entry("1", "person", 1),), pause=place.pause)


def test_a_spoilt_tag_is_written_anew() -> None:
    place = Place()
    place.text = "{"
    assert words(remember(place.read, place.write, (entry("1", "person", 1),), pause=place.pause)) == {"1": "person"}


def test_a_memory_much_longer_than_robmon_writes_is_none() -> None:
    """Whoever may write the registry's tag may write anything, and the daemon reads it on its event loop."""
    text = to_json((Entry(version="1", accepted=True, by="person", at=1.0),))
    assert from_json(text + " " * (MAX_READ_BYTES - len(text))) == from_json(text)
    with pytest.raises(InvalidInputError):
        from_json(text + " " * MAX_READ_BYTES)
