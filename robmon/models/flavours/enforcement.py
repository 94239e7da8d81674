"""MLflow's check of a DataFrame against the signature before each call, left out where it changes nothing.

It takes a frame to pieces and puts it together again, column by column, which costs more than many a model. Rows have
been through it when they were gathered, and noise changes no dtype.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any


def predict_of(model: Any) -> Callable[[Any], Any]:
    """The `predict` of a model of MLflow's, which leaves the check out for frames that it would leave as they are.

    Args:
        model: as `mlflow.pyfunc.load_model` returns it.
    """
    checked: Callable[[Any], Any] = model.predict
    schema = model.metadata.get_input_schema()
    is_of_columns = schema is not None and not schema.is_tensor_spec() and schema.has_input_names()
    if not is_of_columns or model.metadata.get_params_schema() or _is_typed_otherwise(model.metadata):
        return checked
    bare = copy.copy(model)
    bare._model_meta = copy.copy(model.metadata)  # where MLflow keeps it elsewhere, all frames are checked
    bare._model_meta.signature = None
    is_unchanged = unchanged_by(schema)

    def predict(model_input: Any) -> Any:
        return bare.predict(model_input) if is_unchanged(model_input) else checked(model_input)

    return predict


def unchanged_by(schema: Any) -> Callable[[Any], bool]:
    """Whether the check against a schema of named columns leaves out, moves and casts no column of a DataFrame."""
    kept = {spec.name: _dtypes_kept(spec.type) for spec in schema.inputs}
    optional = {spec.name for spec in schema.inputs if not spec.required}

    def is_unchanged(model_input: Any) -> bool:
        if not hasattr(model_input, "iloc"):
            return False
        columns = model_input.columns.tolist()
        lacking = optional.difference(columns) if optional else ()
        return columns == [name for name in kept if name not in lacking] and all(
            dtype.name in kept[name] for name, dtype in zip(columns, model_input.dtypes.tolist(), strict=True)
        )

    return is_unchanged


def _dtypes_kept(kind: Any) -> tuple[str, ...]:
    """Names of the dtypes that columns of a type of the signature may have already."""
    if not hasattr(kind, "to_numpy"):
        return ()  # lists, records and maps are checked cell by cell
    return ("object", "string", "str") if kind.name in ("string", "binary") else (kind.to_numpy().name,)


def _is_typed_otherwise(metadata: Any) -> bool:
    """Whether frames are made into something else, by the type hint of the model or by its example."""
    names = "_is_signature_from_type_hint", "_is_type_hint_from_example"
    return any(getattr(metadata, name, bool)() for name in names)
