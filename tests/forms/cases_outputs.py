"""A case for each line of the manual's tables of outputs, by its first cell."""

from __future__ import annotations

import datetime
import decimal
import json
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse
import torch

import robmon
from tests.endpoint import reply_json, serving

ROWS = 200
INPUTS = np.random.default_rng(1).normal(size=(ROWS, 3))
WEIGHTS = np.random.default_rng(2).normal(size=(3, 4))
NAMES = np.array(["ape", "bee", "cat"])
Scored = namedtuple("Scored", ["label", "score"])


def ids(x: Any) -> Any:
    """One of three classes a row."""
    return np.digitize(x[:, 0], [-0.5, 0.5])


def chances(x: Any) -> Any:
    """Probabilities of four classes."""
    powers = np.exp(3 * x @ WEIGHTS)
    return powers / powers.sum(axis=1, keepdims=True)


def each(x: Any) -> Any:
    """A number between 0 and 1 for each of four labels."""
    return 1 / (1 + np.exp(-3 * x @ WEIGHTS))


def top(x: Any) -> Any:
    """A score beside the label."""
    return chances(x).max(axis=1)


def said(predict: Callable[[Any], Any], task: str = "classification", inputs: Any = INPUTS, **options: Any) -> str:
    """What robmon says of these outputs: its notes, and how well classes agree. What it refuses is raised."""
    result = robmon.assess(predict, inputs, task=task, levels=(0.4,), trials=19, **options)
    return "; ".join((*result.notes, f"agreement {result.curve[1].agreement}"))


def as_ids(form: Callable[[Any], Any]) -> Callable[[], str]:
    """The case of a model that says classes in some form: as many are kept under noise as of plain integers."""

    def case() -> str:
        told, plain = said(lambda x: form(ids(x))), said(ids)
        assert told.rsplit(" ", 1)[1] == plain.rsplit(" ", 1)[1]
        return told

    return case


def with_missing(labels: Any) -> Any:
    """Nullable integers, with nothing for one row."""
    series = pd.Series(labels, dtype="Int64")
    series[3] = pd.NA
    return series


def served(predictions: Callable[[int], Any], **options: Any) -> str:
    """A model behind a V1 endpoint that answers so."""

    def answer(request: Any) -> Any:
        return reply_json({"predictions": predictions(len(json.loads(request.body)["instances"]))})

    with serving(answer) as server:
        model = robmon.endpoint(f"{server.url}/v1/models/m:predict", rows_per_second=1e9, batch_rows=ROWS)
        return said(model, inputs=INPUTS[:40], **options)


def frame(x: Any) -> pd.DataFrame:
    """Dates and a forecast."""
    return pd.DataFrame({"date": pd.date_range("2026-01-01", periods=len(x)), "forecast": x[:, 0]})


def texts(x: Any) -> list[str]:
    """A record a row, as JSON."""
    return [json.dumps({"label": int(label), "score": 0.5}) for label in ids(x)]


TABLE = pd.DataFrame(INPUTS, columns=["a", "b", "c"])
CASES: dict[str, Callable[[], str]] = {
    "floats `(n,)` or `(n, k)`, regression": lambda: said(lambda x: x @ WEIGHTS, "regression"),
    "rows that sum to 1, regression": lambda: said(chances, "regression"),
    "integers or text, regression": lambda: said(ids, "regression"),
    "whole numbers, one column: int, float32, float64": as_ids(lambda labels: (labels + 1).astype("f4")),
    "whole numbers -1 and 1, as floats": lambda: said(lambda x: np.sign(x[:, 0])),
    "0.0 and 1.0, one column": lambda: said(lambda x: (x[:, 0] > 0).astype(float)),
    "booleans, one column": lambda: said(lambda x: x[:, 0] > 0),
    "text, one column": as_ids(lambda labels: NAMES[labels]),
    "bytes, in a list or an array": as_ids(lambda labels: [NAMES[label].encode() for label in labels]),
    "categorical Series": as_ids(lambda labels: pd.Series(NAMES[labels], dtype="category")),
    "nullable Int64 with `<NA>`": lambda: said(lambda x: with_missing(ids(x))),
    "text that reads as fractions": lambda: said(lambda x: [f"{score:.3f}" for score in top(x)]),
    "numbers between 0 and 1, one column": lambda: said(lambda x: each(x)[:, 0]),
    "real numbers, one column": lambda: said(lambda x: x @ WEIGHTS[:, 0]),
    "real numbers all above 0, one column": lambda: said(lambda x: 200 + x[:, 0]),
    "more whole numbers than half of the rows": lambda: said(lambda x: np.round(1000 * x[:, 0])),
    "one label for every row": lambda: said(lambda x: np.ones(len(x), dtype=int)),
    "rows that sum to 1": lambda: said(chances),
    "one-hot rows, also of integers": as_ids(lambda labels: np.eye(3, dtype=int)[labels]),
    "SciPy sparse matrix": as_ids(lambda labels: scipy.sparse.csr_matrix(np.eye(3)[labels])),
    "real numbers, several columns": lambda: said(lambda x: x @ WEIGHTS),
    "columns between 0 and 1, rows not summing to 1": lambda: said(each),
    "the same, `output=multilabel`": lambda: said(each, output="multilabel"),
    "the same, `output=probability`": lambda: said(each, output="probability"),
    "the same, `output=logit`": lambda: said(each, output="logit"),
    "several columns of labels": lambda: said(lambda x: np.stack([ids(x), 3 - ids(x), 1 + ids(-x)], axis=1)),
    "a row number beside probabilities": lambda: said(lambda x: np.c_[np.arange(len(x)), chances(x)]),
    "the same, `output_column=1,2,3,4`": lambda: said(
        lambda x: np.c_[np.arange(len(x)), chances(x)], output_column="1,2,3,4"
    ),
    "the inputs beside scores": lambda: said(lambda x: np.c_[x, chances(x)]),
    "DataFrame of one kind, regression": lambda: said(
        lambda x: pd.DataFrame({"mean": x[:, 0], "spread": x[:, 1]}), "regression"
    ),
    "DataFrame of dates and forecast": lambda: said(frame, "regression"),
    "the same, `output_column=forecast`": lambda: said(frame, "regression", output_column="forecast"),
    "DataFrame of inputs and forecast": lambda: said(lambda d: d.assign(forecast=d["a"] * 2), "regression", TABLE),
    "dict of label and probabilities": lambda: said(lambda x: {"label": ids(x), "probabilities": chances(x)}),
    "the same, `output_column=label`": lambda: said(
        lambda x: {"label": ids(x), "probabilities": chances(x)}, output_column="label"
    ),
    "a name that is not there": lambda: said(lambda x: {"label": ids(x), "p": chances(x)}, output_column="class"),
    "tuple of label and probabilities": lambda: said(lambda x: (NAMES[ids(x)], chances(x))),
    "the same, `output_column=1`": lambda: said(lambda x: (NAMES[ids(x)], chances(x)), output_column=1),
    "tuple of output and state": lambda: said(lambda x: (chances(x), (np.zeros((1, 8)), np.zeros((1, 8))))),
    "a torch module's ModelOutput with one tensor a row": lambda: said(
        lambda x: OrderedDict(loss=torch.tensor(0.5), logits=torch.tensor(x @ WEIGHTS))
    ),
    "list of records `{label, score}`": lambda: said(
        lambda x: [{"label": int(label), "score": float(score)} for label, score in zip(ids(x), top(x), strict=True)]
    ),
    "list of named tuples, dataclasses": lambda: said(lambda x: [Scored(NAMES[label], 0.5) for label in ids(x)]),
    "list of lists, text and numbers": lambda: said(lambda x: [[NAMES[label], 0.5] for label in ids(x)]),
    "list of maps of probabilities (ONNX)": lambda: said(lambda x: [dict(enumerate(row)) for row in chances(x)]),
    "structured array": lambda: said(
        lambda x: np.array([(label, 0.5) for label in ids(x)], dtype=[("label", "i8"), ("score", "f8")])
    ),
    "JSON text a row": lambda: said(texts),
    "the same with `output_column=label`": lambda: said(texts, output_column="label"),
    "Arrow table": lambda: said(lambda x: pa.table({"label": ids(x), "score": top(x)})),
    "masked array, Decimal, arrays of objects": lambda: said(
        lambda x: [decimal.Decimal(float(value)) for value in x[:, 0]], "regression"
    ),
    "dates": lambda: said(lambda x: [datetime.date(2026, 1, 1)] * len(x)),
    "complex numbers": lambda: said(lambda x: x[:, 0] * 1j),
    "ragged lists": lambda: said(lambda x: [[1.0] * (1 + index % 2) for index in range(len(x))]),
    "V1 or MLflow endpoint: records `{label, score}`": lambda: served(
        lambda rows: [{"label": f"c{index % 3}", "score": 0.5} for index in range(rows)]
    ),
    "the same endpoint, `output_column=label`": lambda: served(
        lambda rows: [{"label": f"c{index % 3}", "score": 0.5} for index in range(rows)], output_column="label"
    ),
}
