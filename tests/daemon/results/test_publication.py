"""How requests are named to people."""

from __future__ import annotations

from robmon.daemon.results.publication import shown_ids
from robmon.inputs.sample import Feedback, Item


def item(*ids: str) -> Item:
    return Item("v2", {}, 0, 0, b"", feedback=Feedback(ids))


def test_requests_are_shown_by_their_first_id_in_printable_ascii() -> None:
    items = [item("a", "b"), item(), item("ä\n\x1b[31m<b>"), item("x" * 1000), *[item(str(n)) for n in range(20)]]
    assert shown_ids(items) == ("a", "???[31m<b>", "x" * 128, *map(str, range(7)))
