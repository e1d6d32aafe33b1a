"""Monotonic alignment equals exhaustive search, and works on synthetic attention."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from phi4audio_cli.text.word_alignment import frame_scores, monotonic_spans

SCORE = st.floats(-2, 2, width=16)


@st.composite
def problems(draw):
    pieces = draw(st.integers(1, 3))
    frames = draw(st.integers(pieces, 6))
    scores = draw(arrays(np.float32, (pieces, frames), elements=SCORE))
    gap = draw(arrays(np.float32, frames, elements=SCORE))
    begins = [True, *draw(st.lists(st.booleans(), min_size=pieces - 1, max_size=pieces - 1))]
    return scores, gap, begins


def total(spans, scores, gap) -> float:
    taken = np.zeros(len(gap), bool)
    score = 0.0
    for piece, (start, stop) in enumerate(spans):
        score += float(scores[piece, start:stop].sum())
        taken[start:stop] = True
    return score + float(gap[~taken].sum())


def allowed(spans, begins) -> bool:
    place = 0
    for (start, stop), begin in zip(spans, begins, strict=True):
        if start < place or stop <= start or (not begin and start != place):
            return False
        place = stop
    return True


def best_of_all(scores, gap, begins) -> float:
    pieces, frames = scores.shape
    best = -np.inf
    for edges in combinations_with_replacement(range(frames + 1), 2 * pieces):
        spans = list(zip(edges[::2], edges[1::2], strict=True))
        if allowed(spans, begins):
            best = max(best, total(spans, scores, gap))
    return best


@given(problems())
def test_the_alignment_has_the_best_score(problem):
    scores, gap, begins = problem
    spans = monotonic_spans(scores, gap, begins)
    assert allowed(spans, begins)
    assert spans[-1][1] <= len(gap)
    assert total(spans, scores, gap) == pytest.approx(best_of_all(scores, gap, begins), abs=1e-4)


def test_more_pieces_than_frames_are_rejected():
    with pytest.raises(ValueError, match="3 pieces don't fit 2 frames"):
        monotonic_spans(np.zeros((3, 2), np.float32), np.zeros(2, np.float32), [True] * 3)


@pytest.mark.parametrize("digital_silence", [False, True])
def test_words_begin_and_end_with_the_energy(digital_silence: bool):
    """Attention covers each word's middle only; energy has no words, and may drop to zero."""
    truth = [(10, 30), (40, 55), (60, 90)]
    energy = np.full(100, 4.0, np.float32)
    if digital_silence:
        energy[32:38] = energy[94:] = 0.0
    attention = np.full((3, 100), 1e-3, np.float32)
    for piece, (start, stop) in enumerate(truth):
        energy[start:stop] = 9.0
        middle = (start + stop) // 2
        attention[piece, middle - 3 : middle + 3] = 0.2
    spans = monotonic_spans(frame_scores(attention, energy), np.zeros(100, np.float32), [True] * 3)
    assert spans == truth


def test_speech_without_a_pause_is_divided_by_attention():
    energy = np.full(60, 2.0, np.float32)
    energy[10:50] = 9.0
    attention = np.full((2, 60), 1e-3, np.float32)
    attention[0, 10:30] = 0.05
    attention[1, 30:50] = 0.05
    spans = monotonic_spans(frame_scores(attention, energy), np.zeros(60, np.float32), [True] * 2)
    assert spans == [(10, 30), (30, 50)]
