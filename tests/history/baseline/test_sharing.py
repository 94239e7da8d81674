"""Hours that pods share without a lock: none is lost, none is there twice."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import numpy as np
import pytest

from robmon.drift.hourly import HourlyErrors
from robmon.errors import RegistryError
from robmon.history.baseline.checksum import with_checksum
from robmon.history.baseline.hours import BaselineHours, HoursTerms, hours_of
from robmon.history.baseline.sharing import ADDED, MOST_ADDED, share
from robmon.history.shared import TRIES

Baseline = dict[str, Any]


def hours(of: int, *, count: int = 1, accepted_at: float | None = None) -> dict[str, Any]:
    """One row in each of so many hours; each pod's has an error of its own."""
    errors = HourlyErrors()
    errors.add(np.arange(480_000, 480_000 + count), np.full((count, 4), float(of + 1)))
    return BaselineHours(HoursTerms("run", "gaussian", 0.4, accepted_at), errors).to_dict()


def baseline(of: int, **more: Any) -> Baseline:
    return with_checksum({"format": 2, "source": "learnt", "hourly": hours(of, **more)})


class Store:
    """What lies beside the model, as text."""

    def __init__(self) -> None:
        self.text = "null"

    def read(self) -> Baseline | None:
        content: Baseline | None = json.loads(self.text)
        return content

    def write(self, content: Baseline) -> None:
        self.text = json.dumps(content)

    def share(self, of: int, pause: Any = lambda seconds: None) -> Baseline:
        return share(self.read, self.write, baseline(of), {f"pod {of}": hours(of)}, pause)

    @property
    def rows(self) -> int:
        found = hours_of(self.read() or {})
        return 0 if found is None else found.errors.rows


def test_what_another_pod_overwrites_is_there_again_and_nothing_twice() -> None:
    store = Store()
    store.share(0)
    stale = store.text
    answers: list[str] = []

    def other_writes(seconds: float) -> None:
        if not answers:  # it had read before we wrote, and writes after us
            answers.append(store.text)
            store.text = stale
            share(store.read, store.write, baseline(2), {"pod 2": hours(2)}, lambda _: None)

    found = store.share(1, other_writes)
    assert store.rows == 3 and found == store.read() and found[ADDED] == ["pod 0", "pod 2", "pod 1"]
    for of in range(3):
        assert store.share(of) == found, "offered again, as with the next share"


@pytest.mark.parametrize("seed", range(3))
def test_pods_that_write_at_the_same_moment_lose_nothing(seed: int) -> None:
    store, pods = Store(), 8
    together = threading.Barrier(pods)

    def pod(of: int) -> None:
        random = np.random.default_rng([seed, of])

        def slowly(do: Any) -> Any:
            time.sleep(random.uniform(0.0, 0.004))
            return do()

        def write(content: Baseline) -> None:
            slowly(lambda: store.write(content))

        together.wait()
        for _ in range(20):  # as the daemon, after a failure
            try:
                share(lambda: slowly(store.read), write, baseline(of), {f"pod {of}": hours(of)},
                      lambda seconds: time.sleep(seconds / 20))  # fmt: skip
                return
            except RegistryError:
                continue

    threads = [threading.Thread(target=pod, args=(of,)) for of in range(pods)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for of in range(pods):  # and what was taken away after it had been seen comes with the next share
        store.share(of)
    found = hours_of(store.read() or {})
    assert found is not None and found.errors.rows == pods
    assert found.errors.hours[480_000].errors.total == 4 * sum(range(1, pods + 1)), "each once"


def test_what_is_just_being_written_is_not_replaced_and_what_is_damaged_is() -> None:
    store = Store()
    whole = store.share(0)
    store.write({**whole, "at": 7})  # its checksum does not fit

    waits: list[float] = []

    def finish(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            store.write(whole)

    assert store.share(1, finish)[ADDED] == ["pod 0", "pod 1"] and store.rows == 2
    store.write({**whole, "at": 7})
    store.share(1)
    assert store.rows == 1 and (store.read() or {})[ADDED] == ["pod 1"]


def test_hours_under_other_terms_replace_and_are_not_mixed() -> None:
    store = Store()
    store.share(0)
    later = {"before": hours(1), "since": hours(2, count=3, accepted_at=5.0)}
    share(store.read, store.write, baseline(2, count=3, accepted_at=5.0), later, lambda seconds: None)
    assert store.rows == 3 and (store.read() or {})[ADDED] == ["since"]


def test_one_that_is_overwritten_for_ever_is_told_and_ids_are_bounded() -> None:
    store, tries = Store(), []

    def taken_away(seconds: float) -> None:
        tries.append(seconds)
        store.text = "null"

    with pytest.raises(RegistryError, match="others write too"):
        store.share(0, taken_away)
    assert len(tries) >= TRIES
    many = {f"part {index}": hours(0) for index in range(MOST_ADDED)}
    found = share(store.read, store.write, baseline(0), many, lambda seconds: None)
    assert found[ADDED] == list(many)
    assert store.share(1)[ADDED] == [*list(many)[1:], "pod 1"]
