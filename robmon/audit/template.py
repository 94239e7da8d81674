"""The process that is copied for each version of one kind: `python -m robmon.audit.template --fd N --flavor sklearn`.

It has imported what versions of that flavour take, has assessed one model of its own, and knows of none of theirs.
"""

from __future__ import annotations

import argparse
import importlib
from contextlib import suppress
from typing import Final

from robmon.audit.examine import answer, behave
from robmon.processes import heavy, template
from robmon.processes.guest import be_expendable

MODULE: Final = "robmon.audit.template"
LIBRARIES: Final = {
    "sklearn": ("sklearn.ensemble", "sklearn.linear_model", "sklearn.pipeline", "sklearn.preprocessing"),
    "xgboost": ("xgboost", "sklearn.base"),
    "lightgbm": ("lightgbm", "sklearn.base"),
    "catboost": ("catboost",),
    "pytorch": ("torch",),
}
"""What models of a flavour mostly take; the rest is imported by each, as is what starts threads (`onnxruntime`)."""


def main() -> None:
    """Import, and be copied until the driver goes away."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="The process that is copied.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the socket to the driver")
    parser.add_argument("--flavor", required=True, help="of the versions")
    given = parser.parse_args()
    be_expendable()
    prepare(given.flavor)
    template.serve(given.fd, lambda fd: heavy.serve(fd, behave, answer))


def prepare(flavor: str) -> None:
    """Import what an assessment takes, by making one, and what loads a flavour. What is not there models will tell."""
    with suppress(Exception):
        import pandas

        from robmon.library.assess import assess
        from robmon.library.scoring import score_of
        from robmon.models.flavours import pyfunc_predictor  # noqa: F401
        from robmon.models.loading import import_mlflow

        import_mlflow()
        rows = pandas.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 3.0]})
        score_of(assess(lambda table: table["a"] + table["b"], rows, targets=[1.0, 1.0, 5.0], trials=19), None)
    for name in (f"mlflow.{flavor}", *LIBRARIES.get(flavor, ())):
        with suppress(Exception):
            importlib.import_module(name)


if __name__ == "__main__":
    main()
