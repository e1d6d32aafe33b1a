"""The displays write progress and problems to standard error, with and without a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from phi4audio_cli.checkpoint.hub import Download
from phi4audio_cli.cli.display import Display, PlainDisplay, StageClock
from phi4audio_cli.cli.live_display import LiveDisplay, open_display
from phi4audio_cli.cli.run_stats import RunStats
from phi4audio_cli.errors import AudioError
from phi4audio_cli.types import FileFailed, FileStarted
from tests.factories import make_chunk_done, make_file_done, make_job

NAME = "[bold]talk\n.wav"
DOWNLOAD = Download("some/model", "main", ("a", "b"), 4_000_000_000, Path("/cache"))


def show_example_run(display: Display) -> None:
    """Show a run in which one recording succeeds and another fails."""
    with display:
        display.on_status("loading some/model")
        for done in range(0, 4_000_000_001, 500_000_000):
            display.on_download(DOWNLOAD, done)
        display.on_notice("weights placed on CPU")
        display.on_model_loaded()
        display.on_event(FileStarted(make_job(0, NAME), 20.0))
        display.on_event(make_chunk_done(make_job(0, NAME), 20.0, "hello there"))
        display.on_event(make_file_done(make_job(0, NAME), 20.0))
        display.on_written(make_job(0, NAME), [Path("out/talk.txt"), Path("out/talk.srt")])
        display.on_event(FileFailed(make_job(1), AudioError("is torn", "b.wav", "record it again")))
        display.show_error(AudioError("is torn", "b.wav", "record it again"))
        display.show_summary()


def test_quiet_shows_problems_only(capsys) -> None:
    show_example_run(Display(RunStats(2)))
    assert capsys.readouterr().err == "phi4audio: b.wav: is torn (record it again)\n"


def test_plain_lines(capsys) -> None:
    show_example_run(PlainDisplay(RunStats(2)))
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert all(line.startswith("phi4audio: ") for line in lines)
    assert "phi4audio: downloading some/model (4.00 GB) into /cache" in lines
    assert sum("downloading: " in line for line in lines) == 8
    assert "phi4audio: downloading: 2.50 of 4.00 GB, 0:00 left" in lines
    assert r"phi4audio: [1/2] [bold]talk\n.wav -> out/talk.txt .srt" in lines
    assert lines[-1].startswith("phi4audio: 1 of 2 done, 1 failed: 0:20 of audio in 0:00, RTFx ")


def test_plain_display_reports_progress_of_long_recordings(capsys, monkeypatch) -> None:
    monkeypatch.setattr("phi4audio_cli.cli.display.PROGRESS_INTERVAL_SECONDS", 0.0)
    display = PlainDisplay(RunStats(1))
    display.on_model_loaded()
    display.on_event(FileStarted(make_job(), 600.0))
    display.on_event(make_chunk_done(make_job(), 40.0))
    assert capsys.readouterr().err == "phi4audio: talk.wav: 0:40 of 10:00 done\n"


def test_verbose_shows_every_chunk(capsys) -> None:
    show_example_run(PlainDisplay(RunStats(2), verbose=True))
    expected = r"[bold]talk\n.wav 0:00-0:20 (log-probability -0.20): hello there"
    assert f"phi4audio: {expected}\n" in capsys.readouterr().err


@pytest.fixture
def console() -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=80, markup=False, highlight=False,
        color_system=None, legacy_windows=False,
    )  # fmt: skip


def rendered(display: LiveDisplay) -> str:
    """Return the present drawing at the bottom of the terminal."""
    page = Console(file=io.StringIO(), width=80)
    page.print(display._render())
    return page.file.getvalue()


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_shows_bars_speed_and_text(console: Console) -> None:
    display = LiveDisplay(RunStats(2), console)
    with display:
        display.on_model_loaded()
        display.on_event(FileStarted(make_job(0, NAME), 40.0))
        display.on_event(make_chunk_done(make_job(0, NAME), 20.0, "hello there"))
        shown = rendered(display)
    assert "0 of 2" in shown
    assert "0:20 of 1:20  RTFx" in shown
    assert "left" in shown
    assert r"[bold]talk\n.wav 0:00-0:20 (log-probability -0.20): hello there" in shown


def test_a_long_text_takes_a_few_lines_only(console: Console) -> None:
    display = LiveDisplay(RunStats(1), console)
    with display:
        display.on_model_loaded()
        display.on_event(make_chunk_done(make_job(), 20.0, "word " * 400))
        assert len(rendered(display).splitlines()) == 6


def test_the_terminal_keeps_problems_and_results(console: Console) -> None:
    show_example_run(LiveDisplay(RunStats(2), console))
    shown = written(console)
    assert "phi4audio: b.wav: is torn (record it again)" in shown
    assert r"[1/2] [bold]talk\n.wav -> out/talk.txt .srt" in shown
    assert "downloading some/model (4.00 GB) into /cache" in shown
    assert "1 of 2 done, 1 failed" in shown


def test_live_display_pauses_while_stdout_is_printed(console: Console) -> None:
    with LiveDisplay(RunStats(1), console) as display:
        display.on_model_loaded()
        before = display._live
        with display.paused(make_job()):
            assert not before.is_started
        # A Live that starts again goes up over the lines it drew before.
        assert display._live is not before
        assert display._live.is_started
    assert not display._live.is_started


def test_open_display_picks_the_display_for_stderr(capsys, monkeypatch) -> None:
    assert type(open_display(RunStats(1), quiet=False, verbose=False)) is PlainDisplay
    assert type(open_display(RunStats(1), quiet=True, verbose=False)) is Display
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with open_display(RunStats(1), quiet=False, verbose=False) as display:
        assert type(display) is LiveDisplay


ROWS = [("[bold]a\n.wav", "failed", "is torn"), ("b.wav", "warnings", "looks [red]odd")]


@pytest.mark.parametrize("kind", ["quiet", "plain", "live"])
def test_problem_table_lists_failures_unless_quiet(kind: str, console: Console, capsys) -> None:
    display = {
        "quiet": lambda: Display(RunStats(2)),
        "plain": lambda: PlainDisplay(RunStats(2)),
        "live": lambda: LiveDisplay(RunStats(2), console),
    }[kind]()
    with display:
        display.show_problems(ROWS)
    shown = capsys.readouterr().err + written(console)
    cells = [r"[bold]a\n.wav", "failed", "is torn", "looks [red]odd"]
    assert all((cell in shown) == (kind != "quiet") for cell in cells)


def test_problem_table_names_a_recording_once_per_row(capsys) -> None:
    PlainDisplay(RunStats(1)).show_problems([("a.wav", "failed", "a.wav: is torn")])
    shown = capsys.readouterr().err
    assert "is torn" in shown
    assert shown.count("a.wav") == 1


def test_a_long_problem_table_is_truncated(capsys) -> None:
    PlainDisplay(RunStats(1)).show_problems([(f"{n}.wav", "failed", "torn") for n in range(1000)])
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) < 70
    assert "and 950 more" in shown


def test_skipped_recordings_and_warnings_are_shown_and_counted(capsys) -> None:
    display = PlainDisplay(RunStats(2))
    display.on_skipped(make_job(0, NAME), "done before")
    display.on_warning(make_job(1, "b.wav"), "is doubtful")
    display.show_summary()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        r"phi4audio: [1/2] [bold]talk\n.wav: done before", "phi4audio: b.wav: is doubtful"
    ]  # fmt: skip
    assert "0 of 2 done, 1 skipped" in lines[2]


def test_stages_print_a_line_for_every_tenth_each(capsys) -> None:
    display = PlainDisplay(RunStats(0))
    for stage in ("writing", "verifying"):
        for done in range(0, 2_000_000_001, 100_000_000):
            display.on_bytes(stage, done, 2_000_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    assert lines[0] == "phi4audio: writing: 0.20 of 2.00 GB, 0:00 left"
    assert lines[-1] == "phi4audio: verifying: 2.00 of 2.00 GB, 0:00 left"


def test_the_terminal_shows_a_bar_of_the_present_stage_only(console: Console) -> None:
    with LiveDisplay(RunStats(0), console) as display:
        assert rendered(display).strip() == ""
        display.on_bytes("writing", 500_000_000, 2_000_000_000)
        display.on_bytes("verifying", 1_000_000_000, 2_000_000_000)
        shown = rendered(display)
    assert "verifying" in shown
    assert "1.00 of 2.00 GB" in shown
    assert "writing" not in shown


def test_the_time_left_of_a_stage_follows_its_speed(monkeypatch) -> None:
    seconds = iter([100.0, 110.0, 200.0, 230.0])
    monkeypatch.setattr("phi4audio_cli.cli.display.time.monotonic", lambda: next(seconds))
    clock = StageClock()
    assert clock.start_if_new("writing", 0)
    assert not clock.start_if_new("writing", 20)
    assert clock.seconds_left(20, 100) == pytest.approx(40)
    assert clock.start_if_new("verifying", 10)
    assert clock.seconds_left(10, 100) == pytest.approx(270)
