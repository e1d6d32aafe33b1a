"""Downloads a recording into a temporary file while it is read, and retries failed downloads."""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from phi4audio_cli.errors import FileError, Phi4AudioError, UsageError
from phi4audio_cli.jobs.input_source import STDIN, display_url
from phi4audio_cli.storage import url_scheme
from phi4audio_cli.types import Job

RETRY_DELAYS = (1.0, 5.0)
"""Seconds before a download is tried again; after the last one it has failed."""

READ_TIMEOUT_SECONDS = 60.0
"""Seconds after which a server that sends nothing is given up."""

_MAX_SUFFIX_BYTES = 16


@contextmanager
def open_local_copy(job: Job) -> Iterator[Path]:
    """Give the file of a job's recording for as long as it is needed.

    A URL is downloaded into a temporary file with its extension, which is deleted afterwards. The
    copy has the time of change of what it is a copy of, where the server knows that.
    Standard input is written into one when it is first asked for; that one stays until the process
    ends, for it can't be read twice. Call this in the process that has the standard input.

    Yields:
        The file. Errors raised while it is in use name the URL in its place.

    Raises:
        FileError: It can't be downloaded, or there is no room for it.
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
    """Check that what is needed to fetch a URL is installed; nothing is fetched.

    Raises:
        UsageError: A package is missing, or no such scheme is known.
    """
    scheme = url_scheme(url)
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        remedy = "pip install 'phi4audio[remote]'"
        raise UsageError(f"{scheme}:// needs more packages", display_url(url), remedy) from error
    except ValueError as error:
        remedy = "give a file, or an http, https, s3 or gs URL"
        raise UsageError(f"{scheme}:// is not known", display_url(url), remedy) from error


@contextmanager
def _errors_name_url(url: str, path: Path) -> Iterator[Path]:
    """Let errors about a temporary file name what the user knows."""
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
    """Make an empty file that is ours to delete.

    Raises:
        FileError: There is no room, or no folder, for it.
    """
    kept = suffix if len(os.fsencode(suffix)) <= _MAX_SUFFIX_BYTES else ""
    try:
        handle, name = tempfile.mkstemp(prefix="phi4audio-", suffix=kept)
    except OSError as error:
        raise _temporary_file_error(error) from error
    os.close(handle)
    return Path(name)


def _download(url: str, path: Path) -> None:
    """Fetch a URL into a file; what may pass is tried again.

    Raises:
        FileError: It failed for good.
    """
    for pause in RETRY_DELAYS:
        try:
            return _download_once(url, path)
        except Exception as error:  # every file system has exceptions of its own
            if _is_permanent(error):
                raise _download_error(url, error) from error
            time.sleep(pause)
    try:
        return _download_once(url, path)
    except Exception as error:
        raise _download_error(url, error) from error


def _download_once(url: str, path: Path) -> None:
    from fsspec.core import url_to_fs

    system, place = url_to_fs(url, **_filesystem_options(url))
    # Looked at before: what is replaced meanwhile has another time than its copy, and is seen.
    modified = _modified_time(system, place)
    system.get_file(place, str(path))
    if modified is not None:
        os.utime(path, (modified, modified))


def remote_stat(url: str) -> tuple[int, int] | None:
    """Return size and time of change (whole seconds) of what lies behind a URL.

    Returns:
        None where nobody knows.
    """
    from fsspec.core import url_to_fs

    try:
        system, place = url_to_fs(url, **_filesystem_options(url))
        size, modified = system.size(place), _modified_time(system, place)
    except Exception:  # every file system has exceptions of its own
        return None
    return None if size is None or modified is None else (size, modified)


def _modified_time(system: Any, path: str) -> int | None:
    try:
        return int(system.modified(path).timestamp())
    except Exception:  # http servers, for example, are not asked by fsspec
        return None


def _filesystem_options(url: str) -> dict[str, Any]:
    if url_scheme(url) not in ("http", "https"):
        return {}
    import aiohttp

    # aiohttp's own limit, five minutes for a whole file, is too short for a film.
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=READ_TIMEOUT_SECONDS, sock_read=READ_TIMEOUT_SECONDS
    )
    # Signed URLs must stay as they are written; those with spaces and accents can't.
    encoded = url.isascii() and not any(char.isspace() for char in url)
    # trust_env: proxies as the environment names them.
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}, "encoded": encoded}


def _is_permanent(error: Exception) -> bool:
    """Return whether trying again is of no use: it isn't there, isn't ours, or the disk is full."""
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
        return FileError("there is no such file", display_url(url), "check the URL")
    # Messages repeat the URL, and with it what is secret in it.
    said = str(error).replace(url, display_url(url)) or "no answer"
    what = f"can't be downloaded: {type(error).__name__}: {said}"
    return FileError(what, display_url(url), "check the URL, your rights there, and the network")


def _temporary_file_error(error: Exception) -> FileError:
    return FileError(
        f"no temporary file can be written: {error}",
        tempfile.gettempdir(),
        "make room there, or set TMPDIR to a folder that has it",
    )


@cache
def _save_stdin() -> Path:
    """Write standard input into a file that stays until the process ends."""
    path = _temporary_file()
    atexit.register(path.unlink, missing_ok=True)
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise _temporary_file_error(error) from error
    return path
