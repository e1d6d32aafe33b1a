"""Units that cues are made of: parts of a text between possible line breaks, with times. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from phi4audio_cli.text.break_opportunities import (
    normalize_spaces,
    split_at_breaks,
    split_wide_part,
)
from phi4audio_cli.text.graphemes import display_width
from phi4audio_cli.text.words import joins_without_space
from phi4audio_cli.types import Word


def add_word_spaces(words: Sequence[Word], text: str = "", before: str = "") -> list[Word]:
    """Return words whose concatenation is a text: each begins with its space, if it has one.

    Words of phi4audio and whisper include their spaces; words of some tools have none. The spaces
    are those of the segment's text where it has the characters of the words, and are guessed
    only where it has not.

    Args:
        words: Words of one segment.
        text: Text of the segment.
        before: Preceding text; empty at the start.
    """
    written = _spaces_from_text(words, text) or _spaces_from_words(words)
    if before and written and not joins_without_space(before, written[0].word):
        written[0] = replace(written[0], word=f" {written[0].word}")
    return written


def _spaces_from_text(words: Sequence[Word], text: str) -> list[Word]:
    """Return the words as the text writes them; empty where it has other characters."""
    if "".join(text.split()) != "".join("".join(word.word.split()) for word in words):
        return []
    text = normalize_spaces(text)
    result, position = [], 0
    for word in words:
        if not (letters := len("".join(word.word.split()))):
            continue
        start = position
        while letters:
            letters -= not text[position].isspace()
            position += 1
        result.append(replace(word, word=text[start:position]))
    return result


def _spaces_from_words(words: Sequence[Word]) -> list[Word]:
    given = any(word.word != word.word.strip() for word in words)
    result: list[Word] = []
    before = ""
    for index, word in enumerate(words):
        text = normalize_spaces(word.word)
        if not text:
            continue
        if given and index:
            space = word.word[:1].isspace() or words[index - 1].word[-1:].isspace()
        else:
            space = bool(before) and not joins_without_space(before, text)
        result.append(replace(word, word=f" {text}" if space and result else text))
        before = text
    return result


def split_to_units(words: Sequence[Word], limit: int, max_pause: float) -> list[Word]:
    """Split the text of words where a line may end, whatever its words are.

    Tokens of a model may divide a word or join two; the times of a unit that is not a word are
    interpolated by its characters.

    Args:
        words: Words whose concatenation is the text, in order.
        limit: Width of a line in the unit of `display_width`.
        max_pause: Longest pause inside a unit, seconds; a longer one ends it at any character.

    Returns:
        Units whose concatenation is the text, none wider than a line.
    """
    units, first = [], 0
    for stop in range(1, len(words) + 1):
        if stop == len(words) or words[stop].start - words[stop - 1].end > max_pause:
            units += _split_run(words[first:stop], limit)
            first = stop
    return units


def _split_run(words: Sequence[Word], limit: int) -> list[Word]:
    starts = list(accumulate((len(word.word) for word in words), initial=0))
    units, position = [], 0
    for part in split_at_breaks("".join(word.word for word in words)):
        wide = display_width(part.strip()) > limit
        for piece in split_wide_part(part, limit) if wide else [part]:
            units.append(_timed_unit(piece, position, words, starts))
            position += len(piece)
    return units


def _timed_unit(text: str, position: int, words: Sequence[Word], starts: Sequence[int]) -> Word:
    first = position + len(text) - len(text.lstrip())  # the time of a space is no word's
    last = max(first, position + len(text.rstrip()) - 1)
    index = bisect_right(starts, first) - 1
    word = words[index]
    if word.word == text and starts[index] == position:
        return word
    begins = first <= starts[index] + len(word.word) - len(word.word.lstrip())
    start = word.start if begins else _time(word, first - starts[index])
    index = bisect_right(starts, last) - 1
    word = words[index]
    return Word(text, start, max(start, _time(word, last + 1 - starts[index])))


def _time(word: Word, letters: int) -> float:
    """Return the time after some characters of a word."""
    if letters >= len(word.word.rstrip()):
        return word.end
    return word.start + (word.end - word.start) * letters / len(word.word)
