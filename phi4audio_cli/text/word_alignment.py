"""Monotonic alignment of text pieces with audio frames, from a score for each pair. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]


ENERGY_WEIGHT = 1.5
"""How much a frame's loudness counts beside the attention. Measured: 1 to 2 are alike."""
SPEECH_THRESHOLD = 0.35
"""Where between the quiet and the loud frames of a chunk speech begins."""
ATTENTION_THRESHOLD = 0.15
"""Share of a piece's strongest attention under which a frame counts against it."""


def frame_scores(attention: Scores, energy: Scores) -> Scores:
    """Score how well each piece fits each frame.

    Attention alone tells where a piece is, not where it begins and ends: that is where the
    energy rises and falls.

    Args:
        attention: Of each piece to each frame, shape (pieces, frames).
        energy: Log energy of each frame, shape (frames,).

    Returns:
        Shape (pieces, frames); positive where a piece fits.
    """
    strongest = attention.max(axis=1, keepdims=True)
    looked_at = attention / np.maximum(strongest, np.finfo(np.float32).tiny) - ATTENTION_THRESHOLD
    quiet, loud = np.percentile(energy, [10, 95])
    loudness = np.clip((energy - quiet) / max(loud - quiet, 1e-6), 0, 1)
    scores: Scores = (looked_at + ENERGY_WEIGHT * (loudness - SPEECH_THRESHOLD)).astype(np.float32)
    return scores


def monotonic_spans(
    scores: Scores, gap: Scores, starts_word: Sequence[bool]
) -> list[tuple[int, int]]:
    """Give each piece a stretch of frames, in order, so that the scores add up to the most.

    Every piece gets at least one frame. The pieces of one word follow each other without a gap;
    before a word, and after the last, frames may stay free.

    Args:
        scores: How well each piece fits each frame, shape (pieces, frames), pieces <= frames.
        gap: What a frame that stays free adds, shape (frames,).
        starts_word: For each piece whether a word begins with it.

    Returns:
        For each piece its first frame and the one after its last.

    Raises:
        ValueError: There are more pieces than frames.
    """
    pieces, frames = scores.shape
    if pieces > frames:
        raise ValueError(f"{pieces} pieces don't fit {frames} frames")
    free = np.concatenate([[0.0], np.cumsum(gap, dtype=np.float64)])
    # best[j]: the most that the pieces so far reach when the next may start at frame j.
    best = free.copy()
    entered: list[npt.NDArray[np.intp]] = []  # where the piece that ends at j starts
    left: list[npt.NDArray[np.intp]] = []  # where the piece before the gap that ends at j ended
    for piece in range(pieces):
        filled = np.concatenate([[0.0], np.cumsum(scores[piece], dtype=np.float64)])
        total, start = _running_maximum(best - filled)
        best = np.concatenate([[-np.inf], total[:-1] + filled[1:]])
        entered.append(np.concatenate([[0], start[:-1]]))
        last = piece + 1 == pieces
        if last or starts_word[piece + 1]:
            total, end = _running_maximum(best - free)
            best = total + free
            left.append(end)
        else:
            left.append(np.arange(frames + 1))
    return _backtrace(entered, left, frames)


def _running_maximum(
    values: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Return the running maximum and where it was reached first."""
    running = np.maximum.accumulate(values)
    new = np.concatenate([[True], values[1:] > running[:-1]])
    places = np.maximum.accumulate(np.where(new, np.arange(len(values)), 0))
    return running, places


def _backtrace(
    span_starts: list[npt.NDArray[np.intp]], span_ends: list[npt.NDArray[np.intp]], frames: int
) -> list[tuple[int, int]]:
    spans = []
    place = frames
    for start_of, end_of in zip(reversed(span_starts), reversed(span_ends), strict=True):
        end = int(end_of[place])
        place = int(start_of[end])
        spans.append((place, end))
    return spans[::-1]
