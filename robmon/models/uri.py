"""The ways in which a model can be named: in a registry, or by the URL at which it is served."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from robmon.errors import ModelError, ModelNotFoundError

REGISTRY_FORMS = "models:/name@alias, models:/name/version, models:/m-id or runs:/run_id/path"
ENDPOINT_FORMS = "http(s)://host/invocations, /v1/models/name:predict or /v2/models/name/infer, without a query"
UNKNOWN_VERSION = "unknown"
"""Version of a model whose server does not tell it."""

Protocol = Literal["mlflow", "v1", "v2"]


@dataclass(frozen=True)
class ModelUri:
    """A parsed URI of a model in a registry.

    Attributes:
        text: the URI as it was given.
        kind: what it points at: an alias or a version of a registered model, a logged model, or a run's model.
        name: the registered model's name; of a logged model its id, of a run's model the last part of its path.
        target: the alias, the version, the logged model's id, or the run's id.
        path: where the model lies in the run's artifacts, empty for the other kinds.
    """

    text: str
    kind: Literal["alias", "version", "logged", "run"]
    name: str
    target: str
    path: str = ""

    @property
    def may_move(self) -> bool:
        """Whether it may stand for another version tomorrow."""
        return self.kind == "alias"

    @property
    def is_registered(self) -> bool:
        """Whether it names a version of a registered model."""
        return self.kind in ("alias", "version")

    def with_version(self, version: str) -> str:
        """The URI of a given version of the same registered model."""
        return f"models:/{self.name}/{version}"


@dataclass(frozen=True)
class Endpoint:
    """A parsed prediction URL; its path tells the protocol.

    Attributes:
        text: the URL as it was given. It may hold a user and a password.
        protocol: of MLflow's model server, KServe V1 (also TensorFlow Serving's), or Open Inference Protocol V2.
        base: scheme, host and what stands before the protocol's own path, without user and password.
        name: the model's name in the path; empty in MLflow's, which has none.
        version: the version that the path names, None where it names none.
    """

    text: str = field(repr=False)
    protocol: Protocol
    base: str
    name: str
    version: str | None

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.base).netloc

    @property
    def url(self) -> str:
        """The URL without user and password."""
        if self.protocol == "mlflow":
            return f"{self.base}/invocations"
        return f"{self.model_url}{':predict' if self.protocol == 'v1' else '/infer'}"

    @property
    def model_url(self) -> str:
        """Where the V1 or V2 server tells about the model."""
        version = "" if self.version is None else f"/versions/{quote(self.version, safe='')}"
        return f"{self.base}/{self.protocol}/models/{quote(self.name, safe='')}{version}"

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password in the URL."""
        parts = urlsplit(self.text)
        return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None

    @property
    def may_move(self) -> bool:
        """Nothing is to be looked up again: the answers themselves tell the version."""
        return False

    def with_version(self, version: str) -> str:
        """The URL of a given version on the same server.

        Raises:
            ModelNotFoundError: the protocol has no versions.
        """
        if self.protocol == "mlflow":
            raise ModelNotFoundError("MLflow's model server serves one version only")
        user, at, _ = urlsplit(self.text).netloc.rpartition("@")
        return replace(self, version=version).url.replace("://", f"://{user}{at}", 1)


def history_key(uri: ModelUri | Endpoint, name: str) -> str:
    """The key under which a model is remembered: two models that share a name are not taken for one another.

    A registered model's is its name, to which its versions belong, whatever alias is followed. To the name of a model
    at an endpoint, or of a run, a digest of what its URI says besides user, password and version is added.

    >>> history_key(parse("models:/digits@champion"), "digits")
    'digits'
    >>> here, there = parse("http://here/v2/models/digits/infer"), parse("http://there/v2/models/digits/infer")
    >>> history_key(here, "digits") == history_key(there, "digits")
    False
    >>> again = parse("http://me:secret@here/v2/models/digits/versions/3/infer")
    >>> history_key(again, "digits") == history_key(here, "digits")
    True
    """
    if isinstance(uri, ModelUri) and uri.kind != "run":
        return name
    told = uri.text.rstrip("/") if isinstance(uri, ModelUri) else replace(uri, version=None).url
    return f"{name}-{hashlib.blake2b(told.encode(), digest_size=6).hexdigest()}"


def default_scope(uri: ModelUri | Endpoint) -> str:
    """The scope in which verdicts are remembered unless a setting names one: the alias, or `pinned`.

    >>> default_scope(parse("models:/digits@champion")), default_scope(parse("models:/digits/3"))
    ('champion', 'pinned')
    """
    return uri.target if isinstance(uri, ModelUri) and uri.kind == "alias" else "pinned"


def alias_of(uri: str) -> str | None:
    """The alias that a URI names, None where it names none.

    >>> alias_of("models:/digits@champion"), alias_of("models:/digits/3"), alias_of("http://h/invocations")
    ('champion', None, None)
    """
    parsed = parse(uri)
    return parsed.target if isinstance(parsed, ModelUri) and parsed.kind == "alias" else None


def registered_name(uri: str) -> str | None:
    """The name in `models:/name`, which stands for all versions of that registered model; None for any other text.

    >>> registered_name("models:/digits"), registered_name("models:/digits/3"), registered_name("models:/m-1f")
    ('digits', None, None)
    """
    match = re.fullmatch(r"models:/(?!m-[0-9a-zA-Z]+$)([^/@]+)", uri)
    return match.group(1) if match else None


VERSIONS_NAMED = 10


def known_aliases(aliases: Iterable[str]) -> str:
    """What a model has instead of an alias that it lacks.

    >>> known_aliases(["prod", "champion"]), known_aliases([])
    ('its aliases are champion, prod', 'it has no alias')
    """
    names = sorted(aliases)
    if len(names) > 1:
        return f"its aliases are {', '.join(names[:20])}"
    return f"its only alias is {names[0]}" if names else "it has no alias"


def known_versions(versions: Iterable[int]) -> str:
    """What a model has instead of a version that it lacks; of many the last ones.

    >>> known_versions([2, 1]), known_versions([3]), known_versions([])
    ('its versions are 1, 2', 'its only version is 3', 'it has no version')
    >>> known_versions(range(1, 31))
    'its versions are 1 to 30, of which the last are 21, 22, 23, 24, 25, 26, 27, 28, 29, 30'
    """
    numbers = sorted(versions)
    if len(numbers) < 2:
        return f"its only version is {numbers[0]}" if numbers else "it has no version"
    last = ", ".join(map(str, numbers[-VERSIONS_NAMED:]))
    if len(numbers) <= VERSIONS_NAMED:
        return f"its versions are {last}"
    return f"its versions are {numbers[0]} to {numbers[-1]}, of which the last are {last}"


def mask(text: str) -> str:
    """`text` with what stands before the host of a URL, user and password, replaced by asterisks.

    A password in which a slash was not quoted makes no URL, and is masked all the same.

    >>> mask("http://me:secret@host/invocations"), mask("models:/digits@champion")
    ('http://***@host/invocations', 'models:/digits@champion')
    """
    return re.sub(r"://(?:[^/?#]*|[^/?#:]+:(?!\d+(?:[/?#]|$))[^@]*)@", "://***@", text)


def parse(uri: str) -> ModelUri | Endpoint:
    """Parse a model's URI.

    >>> parse("models:/digits@champion").target, parse("models:/digits/3").kind, parse("runs:/1f/a/model").name
    ('champion', 'version', 'model')
    >>> parse("http://127.0.0.1:8080/v2/models/digits/infer").protocol
    'v2'

    Raises:
        ModelError: it has none of the known forms.
    """
    return parse_endpoint(uri) if is_endpoint(uri) else parse_registry(uri)


def is_endpoint(uri: str) -> bool:
    """Whether this is an http(s) URL, good or not."""
    return re.match(r"(?i)https?:", uri) is not None


def parse_registry(uri: str) -> ModelUri:
    """Parse the URI of a model in a registry.

    Raises:
        ModelError: it has none of the known forms.
    """
    patterns: tuple[tuple[Literal["alias", "version", "logged", "run"], str], ...] = (
        ("alias", r"models:/(?P<name>[^/]+)@(?P<target>[^/@]+)"),
        ("version", r"models:/(?P<name>[^/]+)/(?P<target>\d+)"),
        ("logged", r"models:/(?P<name>(?P<target>m-[0-9a-zA-Z]+))"),
        ("run", r"runs:/(?P<target>[^/]+)/(?P<path>(?:.*/)?(?P<name>[^/]+))/?"),
    )
    for kind, pattern in patterns:
        if match := re.fullmatch(pattern, uri):
            return ModelUri(text=uri, kind=kind, **match.groupdict())
    if is_endpoint(uri):
        raise ModelError("an endpoint is in no registry: give " + REGISTRY_FORMS)
    if latest := re.fullmatch(r"models:/([^/@]+)/([A-Za-z][^/@]*)", uri):
        name, word = latest.groups()
        raise ModelError(
            f"{uri} is not supported: {word!r} would be another version with each release, or none. Give the version, "
            f"models:/{name}/3, or an alias, models:/{name}@champion"
        )
    raise ModelError(f"{mask(uri)!r} is not a model URI: give {REGISTRY_FORMS}, or an endpoint's URL, {ENDPOINT_FORMS}")


_ENDPOINT = re.compile(
    r"(?P<prefix>(?:/[^/]+)*?)"
    r"(?:/(?P<mlflow>invocations)"
    r"|/(?P<v1>v1)/models/(?P<name1>[^/]+?)(?:/versions/(?P<version1>[^/]+?))?:predict"
    r"|/(?P<v2>v2)/models/(?P<name2>[^/]+)(?:/versions/(?P<version2>[^/]+))?/infer)"
)


def parse_endpoint(url: str) -> Endpoint:
    """Parse a prediction URL.

    >>> parse_endpoint("https://me:secret@host/gateway/v2/models/digits/versions/3/infer").url
    'https://host/gateway/v2/models/digits/versions/3/infer'

    Raises:
        ModelError: it is none; the message does not hold it, since it may hold a password.
    """
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        is_url = False
    match = _ENDPOINT.fullmatch(parts.path) if is_url else None
    if match is None or parts.query or parts.fragment or not url.isprintable():
        raise ModelError(f"this URL is not a model's endpoint: give {ENDPOINT_FORMS}")
    found = match.groupdict()
    protocol: Protocol = "mlflow" if found["mlflow"] else "v1" if found["v1"] else "v2"
    version = found["version1"] or found["version2"]
    return Endpoint(
        text=url,
        protocol=protocol,
        base=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{found['prefix']}",
        name=unquote(found["name1"] or found["name2"] or ""),
        version=unquote(version) if version else None,
    )
