"""Monotonic alignment of text pieces with audio frames, from a score for each pair. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]


ENERGY_WEIGHT = 1.5
"""Weight of a frame's loudness relative to the attention. Measured: 1 to 2 are alike."""
SPEECH_THRESHOLD = 0.35
"""Relative loudness, between the quiet and the loud frames of a chunk, at which speech begins."""
ATTENTION_THRESHOLD = 0.15
"""Share of a piece's strongest attention below which a frame counts against it."""

DIGITAL_SILENCE = 0.1
"""Log-mel energy, whose smallest value is 0, of samples that are zero. They say nothing about the
noise of a recording: gaps are filled with them, and muted microphones send them."""


def frame_scores(attention: Scores, energy: Scores) -> Scores:
    """Score how well each piece of text fits each frame.

    Attention locates a piece, but not its start and end; these are where the energy rises and
    falls.

    Args:
        attention: Attention of each piece to each frame, shape (pieces, frames).
        energy: Log-mel energy of each frame, shape (frames,).

    Returns:
        Scores of shape (pieces, frames), positive where a piece fits.
    """
    strongest = attention.max(axis=1, keepdims=True)
    relative = attention / np.maximum(strongest, np.finfo(np.float32).tiny) - ATTENTION_THRESHOLD
    sounding = energy[energy > DIGITAL_SILENCE]
    quiet, loud = np.percentile(sounding if sounding.size else energy, [10, 95])
    loudness = np.clip((energy - quiet) / max(loud - quiet, 1e-6), 0, 1)
    scores: Scores = (relative + ENERGY_WEIGHT * (loudness - SPEECH_THRESHOLD)).astype(np.float32)
    return scores


def monotonic_spans(
    scores: Scores, gap: Scores, starts_word: Sequence[bool]
) -> list[tuple[int, int]]:
    """Assign each piece a span of frames, in order, with the highest total score.

    Every piece gets at least one frame. Pieces of one word are adjacent; frames before a word and
    after the last one may stay unassigned.

    Args:
        scores: Score of each piece at each frame, shape (pieces, frames), pieces <= frames.
        gap: Score of an unassigned frame, shape (frames,).
        starts_word: Whether each piece begins a word, shape (pieces,).

    Returns:
        For each piece its first frame and the frame after its last.

    Raises:
        ValueError: There are more pieces than frames.
    """
    pieces, frames = scores.shape
    if pieces > frames:
        raise ValueError(f"{pieces} pieces don't fit {frames} frames")
    free = np.concatenate([[0.0], np.cumsum(gap, dtype=np.float64)])
    # best[j]: highest score of the pieces so far when the next one may start at frame j.
    best = free.copy()
    span_starts: list[npt.NDArray[np.intp]] = []  # start of the piece that ends at frame j
    span_ends: list[npt.NDArray[np.intp]] = []  # end of the piece before the gap that ends at j
    for piece in range(pieces):
        filled = np.concatenate([[0.0], np.cumsum(scores[piece], dtype=np.float64)])
        total, start = _running_maximum(best - filled)
        best = np.concatenate([[-np.inf], total[:-1] + filled[1:]])
        span_starts.append(np.concatenate([[0], start[:-1]]))
        last = piece + 1 == pieces
        if last or starts_word[piece + 1]:
            total, end = _running_maximum(best - free)
            best = total + free
            span_ends.append(end)
        else:
            span_ends.append(np.arange(frames + 1))
    return _backtrace(span_starts, span_ends, frames)


def _running_maximum(
    values: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Return the running maximum and the index at which it was first reached."""
    running = np.maximum.accumulate(values)
    new = np.concatenate([[True], values[1:] > running[:-1]])
    indices = np.maximum.accumulate(np.where(new, np.arange(len(values)), 0))
    return running, indices


def _backtrace(
    span_starts: list[npt.NDArray[np.intp]], span_ends: list[npt.NDArray[np.intp]], frames: int
) -> list[tuple[int, int]]:
    spans = []
    frame = frames
    for start_of, end_of in zip(reversed(span_starts), reversed(span_ends), strict=True):
        end = int(end_of[frame])
        frame = int(start_of[end])
        spans.append((frame, end))
    return spans[::-1]
