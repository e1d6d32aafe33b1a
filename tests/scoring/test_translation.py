"""BLEU and chrF are sacrebleu's, and say how they were computed."""

from __future__ import annotations

import sys

import pytest
import sacrebleu

from phi4audio_cli.errors import UsageError
from phi4audio_cli.scoring.libraries import need
from phi4audio_cli.scoring.report import Pair, report_speech, report_translations
from phi4audio_cli.scoring.translation import score_translations

GOOD = "le chat est assis sur le tapis rouge"
BAD = "le chien est assis sous la table"


def test_a_corpus_has_sacrebleus_scores_and_signatures():
    score = score_translations([GOOD, GOOD], [GOOD, BAD], "fr")
    assert score.bleu == sacrebleu.corpus_bleu([GOOD, BAD], [[GOOD, GOOD]]).score
    assert score.chrf == sacrebleu.corpus_chrf([GOOD, BAD], [[GOOD, GOOD]]).score
    assert f"version:{sacrebleu.__version__}" in score.bleu_signature
    assert "tok:13a" in score.bleu_signature
    assert "nc:6" in score.chrf_signature


@pytest.mark.parametrize(("code", "name"), [("zh", "zh"), ("ja", "char"), ("de", "13a")])
def test_scripts_without_spaces_are_divided(code: str, name: str):
    score = score_translations(["今日は天気です"], ["今日は天気です"], code)
    assert f"tok:{name}" in score.bleu_signature
    if name != "13a":
        assert score.bleu == pytest.approx(100)


def test_the_worst_translation_comes_first():
    pairs = [Pair("a.wav", GOOD, GOOD), Pair("b.wav", GOOD, BAD)]
    report = report_translations(pairs, "fr")
    assert [pair.source for pair, _ in report.files] == ["b.wav", "a.wav"]
    lines = list(report.lines())
    assert report.total.bleu_signature in lines[0]
    assert any("[-chat-] {+chien+}" in line for line in lines)
    assert report.as_json()["total"]["chrf_signature"] == report.total.chrf_signature


def test_the_worst_transcript_comes_first_and_the_normaliser_is_named():
    pairs = [Pair("a.wav", "One.", "one", 2.0, 0.5), Pair("b.wav", "one two", "one")]
    report = report_speech(pairs)
    assert [pair.source for pair, _ in report.files] == ["b.wav", "a.wav"]
    entries = report.as_json()
    assert entries["normalizer"] == "phi4audio-basic 1"
    assert entries["total"]["wer"] == pytest.approx(2 / 3, abs=1e-4)
    assert entries["total"]["wer_normalized"] == pytest.approx(1 / 3, abs=1e-4)
    assert entries["files"][1]["rtfx"] == 4.0
    assert "differences" not in entries["files"][1]
    assert any("phi4audio-basic 1" in line for line in report.lines())


def test_a_library_that_is_not_there_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(UsageError, match=r"needs sacrebleu.*pip install 'phi4audio\[eval\]'"):
        need("sacrebleu")
