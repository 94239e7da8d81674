"""An ASGI application on a real server, on a free port, in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn

from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until


@contextlib.contextmanager
def served(application: Any, **options: Any) -> Iterator[str]:
    """Its URL while the block runs. Options are uvicorn's."""
    listener = socket.create_server(("127.0.0.1", 0))
    given: dict[str, Any] = {"lifespan": "off", "log_config": None, "timeout_graceful_shutdown": 5} | options
    server = uvicorn.Server(uvicorn.Config(application, **given))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, PATIENCE_SECONDS, "the server answers")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)
