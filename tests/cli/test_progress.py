"""What is shown on standard error, with and without a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from phi4audio_cli.checkpoint.resolve import Download
from phi4audio_cli.cli import progress
from phi4audio_cli.cli.live import LiveDisplay
from phi4audio_cli.cli.progress import Display, PlainDisplay, open_display
from phi4audio_cli.cli.tally import Tally
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import FileFailed, FileStarted

from .samples import chunk_done, file_done, job

NAME = "[bold]talk\n.wav"
DOWNLOAD = Download("some/model", "main", ("a", "b"), 4_000_000_000, Path("/cache"))


def play(display: Display) -> None:
    """One recording is done, another fails."""
    with display:
        display.stage("loading some/model")
        for done in range(0, 4_000_000_001, 500_000_000):
            display.download(DOWNLOAD, done)
        display.note("weights placed on CPU")
        display.begin()
        display.take(FileStarted(job(0, NAME), 20.0))
        display.take(chunk_done(job(0, NAME), 20.0, "hello there"))
        display.take(file_done(job(0, NAME), 20.0))
        display.wrote(job(0, NAME), [Path("out/talk.txt"), Path("out/talk.srt")])
        display.take(FileFailed(job(1), AudioError("is torn", "b.wav", "record it again")))
        display.problem(AudioError("is torn", "b.wav", "record it again"))
        display.summary()


def test_quiet_shows_problems_only(capsys) -> None:
    play(Display(Tally(2)))
    assert capsys.readouterr().err == "phi4audio: b.wav: is torn (record it again)\n"


def test_plain_lines(capsys) -> None:
    play(PlainDisplay(Tally(2)))
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert all(line.startswith("phi4audio: ") for line in lines)
    assert "phi4audio: downloading some/model (4.00 GB) into /cache" in lines
    assert sum("downloaded" in line for line in lines) == 8
    assert "phi4audio: downloaded 2.50 of 4.00 GB" in lines
    assert r"phi4audio: [1/2] [bold]talk\n.wav -> out/talk.txt .srt" in lines
    assert lines[-1].startswith("phi4audio: 1 of 2 done, 1 failed: 0:20 of audio in 0:00, RTFx ")


def test_plain_lines_tell_of_long_recordings_now_and_then(capsys, monkeypatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.0)
    display = PlainDisplay(Tally(1))
    display.begin()
    display.take(FileStarted(job(), 600.0))
    display.take(chunk_done(job(), 40.0))
    assert capsys.readouterr().err == "phi4audio: talk.wav: 0:40 of 10:00 done\n"


def test_verbose_shows_every_chunk(capsys) -> None:
    play(PlainDisplay(Tally(2), verbose=True))
    expected = r"[bold]talk\n.wav 0:00-0:20 (log-probability -0.20): hello there"
    assert f"phi4audio: {expected}\n" in capsys.readouterr().err


@pytest.fixture
def console() -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=80, markup=False, highlight=False,
        color_system=None, legacy_windows=False,
    )  # fmt: skip


def drawn(display: LiveDisplay) -> str:
    """What is drawn at the foot of the terminal now."""
    page = Console(file=io.StringIO(), width=80)
    page.print(display._render())
    return page.file.getvalue()


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_shows_bars_speed_and_text(console: Console) -> None:
    display = LiveDisplay(Tally(2), console)
    with display:
        display.begin()
        display.take(FileStarted(job(0, NAME), 40.0))
        display.take(chunk_done(job(0, NAME), 20.0, "hello there"))
        shown = drawn(display)
    assert "0 of 2" in shown
    assert "0:20 of 1:20  RTFx" in shown
    assert "left" in shown
    assert r"[bold]talk\n.wav 0:00-0:20 (log-probability -0.20): hello there" in shown


def test_a_long_text_takes_a_few_lines_only(console: Console) -> None:
    display = LiveDisplay(Tally(1), console)
    with display:
        display.begin()
        display.take(chunk_done(job(), 20.0, "word " * 400))
        assert len(drawn(display).splitlines()) == 6


def test_the_terminal_keeps_problems_and_results(console: Console) -> None:
    play(LiveDisplay(Tally(2), console))
    shown = written(console)
    assert "phi4audio: b.wav: is torn (record it again)" in shown
    assert r"[1/2] [bold]talk\n.wav -> out/talk.txt .srt" in shown
    assert "downloading some/model (4.00 GB) into /cache" in shown
    assert "1 of 2 done, 1 failed" in shown


def test_the_drawing_makes_room_for_standard_output(console: Console) -> None:
    with LiveDisplay(Tally(1), console) as display:
        display.begin()
        before = display._live
        with display.aside(job()):
            assert not before.is_started
        # A Live that starts again goes up over the lines it drew before.
        assert display._live is not before
        assert display._live.is_started
    assert not display._live.is_started


def test_the_display_fits_standard_error(capsys, monkeypatch) -> None:
    assert type(open_display(Tally(1), quiet=False, verbose=False)) is PlainDisplay
    assert type(open_display(Tally(1), quiet=True, verbose=False)) is Display
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with open_display(Tally(1), quiet=False, verbose=False) as display:
        assert type(display) is LiveDisplay


ROWS = [("[bold]a\n.wav", "failed", "is torn"), ("b.wav", "warnings", "looks [red]odd")]


@pytest.mark.parametrize("kind", ["quiet", "plain", "live"])
def test_the_table_names_what_failed_and_is_left_out_where_it_is_quiet(
    kind: str, console: Console, capsys
) -> None:
    display = {
        "quiet": lambda: Display(Tally(2)),
        "plain": lambda: PlainDisplay(Tally(2)),
        "live": lambda: LiveDisplay(Tally(2), console),
    }[kind]()
    with display:
        display.table(ROWS)
    shown = capsys.readouterr().err + written(console)
    told = [r"[bold]a\n.wav", "failed", "is torn", "looks [red]odd"]
    assert all((each in shown) == (kind != "quiet") for each in told)


def test_the_table_names_a_recording_once_a_row(capsys) -> None:
    PlainDisplay(Tally(1)).table([("a.wav", "failed", "a.wav: is torn")])
    shown = capsys.readouterr().err
    assert "is torn" in shown
    assert shown.count("a.wav") == 1


def test_a_very_long_table_is_cut(capsys) -> None:
    PlainDisplay(Tally(1)).table([(f"{n}.wav", "failed", "torn") for n in range(1000)])
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) < 70
    assert "and 950 more" in shown


def test_a_recording_that_is_done_is_named_and_counted(capsys) -> None:
    display = PlainDisplay(Tally(2))
    display.skip(job(0, NAME), "done before")
    display.warn(job(1, "b.wav"), "is doubtful")
    display.summary()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        r"phi4audio: [1/2] [bold]talk\n.wav: done before", "phi4audio: b.wav: is doubtful"
    ]  # fmt: skip
    assert "0 of 2 done, 1 skipped" in lines[2]
