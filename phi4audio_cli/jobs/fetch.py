"""Recordings that lie elsewhere: fetched when their turn comes, and deleted afterwards."""

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
from phi4audio_cli.jobs.inputs import STDIN, shown
from phi4audio_cli.location import scheme_of
from phi4audio_cli.types import Job

PAUSES = (1.0, 5.0)
"""Seconds before a download is tried again; after the last one it has failed."""

SILENCE = 60.0
"""Seconds after which a server that sends nothing is given up."""

_LONGEST_SUFFIX = 16


@contextmanager
def fetched(job: Job) -> Iterator[Path]:
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
        with _named_by(job.url, _standard_input()) as path:
            yield path
    else:
        with _downloaded(job.url, job.source.suffix) as path, _named_by(job.url, path):
            yield path


def check_scheme(url: str) -> None:
    """Check that what is needed to fetch a URL is installed; nothing is fetched.

    Raises:
        UsageError: A package is missing, or no such scheme is known.
    """
    scheme = scheme_of(url)
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        remedy = "pip install 'phi4audio[remote]'"
        raise UsageError(f"{scheme}:// needs more packages", shown(url), remedy) from error
    except ValueError as error:
        remedy = "give a file, or an http, https, s3 or gs URL"
        raise UsageError(f"{scheme}:// is not known", shown(url), remedy) from error


@contextmanager
def _named_by(url: str, path: Path) -> Iterator[Path]:
    """Let errors about a temporary file name what the user knows."""
    try:
        yield path
    except Phi4AudioError as error:
        if error.where == str(path):
            error.where = shown(url)
        raise


@contextmanager
def _downloaded(url: str, suffix: str) -> Iterator[Path]:
    path = _temporary(suffix)
    try:
        _download(url, path)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _temporary(suffix: str = "") -> Path:
    """Make an empty file that is ours to delete.

    Raises:
        FileError: There is no room, or no folder, for it.
    """
    kept = suffix if len(os.fsencode(suffix)) <= _LONGEST_SUFFIX else ""
    try:
        handle, name = tempfile.mkstemp(prefix="phi4audio-", suffix=kept)
    except OSError as error:
        raise _no_room(error) from error
    os.close(handle)
    return Path(name)


def _download(url: str, path: Path) -> None:
    """Fetch a URL into a file; what may pass is tried again.

    Raises:
        FileError: It failed for good.
    """
    for pause in PAUSES:
        try:
            return _download_once(url, path)
        except Exception as error:  # every file system has exceptions of its own
            if _is_final(error):
                raise _failed(url, error) from error
            time.sleep(pause)
    try:
        return _download_once(url, path)
    except Exception as error:
        raise _failed(url, error) from error


def _download_once(url: str, path: Path) -> None:
    from fsspec.core import url_to_fs

    system, place = url_to_fs(url, **_options(url))
    # Looked at before: what is replaced meanwhile has another time than its copy, and is seen.
    modified = _modified(system, place)
    system.get_file(place, str(path))
    if modified is not None:
        os.utime(path, (modified, modified))


def look_at(url: str) -> tuple[int, int] | None:
    """Return size and time of change (whole seconds) of what lies behind a URL.

    Returns:
        None where nobody knows.
    """
    from fsspec.core import url_to_fs

    try:
        system, place = url_to_fs(url, **_options(url))
        size, modified = system.size(place), _modified(system, place)
    except Exception:  # every file system has exceptions of its own
        return None
    return None if size is None or modified is None else (size, modified)


def _modified(system: Any, place: str) -> int | None:
    try:
        return int(system.modified(place).timestamp())
    except Exception:  # http servers, for example, are not asked by fsspec
        return None


def _options(url: str) -> dict[str, Any]:
    if scheme_of(url) not in ("http", "https"):
        return {}
    import aiohttp

    # aiohttp's own limit, five minutes for a whole file, is too short for a film.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    # Signed URLs must stay as they are written; those with spaces and accents can't.
    encoded = url.isascii() and not any(char.isspace() for char in url)
    # trust_env: proxies as the environment names them.
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}, "encoded": encoded}


def _is_final(error: Exception) -> bool:
    """Return whether trying again is of no use: it isn't there, isn't ours, or the disk is full."""
    if isinstance(error, FileNotFoundError | PermissionError):
        return True
    status = getattr(error, "status", 0)
    refused = 400 <= status < 500 and status not in (408, 429)
    return refused or _is_full(error)


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _failed(url: str, error: Exception) -> FileError:
    if _is_full(error):
        return _no_room(error)
    if isinstance(error, FileNotFoundError):
        return FileError("there is no such file", shown(url), "check the URL")
    # Messages repeat the URL, and with it what is secret in it.
    said = str(error).replace(url, shown(url)) or "no answer"
    what = f"can't be downloaded: {type(error).__name__}: {said}"
    return FileError(what, shown(url), "check the URL, your rights there, and the network")


def _no_room(error: Exception) -> FileError:
    return FileError(
        f"no temporary file can be written: {error}",
        tempfile.gettempdir(),
        "make room there, or set TMPDIR to a folder that has it",
    )


@cache
def _standard_input() -> Path:
    """Write standard input into a file that stays until the process ends."""
    path = _temporary()
    atexit.register(path.unlink, missing_ok=True)
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise _no_room(error) from error
    return path
