"""The language of a text."""

from __future__ import annotations

import pytest

from phi4audio_cli.text.language import detect_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("And so, my fellow Americans, ask not what your country can do for you.", "English"),
        ("Guten Morgen, wie geht es Ihnen heute?", "German"),
        ("Bonjour, comment allez-vous aujourd'hui ?", "French"),
        ("今日はとても良い天気ですね。", "Japanese"),
        ("今天天气很好，我们去公园吧。", "Chinese"),
        ("", None),
        ("  ", None),
        ("one", None),
    ],
)
def test_languages(text, language):
    assert detect_language(text) == language
