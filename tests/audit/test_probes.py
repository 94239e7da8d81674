"""What else is asked of a version: an attack, a certificate and advice, in the process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import infer_signature

from robmon.audit.inputs_map import AuditedOn
from robmon.audit.summary import Examined, sum_up
from robmon.audit.task import Limits, Task
from robmon.audit.version_process import examine
from robmon.report.html.audit import audit_page
from robmon.robustness.specification import Specification
from tests.mlflow_client import quiet_mlflow


def test_certified_share_is_at_most_what_attacks_leave(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    signature = infer_signature(rows, module(torch.tensor(rows)).detach().numpy())
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            module, tmp_path / "model", signature=signature, pip_requirements=[], input_example=rows[:4]
        )
    radii = {"norm": "2", "radii": [0.05, 0.5]}
    entry = AuditedOn(
        "*",
        "rows.npy",
        specification=Specification(task="classification", trials=19),
        attack=radii | {"attacks": ["pgd", "random"], "queries": 20},
        certify=radii,
        advise=True,
    )
    task = Task("net", 1, "", entry, "sha256")
    content = asyncio.run(examine(task, tmp_path / "model", tmp_path / "rows.npy", Limits()))
    assert content["outcome"] == "ok", content
    certified, left = content["certificate"]["share"], content["attack"]["agreement"]
    assert 0 < certified[0] <= left[0] and certified[1] <= left[1] < 1
    assert content["advice"]["reason"] == ""
    found = sum_up([Examined(task, (), content)])
    page = audit_page(found.to_dict(), [None], "models:/*", "")
    assert "Under attack at most" in page and "Proved: at least" in page
