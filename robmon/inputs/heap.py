"""A heap from which anything can be removed, not only what comes first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Place(Generic[Thing]):
    """Where something lies in a heap: what `Heap.push` gives and `Heap.remove` takes."""

    __slots__ = ("at", "rank", "thing")

    def __init__(self, rank: float, thing: Thing) -> None:
        self.at = -1
        self.rank = rank
        self.thing = thing


class Heap(Generic[Thing]):
    """Things by rank, the smallest first; each step costs the logarithm of how many there are.

    >>> heap = Heap()
    >>> places = [heap.push(rank, f"at {rank}") for rank in (3, 1, 2)]
    >>> heap.remove(places[1])
    >>> heap.first().thing, heap.smallest(9)
    ('at 2', ['at 2', 'at 3'])
    """

    def __init__(self) -> None:
        self._places: list[Place[Thing]] = []

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Thing]:
        """All things, in no order."""
        return (place.thing for place in self._places)

    def push(self, rank: float, thing: Thing) -> Place[Thing]:
        """Add something."""
        place = Place(rank, thing)
        self._places.append(place)
        self._rise(place, len(self._places) - 1)
        return place

    def first(self) -> Place[Thing] | None:
        """The place of the smallest rank; None where there is nothing."""
        return self._places[0] if self._places else None

    def remove(self, place: Place[Thing]) -> None:
        """Take something out; its place is of no use afterwards."""
        last = self._places.pop()
        if last is not place:
            self._rise(last, place.at)
            self._sink(last)
        place.at = -1

    def smallest(self, count: int) -> list[Thing]:
        """The things of the smallest ranks, in their order, at most `count` of them; all others are not looked at."""
        found: list[Thing] = []
        edge = [(self._places[0].rank, 0)] if self._places else []
        while edge and len(found) < count:
            _, at = heapq.heappop(edge)
            found.append(self._places[at].thing)
            for below in (2 * at + 1, 2 * at + 2):
                if below < len(self._places):
                    heapq.heappush(edge, (self._places[below].rank, below))
        return found

    def _rise(self, place: Place[Thing], at: int) -> None:
        places = self._places
        while at > 0 and place.rank < (above := places[(at - 1) // 2]).rank:
            places[at] = above
            above.at, at = at, (at - 1) // 2
        places[at] = place
        place.at = at

    def _sink(self, place: Place[Thing]) -> None:
        places, at = self._places, place.at
        while (below := 2 * at + 1) < len(places):
            if below + 1 < len(places) and places[below + 1].rank < places[below].rank:
                below += 1
            if places[below].rank >= place.rank:
                break
            places[at] = places[below]
            places[at].at, at = at, below
        places[at] = place
        place.at = at
