"""Requests, objects and bytes of a job in an object store or a folder."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from phi4audio_cli import storage


class CountingStore(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store in memory, under `counted://`, that counts its requests."""

    protocol = "counted"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    requests: ClassVar[Counter[str]] = Counter()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.removeprefix("counted://"))
        return stripped

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: object) -> None:
        """Put an object."""
        self.requests[f"PUT {_kind(path)}"] += 1
        super().pipe_file(path, value, mode, **more)

    def cat_file(self, path: str, *more: object, **most: object) -> bytes:
        """Get an object."""
        self.requests[f"GET {_kind(path)}"] += 1
        content: bytes = super().cat_file(path, *more, **most)
        return content

    def ls(self, path: str, *more: object, **most: object) -> list[Any]:
        """List a folder."""
        self.requests["LIST"] += 1
        listed: list[Any] = super().ls(path, *more, **most)
        return listed


def _kind(path: str) -> str:
    name = path.rpartition("/")[2]
    return name if name in ("report.json", "README.txt") else name.rpartition(".")[2]


def count_store_requests(
    recordings: Path, more: Sequence[str]
) -> tuple[Counter[str], dict[str, int]]:
    """Transcribe into the store; return its requests, and bytes by name extension."""
    fsspec.register_implementation("counted", CountingStore, clobber=True)
    CountingStore.requests.clear()
    with mock.patch.object(storage, "ATOMIC_PUT_SCHEMES", storage.ATOMIC_PUT_SCHEMES | {"counted"}):
        _transcribe(recordings, "counted://bucket/out", more)
    sizes: Counter[str] = Counter()
    for path, file in CountingStore.store.items():
        sizes[_kind(path)] += len(file.getvalue())
    return Counter(CountingStore.requests), dict(sizes)


def count_file_operations(recordings: Path, folder: Path, more: Sequence[str]) -> Counter[str]:
    """Transcribe into a folder; return the operations of its file system."""
    counts: Counter[str] = Counter()

    def counting(name: str, function: Any) -> Any:
        def counted(*given: Any, **named: Any) -> Any:
            counts[name] += 1
            return function(*given, **named)

        return counted

    with contextlib.ExitStack() as stack:
        for owner, name in ((os, "fsync"), (Path, "replace")):
            counted = counting(name, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, counted))
        _transcribe(recordings, str(folder), more)
    counts["files"] = sum(path.is_file() for path in folder.rglob("*"))
    return counts


def _transcribe(recordings: Path, out: str, more: Sequence[str]) -> None:
    from phi4audio_cli.cli.app import main

    arguments = ["transcribe", str(recordings), "-o", out, "--model", "demo", "--offline", *more]
    if "://" in out:
        arguments.remove("--offline")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(arguments)
