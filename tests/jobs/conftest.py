"""What the jobs' tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["faulty", "bucket"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """An empty file system: one that renames, or an object store."""
    fsspec = pytest.importorskip("fsspec")
    from phi4audio_cli import remote

    from .systems import FaultySystem, StoreSystem

    kind = {"faulty": FaultySystem, "bucket": StoreSystem}[request.param]
    kind.forget()
    fsspec.register_implementation(request.param, kind, clobber=True)
    monkeypatch.setattr(remote, "PUT_WHOLE", remote.PUT_WHOLE | {"bucket"})
    yield kind
    kind.forget()
