"""Bilingual subtitles: the original text above its translation, cue by cue. Pure.

The translation is segmented into cues by the usual rules; each cue gets the words of the original
spoken in its time. No word alignment between the languages is known, so positions are matched by
length: sentence by sentence where both texts have the same number of sentences, else over the
whole text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from phi4audio_cli.text.break_opportunities import normalize_spaces, split_at_breaks
from phi4audio_cli.text.cues import CueStyle, make_cues
from phi4audio_cli.text.line_breaks import Break, break_after
from phi4audio_cli.text.words import interpolate_times
from phi4audio_cli.types import Segment


def split_bilingual(segment: Segment, style: CueStyle) -> list[Segment]:
    """Split a translated segment into pieces of two texts, the original above the translation.

    Args:
        segment: Its `transcript` is the original, its `text` the translation.
        style: Style of the subtitles; half of the lines, at least one, hold the translation.

    Returns:
        Segments without words, their two texts separated by a line feed; in order, within the
        times of the segment's words. The segment itself where one of the texts is empty.
    """
    original = split_at_breaks(normalize_spaces(segment.transcript or ""))
    if not original or not segment.text.strip():
        return [segment]
    words = segment.words or interpolate_times(segment.text, [(segment.start, segment.end)])
    half_style = replace(style, max_lines=max(1, style.max_lines // 2), highlight_words=False)
    cues = make_cues([replace(segment, words=tuple(words))], half_style)
    units = [[unit.word for line in cue.lines for unit in line] for cue in cues]
    written = [unit for cue_units in units for unit in cue_units]
    edges = _match_edges(original, written, list(accumulate(map(len, units), initial=0)))
    pieces = []
    for cue, cue_units, (first, stop) in zip(cues, units, pairwise(edges), strict=True):
        above, below = "".join(original[first:stop]).strip(), "".join(cue_units).strip()
        lines = [above, below] if above else [below]
        start, end = cue.start / 1000, cue.end / 1000
        pieces.append(replace(segment, start=start, end=end, text="\n".join(lines), words=()))
    return pieces


def _match_edges(
    original: Sequence[str], written: Sequence[str], edges: Sequence[int]
) -> list[int]:
    """Find the word boundary of the original that matches each boundary of the translation.

    Args:
        original: Words of the original.
        written: Words of the translation.
        edges: Word counts of the translation, ascending, from 0 to all.

    Returns:
        A word count of the original for each edge, ascending, from 0 to all.
    """
    left, right = _sentence_starts(original), _sentence_starts(written)
    if len(left) != len(right):
        left, right = [0, len(original)], [0, len(written)]
    original_offsets, offsets = _letter_offsets(original), _letter_offsets(written)
    found = [0]
    for edge in edges[1:-1]:
        sentence = min(bisect_right(right, edge), len(right) - 1) - 1
        begin, end = offsets[right[sentence]], offsets[right[sentence + 1]]
        share = (offsets[min(edge, len(written))] - begin) / max(1, end - begin)
        begin, end = original_offsets[left[sentence]], original_offsets[left[sentence + 1]]
        position = begin + share * (end - begin)
        nearest = min(
            range(len(original_offsets)), key=lambda n: abs(original_offsets[n] - position)
        )
        found.append(max(found[-1], nearest))
    return [*found, len(original)]


def _letter_offsets(words: Sequence[str]) -> list[int]:
    """Return the number of letters before each word, and in all words."""
    return list(accumulate((len(word) for word in words), initial=0))


def _sentence_starts(words: Sequence[str]) -> list[int]:
    """Return the indices of the words that begin a sentence, and the number of words."""
    ends = [
        index
        for index, (word, following) in enumerate(pairwise(words), start=1)
        if break_after(word, following) is Break.SENTENCE
    ]
    return [0, *ends, len(words)]
