"""Downloads a recording into a temporary file while it is read, and retries failed downloads."""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from phi4audio_cli.errors import FileError, Phi4AudioError
from phi4audio_cli.jobs.input_source import STDIN, display_url
from phi4audio_cli.locations import url_scheme
from phi4audio_cli.storage import require_filesystem
from phi4audio_cli.types import Job

RETRY_DELAYS = (1.0, 5.0)
"""Seconds before each retry of a download; after the last one it has failed."""

READ_TIMEOUT_SECONDS = 60.0
"""Seconds without data after which a download fails."""

FetchRecording: TypeAlias = Callable[[Job], AbstractContextManager[Path]]
"""Opens a local copy of a recording, which exists until the context ends."""

_MAX_SUFFIX_BYTES = 16


@contextmanager
def open_local_copy(job: Job) -> Iterator[Path]:
    """Open the file of a job's recording, downloaded first if it is remote.

    A URL is downloaded into a temporary file with its extension, which is deleted afterwards. The
    copy has the modification time of the original, if the server gives it.
    Standard input is saved on the first call and kept until the process ends, for it can't be read
    twice. Call this in the process that has the standard input.

    Yields:
        The file. Errors raised during its use name the URL in its place.

    Raises:
        FileError: It can't be downloaded, or the disk is full.
    """
    if job.url is None:
        yield job.source
    elif job.url == STDIN:
        with _errors_name_url(job.url, _save_stdin()) as path:
            yield path
    else:
        with (
            _temporary_download(job.url, job.source.suffix) as path,
            _errors_name_url(job.url, path),
        ):
            yield path


def check_readable_scheme(url: str) -> None:
    """Check that the packages for a URL are installed, without downloading it.

    Raises:
        UsageError: A missing package, or an unknown scheme.
    """
    remedy = "give a file, or an http, https, s3 or gs URL"
    require_filesystem(url_scheme(url), display_url(url), remedy)


@contextmanager
def _errors_name_url(url: str, path: Path) -> Iterator[Path]:
    """Replace the temporary file by the URL in errors raised within the context."""
    try:
        yield path
    except Phi4AudioError as error:
        if error.where == str(path):
            error.where = display_url(url)
        raise


@contextmanager
def _temporary_download(url: str, suffix: str) -> Iterator[Path]:
    path = _temporary_file(suffix)
    try:
        _download(url, path)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _temporary_file(suffix: str = "") -> Path:
    """Create an empty temporary file.

    Raises:
        FileError: The disk is full, or the folder is missing.
    """
    suffix = suffix if len(os.fsencode(suffix)) <= _MAX_SUFFIX_BYTES else ""
    try:
        handle, name = tempfile.mkstemp(prefix="phi4audio-", suffix=suffix)
    except OSError as error:
        raise _temporary_file_error(error) from error
    os.close(handle)
    return Path(name)


def _download(url: str, path: Path) -> None:
    """Download a URL into a file, with retries after errors that may be transient.

    Raises:
        FileError: A permanent error, or no retry is left.
    """
    for pause in RETRY_DELAYS:
        try:
            return _download_once(url, path)
        except Exception as error:  # every file system has its own exceptions
            if _is_permanent(error):
                raise _download_error(url, error) from error
            time.sleep(pause)
    try:
        return _download_once(url, path)
    except Exception as error:
        raise _download_error(url, error) from error


def _download_once(url: str, path: Path) -> None:
    from fsspec.core import url_to_fs

    system, remote_path = url_to_fs(url, **_filesystem_options(url))
    # Before the download: a file replaced meanwhile then differs in time from its copy.
    modified = _modified_time(system, remote_path)
    system.get_file(remote_path, str(path))
    if modified is not None:
        os.utime(path, (modified, modified))


def remote_stat(url: str) -> tuple[int, int] | None:
    """Return the size and modification time (whole seconds) of a remote file.

    Returns:
        None if either is unknown.
    """
    from fsspec.core import url_to_fs

    try:
        system, remote_path = url_to_fs(url, **_filesystem_options(url))
        size, modified = system.size(remote_path), _modified_time(system, remote_path)
    except Exception:  # every file system has its own exceptions
        return None
    return None if size is None or modified is None else (size, modified)


def _modified_time(system: Any, path: str) -> int | None:
    try:
        return int(system.modified(path).timestamp())
    except Exception:  # fsspec does not ask http servers, for example
        return None


def _filesystem_options(url: str) -> dict[str, Any]:
    if url_scheme(url) not in ("http", "https"):
        return {}
    import aiohttp

    # aiohttp's default limit, five minutes for a whole file, is too short for a film.
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=READ_TIMEOUT_SECONDS, sock_read=READ_TIMEOUT_SECONDS
    )
    # Signed URLs must stay unchanged; URLs with spaces and accents must be encoded.
    encoded = url.isascii() and not any(char.isspace() for char in url)
    # trust_env: use the proxies of the environment.
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}, "encoded": encoded}


def _is_permanent(error: Exception) -> bool:
    """Return whether a retry is useless: missing file, no permission, or a full disk."""
    if isinstance(error, FileNotFoundError | PermissionError):
        return True
    status = getattr(error, "status", 0)
    refused = 400 <= status < 500 and status not in (408, 429)
    return refused or _is_disk_full(error)


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _download_error(url: str, error: Exception) -> FileError:
    if _is_disk_full(error):
        return _temporary_file_error(error)
    if isinstance(error, FileNotFoundError):
        return FileError("no such file", display_url(url), "check the URL")
    # Messages repeat the URL, with its secrets.
    reason = str(error).replace(url, display_url(url)) or "no answer"
    what = f"can't be downloaded: {type(error).__name__}: {reason}"
    remedy = "check the URL, your permissions there, and the network"
    return FileError(what, display_url(url), remedy)


def _temporary_file_error(error: Exception) -> FileError:
    return FileError(
        f"no temporary file can be written: {error}",
        tempfile.gettempdir(),
        "free space there, or set TMPDIR to another folder",
    )


@cache
def _save_stdin() -> Path:
    """Save standard input in a file that exists until the process ends."""
    path = _temporary_file()
    atexit.register(path.unlink, missing_ok=True)
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise _temporary_file_error(error) from error
    return path
