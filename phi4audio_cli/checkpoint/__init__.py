"""Checkpoints of any layout as one stream of named tensors."""

from phi4audio_cli.checkpoint.stream import Checkpoint, SpeechLoraMode, open_checkpoint

__all__ = ["Checkpoint", "SpeechLoraMode", "open_checkpoint"]
