"""Error rates, BLEU, chrF, differences and the normaliser."""

from __future__ import annotations

import sys

import jiwer
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from phi4audio_cli.errors import UsageError
from phi4audio_cli.evaluation.metrics import (
    NORMALIZER_VERSION,
    EditCounts,
    inline_diff,
    normalize,
    require,
    score_speech,
    score_translations,
)

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
def test_normalize_follows_its_rules(text: str, normal: str):
    assert normalize(text) == normal
    assert normalize(normal) == normal


def test_the_normaliser_has_a_name_and_a_version():
    name, version = NORMALIZER_VERSION.split()
    assert name.startswith("phi4audio")
    assert int(version) >= 1


def test_known_errors_are_counted():
    score = score_speech("One two, three four", "one too three four five")
    assert score.words == EditCounts(substitutions=2, deletions=0, insertions=1, reference_length=4)
    assert score.normalized_words == EditCounts(
        substitutions=1, deletions=0, insertions=1, reference_length=4
    )
    assert score.normalized_words.rate == 0.5
    assert score.normalized_characters.reference_length == len("one two three four")


@given(WORDS.filter(bool), WORDS)
def test_rates_equal_those_of_jiwer(reference: list[str], hypothesis: list[str]):
    left, right = " ".join(reference), " ".join(hypothesis)
    score = score_speech(left, right)
    assert score.words.rate == pytest.approx(jiwer.wer(left, right))
    assert score.characters.rate == pytest.approx(jiwer.cer(left, right))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "rate"),
    [("", "", 0, 0), ("", "a b", 2, 2), ("a b", "", 2, 1), ("?", "!", 0, 0)],
)
def test_empty_reference_or_hypothesis(reference: str, hypothesis: str, errors: int, rate: float):
    edits = score_speech(reference, hypothesis).normalized_words
    assert (edits.errors, edits.rate) == (errors, rate)


def test_totals_weigh_by_length():
    short, long = score_speech("a", "b"), score_speech("a b c d e f g h i", "a b c d e f g h i")
    assert (short + long).words.rate == 0.1


@pytest.mark.parametrize(
    ("reference", "hypothesis", "marked"),
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
def test_differences_are_marked_in_their_context(reference, hypothesis, marked):
    assert inline_diff(reference.split(), hypothesis.split()) == marked


@given(WORDS, WORDS)
def test_the_diff_is_empty_only_for_equal_texts(reference: list[str], hypothesis: list[str]):
    assert (inline_diff(reference, hypothesis) == "") == (reference == hypothesis)


GOOD = "le chat est assis sur le tapis rouge"
BAD = "le chien est assis sous la table"


def test_scores_and_signatures_equal_those_of_sacrebleu():
    score = score_translations([GOOD, GOOD], [GOOD, BAD], "fr")
    assert score.bleu == sacrebleu.corpus_bleu([GOOD, BAD], [[GOOD, GOOD]]).score
    assert score.chrf == sacrebleu.corpus_chrf([GOOD, BAD], [[GOOD, GOOD]]).score
    assert f"version:{sacrebleu.__version__}" in score.bleu_signature
    assert "tok:13a" in score.bleu_signature
    assert "nc:6" in score.chrf_signature


@pytest.mark.parametrize(("code", "name"), [("zh", "zh"), ("ja", "char"), ("de", "13a")])
def test_scripts_without_spaces_have_their_own_tokenizer(code: str, name: str):
    score = score_translations(["今日は天気です"], ["今日は天気です"], code)
    assert f"tok:{name}" in score.bleu_signature
    if name != "13a":
        assert score.bleu == pytest.approx(100)


def test_a_missing_library_is_reported_with_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(UsageError, match=r"needs sacrebleu.*pip install 'phi4audio\[eval\]'"):
        require("sacrebleu")
