"""Values that are found again wherever they come up, and every form in which one may stand somewhere."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from random import Random

import numpy as np

DIGITS = 9
"""Of a number as a text, at the least: fewer may come up by chance, in a digest or a time."""
SINGLE = 1.2e-7
"""How far single precision may be off, of a number: a whole number is farther from a planted one."""
_NUMBER = re.compile(rb"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def numbers(count: int, seed: int) -> list[str]:
    """Decimal numbers from 10,000 to 100,000, of which also the text with fewer digits has enough."""
    random, found = Random(seed), list[str]()
    while len(found) < count:
        value = "".join(random.choices("12345678", k=5)) + "." + "".join(random.choices("12345678", k=7))
        if all(sum(map(str.isdigit, text)) >= DIGITS for text in texts_of(value)):
            found.append(value)
    return found


def words(count: int, seed: int) -> list[str]:
    """What may be a secret in a header; some of it has to be escaped in JSON."""
    random = Random(seed)
    return [f'canary-"{random.getrandbits(48):012x}"' for _ in range(count)]


def tokens(count: int, seed: int) -> list[str]:
    """What may stand after `Bearer`, or between a user and a host."""
    random = Random(seed)
    return [f"canary-{random.getrandbits(96):024x}" for _ in range(count)]


def found_in(archive: bytes, values: Iterable[str]) -> list[str]:
    """Those of the values that are in a `.tar.gz`, in whatever form."""
    return found_in_bytes(gzip.decompress(archive), values)


def found_in_bytes(content: bytes, values: Iterable[str]) -> list[str]:
    """Those of the values that are in it, in whatever form."""
    return [value for value in values if any(form in content for form in forms_of(value))]


def read_in(archive: bytes, values: Iterable[str]) -> list[str]:
    """Those of the values that a number in a `.tar.gz` is, however it is written, in single precision or better.

    >>> read_in(gzip.compress(b'{"a": 4.56781234e4, "b": 12}'), ["45678.1234567", "45678.2234567"])
    ['45678.1234567']
    """
    read = np.array([float(text) for text in _NUMBER.findall(gzip.decompress(archive))])
    wanted = {value: float(value) for value in values if _is_number(value)}
    return [text for text, value in wanted.items() if np.isclose(np.abs(read), value, rtol=SINGLE, atol=0.0).any()]


def texts_of(value: str) -> set[str]:
    """A value as it is and as it is after it was read, also in single precision or with fewer digits."""
    texts = {value, json.dumps(value)[1:-1]}
    if _is_number(value):
        number = float(value)
        single = float(np.float32(number))
        texts |= {value[: DIGITS + 1], repr(number), repr(single)}
        texts |= {f"{each:{form}}" for each in (number, single) for form in (f".{DIGITS}g", ".4f", ".10e")}
    return texts


def forms_of(value: str) -> Iterator[bytes]:
    """Its texts and, of a number, its bytes in memory; each also in hexadecimal digits and in Base64 at any place."""
    written = [text.encode() for text in texts_of(value)]
    if _is_number(value):
        written += [np.array(float(value), dtype=kind).tobytes() for kind in ("<f8", ">f8")]
        yield from (np.array(float(value), dtype=kind).tobytes() for kind in ("<f4", ">f4"))
    for each in written:
        yield each
        yield each.hex().encode()
        yield each.hex().upper().encode()
        yield from (_base64_after(shift, each) for shift in range(3))


def _base64_after(shift: int, content: bytes) -> bytes:
    """The characters of Base64 that depend on nothing but the content, which so many bytes come before."""
    encoded = base64.b64encode(bytes(shift) + content)
    return encoded[-(-8 * shift // 6) : 8 * (shift + len(content)) // 6]


def _is_number(value: str) -> bool:
    return value.replace(".", "", 1).isdigit()
