"""Words of a text: splitting, and times interpolated in proportion to word length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.text.words import interpolate_times, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one two.", ["one", " two."]),
        ("  one  two ", ["one", "  two"]),
        ("你好。世界", ["你", "好。", "世", "界"]),
        ("I say 你好 now", ["I", " say", " 你", "好", " now"]),
        ("", []),
    ],
)
def test_concatenated_words_are_the_text(text, words):
    assert split_words(text) == words
    assert "".join(split_words(text)) == text.strip()


def test_longer_words_take_longer():
    words = interpolate_times("a bcd", [(10.0, 16.0)])
    assert [(word.start, word.end) for word in words] == [(10.0, 12.0), (12.0, 16.0)]


def test_pauses_are_left_out():
    words = interpolate_times("ab cd", [(0.0, 1.0), (5.0, 6.0)])
    assert [(word.start, word.end) for word in words] == [(0.0, 1.0), (5.0, 6.0)]


@st.composite
def stretches(draw):
    edges = sorted(draw(st.lists(st.integers(0, 10_000), min_size=2, max_size=12, unique=True)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    return [(start / 100, stop / 100) for start, stop in pairs]


@given(st.text(st.sampled_from("abc 你."), min_size=1, max_size=40), stretches())
def test_words_are_in_order_and_inside(text, speech):
    words = interpolate_times(text, speech)
    assert "".join(word.word for word in words) == text.strip()
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert all(word.start < word.end for word in words)
    if words:
        assert edges[0] >= speech[0][0] - 1e-9
        assert edges[-1] <= speech[-1][1] + 1e-9
