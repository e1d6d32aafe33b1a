"""From tokens to words: which tokens spell which word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phi4audio_cli.text.words import starts_word

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Spelling:
    """One word and the tokens it is spelled with."""

    text: str
    """As it stands in the text, with the space before it if there is one."""
    first: int
    """Index of its first token."""
    stop: int
    """Index after its last token."""


def spell(tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[Spelling]:
    """Group tokens into words.

    A word begins where the text has a space, and with every character of a script without
    spaces. Tokens that only together make a character stay together; punctuation stays with the
    word before it.

    Args:
        tokens: Of one answer.
        decode: From tokens to text, nothing stripped.

    Returns:
        The words; joined they are the text.
    """
    words: list[Spelling] = []
    for text, first, stop in _pieces(tokens, decode):
        if words and not starts_word(words[-1].text, text[0]):
            last = words[-1]
            words[-1] = Spelling(last.text + text, last.first, stop)
        else:
            words.append(Spelling(text, first, stop))
    return words


def _pieces(
    tokens: Sequence[int], decode: Callable[[Sequence[int]], str]
) -> list[tuple[str, int, int]]:
    """Split into the shortest runs of tokens that decode to whole characters."""
    pieces = []
    first, done = 0, ""
    for stop in range(1, len(tokens) + 1):
        text = decode(tokens[:stop])
        if text.endswith(REPLACEMENT) and stop < len(tokens):
            continue  # a character's bytes are not complete yet
        if len(text) > len(done):
            pieces.append((text[len(done) :], first, stop))
            first, done = stop, text
    return pieces
