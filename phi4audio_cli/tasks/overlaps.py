"""Segments of chunks that overlap: what both heard is said once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from phi4audio_cli.text.merge import merge_words
from phi4audio_cli.text.spread import spread
from phi4audio_cli.types import Chunk, Segment, Word


def set_apart(segments: Sequence[Segment], chunks: Sequence[Chunk]) -> list[Segment]:
    """Drop what neighbouring segments say twice.

    Args:
        segments: Of one speaker, in order.
        chunks: The chunk of each.

    Returns:
        As many segments, which share nothing and follow each other; one that had nothing of its
        own is left without text.
    """
    result = list(segments)
    last: int | None = None
    for index, chunk in enumerate(chunks):
        if last is not None and chunks[last].stop > chunk.start:
            result[last], result[index] = _apart(result[last], chunks[last], result[index], chunk)
        last = index if result[index].text else last
    return result


def _apart(
    left: Segment, left_chunk: Chunk, right: Segment, right_chunk: Chunk
) -> tuple[Segment, Segment]:
    start, stop = right_chunk.start_seconds, left_chunk.stop_seconds
    first, second = merge_words(_words(left, left_chunk), _words(right, right_chunk), start, stop)
    middle = (start + stop) / 2
    left = _with_words(replace(left, end=middle), first, keep=bool(left.words))
    right = _with_words(replace(right, start=middle), second, keep=bool(right.words))
    return left, right


def _words(segment: Segment, chunk: Chunk) -> Sequence[Word]:
    """Return the segment's words; without times of their own, laid over the whole chunk."""
    if segment.words:
        return segment.words
    return spread(segment.text, [(chunk.start_seconds, chunk.stop_seconds)])


def _with_words(segment: Segment, words: Sequence[Word], *, keep: bool) -> Segment:
    text = "".join(word.word for word in words).strip()
    if not keep or not words:
        return replace(segment, text=text, words=())
    return replace(segment, text=text, words=tuple(words), start=words[0].start, end=words[-1].end)
