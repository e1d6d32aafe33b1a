"""Finding recordings: files, folders, patterns, URLs and manifests, and errors about them."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs import discover
from phi4audio_cli.jobs.discover import find_inputs
from phi4audio_cli.jobs.input_source import STDIN, InputSource


@pytest.fixture
def working_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with recordings and other files."""
    for name in (
        "talk.wav", "Song.MP3", "notes.txt", ".hidden.wav", "sub/deep.flac", "sub/low/er.m4a",
        "empty/readme.md", "[bold].wav", "-dash.wav",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*inputs: str, recursive: bool = False) -> list[str]:
    recordings, problems = find_inputs(inputs, recursive=recursive)
    assert problems == []
    return [str(each.path) for each in recordings]


def problem(*inputs: str, recursive: bool = False) -> str:
    recordings, (error,) = find_inputs(inputs, recursive=recursive)
    assert recordings == []
    assert error.remedy
    return str(error)


@pytest.mark.usefixtures("working_dir")
class TestFound:
    def test_files_keep_their_order_without_duplicates(self) -> None:
        assert found("talk.wav", "Song.MP3", "./talk.wav", "sub/../Song.MP3") == [
            "talk.wav",
            "Song.MP3",
        ]

    @pytest.mark.parametrize(
        "suffix",
        ["3g2", "3gp", "3gpp", "asf", "awb", "bwf", "dss", "f4v", "m4r", "mov", "mpga", "mxf",
         "oma", "qt", "rmvb", "sph", "weba", "wma"],
    )  # fmt: skip
    def test_a_folder_gives_recordings_of_all_kinds(self, suffix: str) -> None:
        Path("empty", f"Voice 001.{suffix.upper()}").write_bytes(b"x")
        assert found("empty") == [f"empty/Voice 001.{suffix.upper()}"]

    def test_left_out_files_are_counted_in_one_line(self) -> None:
        for name in ("a.pdf", "b.PDF", "c.jpg", "README", "talk.srt", "talk.json", "sub/d.pdf"):
            Path(name).write_bytes(b"x")
        notices: list[str] = []
        find_inputs([".", "talk.wav"], recursive=True, on_notice=notices.append)
        assert notices == [
            "5 files left out, by the extension: 3 .pdf, 1 without extension, 1 .jpg "
            "(name a file to transcribe it)"
        ]
        find_inputs(["sub/low", "talk.wav"], on_notice=notices.append)
        assert len(notices) == 1, "hidden files and outputs are not counted"

    def test_a_named_file_may_have_any_extension(self) -> None:
        assert found("notes.txt", "-dash.wav", "[bold].wav") == [
            "notes.txt",
            "-dash.wav",
            "[bold].wav",
        ]

    def test_a_folder_stands_for_its_media_files(self) -> None:
        assert found(".") == ["-dash.wav", "Song.MP3", "[bold].wav", "talk.wav"]

    def test_subfolders_are_searched_with_recursive(self) -> None:
        assert found("sub") == ["sub/deep.flac"]
        assert found("sub", recursive=True) == ["sub/deep.flac", "sub/low/er.m4a"]

    def test_patterns_are_expanded(self) -> None:
        assert found("t*.wav") == ["talk.wav"]
        assert found("**/*.m4a") == ["sub/low/er.m4a"]
        assert found("[tn]*") == ["talk.wav"]
        assert found("*.txt") == ["notes.txt"]

    def test_a_link_to_another_input_is_a_duplicate(self, working_dir: Path) -> None:
        (working_dir / "link.wav").symlink_to(working_dir / "talk.wav")
        assert found("talk.wav", "link.wav") == ["talk.wav"]


@pytest.mark.usefixtures("working_dir")
class TestProblems:
    def test_a_missing_file_gives_a_suggestion(self) -> None:
        assert problem("tolk.wav") == "tolk.wav: no such file (did you mean talk.wav?)"
        assert "did you mean sub/deep.flac?" in problem("sub/deap.flac")
        assert "check the name" in problem("zzzzzzzz")

    def test_a_missing_folder_is_reported(self) -> None:
        assert "no such file or folder" in problem("nowhere/talk.wav")

    def test_a_folder_without_recordings_is_reported(self) -> None:
        assert "--recursive" in problem("empty")
        assert "no recordings" in problem("empty", recursive=True)

    def test_a_pattern_without_matches_is_reported(self) -> None:
        assert "pattern" in problem("*.aiff")

    def test_a_name_that_is_too_long_is_reported(self) -> None:
        assert "name" in problem("x" * 5000)

    def test_other_inputs_are_found_despite_errors(self) -> None:
        recordings, problems = find_inputs(["gone.wav", "talk.wav", "empty"])
        assert [each.name for each in recordings] == ["talk.wav"]
        assert [error.where for error in problems] == ["gone.wav", "empty"]

    def test_a_pipe_is_reported_and_not_opened(self, working_dir: Path) -> None:
        os.mkfifo(working_dir / "call.wav")
        assert "call.wav: is a pipe, not a file" in problem("call.wav")
        recordings, problems = find_inputs(["."])
        assert "talk.wav" in [each.name for each in recordings]
        assert [error.where for error in problems] == ["call.wav"]

    def test_broken_links_are_reported(self, working_dir: Path) -> None:
        (working_dir / "empty" / "call.wav").symlink_to("gone.wav")
        assert "empty/call.wav: is a broken link" in problem("empty")
        assert "empty/call.wav: is a broken link" in problem("empty/*.wav")

    def test_a_folder_named_like_a_recording_is_a_folder(self, working_dir: Path) -> None:
        (working_dir / "empty" / "x.wav").mkdir()
        assert "no recordings" in problem("empty/x.wav")
        assert "no recordings" in problem("empty")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads anything")
    def test_an_unreadable_folder_is_reported_once(self, working_dir: Path) -> None:
        (working_dir / "sub" / "low").chmod(0)
        try:
            recordings, (error,) = find_inputs(["sub"], recursive=True)
        finally:
            (working_dir / "sub" / "low").chmod(0o700)
        assert [each.name for each in recordings] == ["deep.flac"]
        assert str(error).startswith("sub/low: can't be read: Permission denied")

    def test_an_invalid_name_is_reported(self) -> None:
        assert "can't be read" in problem("a\0b.wav")


@pytest.mark.usefixtures("working_dir")
class TestNames:
    def test_long_and_unusual_names_are_found(self, working_dir: Path) -> None:
        names = ["x" * 251 + ".wav", "é" * 125 + ".wav", "caf\udce9.wav", "-.wav", "@home.wav", "-"]
        for name in names:
            (working_dir / name).write_bytes(b"x")
        assert found(*names[:5], "./-") == names

    def test_a_source_has_the_folder_in_which_it_was_found(self) -> None:
        recordings, _ = find_inputs(["talk.wav", "sub", "*/low/*.m4a"], recursive=True)
        assert [(str(each.path), each.root) for each in recordings] == [
            ("talk.wav", None),
            ("sub/deep.flac", Path("sub")),
            ("sub/low/er.m4a", Path("sub")),
        ]
        recordings, _ = find_inputs(["sub/*/*.m4a", "*.wav"])
        assert [each.root for each in recordings] == [Path("sub"), *[Path()] * 3]


class TestStandardInput:
    def test_it_is_one_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        assert find_inputs(["-", "-"]) == ([InputSource(Path("stdin"), "stdin", url=STDIN)], [])

    def test_a_terminal_is_rejected(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)
        assert "standard input: nothing is piped in" in problem("-")


class TestFileUrls:
    @pytest.mark.parametrize("start", ["file://", "file://localhost", "file:", "FILE://"])
    def test_a_file_url_is_the_local_file(self, working_dir: Path, start: str) -> None:
        (working_dir / "é b.wav").write_bytes(b"x")
        url = f"{start}{working_dir}/%C3%A9%20b.wav"
        assert found(url) == [f"{working_dir}/é b.wav"]
        (working_dir / "list.txt").write_text(f"{url}\ntalk.wav\n", encoding="utf-8")
        assert found("@list.txt") == [f"{working_dir}/é b.wav", "talk.wav"]

    def test_it_needs_no_network_and_may_be_a_folder(self, working_dir: Path) -> None:
        recordings, problems = find_inputs([f"file://{working_dir}/sub"], offline=True)
        assert ([each.name for each in recordings], problems) == (["deep.flac"], [])

    def test_a_literal_percent_sign_is_found(self, working_dir: Path) -> None:
        (working_dir / "100%20.wav").write_bytes(b"x")
        assert found(f"file://{working_dir}/100%20.wav") == [f"{working_dir}/100%20.wav"]

    def test_a_file_of_another_host_or_a_missing_one_is_reported(self, working_dir: Path) -> None:
        assert "another host" in problem("file://server/talk.wav")
        assert "no such file" in problem(f"file://{working_dir}/none.wav")


class TestUrls:
    def test_urls_are_named_after_their_path(self) -> None:
        urls = ["memory://calls/mon/a b.mp3", "MEMORY://calls/x%20y.mp3", "memory://calls"]
        recordings, problems = find_inputs([*urls, urls[0]])
        assert problems == []
        assert [(each.url, each.name, each.path) for each in recordings] == [
            (url, name, Path(name))
            for url, name in zip(urls, ["a b.mp3", "x%20y.mp3", "calls"], strict=True)
        ]

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("https://me:secret@x.org:8080/a/caf%C3%A9%20%5Bb%5D.mp3?sign=1#t=3", "café [b].mp3"),
            ("https://x.org/a%2F..%2Fb%00.mp3", "a_.._b_.mp3"),
            ("https://X.org/", "x.org"),
            ("https://x.org/../..", "x.org"),
        ],
    )
    def test_names_of_web_urls_are_decoded(
        self, url: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(discover, "check_readable_scheme", lambda url: None)
        assert [each.name for each in find_inputs([url])[0]] == [name]

    @pytest.mark.parametrize("url", ["https:///talk.mp3", "https://", "https://[x/talk.mp3"])
    def test_a_url_without_a_host_is_reported(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(discover, "check_readable_scheme", lambda url: None)
        assert problem(url).startswith(url)

    def test_a_missing_package_is_searched_once(
        self, working_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checked = []

        def check(url: str) -> None:
            checked.append(url)
            raise UsageError("s3:// needs more packages", url, "pip install 'phi4audio[remote]'")

        monkeypatch.setattr(discover, "check_readable_scheme", check)
        (working_dir / "list.txt").write_text("s3://calls/a.mp3\ntalk.wav\ns3://calls/b.mp3\n")
        recordings, problems = find_inputs(["@list.txt"])
        assert [each.name for each in recordings] == ["talk.wav"]
        assert [error.where for error in problems] == ["list.txt, line 1", "list.txt, line 3"]
        assert problems[1].what == "s3:// needs more packages: s3://calls/b.mp3"
        assert len(checked) == 1


@pytest.mark.usefixtures("working_dir")
class TestLists:
    def test_paths_are_relative_to_the_list(self, working_dir: Path) -> None:
        lines = [
            "deep.flac",
            "../talk.wav",
            str(working_dir / "Song.MP3"),
            "low",
            "memory://x/y.mp3",
        ]
        (working_dir / "sub" / "list.txt").write_text("\n".join(lines))
        recordings, problems = find_inputs(["@sub/list.txt"])
        assert problems == []
        assert [(str(each.path), each.root) for each in recordings] == [
            ("sub/deep.flac", Path("sub")),
            ("sub/../talk.wav", None),
            (str(working_dir / "Song.MP3"), None),
            ("sub/low/er.m4a", Path("sub")),
            ("y.mp3", None),
        ]

    @pytest.mark.parametrize("given", ["@calls.jsonl", "calls.jsonl"])
    def test_a_manifest_has_language_and_reference(self, working_dir: Path, given: str) -> None:
        row = {"path": "talk.wav", "language": "fr", "reference": "un"}
        (working_dir / "calls.jsonl").write_text(json.dumps(row))
        assert find_inputs([given])[0] == [
            InputSource(Path("talk.wav"), "talk.wav", None, "French", "un", Path())
        ]

    def test_a_missing_file_is_reported_with_its_line(self, working_dir: Path) -> None:
        (working_dir / "calls.csv").write_text("path\ntolk.wav\ntalk.wav\n./talk.wav\nempty\n")
        recordings, problems = find_inputs(["@calls.csv"])
        assert [each.name for each in recordings] == ["talk.wav"]
        assert [f"{error.where}: {error.what}" for error in problems] == [
            "calls.csv, line 2: no such file: tolk.wav",
            "calls.csv, line 5: no recordings in this folder: empty",
        ]

    def test_a_missing_or_empty_list_is_reported(self, working_dir: Path) -> None:
        assert "gone.txt: this list can't be read" in problem("@gone.txt")
        assert "this list can't be read" in problem("@" + "x" * 5000)
        (working_dir / "none.txt").write_text("# nothing\n")
        assert "none.txt: no recordings in this list" in problem("@none.txt")

    def test_a_recording_named_like_a_list_is_a_recording(self, working_dir: Path) -> None:
        (working_dir / "@talk.wav").write_bytes(b"x")
        assert found("@talk.wav") == ["@talk.wav"]

    def test_a_long_list_is_fast_with_one_stat_call_per_file(
        self, working_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number, calls = 20_000, 0
        (working_dir / "long.txt").write_text(
            "talk.wav\n" + "".join(f"x{n}.wav\n" for n in range(number))
        )

        def counted(function):
            def count(path, **options):
                nonlocal calls
                calls += 1
                return function(path, **options)

            return count

        for name in ("stat", "lstat"):  # pathlib uses one of them, depending on Python
            monkeypatch.setattr(os, name, counted(getattr(os, name)))
        begin = time.process_time()
        recordings, problems = find_inputs(["@long.txt"])
        assert (len(recordings), len(problems)) == (1, number)
        assert number < calls < number + 100
        assert time.process_time() - begin < 10
