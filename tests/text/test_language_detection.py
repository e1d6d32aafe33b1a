"""Detecting the language of a text."""

from __future__ import annotations

import errno
import tempfile

import pytest

from phi4audio_cli.errors import FileError
from phi4audio_cli.text import language_detection as module
from phi4audio_cli.text.language_detection import detect_language


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


def test_a_full_disk_gives_advice_and_is_not_cached(monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    module._identifier.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", full)
        with pytest.raises(FileError, match=r"No space left on device.*--language"):
            detect_language("Guten Morgen, wie geht es Ihnen heute?")
    assert detect_language("Guten Morgen, wie geht es Ihnen heute?") == "German"
