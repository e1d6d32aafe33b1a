"""Finding recordings: files, folders, patterns, and what to say when there are none."""

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
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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


@pytest.mark.usefixtures("here")
class TestFound:
    def test_files_keep_their_order_and_come_once(self) -> None:
        assert found("talk.wav", "Song.MP3", "./talk.wav", "sub/../Song.MP3") == [
            "talk.wav",
            "Song.MP3",
        ]

    def test_a_file_named_is_taken_whatever_its_name(self) -> None:
        assert found("notes.txt", "-dash.wav", "[bold].wav") == [
            "notes.txt",
            "-dash.wav",
            "[bold].wav",
        ]

    def test_a_folder_gives_its_media_files(self) -> None:
        assert found(".") == ["-dash.wav", "Song.MP3", "[bold].wav", "talk.wav"]

    def test_a_folder_is_searched_on_request(self) -> None:
        assert found("sub") == ["sub/deep.flac"]
        assert found("sub", recursive=True) == ["sub/deep.flac", "sub/low/er.m4a"]

    def test_patterns_are_expanded(self) -> None:
        assert found("t*.wav") == ["talk.wav"]
        assert found("**/*.m4a") == ["sub/low/er.m4a"]
        assert found("[tn]*") == ["talk.wav"]
        assert found("*.txt") == ["notes.txt"]

    def test_a_link_to_a_recording_named_already_is_the_same(self, here: Path) -> None:
        (here / "link.wav").symlink_to(here / "talk.wav")
        assert found("talk.wav", "link.wav") == ["talk.wav"]


@pytest.mark.usefixtures("here")
class TestProblems:
    def test_a_missing_file_names_the_nearest(self) -> None:
        assert problem("tolk.wav") == "tolk.wav: no such file (did you mean talk.wav?)"
        assert "did you mean sub/deep.flac?" in problem("sub/deap.flac")
        assert "check the name" in problem("zzzzzzzz")

    def test_a_missing_folder_is_named(self) -> None:
        assert "nor its folder" in problem("nowhere/talk.wav")

    def test_a_folder_without_recordings_says_so(self) -> None:
        assert "--recursive" in problem("empty")
        assert "no recordings" in problem("empty", recursive=True)

    def test_a_pattern_without_matches_says_so(self) -> None:
        assert "pattern" in problem("*.aiff")

    def test_a_name_no_file_can_have_says_so(self) -> None:
        assert "name" in problem("x" * 5000)

    def test_the_others_are_found_all_the_same(self) -> None:
        recordings, problems = find_inputs(["gone.wav", "talk.wav", "empty"])
        assert [each.name for each in recordings] == ["talk.wav"]
        assert [error.where for error in problems] == ["gone.wav", "empty"]

    def test_a_pipe_is_told_and_not_waited_for(self, here: Path) -> None:
        os.mkfifo(here / "call.wav")
        assert "call.wav: is a pipe and no file" in problem("call.wav")
        recordings, problems = find_inputs(["."])
        assert "talk.wav" in [each.name for each in recordings]
        assert [error.where for error in problems] == ["call.wav"]

    def test_links_to_nothing_are_told_in_folders_too(self, here: Path) -> None:
        (here / "empty" / "call.wav").symlink_to("gone.wav")
        assert "empty/call.wav: is a link to nothing" in problem("empty")
        assert "empty/call.wav: is a link to nothing" in problem("empty/*.wav")

    def test_a_folder_that_looks_like_a_recording_is_a_folder(self, here: Path) -> None:
        (here / "empty" / "x.wav").mkdir()
        assert "no recordings" in problem("empty/x.wav")
        assert "no recordings" in problem("empty")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads anything")
    def test_a_folder_that_can_t_be_read_is_told_and_the_others_go_on(self, here: Path) -> None:
        (here / "sub" / "low").chmod(0)
        try:
            recordings, (error,) = find_inputs(["sub"], recursive=True)
        finally:
            (here / "sub" / "low").chmod(0o700)
        assert [each.name for each in recordings] == ["deep.flac"]
        assert str(error).startswith("sub/low: can't be read: Permission denied")

    def test_a_name_no_system_takes_says_so(self) -> None:
        assert "can't be read" in problem("a\0b.wav")


@pytest.mark.usefixtures("here")
class TestNames:
    def test_the_longest_and_oddest_names_are_found(self, here: Path) -> None:
        names = ["x" * 251 + ".wav", "é" * 125 + ".wav", "caf\udce9.wav", "-.wav", "@home.wav", "-"]
        for name in names:
            (here / name).write_bytes(b"x")
        assert found(*names[:5], "./-") == names

    def test_a_file_says_in_which_folder_it_was_found(self) -> None:
        recordings, _ = find_inputs(["talk.wav", "sub", "*/low/*.m4a"], recursive=True)
        assert [(str(each.path), each.root) for each in recordings] == [
            ("talk.wav", None),
            ("sub/deep.flac", Path("sub")),
            ("sub/low/er.m4a", Path("sub")),
        ]
        recordings, _ = find_inputs(["sub/*/*.m4a", "*.wav"])
        assert [each.root for each in recordings] == [Path("sub"), *[Path()] * 3]


class TestStandardInput:
    def test_it_is_taken_once_and_called_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        assert find_inputs(["-", "-"]) == ([InputSource(Path("stdin"), "stdin", url=STDIN)], [])

    def test_a_terminal_is_no_recording(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)
        assert "standard input: nothing is piped in" in problem("-")


class TestUrls:
    def test_they_are_named_by_their_path(self) -> None:
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
    def test_those_of_the_web_are_decoded(
        self, url: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(discover, "check_scheme", lambda url: None)
        assert [each.name for each in find_inputs([url])[0]] == [name]

    @pytest.mark.parametrize("url", ["https:///talk.mp3", "https://", "https://[x/talk.mp3"])
    def test_one_without_a_host_is_a_problem(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(discover, "check_scheme", lambda url: None)
        assert problem(url).startswith(url)

    def test_a_package_that_is_missing_is_looked_for_once(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def check(url: str) -> None:
            asked.append(url)
            raise UsageError("s3:// needs more packages", url, "pip install 'phi4audio[remote]'")

        monkeypatch.setattr(discover, "check_scheme", check)
        (here / "list.txt").write_text("s3://calls/a.mp3\ntalk.wav\ns3://calls/b.mp3\n")
        recordings, problems = find_inputs(["@list.txt"])
        assert [each.name for each in recordings] == ["talk.wav"]
        assert [error.where for error in problems] == ["list.txt, line 1", "list.txt, line 3"]
        assert problems[1].what == "s3:// needs more packages: s3://calls/b.mp3"
        assert len(asked) == 1


@pytest.mark.usefixtures("here")
class TestLists:
    def test_paths_count_from_the_lists_folder(self, here: Path) -> None:
        lines = ["deep.flac", "../talk.wav", str(here / "Song.MP3"), "low", "memory://x/y.mp3"]
        (here / "sub" / "list.txt").write_text("\n".join(lines))
        recordings, problems = find_inputs(["@sub/list.txt"])
        assert problems == []
        assert [(str(each.path), each.root) for each in recordings] == [
            ("sub/deep.flac", Path("sub")),
            ("sub/../talk.wav", None),
            (str(here / "Song.MP3"), None),
            ("sub/low/er.m4a", Path("sub")),
            ("y.mp3", None),
        ]

    @pytest.mark.parametrize("given", ["@calls.jsonl", "calls.jsonl"])
    def test_a_manifest_says_more(self, here: Path, given: str) -> None:
        row = {"path": "talk.wav", "language": "fr", "reference": "un"}
        (here / "calls.jsonl").write_text(json.dumps(row))
        assert find_inputs([given])[0] == [
            InputSource(Path("talk.wav"), "talk.wav", None, "French", "un", Path())
        ]

    def test_a_missing_file_is_one_problem_with_its_line(self, here: Path) -> None:
        (here / "calls.csv").write_text("path\ntolk.wav\ntalk.wav\n./talk.wav\nempty\n")
        recordings, problems = find_inputs(["@calls.csv"])
        assert [each.name for each in recordings] == ["talk.wav"]
        assert [f"{error.where}: {error.what}" for error in problems] == [
            "calls.csv, line 2: no such file: tolk.wav",
            "calls.csv, line 5: no recordings in this folder: empty",
        ]

    def test_a_list_that_is_missing_or_empty_is_a_problem(self, here: Path) -> None:
        assert "gone.txt: this list can't be read" in problem("@gone.txt")
        assert "this list can't be read" in problem("@" + "x" * 5000)
        (here / "none.txt").write_text("# nothing\n")
        assert "none.txt: no recordings in this list" in problem("@none.txt")

    def test_a_recording_that_looks_like_a_list_is_one(self, here: Path) -> None:
        (here / "@talk.wav").write_bytes(b"x")
        assert found("@talk.wav") == ["@talk.wav"]

    def test_a_long_list_takes_little_time_and_looks_once_at_a_file(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        number, looked = 20_000, 0
        (here / "long.txt").write_text("talk.wav\n" + "".join(f"x{n}.wav\n" for n in range(number)))

        def counted(look):
            def count(path, **more):
                nonlocal looked
                looked += 1
                return look(path, **more)

            return count

        for name in ("stat", "lstat"):  # which of them pathlib takes depends on Python
            monkeypatch.setattr(os, name, counted(getattr(os, name)))
        begin = time.process_time()
        recordings, problems = find_inputs(["@long.txt"])
        assert (len(recordings), len(problems)) == (1, number)
        assert number < looked < number + 100
        assert time.process_time() - begin < 10
