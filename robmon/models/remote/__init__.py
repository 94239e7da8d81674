"""The served model, asked at its own endpoint: no weights here, and none of its libraries.

This is the truest black box: server, preprocessing and hardware are those that the clients get. Only NumPy and an HTTP
client are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from robmon.errors import ModelNotFoundError, PredictionError
from robmon.models.access import EndpointAccess
from robmon.models.outputs import cells
from robmon.models.remote import json_bodies, v2
from robmon.models.remote.as_sent import AsSent
from robmon.models.remote.client import Client
from robmon.models.served.served import ServedModel
from robmon.models.signature import signature
from robmon.models.uri import Endpoint

Inputs = json_bodies.Inputs


def load(
    endpoint: Endpoint,
    access: EndpointAccess,
    *,
    version: str | None = None,
    input_dtype: str | None = None,
    input_shape: Sequence[int] | None = None,
    integers: Collection[str] = (),
) -> ServedModel:
    """The model behind an endpoint. Only a V2 server is asked something now: what the model takes.

    Args:
        endpoint: the prediction URL.
        access: how it may be asked.
        version: that V2 answers must name, if they name one; None: that of the first of them.
        input_dtype: type of rows without names, of a server that tells no signature.
        input_shape: shape of such a row.
        integers: columns of whole numbers that are measurements.

    Raises:
        ModelLoadError: the token cannot be read, or nothing in the model's inputs can be perturbed.
        ModelNotFoundError: the V2 server knows no such model.
        PredictionError: the V2 server did not answer.
    """
    client = Client(endpoint, access)
    takes: signature.Signature = AsSent(
        dtype=np.dtype(input_dtype) if input_dtype is not None else None,
        shape=tuple(input_shape) if input_shape is not None else None,
    )
    if endpoint.protocol == "v2":
        metadata = v2.read_metadata(client, endpoint)
        if metadata.inputs:
            takes = signature.of_tensors(metadata.inputs, integers)
        ask = _v2(client, v2.Dialogue(v2.takes_binary(client, endpoint), version, as_columns=not metadata.inputs))
    else:
        ask = _json(client, json_bodies.mlflow_body if endpoint.protocol == "mlflow" else json_bodies.v1_body)
    call = _in_batches(ask, takes.fixed_rows or access.request_rows)
    return ServedModel("remote", endpoint.place, [], takes, call, lambda array: array, access)


def served_versions(endpoint: Endpoint, access: EndpointAccess) -> Sequence[str]:
    """The versions that a server tells, highest last; none where it tells none.

    Raises:
        ModelNotFoundError: it knows no such model, or not the version that the URL names.
        ModelLoadError, PredictionError: as `load`.
    """
    if endpoint.protocol != "v2":
        return []
    versions = v2.read_metadata(Client(endpoint, access), endpoint).versions
    if endpoint.version is not None and versions and endpoint.version not in versions:
        raise ModelNotFoundError(f"{endpoint.place} does not serve version {endpoint.version} of {endpoint.name}")
    return versions


Ask = Callable[[Inputs, int], Any]


def _json(client: Client, body: Callable[[Inputs], bytes]) -> Ask:
    def ask(inputs: Inputs, rows: int) -> Any:
        answer = client.post(body(inputs), {"Content-Type": "application/json"}, rows)
        return json_bodies.predictions(answer.json())

    return ask


def _v2(client: Client, dialogue: v2.Dialogue) -> Ask:
    def ask(inputs: Inputs, rows: int) -> Any:
        return dialogue.outputs(client.post(*dialogue.request(inputs), rows))

    return ask


def _in_batches(ask: Ask, batch_rows: int) -> Callable[[Inputs], Any]:
    """Ask for so many rows at a time, however many are given, in requests of nearly the same length.

    A single row that is left, which is only where 2 make a request, is asked for together with the one before it.
    """

    def call(inputs: Inputs) -> Any:
        rows = len(next(iter(inputs.values()))) if isinstance(inputs, dict) else len(inputs)
        parts = []
        for batch in np.array_split(np.arange(rows), -(-rows // batch_rows)):
            asked = min(max(len(batch), min(batch_rows, 2)), rows)
            stop = int(batch[-1]) + 1
            answer = _named(ask(_part_of(inputs, slice(stop - asked, stop)), asked), asked)
            parts.append({name: _last(part, len(batch), asked) for name, part in answer.items()})
        return _joined(parts)

    return call


def _part_of(inputs: Inputs, batch: slice) -> Inputs:
    return {name: array[batch] for name, array in inputs.items()} if isinstance(inputs, dict) else inputs[batch]


def _named(outputs: Any, rows: int) -> dict[str, Any]:
    """An answer's parts by name; one without names under an empty one.

    Raises:
        PredictionError: none of them has one entry a row.
    """
    if rows == 1 and isinstance(outputs, (int, float, str)):
        outputs = [outputs]  # squeezed
    named = dict(outputs) if isinstance(outputs, dict) else {"": outputs}
    if not any(cells.length(part) == rows for part in named.values()):
        found = ", ".join(str(cells.length(part) or 0) for part in named.values())
        raise PredictionError(f"the endpoint answered with {found} outputs for {rows} rows", "invalid_output")
    return named


def _last(part: Any, count: int, rows: int) -> Any:
    """The last entries of a part with one entry a row."""
    return part[-count:] if cells.length(part) == rows else part


def _joined(answers: list[dict[str, Any]]) -> Any:
    """The answers to all batches as one, part by part."""
    if any(answer.keys() != answers[0].keys() for answer in answers):
        raise PredictionError("the endpoint's answers differ in their parts from one another", "invalid_output")
    named = {name: _chained([answer[name] for answer in answers]) for name in answers[0]}
    return named.get("", named)


def _chained(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if all(cells.length(part) is None for part in parts):
        return parts[0]  # of the whole answer, not of a row
    if all(isinstance(part, list) for part in parts) and len({cells.length(part[0]) for part in parts if part}) == 1:
        return [cell for part in parts for cell in part]
    if all(isinstance(part, np.ndarray) for part in parts) and len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    raise PredictionError("the endpoint's answers differ in shape, or in type, from one another", "invalid_output")
