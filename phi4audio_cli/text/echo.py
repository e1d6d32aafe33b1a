"""Answers that give the instruction back. Pure."""

from __future__ import annotations

from phi4audio_cli.text.units import units

FEWEST_WORDS = 4
"""A part of the instruction with fewer words may be what somebody says."""


def is_echo(text: str, prompt: str) -> bool:
    """Whether an answer holds the whole instruction, or is nothing but a part of it."""
    said, asked = units(text), units(prompt)
    if min(len(said), len(asked)) < FEWEST_WORDS:
        return False
    shorter, longer = sorted((said, asked), key=len)
    return f" {' '.join(shorter)} " in f" {' '.join(longer)} "
