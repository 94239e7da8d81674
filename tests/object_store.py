"""A real S3 server for tests: moto's, on a loopback port, which checks signatures and policies as AWS does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.server import ThreadedMotoServer

from tests.servers import free_port

REGION = "us-east-1"
READER_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:GetObject"],
            "Resource": ["arn:aws:s3:::captures", "arn:aws:s3:::captures/*"],
        }
    ],
}
WRITER_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}


@dataclass(frozen=True)
class ObjectStore:
    """A server with the bucket `captures`, and the keys of one who may read it, or write too."""

    url: str
    key_id: str
    secret: str
    client: Any
    _server: ThreadedMotoServer

    @property
    def environment(self) -> Mapping[str, str]:
        """What AWS's own variables say to a program that reads here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def put(self, key: str, content: bytes | str) -> None:
        """Write an object of the bucket, or write it anew."""
        self.client.put_object(Bucket="captures", Key=key, Body=content)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Nobody listens on the port; the objects remain."""
        self._server.stop()
        try:
            yield
        finally:
            self._server.start()


@contextlib.contextmanager
def object_store(secret: str | None = None, *, may_write: bool = False) -> Iterator[ObjectStore]:
    """Run a server with nothing in it, whose keys are a reader's. `secret` is the reader's, who gets one otherwise.

    With `may_write` the keys are those of one who may also write.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        _enforce_policies(url, after_actions="inf")
        httpx.post(f"{url}/moto-api/reset").raise_for_status()
        reader = _user(url, "reader", READER_POLICY)
        writer = _user(url, "writer", WRITER_POLICY)
        if secret is not None:
            (key,) = iam_backends[DEFAULT_ACCOUNT_ID]["aws"].users["reader"].access_keys
            key.secret_access_key = reader["SecretAccessKey"] = secret
        _enforce_policies(url, after_actions="0")
        with contextlib.closing(_client("s3", url, writer)) as client:
            client.create_bucket(Bucket="captures")
            key = writer if may_write else reader
            yield ObjectStore(url, key["AccessKeyId"], key["SecretAccessKey"], client, server)
    finally:
        server.stop()


def _enforce_policies(url: str, after_actions: str) -> None:
    answer = httpx.post(f"{url}/moto-api/reset-auth", content=after_actions, headers={"content-type": "text/plain"})
    answer.raise_for_status()


def _user(url: str, name: str, policy: Mapping[str, Any]) -> dict[str, str]:
    """A new user with a policy: the user's access key."""
    anybody = {"AccessKeyId": "anybody", "SecretAccessKey": "anything"}
    with contextlib.closing(_client("iam", url, anybody)) as iam:
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
        key: dict[str, str] = iam.create_access_key(UserName=name)["AccessKey"]
        return key


def _client(service: str, url: str, key: Mapping[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
