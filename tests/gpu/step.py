"""One step of the program, in a process of its own.

python -m tests.gpu.step memory --device cuda:0 --seconds 60 --report FILE
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import torch

from tests.gpu.record import Record

MODULES = {
    "machine": "machine",
    "benchmark": "benchmark",
    "neighbour": "neighbour",
    "memory": "memory",
    "linear": "linear_cost",
    "compile": "compiled",
}


def main() -> None:
    """Run it; what it finds is in the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=MODULES)
    parser.add_argument("--device", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--report", type=Path, required=True)
    asked = parser.parse_args()
    if asked.device == "cpu":
        torch.set_num_threads(1)  # threads that wait for one another measure how busy the machine is
    record = Record(asked.report, asked.device, asked.quick, asked.seconds)
    import_module(f"tests.gpu.{MODULES[asked.name]}").measure(record)


if __name__ == "__main__":
    main()
