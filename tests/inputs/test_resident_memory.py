"""Budgets of memory are budgets of what the process really takes: filled in a process of its own, and weighed there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FILL = """
import asyncio, ctypes, gc, json, os, sys
from random import Random
import psutil
from robmon.inputs.join_keys import join_keys
from robmon.inputs.labels import Labels
from robmon.inputs.receiver import Receiver
from robmon.inputs.sample import Feedback, Item, Sample

what, budget, body, ids = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
random, number = Random(0), 0

def headers(number):
    found = {"content-type": bytes(b"application/json").decode()}
    if ids != "none":
        found["x-request-id"] = f"{number:036}"
    if ids == "many":
        found |= {"ce-id": f"c%20{number:036}", "traceparent": f"00-{number:032x}-b7ad6b7169203331-01"}
    return found

def content(number):
    return b'{"id": "%0100d", "x": "%s"}' % (number, bytes(body)) if ids == "many" else b"%d%s" % (number, bytes(body))

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # pages that hold nothing any more go back, and so are no room for what comes
    return psutil.Process().memory_info().rss

def assessed(labels, count):
    global number
    many = []
    for _ in range(count):
        number += 1
        some, raw = headers(number), content(number)
        feedback = Feedback(join_keys(some, raw))
        many.append(Item("mlflow", some, float(number), random.getrandbits(32), raw, feedback=feedback))
        labels.follow(many[-1], 0.0)
        if what == "labelled":
            labels.tell("target", feedback.ids[0], b"%d" % number, 0.0)
            labels.tell("answer", feedback.ids[0], raw[::-1], 0.0)
    labels.keep(many, float(number))

async def arriving(budget, kept):
    # bodies of which the last piece is still to come
    sample = Sample(sample_rows=10**6, max_age_seconds=10**9, sample_bytes=2 * budget, random=random)
    receiver = Receiver(sample, max_body_bytes=budget, max_inflight_bytes=budget)
    scope = {"type": "http", "method": "POST", "path": "/invocations", "headers": []}
    def begin():
        sizes = [min(50_000, body - done) for done in range(0, body, 50_000)]
        async def receive():
            if not sizes:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": b"x" * sizes.pop(), "more_body": True}
        return asyncio.create_task(receiver(scope, receive, None))
    tasks = []
    while receiver.inflight_bytes + body < budget:
        tasks.append(begin())
        while receiver.inflight_bytes < len(tasks) * body:
            await asyncio.sleep(0)
    kept.append(tasks)
    return receiver.inflight_bytes

def sampled(budget, kept):
    global number
    sample = Sample(sample_rows=10**6, max_age_seconds=10**9, sample_bytes=budget, random=random)
    labels = Labels()
    kept += [sample, labels]
    while sample.held_bytes < 0.97 * budget and not sample.shrunk:
        number += 1
        some, raw = headers(number), content(number)
        labels.follow(sample.add(0.5, raw, "mlflow", some, float(number), ids=join_keys(some, raw)), 0.0)
    sample.snapshot(0)
    sample.turn_over(0)
    return sample.held_bytes

def labelled(budget, kept):
    global number
    labels = Labels(max_bytes=budget, window_seconds=10**9, random=random)
    labels.tell("target", "none", b"1", 0)  # requests are kept where labels come at all
    kept.append(labels)
    if what == "early":
        for _ in range(budget // (500 + body)):
            number += 1
            labels.tell("answer", f"{number:036}", content(number), 0.0)
        return labels.held_bytes
    began, most = number, 0
    while number - began < 2 * most or labels.held_bytes < 0.4 * budget:
        assessed(labels, 200)
        most = max(most, sum(1 for _ in labels.waiting()))
    return labels.held_bytes

async def weigh():
    # What was freed before is taken again by the first that is filled, and so weighs less: those after it are weighed.
    kept, told, before = [], 0, 0
    for place in range(4):
        if what == "inflight":
            held = await arriving(budget, kept)
        else:
            held = (sampled if what == "sample" else labelled)(budget, kept)
        assert 0.2 * budget < held <= budget, held
        if place == 0:
            before = resident()
        else:
            told += held
    print(json.dumps([told, resident() - before, number]), flush=True)
    os._exit(0)

asyncio.run(weigh())
"""


@pytest.mark.parametrize(
    ("what", "body", "ids"),
    [
        ("sample", 20, "none"),
        ("sample", 20, "one"),
        ("sample", 1000, "many"),
        ("sample", 100_000, "one"),
        ("waiting", 1, "one"),
        ("waiting", 300, "many"),
        ("waiting", 4000, "one"),
        ("labelled", 20, "one"),
        ("labelled", 700, "many"),
        ("early", 20, "none"),
        ("early", 3000, "none"),
        ("inflight", 130_000, "none"),
        ("inflight", 5_000_000, "none"),
    ],
)
def test_budget_is_resident_memory(what: str, body: int, ids: str) -> None:
    budget = 16 * 2**20
    arguments = [sys.executable, "-c", FILL, what, str(budget), str(body), ids]
    told, resident, number = json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)
    assert 0.8 < resident / told < 1.2, (
        f"{told / 2**20:.1f} MiB are counted, {resident / 2**20:.1f} MiB resident, of {number} requests"
    )
