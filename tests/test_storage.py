"""Storage: atomic writes, reads and checks of local and remote files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from phi4audio_cli import storage
from phi4audio_cli.errors import ExitCode, OutputError, UsageError
from phi4audio_cli.locations import RemotePath
from phi4audio_cli.storage import (
    check_location,
    list_remote_names,
    nearest_existing,
    read_bytes,
    remove_temporary_files,
    temporary_name,
    write_all,
    write_atomic,
)


@pytest.fixture
def folder(remote_filesystem) -> RemotePath:
    return RemotePath(f"{remote_filesystem.protocol}://calls/out")


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Local writes.


def test_a_local_file_is_written_with_the_permissions_of_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "o" / "deep" / "talk.txt"
    for data in (b"old", b"new"):
        write_atomic(path, data)
    assert path.read_bytes() == b"new"
    assert file_names(path.parent) == ["talk.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def fail(number: int) -> Callable[..., NoReturn]:
    def raise_error(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return raise_error


@pytest.mark.parametrize("function", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
def test_a_failed_local_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    path = tmp_path / "talk.txt"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(function, fail(errno.ENOSPC))
        with pytest.raises(OutputError, match="No space") as caught:
            write_all({path: b"new", tmp_path / "talk.json": b"{}"})
    assert caught.value.exit_code == ExitCode.OUTPUT
    assert caught.value.where == str(path)
    assert file_names(tmp_path) == ["talk.txt"]
    assert path.read_bytes() == b"old"


def test_only_temporary_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "talk.txt"
    script = (
        "import os, sys, pathlib; from phi4audio_cli import storage; "
        "os.fsync = lambda number: os._exit(9); "
        "storage.write_atomic(pathlib.Path(sys.argv[1]), b'x')"
    )
    killed = [sys.executable, "-c", script, str(path)]
    assert subprocess.run(killed, check=False).returncode == 9
    others = [".phi4audio-notes.tmp", "talk.tmp", ".phi4audio-0123456789abcdef.tmp.txt"]
    for name in others:
        (tmp_path / name).write_text("a user's file")
    assert len(file_names(tmp_path)) == 4
    removed = remove_temporary_files([tmp_path, tmp_path / "missing"])
    assert [each.parent for each in removed] == [tmp_path]
    assert file_names(tmp_path) == sorted(others)


def test_temporary_names_differ_and_are_recognized(tmp_path: Path) -> None:
    names = {temporary_name() for _ in range(20)}
    for name in names:
        (tmp_path / name).touch()
    assert {each.name for each in remove_temporary_files([tmp_path])} == names
    assert len(names) == 20


def test_the_nearest_existing_parent_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path.resolve()
    assert nearest_existing(tmp_path / "file" / "b") == (tmp_path / "file").resolve()
    assert nearest_existing(tmp_path) == tmp_path.resolve()


# Remote writes.


def test_remote_files_are_written_and_replaced(folder, remote_filesystem) -> None:
    for data in (b"old", b"new"):
        write_all({folder / "deep" / "talk.txt": data, folder / "deep" / "talk.json": data})
    names = list(remote_filesystem.content())
    assert names == ["/calls/out/deep/talk.json", "/calls/out/deep/talk.txt"]
    assert read_bytes(folder / "deep" / "talk.txt") == b"new"


@pytest.mark.parametrize("old", [b"old", None])
@pytest.mark.parametrize("operation", ["pipe_file", "mv"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), RuntimeError("throttled")])
def test_a_failed_remote_write_keeps_the_old_file(
    folder, remote_filesystem, operation, error, old
) -> None:
    if operation == "mv" and remote_filesystem.protocol == "bucket":
        pytest.skip("an object store renames nothing")
    if old is not None:
        remote_filesystem().pipe_file("/calls/out/talk.txt", old)
    before = remote_filesystem.content()
    remote_filesystem.faults[operation] = error
    with pytest.raises(OutputError, match=r"broken|RuntimeError: throttled") as caught:
        write_all({folder / "talk.txt": b"new"})
    assert caught.value.where == str(folder / "talk.txt")
    assert caught.value.exit_code == ExitCode.OUTPUT
    assert remote_filesystem.content() == before


def test_only_a_put_or_a_rename_touches_the_final_name(folder, remote_filesystem) -> None:
    write_atomic(folder / "talk.txt", b"text")
    operations = [name for name, path in remote_filesystem.log if path == "talk.txt"]
    assert operations == (["pipe_file"] if remote_filesystem.protocol == "bucket" else ["mv"])


def test_names_with_pattern_characters_survive_a_file_system_without_rename(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = pytest.importorskip("fsspec.implementations.memory")
    monkeypatch.setattr(storage, "ATOMIC_PUT_SCHEMES", frozenset())
    monkeypatch.setattr(memory.MemoryFileSystem, "store", {})
    folder = RemotePath("memory://calls[1]")
    names = {"talk[2].txt", "what? #1.txt", "100%25.txt", "*.txt"}
    for name in names:
        write_atomic(folder / name, name.encode())
        assert read_bytes(folder / name) == name.encode()
    assert list_remote_names(folder) == names


def test_an_object_store_gets_several_files_at_the_same_time(
    folder, remote_filesystem, monkeypatch
) -> None:
    if remote_filesystem.protocol != "bucket":
        pytest.skip("other file systems have a single connection")
    meeting = threading.Barrier(3, timeout=20)
    put = remote_filesystem.pipe_file

    def wait_and_put(self, *arguments) -> None:
        meeting.wait()
        put(self, *arguments)

    monkeypatch.setattr(remote_filesystem, "pipe_file", wait_and_put)
    write_all({folder / name: b"" for name in ("a", "b", "c")})
    assert len(remote_filesystem.content()) == 3


def test_a_missing_remote_folder_is_empty(folder) -> None:
    assert list_remote_names(folder) == set()
    with pytest.raises(FileNotFoundError):
        read_bytes(folder / "missing")


def test_remote_temporary_files_are_not_removed(folder, remote_filesystem) -> None:
    remote_filesystem().pipe_file("/calls/out/.phi4audio-0123456789abcdef.tmp", b"another job's")
    assert remove_temporary_files([folder]) == []
    assert len(remote_filesystem.content()) == 1


# Checks.


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://example.org/out", "https:// is read-only"),
        ("nonsense://x/out", "unknown URL scheme nonsense:// (give a folder, or an s3 or gs URL)"),
    ],
)
def test_an_unwritable_scheme_is_rejected(url: str, message: str) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(UsageError) as caught:
        check_location(RemotePath(url))
    assert message in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")

    def missing(scheme: str) -> None:
        raise ImportError("s3fs")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(UsageError, match=r"s3:// needs more .*pip install 'phi4audio\[remote\]'"):
        check_location(RemotePath("s3://calls/out"))


def test_a_url_is_rejected_offline_and_a_folder_is_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be reached with --offline"):
        check_location(RemotePath("s3://calls/out"), offline=True)
    check_location(tmp_path, offline=True)
    check_location(None, offline=True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError("The specified bucket does not exist"), "bucket does not exist"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "Permission denied"),
        (RuntimeError("Unable to locate credentials"), "Unable to locate credentials"),
    ],
)
def test_an_unwritable_remote_folder_is_reported_with_the_reason(
    folder, remote_filesystem, error: Exception, message: str
) -> None:
    remote_filesystem.faults["pipe_file"] = error
    with pytest.raises(OutputError, match=message) as caught:
        storage.check_writable(folder)
    assert caught.value.where == str(folder)
    assert "credentials" in str(caught.value.remedy)
