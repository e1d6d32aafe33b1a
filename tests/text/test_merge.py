"""Merged texts have every word once, with times in order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4audio_cli.text.merge import merge_words
from phi4audio_cli.types import Word

SECONDS = 0.4


def words(text: str, start: float = 0.0, seconds: float = SECONDS) -> list[Word]:
    return [
        Word(f" {word}", start + seconds * index, start + seconds * (index + 1))
        for index, word in enumerate(text.split())
    ]


def merged(left: list[Word], right: list[Word], start: float, stop: float) -> str:
    first, second = merge_words(left, right, start, stop)
    both = first + second
    assert all(word.start < word.end for word in both)
    assert all(a.end <= b.start for a, b in pairwise(both))
    return "".join(word.word for word in both).strip()


def test_words_of_both_chunks_appear_once() -> None:
    left = words("we choose to go to the moon in this decade")
    right = words("the moon in this decade and do the other things", 5 * SECONDS)
    whole = "we choose to go to the moon in this decade and do the other things"
    assert merged(left, right, 2.0, 4.0) == whole


def test_words_cut_at_the_edges_are_taken_from_the_other() -> None:
    left = words("we choose to go to the moon in this dec")
    right = words("ose to go to the moon in this decade and do", SECONDS)
    assert merged(left, right, 0.4, 4.0) == "we choose to go to the moon in this decade and do"


def test_a_single_truncated_word_is_completed() -> None:
    left = words("we choose to go to the mo")
    right = words("moon in this decade", 6 * SECONDS)
    assert merged(left, right, 2.4, 2.8) == "we choose to go to the moon in this decade"


def test_case_and_punctuation_do_not_matter() -> None:
    left = words("Go to the moon, in this decade.")
    right = words("The moon in this decade and more.", 2 * SECONDS)
    assert merged(left, right, 0.8, 2.8) == "Go to the moon, in this decade and more."


def test_a_wrong_word_at_the_edge_is_dropped() -> None:
    left = words("a b c d e x")
    right = words("y d e f g h", 2 * SECONDS)
    assert merged(left, right, 0.8, 2.4) == "a b c d e f g h"


def test_repeated_words_are_matched_by_their_times() -> None:
    left = words("seven " * 20)
    right = words("seven " * 20, 15 * SECONDS + 0.1)
    assert merged(left, right, 6.0, 8.0) == " ".join(["seven"] * 35)


def test_texts_without_a_common_word_are_split_by_time() -> None:
    assert merged(words("a b c d e f"), words("u v w x y z", 0.8), 0.8, 2.4) == "a b c d w x y z"


@pytest.mark.parametrize("empty", [("", "a b"), ("a b", ""), ("", "")])
def test_empty_texts(empty: tuple[str, str]) -> None:
    left, right = empty
    assert merged(words(left), words(right, 40), 35, 40) == f"{left}{right}".strip()


def test_characters_without_spaces() -> None:
    def characters(text: str, start: float) -> list[Word]:
        return [Word(c, start + 0.2 * n, start + 0.2 * (n + 1)) for n, c in enumerate(text)]

    left = characters("私は昨日東京の大きな図", 0)
    right = characters("東京の大きな図書館へ行きました", 0.8)
    assert merged(left, right, 0.8, 2.2) == "私は昨日東京の大きな図書館へ行きました"


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["one", "two", "three", "four", "five"]), min_size=12, max_size=60),
    st.data(),
)
def test_any_text_is_complete_with_good_times(text: list[str], data: st.DataObject) -> None:
    """Even digits, which repeat a lot, when times are off by less than half a word."""
    begin = data.draw(st.integers(0, len(text) - 4))
    end = data.draw(st.integers(begin + 4, len(text)))
    error = data.draw(st.floats(-0.15, 0.15))
    left = words(" ".join(text[:end]))
    right = words(" ".join(text[begin:]), begin * SECONDS + error)
    assert merged(left, right, begin * SECONDS, end * SECONDS) == " ".join(text)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_bad_times_and_a_wrong_word_are_tolerated_without_repeats(data: st.DataObject) -> None:
    text = [f"word{index}x" for index in range(60)]
    begin = data.draw(st.integers(0, 50))
    end = data.draw(st.integers(begin + 6, 60))
    error = data.draw(st.floats(-0.9, 0.9))
    left, right = text[:end], text[begin:]
    if data.draw(st.booleans()):
        left[-1] = "misheard"
    if data.draw(st.booleans()):
        right[0] = "strange"
    if end == 60:
        left[-1] = text[-1]
    if begin == 0:
        right[0] = text[0]
    result = merged(
        words(" ".join(left)),
        words(" ".join(right), begin * SECONDS + error),
        begin * SECONDS,
        end * SECONDS,
    )
    assert result == " ".join(text)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 9), st.floats(0.01, 2)), max_size=12),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 9), st.floats(0.01, 2)), max_size=12),
)
def test_times_are_in_order_for_any_input(
    left: list[tuple[str, float, float]], right: list[tuple[str, float, float]]
) -> None:
    def ordered(parts: list[tuple[str, float, float]], start: float) -> list[Word]:
        result = []
        for text, pause, length in parts:
            result.append(Word(text, start + pause, start + pause + length))
            start = result[-1].end
        return result

    merged(ordered(left, 0), ordered(right, 10), 10, 20)
