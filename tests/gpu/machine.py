"""On what the figures were measured."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import Any

import numpy as np
import torch

from tests.gpu.record import Record
from tests.gpu.wheels import COMMIT, commit_here


def measure(record: Record) -> None:
    """What machine this is, and that robmon can be imported here."""
    from robmon.library.assess import assess

    record.add("machine", **machine(record.device))
    record.require("robmon can be imported", callable(assess), "with what is here")


def machine(device: str) -> dict[str, Any]:
    """Device, driver, versions and commit."""
    is_cuda = device.startswith("cuda")
    facts: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if is_cuda else f"CPU, {os.cpu_count()} cores",
        "driver": driver() if is_cuda else "none",
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "numpy": np.__version__,
        "python": platform.python_version(),
        "commit": commit(),
    }
    if is_cuda:
        properties = torch.cuda.get_device_properties(device)
        facts["memory_bytes"] = properties.total_memory
        facts["capability"] = f"{properties.major}.{properties.minor}"
        facts["cudnn"] = torch.backends.cudnn.version()
        facts["tf32"] = f"matmul {torch.backends.cuda.matmul.allow_tf32}, cudnn {torch.backends.cudnn.allow_tf32}"
    return facts


def driver() -> str:
    """The driver's version, as NVML or nvidia-smi tells it."""
    try:
        import pynvml

        pynvml.nvmlInit()
        try:
            told = pynvml.nvmlSystemGetDriverVersion()
        finally:
            pynvml.nvmlShutdown()
        return told if isinstance(told, str) else told.decode()
    except Exception as error:  # whatever keeps NVML from telling, the figures do not depend on it
        why = f"NVML: {error}"
    program = shutil.which("nvidia-smi")
    if program is None:
        return f"unknown ({why}; no nvidia-smi)"
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return found.stdout.strip() or f"unknown ({why}; nvidia-smi: {found.stderr.strip()})"


def commit() -> str:
    """The commit of this tree, as git tells it, or as it was when the wheels were downloaded."""
    told = commit_here()
    if told is None and COMMIT.exists():
        told = f"{COMMIT.read_text(encoding='utf-8').strip()}, when the wheels were downloaded"
    return told or "unknown"
