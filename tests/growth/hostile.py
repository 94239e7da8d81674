"""Hostile bytes of any size: what stands alone, and what stands at a place within a body that is right around it."""

from __future__ import annotations

import base64
import gzip
import itertools
import random
import zlib
from collections.abc import Callable, Mapping

Generate = Callable[[int], bytes]
"""Bytes of about so many bytes, never more by more than a few."""

MERSENNE = 2**61 - 1
"""Python's hash of an integer is its remainder by this: all its multiples have the same one."""


def repeated(unit: bytes, head: bytes = b"", tail: bytes = b"") -> Generate:
    """The same again and again."""
    return lambda size: head + unit * max((size - len(head) - len(tail)) // len(unit), 1) + tail


def listed(unit: bytes, between: bytes = b",") -> Generate:
    """The same again and again, with something between."""
    return lambda size: between.join([unit] * max((size + len(between)) // (len(unit) + len(between)), 1))


def counted(unit: str, between: bytes = b",") -> Generate:
    """Other ones each time: `%d` in the unit is the number."""
    width = len(unit % 10**6) + len(between)
    return lambda size: between.join((unit % number).encode() for number in range(max(size // width, 1)))


def halves(first: Generate, second: Generate, between: bytes = b",") -> Generate:
    """Half of this, then half of that."""
    return lambda size: first(size // 2) + between + second(size // 2)


def around(head: bytes, inner: Generate, tail: bytes) -> Generate:
    """Within a beginning and an end."""
    return lambda size: head + inner(max(size - len(head) - len(tail), 1)) + tail


def within(name: str, head: bytes, inner: Mapping[str, Generate], tail: bytes) -> dict[str, Generate]:
    """Each of them at that place."""
    return {f"{name}: {what}": around(head, generate, tail) for what, generate in inner.items()}


def packed(generators: Mapping[str, Generate], pack: Callable[[bytes], bytes] = gzip.compress) -> dict[str, Generate]:
    """Each of them compressed: so many bytes once they are unpacked."""
    return {f"packed {what}": lambda size, each=each: pack(each(size)) for what, each in generators.items()}


def as_base64(generators: Mapping[str, Generate]) -> dict[str, Generate]:
    """Each of them as base64."""
    return {
        f"base64 of {what}": lambda size, each=each: base64.b64encode(each(size * 3 // 4))
        for what, each in generators.items()
    }


def noise(size: int) -> bytes:
    """Bytes without any order."""
    return random.Random(size).randbytes(size)


def deep(opening: bytes, closing: bytes, inner: bytes = b"") -> Generate:
    """One within the other, all closed."""
    return lambda size: (
        opening * max((size - len(inner)) // (len(opening) + len(closing)), 1)
        + inner
        + closing * max((size - len(inner)) // (len(opening) + len(closing)), 1)
    )


def bomb(size: int) -> bytes:
    """So many bytes of gzip that unpack to a thousand times as many."""
    return gzip.compress(bytes(size * 1000))[: max(size, 64)]


RAW: dict[str, Generate] = {
    "quotes": repeated(b'"'),
    "escaped quotes": repeated(rb"\""),
    "escaped quotes in an object": repeated(rb"\"", b"{"),
    "a text that never ends": repeated(b"a", b'{"a": "'),
    "a name that never ends": repeated(b"a", b'{"'),
    "backslashes": repeated(b"\\"),
    "objects of escaped JSON": repeated(rb"{\"a\":1.5},", b'{"specversion":"1.0","data":"'),
    "names without values": repeated(b'"":', b"{"),
    "names and texts": repeated(b'"a":"b",', b"{"),
    "names far from values": repeated(b'"a"        :        "b",', b"{"),
    "open lists": repeated(b"["),
    "open objects": repeated(b'{"a":'),
    "deep lists": deep(b"[", b"]"),
    "lists 500 deep": listed(b"[" * 500 + b"]" * 500),
    "closed lists": repeated(b"]"),
    "digits": repeated(b"9"),
    "digits behind a point": repeated(b"1", b"0."),
    "zeros behind a point": repeated(b"0", b"1."),
    "digits of an exponent": repeated(b"9", b"1e"),
    "digits and underscores": repeated(b"1_"),
    "commas": repeated(b","),
    "colons": repeated(b":"),
    "semicolons": repeated(b"a;"),
    "spaces": repeated(b" "),
    "spaces within": repeated(b" ", b"{", b"}"),
    "newlines": repeated(b"\n"),
    "carriage returns": repeated(b"\r"),
    "letters": repeated(b"a"),
    "NULs": repeated(b"\0"),
    "bytes that are no UTF-8": repeated(b"\xff"),
    "halves of characters as UTF-8": repeated(b"\xed\xa0\x80"),
    "long characters": repeated("\U0001f600".encode()),
    "percent signs": repeated(b"%"),
    "percent escapes": repeated(b"%25"),
    "percent escapes of characters": repeated(b"%C3%BC"),
    "percent escapes and letters": repeated(b"%41a"),
    "slashes": repeated(b"/"),
    "at signs": repeated(b"@"),
    "URLs": repeated(b"://a:"),
    "equals signs": repeated(b"="),
    "dots": repeated(b"."),
    "hyphens": repeated(b"00-"),
    "base64": repeated(b"QUJD"),
    "noise": noise,
    "lines of objects": repeated(b'{"a":1}\n'),
    "lines of lists": repeated(b"[]\n"),
    "lines of one character": repeated(b"1\n"),
    "lines that are no JSON": repeated(b"{\n"),
    "a bomb of gzip": bomb,
}
"""What may stand anywhere."""

ITEMS: dict[str, Generate] = {
    "numbers": listed(b"1"),
    "fractions": listed(b"0.1"),
    "fractions of 17 digits": listed(b"0.12345678901234567"),
    "exponents": listed(b"1e-320"),
    "numbers of 4300 digits": listed(b"9" * 4300),
    "one long number": repeated(b"1"),
    "one long fraction": repeated(b"3", b"0."),
    "different numbers": counted("%d"),
    "numbers with one hash": lambda size: b",".join(
        b"%d" % (MERSENNE * (number + 1)) for number in range(max(size // 24, 1))
    ),
    "truth values": listed(b"true"),
    "missing values": listed(b"null"),
    "NaN": listed(b"NaN"),
    "texts": listed(b'"a"'),
    "empty texts": listed(b'""'),
    "different texts": counted('"t%d"'),
    "one long text": repeated(b"a", b'"', b'"'),
    "one text of escapes": repeated(rb"\u00e9", b'"', b'"'),
    "one text of halves of characters": repeated(rb"\ud800", b'"', b'"'),
    "empty lists": listed(b"[]"),
    "lists": listed(b"[1]"),
    "lists of two": listed(b"[1,2]"),
    "lists of texts": listed(b'["a"]'),
    "empty objects": listed(b"{}"),
    "objects": listed(b'{"a":1}'),
    "objects with other names": counted('{"a%d":1}'),
    "objects of objects": listed(b'{"a":{"0":1}}'),
    "objects of lists": listed(b'{"a":[1]}'),
    "lists 30 deep": listed(b"[" * 30 + b"1" + b"]" * 30),
    "lists 500 deep": listed(b"[" * 500 + b"]" * 500),
    "objects 300 deep": listed(b'{"a":' * 300 + b"1" + b"}" * 300),
    "one deep list": deep(b"[", b"]", b"1"),
    "one wide list": around(b"[", listed(b"1"), b"]"),
    "one wide object": around(b"{", counted('"a%d":1'), b"}"),
    "a wide list and short ones": halves(around(b"[", listed(b"1"), b"]"), listed(b"[1]")),
    "a wide list and empty ones": halves(around(b"[", listed(b"1"), b"]"), listed(b"[]")),
    "a wide object and short ones": halves(around(b"{", counted('"a%d":1'), b"}"), listed(b'{"a0":1}')),
    "a wide object and empty ones": halves(around(b"{", counted('"a%d":1'), b"}"), listed(b"{}")),
    "tensors": counted('{"name":"t%d","shape":[1],"datatype":"FP32","data":[1]}'),
    "tensors of one name": listed(b'{"name":"t","shape":[1],"datatype":"FP32","data":[1]}'),
    "tensors without bytes": counted(
        '{"name":"t%d","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}'
    ),
    "labels": counted('{"id":"a%d","target":1}'),
    "labels without targets": counted('{"id":"a%d"}'),
    "one label of a long list": around(b'{"id":"a","target":[', listed(b"1"), b"]}"),
    "one label of lists": around(b'{"id":"a","target":[', listed(b"[[1]]"), b"]}"),
    "one label of long numbers": around(b'{"id":"a","target":[', listed(b"9" * 4300), b"]}"),
    "one label of fractions": around(b'{"id":"a","target":[', listed(b"0.1"), b"]}"),
    "one label of a long text": around(b'{"id":"a","target":"', repeated(rb"\u00e9"), b'"}'),
    "one label of another key": around(b'{"id":"a","target":1,"x":[', listed(b"[]"), b"]}"),
    "labels with long ids": counted('{"id":"%s%%d","target":1}' % ("a" * 240)),
}
"""What may stand in a list of JSON."""

FIELDS: dict[str, Generate] = {
    "many names": counted('"a%d":1'),
    "one name": listed(b'"a":1'),
    "names of escapes": counted(r'"\u00e9%d":1'),
    "names of halves of characters": counted(r'"\ud800%d":1'),
    "lists": counted('"a%d":[1]'),
    "lists of lists": counted('"a%d":[[1]]'),
    "empty lists": counted('"a%d":[]'),
    "texts": counted('"a%d":"b"'),
    "objects": counted('"a%d":{"0":1}'),
    "numbers of 4300 digits": counted('"a%%d":%s' % ("9" * 4300)),
    "deep objects": around(b'"a":', deep(b'{"a":', b"}", b"1"), b""),
    "one long list": around(b'"a":[', listed(b"1"), b"]"),
    "one long name": around(b'"', repeated(b"a"), b'":1'),
}
"""What may stand in an object of JSON."""

TEXTS: dict[str, Generate] = {
    "letters": repeated(b"a"),
    "escaped quotes": repeated(rb"\""),
    "escapes": repeated(rb"\u00e9"),
    "halves of characters": repeated(rb"\ud800"),
    "base64": repeated(b"QUJD"),
    "base64 of brackets": repeated(b"W1tb"),
    "base64 of a bomb": lambda size: base64.b64encode(bomb(size * 3 // 4)),
    "no base64": repeated(b"=A"),
    "spaces": repeated(b" "),
    "numbers": listed(b"1"),
    "brackets": repeated(b"["),
    "lines": repeated(rb"1\n"),
    "lines of objects": repeated(rb"{\"a\":1}\n"),
    "lines of lists": repeated(rb"[1]\n"),
    "lines of features": repeated(rb"{\"features\":[1]}\n"),
    "lines of different objects": counted(r"{\"a%d\":1}", rb"\n"),
    "a wide line and short ones": halves(counted("a%d"), listed(b"1", rb"\n"), rb"\n"),
    "a wide line of numbers and short ones": halves(listed(b"1"), listed(b"1", rb"\n"), rb"\n"),
    "quoted lines": repeated(rb"\"a\",\"b\"\n"),
}
"""What may stand between the quotes of a text of JSON, escaped."""

LINES: dict[str, Generate] = {
    "lines": repeated(b"1\n", b"a\n"),
    "lines of quotes": repeated(b'"a"\n', b"a\n"),
    "lines in a quote that never ends": repeated(b"1\n", b'a\n"'),
    "lines of quotes that never end": repeated(b'"\n', b"a\n"),
    "doubled quotes": repeated(b'""', b'a\n"', b'"\n'),
    "doubled quotes that never end": repeated(b'""', b'a\n"a'),
    "quoted cells": repeated(b'"a",', b"a\n"),
    "a wide header": around(b"", counted("a%d"), b"\n1\n"),
    "a wide header of one name": around(b"", listed(b"a"), b"\n1\n"),
    "a wide header without names": around(b"", repeated(b","), b"\n1\n"),
    "a wide header of numbered names": around(b"a,", counted("a.%d"), b",a\n1\n"),
    "a wide header and short lines": halves(counted("a%d"), listed(b"1", b"\n"), b"\n"),
    "a wide header and empty lines": halves(counted("a%d"), repeated(b"\n"), b"\n"),
    "a wide table": around(b"", lambda size: b"\n".join([listed(b"a")(size // 2), listed(b"0.1")(size // 2)]), b"\n"),
    "long numbers": around(b"a\n", repeated(b"9"), b"\n"),
    "long lines": repeated(b"9" * 100_000 + b"\n", b"a\n"),
    "carriage returns": repeated(b"1\r", b"a\r"),
    "short lines and one wide": halves(repeated(b"1\n", b"a\n"), listed(b"1"), b"\n"),
    "texts": repeated(b"x,y\n", b"a,b\n"),
    "objects": counted('{"a":%d}', b"\n"),
    "lists of objects": repeated(b'[{"a":1},{"a":2}]\n'),
    "one line of a list of objects": around(b"[", listed(b'{"a":1}'), b"]\n"),
    "one line without end": repeated(b"1"),
    "one object without end": repeated(b"1,", b'{"a":['),
}
"""Files of lines, and of CSV."""


def numbered(size: int, each: Callable[[int], bytes]) -> bytes:
    """So many different ones, one behind the other, as fit."""
    found = bytearray()
    for number in itertools.count():
        one = each(number)
        if found and len(found) + len(one) > size:
            return bytes(found)
        found += one
    raise AssertionError("counting does not end")


def deflated(generators: Mapping[str, Generate]) -> dict[str, Generate]:
    """Each of them compressed by zlib."""
    return packed(generators, zlib.compress)
