"""A registry that may only be read; the proxies that mirror, run on deploy/mirror with only their addresses changed."""

from __future__ import annotations

import contextlib
import http.server
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from tests.servers import free_port, server
from tests.watching.prometheus import REPOSITORY

MIRROR = REPOSITORY / "deploy" / "mirror"
NGINX_FILES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with every key replaced by its value; each must be there."""
    for key, value in values.items():
        assert key in text, f"{key} is not in the shipped file"
        text = text.replace(key, value)
    return text


class Front(http.server.BaseHTTPRequestHandler):
    """Passes everything on to a registry."""

    registry: str

    def do_GET(self) -> None:
        self.pass_on(None)

    def do_POST(self) -> None:
        self.pass_on(self.body())

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        pass

    def body(self) -> bytes:
        """Of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def pass_on(self, body: bytes | None) -> None:
        """Answer as the registry does."""
        answer = self.asked(body)
        self.answer(answer.status_code, answer.content, answer.headers.get("content-type", "application/json"))

    def asked(self, body: bytes | None) -> httpx.Response:
        """What the registry answers."""
        headers = {"Content-Type": "application/json"} if body else {}
        return httpx.request(self.command, self.registry + self.path, content=body, headers=headers, trust_env=False)

    def answer(self, status: int, content: bytes, content_type: str = "application/json", **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


class _ReadOnly(Front):
    """What would write is refused as MLflow refuses a user who may only read."""

    def do_POST(self) -> None:
        body = self.body()
        if urlsplit(self.path).path.endswith("/search"):
            self.pass_on(body)
        else:
            self.answer(403, b"Permission denied", "text/plain")

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 - the library's names


@contextlib.contextmanager
def front(registry: str, handler: type[Front]) -> Iterator[str]:
    """A registry behind something that may do with requests and answers what it likes; yields its base URL."""
    handler = type(handler.__name__, (handler,), {"registry": registry})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        proxy.daemon_threads = True
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
            thread.join()


def read_only(registry: str) -> contextlib.AbstractContextManager[str]:
    """A registry as seen by a user who may only read it; yields its base URL."""
    return front(registry, _ReadOnly)


@contextlib.contextmanager
def nginx(folder: Path, model_url: str, robmon_port: int, changes: Mapping[str, str] | None = None) -> Iterator[str]:
    """nginx with deploy/mirror/nginx.conf, after changes of its text; yields its base URL."""
    folder.mkdir(parents=True, exist_ok=True)
    port, relay = free_port(), free_port()
    values = {
        "listen 8080": f"listen 127.0.0.1:{port}",
        "127.0.0.1:5000": model_url.removeprefix("http://"),
        "127.0.0.1:9878": f"127.0.0.1:{robmon_port}",
        "127.0.0.1:9879": f"127.0.0.1:{relay}",
        "/etc/nginx/": f"{folder}/",
    }
    (folder / "mirror.conf").write_text(filled((MIRROR / "nginx.conf").read_text(), {**(changes or {}), **values}))
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in NGINX_FILES)
    config = folder / "nginx.conf"
    user = "user root; " if os.geteuid() == 0 else ""  # else its worker may not write to our folders
    config.write_text(
        f"{user}daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log info;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off;\n{paths}include {folder}/mirror.conf; }}\n"
    )
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    url = f"http://127.0.0.1:{port}"
    command = ["nginx", "-c", str(config), "-e", str(folder / "error.log")]
    with server(command, f"{url}/ping", folder / "nginx.log", {"PATH": path}):
        yield url


def envoy_config(model_port: int, robmon_port: int, port: int) -> dict[str, Any]:
    """deploy/mirror/envoy.yaml with these ports."""
    values = {
        "0.0.0.0, port_value: 8080": f"127.0.0.1, port_value: {port}",
        "port_value: 5000": f"port_value: {model_port}",
        "port_value: 9878": f"port_value: {robmon_port}",
    }
    config: dict[str, Any] = yaml.safe_load(filled((MIRROR / "envoy.yaml").read_text(), values))
    return config


@contextlib.contextmanager
def envoy(folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Envoy with that configuration; yields its base URL."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "envoy.yaml"
    file.write_text(yaml.safe_dump(dict(config)))
    port = config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"]
    command = [str(Path(sys.executable).with_name("envoy")), "-c", str(file), "--concurrency", "1"]
    command += ["--log-level", "warning", "--disable-hot-restart"]
    url = f"http://127.0.0.1:{port}"
    with server(command, f"{url}/ping", folder / "envoy.log"):
        yield url
