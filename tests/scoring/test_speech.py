"""Error rates: known counts, jiwer's own figures, the normaliser's rules, marks."""

from __future__ import annotations

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.scoring.normalize import NORMALIZER, normalize
from phi4audio_cli.scoring.speech import Edits, mark, score_speech

WORDS = st.lists(st.sampled_from(["one", "two", "three", "four", "five"]), max_size=12)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Hello, World!", "hello world"),
        ("Don't — stop…", "dont stop"),
        ("  a\n b\tc ", "a b c"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
        ("Straße", "strasse"),
        ("twenty-one, 3.5 €", "twenty one 3 5"),
        ("déjà vu", "déjà vu"),
        ("de\u0301ja\u0300", "déjà"),
        ("你好，世界。", "你好 世界"),
        ("?!", ""),
    ],
)
def test_the_normaliser_does_what_it_says(text: str, normal: str):
    assert normalize(text) == normal
    assert normalize(normal) == normal


def test_the_normaliser_has_a_name_and_a_version():
    name, version = NORMALIZER.split()
    assert name.startswith("phi4audio")
    assert int(version) >= 1


def test_known_errors_are_counted():
    score = score_speech("One two, three four", "one too three four five")
    assert score.words == Edits(replaced=2, left_out=0, added=1, length=4)
    assert score.normal_words == Edits(replaced=1, left_out=0, added=1, length=4)
    assert score.normal_words.rate == 0.5
    assert score.normal_characters.length == len("one two three four")


@given(WORDS.filter(bool), WORDS)
def test_rates_are_jiwers(reference: list[str], heard: list[str]):
    left, right = " ".join(reference), " ".join(heard)
    score = score_speech(left, right)
    assert score.words.rate == pytest.approx(jiwer.wer(left, right))
    assert score.characters.rate == pytest.approx(jiwer.cer(left, right))


@pytest.mark.parametrize(
    ("reference", "heard", "errors", "rate"),
    [("", "", 0, 0), ("", "a b", 2, 2), ("a b", "", 2, 1), ("?", "!", 0, 0)],
)
def test_nothing_said_or_heard(reference: str, heard: str, errors: int, rate: float):
    edits = score_speech(reference, heard).normal_words
    assert (edits.errors, edits.rate) == (errors, rate)


def test_totals_weigh_by_length():
    short, long = score_speech("a", "b"), score_speech("a b c d e f g h i", "a b c d e f g h i")
    assert (short + long).words.rate == 0.1


@pytest.mark.parametrize(
    ("reference", "heard", "marked"),
    [
        ("one two three", "one too three", "one [-two-] {+too+} three"),
        ("one two three", "one three", "one [-two-] three"),
        ("one three", "one two three", "one {+two+} three"),
        ("one", "one", ""),
        ("", "one two", "{+one two+}"),
        ("one two", "", "[-one two-]"),
        ("a b c d e f g h i", "a b c d x f g h i", "… b c d [-e-] {+x+} f g h …"),
    ],
)
def test_differences_are_marked_with_a_few_words_around(reference, heard, marked):
    assert mark(reference.split(), heard.split()) == marked


@given(WORDS, WORDS)
def test_no_marks_exactly_where_nothing_differs(reference: list[str], heard: list[str]):
    assert (mark(reference, heard) == "") == (reference == heard)
