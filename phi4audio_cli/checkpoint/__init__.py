"""Checkpoint files: layouts, the stream of tensors, the speech LoRA, where a model lies."""
