"""Checkpoints of any layout: find, read, merge the speech LoRA, export without vision, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phi4audio_cli.checkpoint.checkpoint import Checkpoint, SpeechLoraMode, open_checkpoint

__all__ = ["Checkpoint", "SpeechLoraMode", "open_checkpoint"]


def __getattr__(name: str) -> Any:
    """Import torch when a checkpoint is opened, not when a model is found by its name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from phi4audio_cli.checkpoint import checkpoint

    return getattr(checkpoint, name)
