"""What was said and its translation, cue by cue. Pure.

The translation's cues are made by the usual rules; each gets the words of the original that were
said meanwhile. Nobody knows which word became which, so the texts run side by side by their length:
sentence by sentence where both have as many, else as a whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from phi4audio_cli.text.cues import CueStyle, make_cues
from phi4audio_cli.text.line_breaks import Break, break_after
from phi4audio_cli.text.words import interpolate_times, split_words
from phi4audio_cli.types import Segment, Word


def split_bilingual(segment: Segment, style: CueStyle) -> list[Segment]:
    """Divide a translated segment into pieces to be shown as they are, the original above.

    Args:
        segment: With what was said as its `transcribe_chunk`, and the translation as its text.
        style: How subtitles look; half of the lines, at least one, are for the translation.

    Returns:
        Segments without words, of two texts divided by a line feed; in order, within the times of
        the segment's words. One of them at least has all of the original where there is no text.
    """
    said = split_words(segment.transcript or "")
    if not said or not segment.text.strip():
        return [segment]
    words = segment.words or interpolate_times(segment.text, [(segment.start, segment.end)])
    half = replace(style, max_lines=max(1, style.max_lines // 2), highlight_words=False)
    cues = make_cues([replace(segment, words=tuple(words))], half)
    counts = [sum(len(line) for line in cue.lines) for cue in cues]
    firsts = _match_edges(said, words, list(accumulate(counts, initial=0)))
    pieces = []
    for cue, (first, stop) in zip(cues, pairwise(firsts), strict=True):
        original = "".join(said[first:stop]).strip()
        lines = [original, " ".join(cue.text_lines)] if original else [" ".join(cue.text_lines)]
        start, end = cue.start / 1000, cue.end / 1000
        pieces.append(replace(segment, start=start, end=end, text="\n".join(lines), words=()))
    return pieces


def _match_edges(
    original: Sequence[str], translated: Sequence[Word], edges: Sequence[int]
) -> list[int]:
    """Find the word of the original at which each edge between the translation's words lies.

    Args:
        original: Words of the original.
        translated: Words of the translation.
        edges: Numbers of words, rising, from 0 to all.

    Returns:
        One number of words for each edge, rising, from 0 to all.
    """
    written = [word.word for word in translated]
    left, right = _sentence_starts(original), _sentence_starts(written)
    if len(left) != len(right):
        left, right = [0, len(original)], [0, len(written)]
    said_letters, letters = _letter_offsets(original), _letter_offsets(written)
    found = [0]
    for edge in edges[1:-1]:
        sentence = min(bisect_right(right, edge), len(right) - 1) - 1
        begin, end = letters[right[sentence]], letters[right[sentence + 1]]
        share = (letters[min(edge, len(written))] - begin) / max(1, end - begin)
        begin, end = said_letters[left[sentence]], said_letters[left[sentence + 1]]
        place = begin + share * (end - begin)
        nearest = min(range(len(said_letters)), key=lambda n: abs(said_letters[n] - place))
        found.append(max(found[-1], nearest))
    return [*found, len(original)]


def _letter_offsets(words: Sequence[str]) -> list[int]:
    """Return how many letters come before each word, and in all."""
    return list(accumulate((len(word) for word in words), initial=0))


def _sentence_starts(words: Sequence[str]) -> list[int]:
    """Return the numbers of words at which sentences begin, and that of all words."""
    ends = [
        index
        for index, (word, following) in enumerate(pairwise(words), start=1)
        if break_after(word, following) is Break.SENTENCE
    ]
    return [0, *ends, len(words)]
