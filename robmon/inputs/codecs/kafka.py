"""What a message of a topic is: a request of any protocol, or what a line of a file may be, such as a plain row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robmon.errors import CodecError
from robmon.inputs.codecs import files, recognise
from robmon.inputs.codecs.rows import Row


def decode(headers: Mapping[str, str], body: bytes) -> Sequence[Row]:
    """The rows of a message. A JSON object that is no request is a row: its keys are columns.

    Raises:
        CodecError: as the codec of what was recognised says.
    """
    try:
        return recognise.decode(headers, body)
    except CodecError as error:
        if error.reason != "no_inputs":
            raise
        return files.decode({}, body)
