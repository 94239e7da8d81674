"""Budgets of memory are budgets of what the process really takes: filled in a process of its own, and weighed there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FILL = """
import asyncio, gc, json, sys
from random import Random
import psutil
from robmon.inputs.join_keys import join_keys
from robmon.inputs.labels import Labels
from robmon.inputs.receiver import Receiver
from robmon.inputs.sample import Feedback, Item, Sample

what, budget, body, ids = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
random = Random(0)

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
    return psutil.Process().memory_info().rss

def assessed(count, told_too):
    global number
    many = []
    for _ in range(count):
        number += 1
        kept, raw = headers(number), content(number)
        feedback = Feedback(join_keys(kept, raw))
        many.append(Item("mlflow", kept, float(number), random.getrandbits(32), raw, feedback=feedback))
        labels.follow(many[-1], 0.0)
        if told_too:
            labels.tell("target", feedback.ids[0], b"%d" % number, 0.0)
            labels.tell("answer", feedback.ids[0], raw[::-1], 0.0)
    labels.keep(many, float(number))

async def arriving():
    # bodies of which the last piece is still to come
    global told, number, resident
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
    told, number = receiver.inflight_bytes, len(tasks)
    weighed = resident()
    resident = lambda: weighed
    for task in tasks:
        task.cancel()

labels = Labels(max_bytes=budget, window_seconds=10**9, random=random)
labels.tell("target", "none", b"1", 0)
before, number = resident(), 0
if what == "sample":
    labels = Labels()
    sample = Sample(sample_rows=10**6, max_age_seconds=10**9, sample_bytes=budget, random=random)
    while sample.held_bytes < 0.97 * budget and not sample.shrunk:
        number += 1
        kept, raw = headers(number), content(number)
        item = sample.add(0.5, raw, "mlflow", kept, float(number), ids=join_keys(kept, raw))
        labels.follow(item, 0.0)
    sample.snapshot(0)
    sample.turn_over(0)
    told = sample.held_bytes
elif what == "inflight":
    asyncio.run(arriving())
elif what == "early":
    for number in range(budget // (500 + body)):
        labels.tell("answer", f"{number:036}", content(number), 0.0)
    told = labels.held_bytes
else:
    most = 0
    while number < 2 * most or labels.held_bytes < 0.4 * budget:
        assessed(200, what == "labelled")
        most = max(most, len(labels._waiting))
    told = labels.held_bytes
print(json.dumps([told, resident() - before, number]))
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
    budget = 32 * 2**20
    arguments = [sys.executable, "-c", FILL, what, str(budget), str(body), ids]
    told, resident, number = json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)
    assert told <= budget
    assert told > 0.2 * budget, f"filled, with {number} requests"
    assert 0.8 < resident / told < 1.2, f"{told / 2**20:.1f} MiB are counted, {resident / 2**20:.1f} MiB resident"
