"""A registry behind a private authority, a prefix and a password: robmon gets in wherever MLflow's client does."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient

from robmon.daemon.registry.follow import Follower
from robmon.errors import RegistryError, RobmonError
from robmon.models.registry import registry_access
from robmon.settings import load
from tests.certificates import Authority
from tests.e2e.proxies import NGINX_FILES
from tests.e2e.registry import RegisteredModel, Registry
from tests.endpoint import Reply, Request, reply_json, serving
from tests.mlflow_client import quiet_mlflow
from tests.servers import answers, free_port, process, wait_until

USER, PASSWORD = "robmon", "hands-off"
GET = "/api/2.0/mlflow/registered-models/get"
VARIABLES = (
    "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH", "MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_TRACKING_AUTH",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NETRC",
)  # fmt: skip


@dataclass(frozen=True)
class Front:
    """nginx before a registry: on one port for anybody with the password, on the other with a certificate as well."""

    url: str
    strict_url: str
    ca: Path
    client: Path
    model: RegisteredModel


@pytest.fixture(scope="module")
def front(served: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("front")
    authority = Authority(folder)
    certificate, client = authority.sign("server"), authority.sign("client")
    both = folder / "both.pem"
    both.write_bytes(client.cert.read_bytes() + client.key.read_bytes())
    (folder / "passwords").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    plain, port, strict = free_port(), free_port(), free_port()
    common = (
        f"ssl_certificate {certificate.cert}; ssl_certificate_key {certificate.key};\n"
        f"auth_basic registry; auth_basic_user_file {folder}/passwords;\n"
        f"location /mlflow/ {{ proxy_pass {served.tracking_uri}/; }}\n"
    )
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in NGINX_FILES)
    user = "user root; " if os.geteuid() == 0 else ""
    certified = f"ssl_client_certificate {authority.ca}; ssl_verify_client on;"
    (folder / "nginx.conf").write_text(
        f"{user}daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off;\n{paths}"
        f"server {{ listen 127.0.0.1:{plain}; location / {{ return 200; }} }}\n"
        f"server {{ listen 127.0.0.1:{port} ssl; {common} }}\n"
        f"server {{ listen 127.0.0.1:{strict} ssl; {certified} {common} }}\n"
        "}\n"
    )
    model = served.model("secured")
    model.serve(model.add())
    command = ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    with process(command, folder / "nginx.log", {"PATH": f"{os.environ['PATH']}:/usr/sbin"}):
        wait_until(lambda: answers(f"http://127.0.0.1:{plain}/"), 90, "nginx")
        yield Front(f"https://127.0.0.1:{port}/mlflow", f"https://127.0.0.1:{strict}/mlflow", authority.ca, both, model)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable, and an empty home folder."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def set_up(way: str, front: Front, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Open the registry in one way; the URL."""
    url = front.strict_url if "client" in way else front.url
    if "netrc" in way:
        (home / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
        (home / ".netrc").chmod(0o600)
    elif "file" in way:
        (home / ".mlflow").mkdir()
        told = f"[mlflow]\nmlflow_tracking_username = {USER}\nmlflow_tracking_password = {PASSWORD}\n"
        (home / ".mlflow" / "credentials").write_text(told)
    elif "url" in way:
        url = url.replace("//", f"//{USER}:{PASSWORD}@")
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    if "insecure" in way:
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    else:
        monkeypatch.setenv(way.split()[0], str(front.ca))
    if "client" in way:
        monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(front.client))
    return url


@pytest.mark.parametrize(
    "way",
    [
        "MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "insecure",
        "MLFLOW_TRACKING_SERVER_CERT_PATH file", "REQUESTS_CA_BUNDLE netrc", "CURL_CA_BUNDLE url",
        "MLFLOW_TRACKING_SERVER_CERT_PATH client", "REQUESTS_CA_BUNDLE client file", "insecure client",
    ],
)  # fmt: skip
async def test_what_opens_it_to_mlflow_opens_it_to_robmon(
    way: str, front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = set_up(way, front, tmp_path, monkeypatch)
    with quiet_mlflow():
        aliases = MlflowClient(url, url).get_registered_model(front.model.name).aliases
    assert not registry_access.is_left_to_mlflow()
    async with registry_access.from_environment(url).client(10) as client:
        answer = await client.get(url + GET, params={"name": front.model.name})
    assert answer.status_code == 200
    told = {each["alias"]: str(each["version"]) for each in answer.json()["registered_model"]["aliases"]}
    assert told == {alias: str(version) for alias, version in aliases.items()}


def follower(front: Front, url: str, folder: Path) -> Follower:
    return Follower(load({"model.uri": front.model.uri, "mlflow.tracking_uri": url, "data_dir": folder / "d"}).settings)


async def test_question_and_fetch_get_through_alike(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = set_up("MLFLOW_TRACKING_SERVER_CERT_PATH client file", front, tmp_path, monkeypatch)
    follow = follower(front, url, tmp_path)
    assert await follow.poll([]) is True
    assert follow.target is not None and follow.target.version == "1"
    assert await follow.poll(["1"]) is False


async def test_a_certificate_that_is_not_trusted_is_told_as_that(front: Front, tmp_path: Path) -> None:
    with pytest.raises(
        RobmonError, match=r"at https://127\.0\.0\.1:\d+ did not answer: its certificate is not trusted"
    ) as caught:
        await follower(front, front.url, tmp_path).poll([])
    assert isinstance(caught.value, RegistryError)


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("nonsense", "no certificate that can be used")])
async def test_a_file_of_authorities_that_is_no_use_is_named(
    content: str | None, why: str, front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    with pytest.raises(RegistryError, match=rf"REQUESTS_CA_BUNDLE = '{file}' cannot be used: .*{why}"):
        await follower(front, front.url, tmp_path).poll([])


@pytest.mark.parametrize(
    "environment",
    [
        {"MLFLOW_TRACKING_AUTH": "plugin"},
        {"MLFLOW_TRACKING_AWS_SIGV4": "true"},
        {"MLFLOW_WORKSPACE": "team"},
        {"MLFLOW_TRACKING_SERVER_CERT_PATH": "ca.pem", "MLFLOW_TRACKING_INSECURE_TLS": "true"},
        {"HTTPS_PROXY": "socks5://127.0.0.1:1080"},
        {"HTTPS_PROXY": "http://127.0.0.1:3128", "NO_PROXY": "10.0.0.0/8"},
    ],
)
def test_what_only_mlflow_can_do_is_left_to_it(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert registry_access.is_left_to_mlflow()


async def test_proxies_and_redirects_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: Request) -> Reply:
        if "there" in request.path:
            return reply_json({})
        return reply_json({}, 302, Location="http://registry.invalid/there")

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    with serving(answer) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        access = registry_access.from_environment("http://registry.invalid")
        assert (await access.get("http://registry.invalid/here", {"name": "m"}, 10)).status_code == 200
        assert [request.path for request in proxy.requests] == [
            "http://registry.invalid/here?name=m",
            "http://registry.invalid/there",
        ]
        assert proxy.requests[1].headers["authorization"] == "Bearer secret"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert (await access.get(f"{proxy.url}/there", {"name": "m"}, 10)).status_code == 200
        assert proxy.requests[-1].path == "/there?name=m"


def test_certificates_are_read_anew_only_once_their_file_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read all authorities takes longer than the event loop may be held, and a question comes every few seconds."""
    before, after = (Authority(tmp_path / name).ca.read_bytes() for name in ("before", "after"))
    file = tmp_path / "authorities.pem"
    file.write_bytes(before)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    first = registry_access.from_environment("https://registry.invalid").tls
    assert registry_access.from_environment("https://registry.invalid").tls is first
    file.with_suffix(".new").write_bytes(after)
    file.with_suffix(".new").replace(file)
    second = registry_access.from_environment("https://registry.invalid").tls
    assert [each["serialNumber"] for each in second.get_ca_certs()] != [
        each["serialNumber"] for each in first.get_ca_certs()
    ]
    file.unlink()
    with pytest.raises(RegistryError, match="cannot be used"):
        registry_access.from_environment("https://registry.invalid")


def test_credentials_win_over_one_another_as_in_mlflows_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """netrc before the URL before variables before the file; a user without a password is none."""

    def sent(url: str) -> str:
        access = registry_access.from_environment(url)
        request = httpx.Request("GET", url, headers=access.headers)
        if access.auth is not None:
            request = next(access.auth.sync_auth_flow(request))
        kind, _, word = request.headers.get("Authorization", "none ").partition(" ")
        return base64.b64decode(word).decode() if kind == "Basic" else f"{kind} {word}".strip()

    assert sent("http://h") == "none"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "u")
    assert sent("http://h") == "Bearer t"
    (tmp_path / ".mlflow").mkdir()
    told = "[mlflow]\nmlflow_tracking_username=f\nmlflow_tracking_password=p\n"
    (tmp_path / ".mlflow" / "credentials").write_text(told)
    assert sent("http://h") == "u:p"
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    assert sent("http://h") == "f:p"
    assert sent("http://a:b@h") == "none", "httpx takes those of the URL itself"
    (tmp_path / ".netrc").write_text("machine h login n password q\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert sent("http://a:b@h:5000") == "n:q"
