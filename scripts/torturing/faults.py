"""A small job in which one operation on a file goes wrong: each of them in turn."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

Mode = Literal["error", "torn", "killed"]
"""The operation fails as on a full disk; does so half-way; or the process dies before it."""

KILLED = 137


@dataclass
class Faults:
    """Counts operations, and lets one go wrong.

    Attributes:
        place: Which one, from 0; None: none.
        mode: How.
        seen: The operations so far, each with the kind of its file.
    """

    place: int | None = None
    mode: Mode = "error"
    seen: list[str] = field(default_factory=list)
    told: Path | None = None
    """Where the operation that went wrong is written; without a fault, all of them."""

    def at(self, operation: str, path: Any, halve: Callable[[], object] = lambda: None) -> None:
        """Note an operation that is about to be done."""
        self.seen.append(f"{operation} {_kind(str(path))}")
        if len(self.seen) - 1 != self.place:
            return
        self.tell(self.seen[-1])
        if self.mode == "killed":
            os._exit(KILLED)
        if self.mode == "torn":
            halve()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def tell(self, *lines: str) -> None:
        """Write what the parent process wants to know, by ways without faults."""
        if self.told is not None:
            handle = os.open(self.told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(handle, "\n".join(lines).encode())
            os.close(handle)


class FaultyFile:
    """A file whose operations may go wrong."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file = file
        self._faults = faults

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        """Write, or half of it."""

        def halve() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.at("write", self._file.name, halve)
        return int(self._file.write(data))

    def flush(self) -> None:
        """Flush."""
        self._faults.at("flush", self._file.name)
        self._file.flush()

    def truncate(self, size: int) -> None:
        """Cut off."""
        self._faults.at("truncate", self._file.name)
        self._file.truncate(size)


@contextmanager
def injected(faults: Faults) -> Iterator[None]:
    """Let all that is written in this process pass by the faults."""
    opened, synced, renamed, made = Path.open, os.fsync, Path.replace, Path.mkdir

    def open_path(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if not set(mode) & set("wxa+"):
            return opened(path, mode, *more, **options)
        faults.at("open", path)
        return FaultyFile(opened(path, mode, *more, **options), faults)

    def fsync(handle: int) -> None:
        faults.at("fsync", Path(f"/dev/fd/{handle}").resolve())
        synced(handle)

    def replace(path: Path, target: Path) -> Path:
        faults.at("rename", target)
        return renamed(path, target)

    def mkdir(path: Path, *more: Any, **options: Any) -> None:
        faults.at("mkdir", path)
        made(path, *more, **options)

    with (
        mock.patch.object(Path, "open", open_path),
        mock.patch.object(os, "fsync", fsync),
        mock.patch.object(Path, "replace", replace),
        mock.patch.object(Path, "mkdir", mkdir),
    ):
        yield


def _kind(path: str) -> str:
    name = Path(path).name
    if name.endswith(".journal"):
        return "journal"
    if name.endswith(".tmp"):
        return "temporary file"
    if name in ("lock", "shared"):
        return "lock"
    if name == "report.json":
        return "report"
    return "output" if Path(path).suffix and not name.startswith(".") else "folder"


def preload(recordings: Path, out: Path) -> None:
    """Do the job here, so that what it loads is there in all processes to come."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        _job(recordings, out, Faults())


def run_job(recordings: Path, out: Path, log: Path, faults: Faults) -> int:
    """Do the job in a process of its own; return its exit code, and what it printed in `log`.

    The model is a stand-in that answers at once: what is looked at here is what is written.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        code = _job(recordings, out, faults)
        if faults.place is None:
            faults.tell(*faults.seen)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _job(recordings: Path, out: Path, faults: Faults) -> int:
    from phi4audio_cli.cli import machine
    from phi4audio_cli.cli.app import main
    from phi4audio_cli.engine import ScriptedBackend

    machine.Readers = _Here  # type: ignore[attr-defined, assignment]
    machine.identify_model = lambda settings, display: "stand-in"
    machine.open_backend = lambda settings, display: ScriptedBackend(_say, window=2)
    arguments = ["transcribe", str(recordings), "-o", str(out), "--no-vad", "--chunk-seconds", "1"]
    try:
        with injected(faults):
            main(arguments)
    except SystemExit as request:
        return int(request.code or 0)


def _say(request: Any) -> str:
    return f"{len(request.chunk.samples)} samples from {request.chunk.start}"


class _Here:
    """Reads in this process."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def several(self, count: int) -> list[Any]:
        return [self._reader] * count

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass
