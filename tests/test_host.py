"""The one worker: what is left of a sample when it dies."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from robmon import settings
from robmon.export.metrics import Metrics
from robmon.export.published import Published
from robmon.host import ModelHost, NotAssessedError
from robmon.inputs.counts import InputCounts
from robmon.messages import ModelVersion, SampledRequest
from tests.models.conftest import columns, save_pyfunc
from tests.test_evaluation import question


def ends(inputs: pd.DataFrame) -> Any:
    os._exit(3)


async def test_parquet_is_not_tried_again_when_the_worker_died(tmp_path: Path) -> None:
    """Foreign code reads it, which a broken file may end: it would be in the next sample, too."""
    folder = save_pyfunc(tmp_path / "model", ends, columns(("a", "double")))
    sent = {
        "application/json": json.dumps({"dataframe_records": [{"a": 1.5}]}).encode(),
        "Application/vnd.apache.parquet": pd.DataFrame({"a": [2.5]}).to_parquet(),
        "text/csv": b"a\n3.5\n",
    }
    requests = [SampledRequest(format="mlflow", headers={"content-type": kind}, seed=0) for kind in sent]
    metrics = Metrics(Published("m", 60, 3600), InputCounts(), lambda: (0, None))
    host = ModelHost(settings.load({"model.uri": "models:/m/1"}).settings, metrics)
    try:
        await host.use(ModelVersion(name="m", version="1", path=str(folder), flavors=["python_function"]))
        with pytest.raises(NotAssessedError) as caught:
            await host.assess(question(3, requests=requests, min_rows=2), list(sent.values()))
    finally:
        await host.close()
    assert (caught.value.outcome, caught.value.reason) == ("failed", "crash"), str(caught.value)
    assert caught.value.unusable == [1]
