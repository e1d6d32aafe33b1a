"""Speech without text, in seconds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.text.coverage import fill_gaps, merge_intervals, total_length, uncovered_seconds

STRETCHES = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 20)).map(lambda pair: (pair[0], sum(pair)))
)


def seconds(stretches) -> set[int]:
    return {second for start, end in stretches for second in range(start, end)}


@given(STRETCHES, STRETCHES)
def test_uncovered_seconds_are_outside_all_intervals(speech, covered):
    assert total_length(speech) == len(seconds(speech))
    assert uncovered_seconds(speech, covered) == len(seconds(speech) - seconds(covered))


@given(STRETCHES)
def test_merged_intervals_do_not_overlap(stretches):
    found = merge_intervals(stretches)
    assert seconds(found) == seconds(stretches)
    assert all(one[1] < other[0] for one, other in pairwise(found))


@pytest.mark.parametrize(
    ("words", "uncovered"),
    [
        ([(0.0, 1.0), (3.0, 10.0)], 0.0),  # 2 s between words
        ([(0.0, 1.0), (3.5, 10.0)], 2.5),
        ([(2.0, 10.0)], 0.0),  # a late beginning
        ([(2.5, 10.0)], 2.5),
        ([(0.0, 5.0)], 5.0),  # a text that ends too early
        ([], 10.0),
    ],
)
def test_short_gaps_in_speech_are_filled(words, uncovered):
    speech = [(0.0, 10.0)]
    assert uncovered_seconds(speech, fill_gaps(words, speech)) == pytest.approx(uncovered)


def test_a_pause_needs_no_words():
    speech = [(0.0, 5.0), (25.0, 30.0)]
    words = [(0.5, 4.5), (25.5, 29.0)]
    assert uncovered_seconds(speech, fill_gaps(words, speech)) == 0
