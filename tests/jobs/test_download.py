"""Downloads: from memory, from a server, from standard input."""

from __future__ import annotations

import errno
import http.server
import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest

from phi4audio_cli.errors import AudioError, FileError, UsageError
from phi4audio_cli.jobs import download
from phi4audio_cli.jobs.download import check_readable_scheme, open_local_copy
from phi4audio_cli.jobs.input_source import STDIN
from phi4audio_cli.types import Job

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(autouse=True)
def temporary_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files; delays are skipped."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return folder


def remote_job(url: str, name: str = "talk.mp3") -> Job:
    return Job(0, Path(name), url=url)


def failure(url: str) -> str:
    with pytest.raises(FileError) as caught, open_local_copy(remote_job(url)):
        pass
    assert caught.value.remedy
    return str(caught.value)


def test_a_local_file_is_not_copied(tmp_path: Path, temporary_dir: Path) -> None:
    with open_local_copy(Job(0, tmp_path / "talk.wav")) as path:
        assert path == tmp_path / "talk.wav"
        assert not list(temporary_dir.iterdir())


def test_a_copy_keeps_its_extension_and_is_deleted(temporary_dir: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/calls/talk.mp3", b"some sound")
    with open_local_copy(remote_job("memory://calls/talk.mp3")) as path:
        assert path.suffix == ".mp3"
        assert path.read_bytes() == b"some sound"
    assert not list(temporary_dir.iterdir())


def test_a_copy_is_deleted_after_an_error_that_names_the_url(temporary_dir: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/calls/talk.mp3", b"")
    with (
        pytest.raises(AudioError) as caught,
        open_local_copy(remote_job("memory://calls/talk.mp3")) as path,
    ):
        raise AudioError("is empty", str(path), "record again")
    assert str(caught.value) == "memory://calls/talk.mp3: is empty (record again)"
    assert not list(temporary_dir.iterdir())


def test_an_invalid_extension_is_left_out() -> None:
    fsspec.filesystem("memory").pipe_file("/calls/x", b"1")
    with open_local_copy(remote_job("memory://calls/x", "talk." + "é" * 100)) as path:
        assert path.suffix == ""


def test_a_missing_file_is_reported(temporary_dir: Path) -> None:
    message = failure("memory://calls/gone.mp3")
    assert message.startswith("memory://calls/gone.mp3: no such file")
    assert not list(temporary_dir.iterdir())


def test_a_full_disk_is_reported_with_its_folder(
    temporary_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def full(url: str, path: Path) -> NoReturn:
        tried.append(url)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "_download_once", full)
    message = failure("memory://calls/talk.mp3")
    assert message.startswith(f"{temporary_dir}: no temporary file can be written")
    assert "TMPDIR" in message
    assert len(tried) == 1


def test_a_missing_temporary_folder_is_reported(temporary_dir: Path) -> None:
    temporary_dir.rmdir()
    assert "no temporary file" in failure("memory://calls/talk.mp3")


def test_a_scheme_is_checked_without_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    check_readable_scheme("memory://calls/gone.mp3")
    with pytest.raises(UsageError, match="http, https, s3 or gs"):
        check_readable_scheme("nonsense://calls/talk.mp3")
    monkeypatch.setattr(
        fsspec, "get_filesystem_class", lambda scheme: (_ for _ in ()).throw(ImportError("s3fs"))
    )
    with pytest.raises(UsageError, match=r"pip install 'phi4audio\[remote\]'"):
        check_readable_scheme("s3://key:secret@calls/talk.mp3")


class _Handler(http.server.BaseHTTPRequestHandler):
    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        attempts = self.paths.count(self.path)
        if self.path.startswith("/flaky") and attempts < 3:
            self.send_error(503)
        elif self.path.startswith("/forbidden"):
            self.send_error(403)
        elif self.path.startswith("/short"):
            self._send(b"half", length=8)
        else:
            self._send(b"some sound")

    def _send(self, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("aiohttp")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_url_is_sent_unchanged_or_encoded_if_necessary(server: str) -> None:
    with open_local_copy(remote_job(f"{server}/a%2Fb/talk.mp3?sign=x%2By")) as path:
        assert path.read_bytes() == b"some sound"
    with open_local_copy(remote_job(f"{server}/caf\xe9 1.mp3")) as path:
        assert path.read_bytes() == b"some sound"
    assert _Handler.paths[-2:] == ["/a%2Fb/talk.mp3?sign=x%2By", "/caf%C3%A9%201.mp3"]


def test_a_proxy_of_the_environment_is_used(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server)
    with open_local_copy(remote_job("http://elsewhere.invalid/talk.mp3")) as path:
        assert path.read_bytes() == b"some sound"
    assert _Handler.paths[-1] == "http://elsewhere.invalid/talk.mp3"


def test_a_busy_server_is_retried(server: str) -> None:
    with open_local_copy(remote_job(f"{server}/flaky.mp3")) as path:
        assert path.read_bytes() == b"some sound"


def test_an_incomplete_download_fails(server: str, temporary_dir: Path) -> None:
    assert "can't be downloaded" in failure(f"{server}/short.mp3")
    assert not list(temporary_dir.iterdir())


def test_a_refusal_is_not_retried_and_secrets_are_not_shown(server: str) -> None:
    message = failure(f"{server}/forbidden.mp3?token=secret")
    assert message.startswith(f"{server}/forbidden.mp3: can't be downloaded")
    assert "403" in message
    assert "secret" not in message
    assert _Handler.paths.count("/forbidden.mp3?token=secret") == 1


def test_standard_input_is_read_once_and_opened_repeatedly(
    temporary_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"some sound")))
    download._save_stdin.cache_clear()
    try:
        for _ in range(2):
            with open_local_copy(remote_job(STDIN, "stdin")) as path:
                assert path.read_bytes() == b"some sound"
        with (
            pytest.raises(AudioError, match="standard input: is empty"),
            open_local_copy(remote_job(STDIN, "stdin")) as path,
        ):
            raise AudioError("is empty", str(path))
    finally:
        download._save_stdin.cache_clear()
    assert [each.parent for each in (path,)] == [temporary_dir]
