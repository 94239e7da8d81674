"""Codecs: from the raw body of a request to rows. They run in the worker and need NumPy only.

A codec is one module with one function `decode`, and its place in `recognise`, which tells them by content. Whatever
the bytes are, what comes out are rows or a `CodecError` with a reason from a bounded set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

from robmon.errors import CodecError
from robmon.inputs.codecs import files, kafka, mlflow, recognise
from robmon.inputs.codecs.compression import decompress
from robmon.inputs.codecs.rows import Row

__all__ = ["Row", "choose_rows", "decode"]

Drawn = TypeVar("Drawn")

_CODECS: dict[str, Callable[[Mapping[str, str], bytes], Sequence[Row]]] = {
    "mlflow": mlflow.decode,
    "v1": recognise.decode,
    "v2": recognise.decode,
    "cloudevents": recognise.decode,
    "file": files.decode,
    "kafka": kafka.decode,
}


def decode(request_format: str, headers: Mapping[str, str], body: bytes) -> Sequence[Row]:
    """The rows of a request. They are built when they are looked at, which may also raise `CodecError`.

    Args:
        request_format: the source that it came from.
        headers: those that are kept, by name in lower case.
        body: as it came.

    Raises:
        CodecError: the body is not what the format promises.

    >>> rows = decode("mlflow", {}, b'{"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}}')
    >>> len(rows), rows[1].columns
    (2, {'a': 2})
    """
    codec = _CODECS.get(request_format)
    if codec is None:
        raise CodecError("unsupported_format", "requests of this format cannot be decoded")
    rows = codec(headers, decompress(headers, body))
    if not rows:
        raise CodecError("empty", "the request has no row")
    return rows


def choose_rows(rows: Sequence[Drawn], count: int, seed: int) -> list[Drawn]:
    """`count` of the rows (or their indices), drawn uniformly without replacement; all, in order, if there are no more.

    Raises:
        CodecError: a row that was drawn is not what the format promises.
    """
    if count >= len(rows):
        return list(rows)
    return [rows[index] for index in Random(seed).sample(range(len(rows)), count)]  # noqa: S311 - no secret
