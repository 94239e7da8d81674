"""What a model's `MLmodel` file says: its flavours, and which of them robmon would load."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from robmon.errors import ModelLoadError

MLMODEL_FILE = "MLmodel"
MAX_BYTES = 4 * 2**20
"""Of the file: a signature of 10,000 columns takes one."""
TORCH = "pytorch"
PYFUNC = "python_function"
ONNX = "onnx"


@dataclass(frozen=True)
class MLmodel:
    """The parsed file. `inputs` is the signature's list of input specifications, None without a signature.

    `params` are the names of what requests may set beside the rows.
    """

    flavors: dict[str, dict[str, Any]]
    inputs: list[dict[str, Any]] | None
    params: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["torch", "pyfunc"]:
        """How robmon loads it: torch where it can, for a model of tensors; else as the model server does, by pyfunc."""
        if TORCH not in self.flavors:
            return "pyfunc"
        takes_columns = self.inputs is not None and any(spec.get("type") != "tensor" for spec in self.inputs)
        return "pyfunc" if takes_columns and PYFUNC in self.flavors else "torch"

    @property
    def takes_tensors(self) -> bool:
        """Whether its signature says that it takes tensors."""
        return bool(self.inputs) and all(spec.get("type") == "tensor" for spec in self.inputs or ())

    @property
    def loaded_flavor(self) -> str:
        """The flavour whose code loads the model: of a pyfunc model the one behind it (`sklearn`), if there is one."""
        if self.kind == "torch":
            return TORCH
        name = str(self.flavors.get(PYFUNC, {}).get("loader_module", "")).removeprefix("mlflow.")
        return name if name in self.flavors else PYFUNC


def read(folder: Path) -> MLmodel:
    """Read the `MLmodel` file of a model folder.

    Raises:
        ModelLoadError: there is none, or it is no such file.
    """
    try:
        with (folder / MLMODEL_FILE).open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ModelLoadError(f"the model's {MLMODEL_FILE} file is larger than {MAX_BYTES // 2**20} MiB")
        content = yaml.load(text.decode(), _Loader)  # noqa: S506 - a safe loader that leaves more out
        signature = content.get("signature") or {}
        inputs, params = signature.get("inputs"), signature.get("params")
        return MLmodel(
            flavors={str(name): _flavor(flavor) for name, flavor in content["flavors"].items()},
            inputs=json.loads(inputs) if inputs else None,
            params=tuple(str(each["name"]) for each in json.loads(params)) if params else (),
        )
    except OSError as error:
        raise ModelLoadError(f"the model has no readable {MLMODEL_FILE} file: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
        raise ModelLoadError(f"the model's {MLMODEL_FILE} file is not what MLflow writes") from None


def _flavor(told: Any) -> dict[str, Any]:
    """What is told of a flavour. Not copied: many aliases may stand for one large object."""
    flavor: dict[str, Any] = told or {}
    if not isinstance(flavor, dict):
        raise TypeError
    return flavor


class _Loader(yaml.SafeLoader):
    """YAML as MLflow writes it. What takes more time than it has bytes is refused: merged objects (`<<`), of which each
    alias is a copy, and numbers of base 60, whose digits are multiplied one by one."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse an object that is to be merged into this one."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.constructor.ConstructorError(None, None, "merged objects are not read", node.start_mark)

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        """A number, unless it has colons."""
        if ":" in node.value:
            raise yaml.constructor.ConstructorError(None, None, "numbers of base 60 are not read", node.start_mark)
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)


for _tag in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.construct_number)
