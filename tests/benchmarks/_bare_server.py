"""A bare server, with which robmon's receiver is compared: it reads the body and answers, nothing else.

    python tests/benchmarks/_bare_server.py DESCRIPTOR

It serves on a listening socket that it inherits, as the daemon serves its input port.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

from robmon.ports.server import PortServer


async def bare(_scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


if __name__ == "__main__":
    listener = socket.socket(fileno=int(sys.argv[1]))
    PortServer(bare, lambda _reason: None, max_connections=512).run(sockets=[listener])
