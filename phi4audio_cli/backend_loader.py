"""Finds a model, downloads it if needed, and loads it; the only place that opens the backend."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phi4audio_cli.settings import Settings

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.hub import Download
    from phi4audio_cli.model.torch_backend import TorchBackend


class Listener:
    """Receives the messages of a session; this class ignores them, a subclass may show them.

    The methods are called in the thread that iterates over the run.
    """

    def on_status(self, text: str) -> None:
        """Receive the current stage, such as loading the model; empty: the stage is over."""

    def on_notice(self, text: str) -> None:
        """Receive one line that a user should know, such as weights that stay on the CPU."""

    def on_download(self, download: Download, done: int) -> None:
        """Receive the number of bytes that are downloaded of a model; 0 announces the download."""

    def on_model_loaded(self) -> None:
        """Called once, when the model is loaded."""


def find_model(settings: Settings, listener: Listener | None = None) -> Path:
    """Return the model's folder; the model is downloaded if needed.

    Raises:
        ModelError: The model is not found.
    """
    from phi4audio_cli.checkpoint.hub import resolve_model

    on_download = (listener or Listener()).on_download
    return resolve_model(settings.model, offline=settings.offline, on_download=on_download)


def load_backend(
    settings: Settings, listener: Listener | None = None, folder: Path | None = None
) -> TorchBackend:
    """Load the model; find it, and download it if needed, before.

    Args:
        settings: Model, adapter, device, dtype, quantization and batch size.
        listener: Receives status and notices; None: they are dropped.
        folder: Of the model, if it is found already.

    Raises:
        ModelError: The model is not found, or can't run here.
    """
    from phi4audio_cli.checkpoint.hub import prefetch_weights

    listener = listener or Listener()
    listener.on_status(f"loading {settings.model}")
    folder = folder or find_model(settings, listener)
    prefetch_weights(folder)
    # The import of torch takes seconds: it comes after the errors of a wrong model name.
    with _gc_paused():
        from phi4audio_cli.model.torch_backend import open_torch_backend

        return open_torch_backend(
            folder,
            adapter=settings.adapter,
            device=settings.device,
            dtype=settings.dtype,
            quantize=settings.quantize,
            batch_size=settings.batch_size,
            on_notice=listener.on_notice,
            on_status=listener.on_status,
        )


@contextmanager
def _gc_paused() -> Iterator[None]:
    """Keep the garbage collector from visiting a million objects that an import makes.

    Afterwards they belong to the oldest generation, which is visited least.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else unfreeze would undo what the program froze
            gc.freeze()
            gc.unfreeze()
        if was_enabled:
            gc.enable()
