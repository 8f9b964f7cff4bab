"""A local server that speaks S3 (moto's), and a bucket in it for each test."""

import contextlib
import os
import signal
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3

from config.processes import end, last_lines, spawn, wait_until
from config.stack import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@contextlib.contextmanager
def serving(log: Path) -> Iterator[str]:
    """The server's address, while it runs."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = spawn(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        log=log,
        cwd=log.parent,
        env=os.environ | KEYS,
        if_we_die=signal.SIGKILL,
    )

    def answers() -> bool:
        assert process.poll() is None, last_lines(log, 20)
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return True
        return False

    try:
        assert wait_until(answers, 90), last_lines(log, 20)
        yield url
    finally:
        end({process: signal.SIGKILL}, 5)


class Bucket:
    """A new bucket, as seen from outside the application."""

    def __init__(self, url: str) -> None:
        self.url, self.name = url, f"artifacts-{uuid.uuid4().hex[:12]}"
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        self.client = session.client("s3", endpoint_url=url)
        self.client.create_bucket(Bucket=self.name)

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to keep its artifacts there."""
        return KEYS | {"S3_ARTIFACTS_BUCKET": self.name, "S3_ENDPOINT_URL": self.url, "S3_REGION": "us-east-1"}

    def storage(self) -> dict:
        """For STORAGES."""
        from botocore.config import Config

        options = {
            "bucket_name": self.name,
            "location": "artifacts",
            "endpoint_url": self.url,
            "region_name": "us-east-1",
            "access_key": "testing",
            "secret_key": "testing",
            "client_config": Config(connect_timeout=2, retries={"total_max_attempts": 2, "mode": "standard"}),
        }
        return {"artifacts": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}}

    def names(self, below: str = "artifacts/") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=below)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]
