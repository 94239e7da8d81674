"""Requests as the real senders build them: MLflow's client, tritonclient and the CloudEvents SDK."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.http as triton
from cloudevents.core.bindings.http import HTTPMessage, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from mlflow.utils.proto_json_utils import dump_input_data

Array = np.ndarray[Any, np.dtype[Any]]

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
REQUEST_EVENT = "org.kubeflow.serving.inference.request"
RESPONSE_EVENT = "org.kubeflow.serving.inference.response"

DATATYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "u2", "UINT32": "u4", "UINT64": "u8", "INT8": "i1", "INT16": "i2",
    "INT32": "i4", "INT64": "i8", "FP16": "f2", "FP32": "f4", "FP64": "f8",
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One request to a model server."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")


def tensor(name: str, array: Array, *, binary: bool = True) -> triton.InferInput:
    """A tensor of tritonclient's; NumPy's name for BF16 is that of ml_dtypes."""
    datatypes = {np.dtype(dtype): datatype for datatype, dtype in DATATYPES.items()}
    datatypes |= {np.dtype(ml_dtypes.bfloat16): "BF16", np.dtype(object): "BYTES"}
    return triton.InferInput(name, list(array.shape), datatypes[array.dtype]).set_data_from_numpy(
        array, binary_data=binary
    )


def v2(tensors: Sequence[triton.InferInput], path: str = "/v2/models/digits/infer") -> Request:
    """The request of tritonclient, whose content type is none."""
    body, length = triton.InferenceServerClient.generate_request_body(list(tensors))
    return Request(path, body, {} if length is None else {"inference-header-content-length": str(length)})


def v1(instances: Any, key: str = "instances") -> Request:
    """KServe's V1 protocol has no client of its own: it is a JSON body."""
    return Request("/v1/models/digits:predict", json.dumps({key: instances}).encode(), {"content-type": JSON})


def mlflow(data: Any, key: str = "inputs") -> Request:
    """MLflow's client: a DataFrame as `dataframe_split`, anything else as `inputs`."""
    return Request("/invocations", dump_input_data(data, inputs_key=key).encode(), {"content-type": JSON})


def event(request: Request, *, structured: bool = False, kind: str = REQUEST_EVENT, **attributes: str) -> Request:
    """A request inside a CloudEvent, sent to the root as KServe's logger does, which drops all other headers."""
    given = {"type": kind, "source": "http://localhost:9081/", **attributes}
    if request.content_type:
        given["datacontenttype"] = request.content_type
    as_json = structured and request.content_type == JSON
    cloud_event = CloudEvent(given, json.loads(request.body) if as_json else request.body)
    message: HTTPMessage = (to_structured if structured else to_binary)(cloud_event, JSONFormat())
    return Request("/", message.body, message.headers)


def sagemaker(request: Request, encoding: str) -> dict[str, Any]:
    """A line of SageMaker's data capture: `CSV`, `JSON` or `BASE64`."""
    data = base64.b64encode(request.body) if encoding == "BASE64" else request.body
    sent = {"observedContentType": request.content_type, "mode": "INPUT", "data": data.decode(), "encoding": encoding}
    answer = {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "0.5", "encoding": "CSV"}
    return {
        "captureData": {"endpointInput": sent, "endpointOutput": answer},
        "eventMetadata": {"eventId": "0e1", "inferenceTime": "2026-01-01T00:00:00Z"},
        "eventVersion": "0",
    }


def kserve_record(request: Request, *, kind: str = REQUEST_EVENT, metadata: Any = None) -> dict[str, Any]:
    """What KServe's logger writes into a bucket in JSON: Go's names of the fields, its URLs as objects."""
    return {
        "Url": {"Scheme": "s3", "Host": "captures", "Path": "/digits", "RawQuery": "", "ForceQuery": False},
        "Bytes": base64.b64encode(request.body).decode(),
        "ContentType": request.content_type,
        "ReqType": kind,
        "Id": "0e1",
        "SourceUri": {"Scheme": "http", "Host": "localhost:9081", "Path": "/"},
        "InferenceService": "digits",
        "Namespace": "default",
        "Component": "predictor",
        "Endpoint": "",
        "Metadata": metadata,
        "Annotations": None,
        "CertName": "",
        "TlsSkipVerify": False,
    }


def kserve_table_row(request: Request, **fields: Any) -> dict[str, Any]:
    """The same as a row of CSV and Parquet: names in lower camel case, everything but a boolean as text."""
    record = kserve_record(request, **fields)
    flat = {"Url": "s3://captures/digits", "SourceUri": "http://localhost:9081/", "Annotations": ""}
    flat["Metadata"] = json.dumps(record["Metadata"]) if record["Metadata"] else ""
    return {name[0].lower() + name[1:]: flat.get(name, value) for name, value in record.items()}
