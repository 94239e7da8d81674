"""Which format a body has, told by the body: neither path nor content type can be trusted for it.

KServe's inference logger sends all formats to one path, and tritonclient sends no content type. Only CSV and Parquet
are read where the content type says so, and not otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote

from robmon.errors import CodecError
from robmon.inputs.codecs import cloudevents, json_body, mlflow_csv, mlflow_json, mlflow_parquet, sagemaker, v1, v2
from robmon.inputs.codecs.rows import Row

_LENGTH_HEADER = "inference-header-content-length"


def decode(headers: Mapping[str, str], body: bytes, *, within_event: bool = False) -> Sequence[Row]:
    """The rows of a body in any of the formats.

    Raises:
        CodecError: as the format's codec says; bad_header_length, unsupported_content.
    """
    length = _json_length(headers, len(body))
    if length == 0:
        return v2.decode_raw(body)
    if length is not None:
        return of_json(json_body.parse(body[:length]), body[length:], within_event=within_event)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == mlflow_parquet.MEDIA_TYPE:
        if within_event:  # what may end the process must be told by the request's own content type
            raise CodecError("unsupported_content", "Parquet within a structured event is not read")
        return mlflow_parquet.decode(body)
    if media_type == "text/csv":
        return mlflow_csv.decode(body)
    return of_json(*json_body.parse_beginning(body), within_event=within_event)


def of_json(content: Any, tensors: bytes = b"", *, within_event: bool = False) -> Sequence[Row]:
    """The rows of a body that is, or begins with, JSON.

    Args:
        content: the JSON.
        tensors: what follows it.
        within_event: the body is the data of an event, which must not be another.

    Raises:
        CodecError: as the format's codec says; not_json, not_an_object, bad_event.
    """
    if v2.is_v2(content):
        return v2.decode(content, tensors)
    if tensors.strip():
        raise CodecError("not_json", "something follows the JSON")
    if not isinstance(content, dict):
        raise CodecError("not_an_object", "the body is JSON, but no object")
    if cloudevents.is_event(content):
        if within_event:
            raise CodecError("bad_event", "an event within an event")
        headers, data = cloudevents.decode(content)
        if isinstance(data, bytes):
            return decode(headers, data, within_event=True)
        return of_json(data, within_event=True)
    if sagemaker.KEY in content:
        return sagemaker.decode(content, partial(decode, within_event=True))
    if content.keys() & mlflow_json.DATAFRAME_KEYS:
        return mlflow_json.decode(content)
    return v1.decode(content)


def _json_length(headers: Mapping[str, str], body_bytes: int) -> int | None:
    """Bytes of JSON before binary tensors: of the request, or as KServe's logger passes it on, or None.

    >>> _json_length({"ce-metadata": '{"Inference-Header-Content-Length":["12"]}'}, 20)
    12
    """
    text = headers.get(_LENGTH_HEADER) or _in_metadata(headers.get("ce-metadata", ""))
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= body_bytes):
        raise CodecError(
            "bad_header_length", "the length of the JSON before the tensors is invalid, or exceeds the body"
        )
    return int(text)


def _in_metadata(metadata: str) -> str | None:
    for text in (metadata, unquote(metadata)):  # the SDKs differ in what they encode
        try:
            found = {name.lower(): values for name, values in json.loads(text).items()}[_LENGTH_HEADER]
            return str(found[0] if isinstance(found, list) else found).strip()
        except (ValueError, AttributeError, LookupError, RecursionError):
            continue
    return None
