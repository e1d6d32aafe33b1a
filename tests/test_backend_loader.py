"""Finding and loading the model."""

from __future__ import annotations

import gc
import weakref

import pytest

from phi4audio_cli import ModelError, Session, Settings
from phi4audio_cli.backend_loader import find_model, load_backend

SETTINGS = Settings(model="demo", device="cpu", dtype="float32")


@pytest.mark.slow
def test_loading_leaves_the_garbage_collector_as_it_was() -> None:
    assert gc.isenabled()
    load_backend(SETTINGS)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    gc.disable()
    try:
        load_backend(SETTINGS)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_closed_session_releases_the_model() -> None:
    session = Session(settings=SETTINGS)
    session.load()
    backend = weakref.ref(session._backend.load())
    session.close()
    gc.collect()
    assert backend() is None


def test_a_missing_model_is_found_out_before_torch_is_imported() -> None:
    with pytest.raises(ModelError, match="some/model"):
        find_model(Settings(model="some/model", offline=True))
