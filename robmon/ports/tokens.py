"""Bearer tokens (RFC 6750): who may use a port."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from robmon.errors import SettingsError
from robmon.ports.secret_files import SecretFiles

Scope = Any
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Any, Send], Awaitable[None]]
Tokens = tuple[bytes, ...]

_TOKEN: Final = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")
_CHALLENGE: Final = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]


def tokens_of(files: Mapping[str, Path], contents: list[bytes]) -> Tokens:
    """The tokens that a file holds, one a line. Any of them is admitted, so that one can replace another smoothly.

    Raises:
        SettingsError: there is none, or a line is no token.

    >>> tokens_of({"http.token_file": Path("token")}, [b"c2VjcmV0\\n"])
    (b'c2VjcmV0',)
    """
    [(name, file)], [content] = files.items(), contents
    tokens = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not tokens or not all(_TOKEN.fullmatch(token) for token in tokens):
        raise SettingsError(
            f"{name} = {str(file)!r} must hold a token a line, of letters, digits and -._~+/ "
            "(openssl rand -hex 32 makes one)"
        )
    return tokens


def admits(tokens: Tokens, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the request's only Authorization header is one of the tokens. How long it takes tells none of them.

    >>> admits((b"a", b"b"), [(b"authorization", b"Bearer b")])
    True
    """
    given = [value for name, value in headers if name == b"authorization"]
    if len(given) != 1:
        return False
    scheme, _, token = given[0].partition(b" ")
    right = [hmac.compare_digest(token.strip(), one) for one in tokens]
    return scheme.lower() == b"bearer" and any(right)


def guarded(
    application: Application,
    tokens: SecretFiles[Tokens],
    refuse: Callable[[str], None],
    open_paths: Collection[str] = (),
) -> Application:
    """The application behind a token: without one of them every path but the open ones is answered 401.

    Nothing is read of the body of such a request, and nothing of its headers is kept.
    """

    async def guard(scope: Scope, receive: Any, send: Send) -> None:
        if scope["path"] in open_paths or admits(tokens.value, scope["headers"]):
            await application(scope, receive, send)
            return
        refuse("unauthorized")
        await send({"type": "http.response.start", "status": 401, "headers": _CHALLENGE})
        await send({"type": "http.response.body"})

    return guard
