"""Messages are one line of visible characters for every name of a file."""

from __future__ import annotations

from phi4audio_cli.cli.console import escape_control, print_message


def test_escape_control_keeps_letters_and_escapes_control_characters() -> None:
    assert escape_control("[bold] Grüße 中文 🎤") == "[bold] Grüße 中文 🎤"
    assert escape_control("a\nb\x1b[31m\u202e") == r"a\nb\x1b[31m\u202e"
    assert escape_control("bad\udcff.wav") == r"bad\udcff.wav"


def test_a_message_is_one_line_on_stderr(capsys) -> None:
    print_message("talk\n.wav: is not audio")
    captured = capsys.readouterr()
    assert captured.err == "phi4audio: talk\\n.wav: is not audio\n"
    assert captured.out == ""
