"""Messages stay one line, whatever a file is called."""

from __future__ import annotations

import pytest

from phi4audio_cli.cli.messages import clock, complain, printable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (750, "12:30"), (3723, "1:02:03")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_names_keep_their_letters_and_lose_their_tricks() -> None:
    assert printable("[bold] Grüße 中文 🎤") == "[bold] Grüße 中文 🎤"
    assert printable("a\nb\x1b[31m\u202e") == r"a\nb\x1b[31m\u202e"
    assert printable("bad\udcff.wav") == r"bad\udcff.wav"


def test_a_complaint_is_one_line_on_stderr(capsys) -> None:
    complain("talk\n.wav: is not audio")
    captured = capsys.readouterr()
    assert captured.err == "phi4audio: talk\\n.wav: is not audio\n"
    assert captured.out == ""
