"""Records that KServe's inference logger writes into a bucket: one HTTP body each, around which stands what it knows.

In JSON the names of the fields begin with capitals and `Metadata` is an object; in CSV and Parquet they do not, and it
is JSON in text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from robmon.errors import CodecError
from robmon.inputs.codecs import recognise
from robmon.inputs.codecs.compression import decompress
from robmon.inputs.codecs.json_body import of_base64
from robmon.inputs.codecs.rows import Row

_FIELDS = frozenset({"bytes", "contenttype", "reqtype", "inferenceservice", "sourceuri"})


def is_record(content: Mapping[str, Any]) -> bool:
    """Whether an object or a row of a table is such a record.

    >>> is_record({"Bytes": "e30=", "ContentType": "", "ReqType": "", "InferenceService": "", "SourceUri": None})
    True
    """
    return {name.lower() for name in content} >= _FIELDS


def decode(content: Mapping[str, Any]) -> Sequence[Row]:
    """The rows of the request in a record.

    Raises:
        CodecError: response_event (the answer to a prediction), no_inputs, unsupported_content; or as the body's codec
            says.
    """
    record = {name.lower(): value for name, value in content.items()}
    if str(record["reqtype"]).endswith(".response"):
        raise CodecError("response_event", "the record tells the answer to a prediction")
    if not record["bytes"] or not isinstance(record["bytes"], str):
        raise CodecError("no_inputs", "the record holds no request")
    body = of_base64(record["bytes"], CodecError("unsupported_content", "the logged request is no base64"))
    metadata = record.get("metadata") or {}
    headers = {
        "content-type": str(record["contenttype"] or ""),
        "ce-metadata": metadata if isinstance(metadata, str) else json.dumps(metadata),
    }
    return recognise.decode(headers, decompress({}, body))
