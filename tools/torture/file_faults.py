"""A small job in which one file operation fails: each operation in turn."""

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
"""The operation fails as on a full disk, fails half-way, or the process dies before it."""

KILLED = 137


@dataclass
class FaultPlan:
    """Counts file operations, and lets one of them fail.

    Attributes:
        index: Of the operation that fails, from 0; None: none fails.
        mode: The way it fails.
        operations: The operations so far, each with the kind of its file.
    """

    index: int | None = None
    mode: Mode = "error"
    operations: list[str] = field(default_factory=list)
    report_file: Path | None = None
    """File for the failed operation; without a fault, for all operations."""

    def before_operation(
        self, operation: str, path: Any, halve: Callable[[], object] = lambda: None
    ) -> None:
        """Count an operation before it is done, and let it fail if it is the chosen one."""
        self.operations.append(f"{operation} {_file_kind(str(path))}")
        if len(self.operations) - 1 != self.index:
            return
        self.write_report(self.operations[-1])
        if self.mode == "killed":
            os._exit(KILLED)
        if self.mode == "torn":
            halve()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def write_report(self, *lines: str) -> None:
        """Write lines for the parent process by functions that have no faults."""
        if self.report_file is not None:
            handle = os.open(self.report_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(handle, "\n".join(lines).encode())
            os.close(handle)


class FaultyFile:
    """A file with operations that may fail."""

    def __init__(self, file: Any, faults: FaultPlan) -> None:
        self._file = file
        self._faults = faults

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        """Write all of the data, or half of it."""

        def halve() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.before_operation("write", self._file.name, halve)
        return int(self._file.write(data))

    def flush(self) -> None:
        """Flush."""
        self._faults.before_operation("flush", self._file.name)
        self._file.flush()

    def truncate(self, size: int) -> None:
        """Truncate the file."""
        self._faults.before_operation("truncate", self._file.name)
        self._file.truncate(size)


@contextmanager
def inject_faults(faults: FaultPlan) -> Iterator[None]:
    """Apply faults to all file operations of this process."""
    real_open, real_fsync, real_replace, real_mkdir = Path.open, os.fsync, Path.replace, Path.mkdir

    def open_path(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if not set(mode) & set("wxa+"):
            return real_open(path, mode, *more, **options)
        faults.before_operation("open", path)
        return FaultyFile(real_open(path, mode, *more, **options), faults)

    def fsync(handle: int) -> None:
        faults.before_operation("fsync", Path(f"/dev/fd/{handle}").resolve())
        real_fsync(handle)

    def replace(path: Path, target: Path) -> Path:
        faults.before_operation("rename", target)
        return real_replace(path, target)

    def mkdir(path: Path, *more: Any, **options: Any) -> None:
        faults.before_operation("mkdir", path)
        real_mkdir(path, *more, **options)

    with (
        mock.patch.object(Path, "open", open_path),
        mock.patch.object(os, "fsync", fsync),
        mock.patch.object(Path, "replace", replace),
        mock.patch.object(Path, "mkdir", mkdir),
    ):
        yield


def _file_kind(path: str) -> str:
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


def warm_up(recordings: Path, out: Path) -> None:
    """Run the job in this process, so that forked processes have its imports."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        _job(recordings, out, FaultPlan())


def run_job(recordings: Path, out: Path, log: Path, faults: FaultPlan) -> int:
    """Run the job in a forked process with a scripted model; return its exit code.

    Its output goes to `log`.
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
        if faults.index is None:
            faults.write_report(*faults.operations)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _job(recordings: Path, out: Path, faults: FaultPlan) -> int:
    from phi4audio_cli.audio.reader import InProcessReader
    from phi4audio_cli.cli import local_run
    from phi4audio_cli.cli.app import main
    from phi4audio_cli.pipeline.backend import ScriptedBackend
    from phi4audio_cli.session import Session

    local_run.open_session = lambda settings, listener: Session(
        settings=settings,
        listener=listener,
        backend=ScriptedBackend(_scripted_answer, batch_size=2),
        readers=[InProcessReader()],
    )
    arguments = ["transcribe", str(recordings), "-o", str(out), "--no-vad", "--chunk-seconds", "1"]
    try:
        with inject_faults(faults):
            main(arguments)
    except SystemExit as request:
        return int(request.code or 0)


def _scripted_answer(request: Any) -> str:
    return f"{len(request.chunk.samples)} samples from {request.chunk.start}"
