"""Fixtures that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine must not fail a test; examples are the same in every run.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared_folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs {name}, which is not part of the project, at ../shared/{name}")
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """The tiny checkpoint in the original layout, with what the original code makes of it."""
    return shared_folder("reference") / "original-tiny"


@pytest.fixture(scope="session")
def fsdd() -> Path:
    """Recordings of spoken digits."""
    return shared_folder("fsdd") / "recordings"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Real recordings in several formats."""
    return shared_folder("audio")


@pytest.fixture(params=["faulty", "bucket"])
def remote_filesystem(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """An empty remote file system: one that renames files, or an object store."""
    fsspec = pytest.importorskip("fsspec")
    from phi4audio_cli import storage

    from .faulty_filesystems import FaultyFileSystem, FaultyObjectStore

    kind = {"faulty": FaultyFileSystem, "bucket": FaultyObjectStore}[request.param]
    kind.forget()
    fsspec.register_implementation(request.param, kind, clobber=True)
    monkeypatch.setattr(storage, "ATOMIC_PUT_SCHEMES", storage.ATOMIC_PUT_SCHEMES | {"bucket"})
    yield kind
    kind.forget()
