"""Reports of evaluations: order, totals and lines."""

from __future__ import annotations

import pytest

from phi4audio_cli.evaluation.score_report import TextPair, report_speech, report_translations
from tests.evaluation.test_metrics import BAD, GOOD


def test_the_worst_translation_comes_first():
    pairs = [TextPair("a.wav", GOOD, GOOD), TextPair("b.wav", GOOD, BAD)]
    report = report_translations(pairs, "fr")
    assert [pair.source for pair, _ in report.files] == ["b.wav", "a.wav"]
    lines = list(report.lines())
    assert report.total.bleu_signature in lines[0]
    assert any("[-chat-] {+chien+}" in line for line in lines)
    assert report.as_json()["total"]["chrf_signature"] == report.total.chrf_signature


def test_the_worst_transcript_comes_first_and_the_normaliser_is_named():
    pairs = [TextPair("a.wav", "One.", "one", 2.0, 0.5), TextPair("b.wav", "one two", "one")]
    report = report_speech(pairs)
    assert [pair.source for pair, _ in report.files] == ["b.wav", "a.wav"]
    entries = report.as_json()
    assert entries["normalizer"] == "phi4audio-basic 1"
    assert entries["total"]["wer"] == pytest.approx(2 / 3, abs=1e-4)
    assert entries["total"]["wer_normalized"] == pytest.approx(1 / 3, abs=1e-4)
    assert entries["files"][1]["rtfx"] == 4.0
    assert "differences" not in entries["files"][1]
    assert any("phi4audio-basic 1" in line for line in report.lines())


def test_the_lines_of_a_transcript_name_verbatim_and_normalised_rates():
    lines = list(report_speech([TextPair("a.wav", "One two.", "one too")]).lines())
    assert lines[0] == "WER 100.0 %, CER 37.5 % verbatim"
    assert lines[1].startswith("WER 50.0 %, CER 14.3 % normalised (phi4audio-basic 1: ")
    assert lines[2] == "2 words: 1 substitutions, 0 deletions, 0 insertions"
    assert lines[4:] == [
        "a.wav: WER 50.0 %, CER 14.3 % normalised, WER 100.0 %, CER 37.5 % verbatim",
        "  one [-two-] {+too+}",
    ]
