"""Where the registry is, and how an http(s) one is asked without MLflow: as MLflow's client, from the same variables.

As MLflow 3 and requests, on which it stands, read them: certificates, credentials, proxies, redirects. What cannot be
done here, such as plugins that sign requests, is left to the fetch process, which uses MLflow's client itself.
"""

from __future__ import annotations

import asyncio
import configparser
import functools
import netrc
import os
import re
import ssl
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from robmon.errors import RegistryError
from robmon.models.uri import mask

TOTAL_SECONDS: Final = 30.0
"""For a whole answer: one that comes byte by byte is none."""
MAX_ANSWER_BYTES: Final = 8 * 2**20
"""Of an answer, also when it is unpacked."""
MAX_REDIRECTS: Final = 20
TRUE: Final = ("true", "1")
CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_GZIP_OR_ZLIB: Final = 47  # zlib's windowBits: the largest window, and the format by its first bytes
_PLUGINS: Final = ("mlflow.request_header_provider",)


def check_named(tracking_uri: str | None) -> None:
    """Look whether there is a registry to ask: one that is named, or MLflow's default in the working folder.

    Args:
        tracking_uri: the setting; MLFLOW_TRACKING_URI stands in for it.

    Raises:
        RegistryError: none is named, and there is no default one; or what is named is no address.
    """
    if named := tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"):
        if mistake := _mistake_in(named):
            raise RegistryError(f"there is no model registry at {mask(named)}: {mistake}")
        return
    database = Path("mlflow.db").absolute()
    # MLflow's default is the older store of files where that holds an experiment.
    if not database.exists() and not any(Path("mlruns").glob("[0-9]*/meta.yaml")):
        raise RegistryError(
            f"there is no model registry at sqlite:///{database}: the file does not exist; set MLFLOW_TRACKING_URI, "
            "or mlflow.tracking_uri (--tracking-uri on the command line)"
        )


def _mistake_in(uri: str) -> str:
    """What MLflow would tell by an error code alone, or by one of a folder that it takes a server's name for.

    >>> _mistake_in("mlflow:5000"), _mistake_in("http://mlflow:5000")
    ('an address of a server begins with http:// or https://', '')
    """
    is_name = re.fullmatch(r"[\w-]+([.][\w-]+)+", uri) and not Path(uri).exists()
    if is_name or re.fullmatch(r"[\w.-]+:[0-9]+(/.*)?", uri):
        return "an address of a server begins with http:// or https://"
    if re.match("https?:", uri, re.IGNORECASE):
        try:
            parts = urlsplit(uri)
            is_whole = bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_whole = False
        return "" if is_whole else "it names no host, or a port that there is not"
    return ""


def origin(url: str) -> str:
    """Scheme, host and port of a URL: nothing of it that is secret.

    >>> origin("http://me:secret@127.0.0.1:5999/api?token=1")
    'http://127.0.0.1:5999'
    """
    parts = urlsplit(mask(url))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@dataclass(frozen=True)
class RegistryAccess:
    """What opens a registry.

    Attributes:
        tls: how its certificate is checked, and which of ours is shown.
        auth: user and password that replace those of the URL; None: those of the URL, if it has any.
        headers: of every request.
        follows_redirects: whether redirects are followed.
    """

    tls: ssl.SSLContext
    auth: httpx.Auth | None
    headers: dict[str, str]
    follows_redirects: bool

    def client(self, timeout_seconds: float) -> httpx.AsyncClient:
        """A client that asks so; proxies are those of the environment."""
        return httpx.AsyncClient(
            timeout=timeout_seconds,
            verify=self.tls,
            auth=self.auth,
            headers={"Accept-Encoding": "identity", **self.headers},
        )

    async def get(self, url: str, params: dict[str, str], timeout_seconds: float) -> httpx.Response:
        """A whole answer, within bounds of time and size.

        Args:
            url: what is asked.
            params: its query.
            timeout_seconds: for each step; `TOTAL_SECONDS` are for all of them.

        Raises:
            RegistryError: the answer is too large.
            httpx.HTTPError: there was none, or not in time.
        """
        try:
            async with asyncio.timeout(TOTAL_SECONDS), self.client(timeout_seconds) as client:
                answer, content = await self._ask(client, url, params)
        except TimeoutError:
            raise httpx.ReadTimeout("not within the total time") from None
        unpacked = _unpack(content, answer.headers.get("content-encoding", "identity"), url)
        return httpx.Response(answer.status_code, content=unpacked, request=answer.request)

    async def _ask(self, client: httpx.AsyncClient, url: str, params: dict[str, str]) -> tuple[httpx.Response, bytes]:
        """The last answer, and its content as it came.

        Of those that lead elsewhere the head alone is read: httpx, where it follows them by itself, reads any amount,
        and unpacks it.
        """
        answer = await client.send(client.build_request("GET", url, params=params), stream=True)
        for _ in range(MAX_REDIRECTS + 1):
            if not self.follows_redirects or (elsewhere := answer.next_request) is None:
                break
            await answer.aclose()
            # It has what opens this very host already, and must not get it for another.
            answer = await client.send(elsewhere, stream=True, auth=None)
        else:
            raise httpx.TooManyRedirects(f"more than {MAX_REDIRECTS}", request=answer.request)
        return answer, await _content(answer, url)


async def _content(answer: httpx.Response, url: str) -> bytes:
    content = bytearray()
    async for piece in answer.aiter_raw():
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise _too_large(url)
    return bytes(content)


def _unpack(content: bytes, encoding: str, url: str) -> bytes:
    """The content of an answer that was packed without being asked for: httpx itself would unpack any amount."""
    if encoding.lower() in ("identity", ""):
        return content
    if encoding.lower() not in ("gzip", "x-gzip", "deflate"):
        raise RegistryError(f"the registry at {origin(url)} answered in an encoding that was not asked for")
    try:
        unpacked = zlib.decompressobj(_GZIP_OR_ZLIB).decompress(content, MAX_ANSWER_BYTES + 1)
    except zlib.error:
        raise httpx.DecodingError("not packed as it says") from None
    if len(unpacked) > MAX_ANSWER_BYTES:
        raise _too_large(url)
    return unpacked


def _too_large(url: str) -> RegistryError:
    return RegistryError(f"the registry at {origin(url)} answered more than {MAX_ANSWER_BYTES} bytes")


def is_left_to_mlflow() -> bool:
    """Whether only MLflow's own client can ask as the environment wants it."""
    own = ("MLFLOW_TRACKING_AUTH", "MLFLOW_WORKSPACE")
    if any(os.environ.get(name) for name in own) or _is_true("MLFLOW_TRACKING_AWS_SIGV4"):
        return True
    if os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") and _is_true("MLFLOW_TRACKING_INSECURE_TLS"):
        return True  # MLflow refuses both, and says why
    proxies = urllib.request.getproxies()
    networks = "/" in proxies.get("no", "")  # such as 10.0.0.0/8, which httpx does not know
    if any(proxy.startswith("socks") or networks for name, proxy in proxies.items() if name != "no"):
        return True
    return _has_plugins()


@functools.cache
def _has_plugins() -> bool:
    """What is installed stays so as long as a process lives, and looking for it reads a file of every package."""
    return any(entry_points(group=group) for group in _PLUGINS)


def from_environment(url: str) -> RegistryAccess:
    """What the environment, and the files it names, say of how `url` is asked. The files are read each time.

    Raises:
        RegistryError: a file of certificates cannot be used.
    """
    auth, headers = _credentials(url)
    return RegistryAccess(_tls(), auth, headers, os.environ.get("MLFLOW_ALLOW_HTTP_REDIRECTS", "true").lower() in TRUE)


def _is_true(name: str) -> bool:
    return os.environ.get(name, "").lower() in TRUE


def _credentials(url: str) -> tuple[httpx.Auth | None, dict[str, str]]:
    """~/.netrc, then a user in the URL, win over MLflow's own, as they do in its client."""
    parts = urlsplit(url)
    if (found := _netrc(parts.hostname or "")) is not None:
        return httpx.BasicAuth(*found), {}
    if parts.username or parts.password:
        return None, {}
    in_file = _credentials_file()
    user, password = (
        os.environ.get(name) or in_file.get(name.lower())
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    )
    if user and password:
        return httpx.BasicAuth(user, password), {}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return None, {"Authorization": f"Bearer {token}"} if token else {}


def _credentials_file() -> dict[str, str]:
    """The section of MLflow's in `~/.mlflow/credentials`; nothing where there is none."""
    parser = configparser.ConfigParser()
    try:
        file = Path("~/.mlflow/credentials").expanduser()
        parser.read([file] if file.is_file() else [])
        return dict(parser["mlflow"]) if parser.has_section("mlflow") else {}
    except (configparser.Error, OSError, ValueError, RuntimeError):
        return {}


def _netrc(host: str) -> tuple[str, str] | None:
    """User and password of a host in the file that NETRC names, or in the home folder; none where it cannot be read."""
    given = os.environ.get("NETRC")
    for name in [given] if given else ["~/.netrc", "~/_netrc"]:
        try:
            file = Path(name).expanduser()
            found = netrc.netrc(str(file)).authenticators(host) if file.is_file() else None
        except (netrc.NetrcParseError, OSError, ValueError, RuntimeError):
            continue
        if found is not None:
            return found[0] or found[1], found[2]
    return None


def _tls() -> ssl.SSLContext:
    variable, authorities = _authorities()
    own = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    is_open = authorities is None and _is_true("MLFLOW_TRACKING_INSECURE_TLS")
    files = (authorities, own, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return _context(variable, authorities, own, is_open, tuple(map(_state_of, files)))


@functools.lru_cache(maxsize=1)
def _context(
    variable: str, authorities: str | None, own: str | None, is_open: bool, _files: tuple[object, ...]
) -> ssl.SSLContext:
    """Made anew where a file has changed: to read all authorities takes tens of milliseconds."""
    if authorities is None:
        context = httpx.create_ssl_context(verify=not is_open)
    else:
        folder = Path(authorities).is_dir()
        try:
            context = ssl.create_default_context(
                cafile=None if folder else authorities, capath=authorities if folder else None
            )
        except OSError as error:  # ssl.SSLError is one
            raise _unusable(variable, authorities, error) from None
    if own:
        try:
            context.load_cert_chain(own)
        except OSError as error:
            raise _unusable("MLFLOW_TRACKING_CLIENT_CERT_PATH", own, error) from None
    return context


def _state_of(file: str | None) -> tuple[object, ...]:
    """What is another once the file has been changed or replaced."""
    try:
        state = Path(file).stat() if file else None
    except OSError:
        state = None
    return (file, state and (state.st_ino, state.st_mtime_ns, state.st_size))


def _authorities() -> tuple[str, str | None]:
    """The file or folder of authorities, and the variable that names it."""
    name = "MLFLOW_TRACKING_SERVER_CERT_PATH"
    if os.environ.get(name) or _is_true("MLFLOW_TRACKING_INSECURE_TLS"):
        return name, os.environ.get(name)
    return next(((each, os.environ[each]) for each in CA_VARIABLES if os.environ.get(each)), ("", None))


def _unusable(variable: str, path: str, error: OSError) -> RegistryError:
    why = "it holds no certificate that can be used" if isinstance(error, ssl.SSLError) else error.strerror
    return RegistryError(f"{variable} = {path!r} cannot be used: {why}")


def why_unreachable(error: BaseException) -> str:
    """In words why a server did not answer, out of what a client raised and what stands behind it.

    >>> why_unreachable(ConnectionRefusedError(111, "Connection refused"))
    'connection refused'
    """
    for each in behind(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {each.verify_message}"
    for each in behind(error):
        kind = type(each).__name__
        if isinstance(each, ConnectionRefusedError):
            return "connection refused"
        if kind in ("gaierror", "NameResolutionError"):
            return "its name is not known"
        if isinstance(each, (TimeoutError, httpx.TimeoutException)) or kind.endswith(("Timeout", "TimeoutError")):
            return "no answer in time"
        if kind.endswith("CredentialsError"):
            return "there are no credentials for it"
        if kind == "ClientError" and re.fullmatch(r"\w{1,40}", code := _code_of(each)):
            return code
    return type(error).__name__


def _code_of(error: BaseException) -> str:
    """By which an object store tells why it refuses, such as AccessDenied; its sentences name keys and addresses."""
    told = getattr(error, "response", None)
    found = told.get("Error") if isinstance(told, dict) else None
    return str(found.get("Code")) if isinstance(found, dict) else ""


def behind(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it holds or was raised from."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < 50:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        held = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        nested = getattr(each, "exceptions", ())
        waiting += [one for one in (*held, *nested) if isinstance(one, BaseException)]
