"""Storage over the S3 protocol; needs `moto[server]` and `s3fs`."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from phi4audio_cli import storage
from phi4audio_cli.errors import OutputError
from phi4audio_cli.jobs.download import open_local_copy, remote_stat
from phi4audio_cli.locations import RemotePath
from phi4audio_cli.types import Job

s3fs = pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemotePath]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().makedirs("calls", exist_ok=True)
    yield RemotePath("s3://calls")
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_files_are_written_read_and_listed(bucket: RemotePath) -> None:
    for name in ("a [1].txt", "what? #2.txt", "\u00fc 100%.txt"):
        for data in (b"old", b"new"):
            storage.write_atomic(bucket / "out" / name, data)
        assert storage.read_bytes(bucket / "out" / name) == b"new"
    assert storage.list_remote_names(bucket / "out") == {
        "a [1].txt",
        "what? #2.txt",
        "\u00fc 100%.txt",
    }
    assert storage.list_remote_names(bucket / "missing") == set()
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(bucket / "missing.txt")


def test_a_listing_contains_new_files_of_other_processes(bucket: RemotePath) -> None:
    storage.write_atomic(bucket / "two/a.txt", b"a")
    assert storage.list_remote_names(bucket / "two") == {"a.txt"}
    other = s3fs.S3FileSystem(skip_instance_cache=True)
    other.pipe_file("calls/two/b.txt", b"b")
    assert storage.list_remote_names(bucket / "two") == {"a.txt", "b.txt"}


def test_a_missing_bucket_is_reported(bucket: RemotePath) -> None:
    with pytest.raises(OutputError, match="bucket does not exist"):
        storage.check_writable(RemotePath("s3://missing/out"))


def test_a_local_copy_has_the_time_of_the_original(bucket: RemotePath) -> None:
    storage.write_atomic(bucket / "talk.wav", b"sound")
    with open_local_copy(Job(0, bucket.key / "talk.wav", url="s3://calls/talk.wav")) as copy:
        found = copy.stat()
    assert remote_stat("s3://calls/talk.wav") == (found.st_size, int(found.st_mtime))
