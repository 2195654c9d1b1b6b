"""An object store of this machine, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from pyarrow import fs

#: The bucket that is there.
BUCKET = "fleet"


@contextmanager
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[fs.FileSystem, str]]:
    """Run a server of S3 during the block; yield its files, and the options of URLs for it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        options = f"endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
        files, _ = fs.FileSystem.from_uri(f"s3://{BUCKET}?{options}&allow_bucket_creation=true")
        files.create_dir(BUCKET)
        yield files, options
    finally:
        server.stop()
