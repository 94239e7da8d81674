"""What of a map is wrong for every version, whatever its model: told before any version is loaded."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import numpy as np

from robmon.audit.inputs_map import AuditedOn, told_of
from robmon.errors import InvalidInputError
from robmon.inputs.files import read_inputs
from robmon.models.uri import mask
from robmon.processes.command import worker_environment
from robmon.processes.supervisor import START_SECONDS
from robmon.robustness.outputs import missing_labels
from robmon.robustness.specification import Specification
from robmon.vocabulary import ALL_INTEGERS

_NEEDED: Final = "import numpy, pydantic"


def check_inputs(entry: AuditedOn, file: Path) -> list[str]:
    """Look whether the inputs can be those of an entry for any model at all.

    Args:
        entry: of the map.
        file: local copy of its inputs, which ends as its own name does.

    Returns:
        What was left out of the file, in sentences.

    Raises:
        InvalidInputError: they cannot; it names the entry's pattern.
        MissingPackageError: what reads them is not installed.
    """
    told: list[str] = []
    try:
        inputs, targets = read_inputs(file, entry.targets, tell=told.append)
        _check_columns(inputs, entry.specification)
        _check_targets(targets, entry.specification)
    except InvalidInputError as error:
        raise InvalidInputError(f"{told_of(entry)}: {_named(str(error), file, entry)}") from None
    return [_named(sentence, file, entry) for sentence in told]


def check_python(entry: AuditedOn) -> None:
    """Look whether an entry's interpreter can run what examines versions on this machine.

    Raises:
        InvalidInputError: it cannot; it names the entry's pattern.
    """
    if entry.python is None:
        return
    why = ""
    try:
        subprocess.run(  # noqa: S603 - the interpreter that the map names, as for every version
            [entry.python, "-c", _NEEDED],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=worker_environment(1),
            timeout=START_SECONDS,
            check=True,
        )
    except OSError as error:
        why = f"cannot be started: {error.strerror}"
    except subprocess.TimeoutExpired:
        why = f"does not import NumPy and pydantic within {START_SECONDS:g} s"
    except subprocess.CalledProcessError:
        why = "cannot import NumPy and pydantic, which robmon needs beside the model"
    if why:
        raise InvalidInputError(f"{told_of(entry)}: python {entry.python} {why}")


def _check_columns(inputs: Any, specification: Specification) -> None:
    columns = [str(name) for name in inputs.columns] if hasattr(inputs, "columns") else None
    if columns is not None and (unknown := set(specification.integers) - {*columns, ALL_INTEGERS}):
        raise InvalidInputError(
            f"integers names {', '.join(sorted(unknown))}, no column among the inputs: those are {', '.join(columns)}"
        )
    # A cell of a table may hold a whole picture.
    is_table = columns is not None and "O" not in {kind.kind for kind in inputs.dtypes}
    if specification.acts_on_images and (is_table or (isinstance(inputs, np.ndarray) and inputs.ndim <= 2)):
        raise InvalidInputError(f"noise {specification.noise} is of images, and the inputs are rows of single numbers")


def _check_targets(targets: Any, specification: Specification) -> None:
    if targets is None:
        if specification.accuracy_limit is not None:
            raise InvalidInputError("accuracy_limit is a share of right classes, which needs a target")
        return
    if specification.task == "embedding":
        raise InvalidInputError("embeddings have no targets: leave target out")
    lost = np.flatnonzero(missing_labels(targets.reshape(-1)).reshape(len(targets), -1).any(axis=1))
    if len(lost):
        raise InvalidInputError(
            f"{len(lost)} of {len(targets)} rows have no target that is a class or a finite number, the first of them "
            f"row {lost[0]} (counted from 0)"
        )
    is_of_labels = specification.task == "classification" or specification.output == "label"
    if not is_of_labels and targets.dtype.kind not in "fiub":
        raise InvalidInputError("the targets are no numbers, and the task is regression: set task: classification")


def _named(sentence: str, file: Path, entry: AuditedOn) -> str:
    """With the name that the file has in the map, less what opens it."""
    return sentence.replace(str(file), mask(entry.inputs))
