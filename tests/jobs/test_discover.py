"""Finding recordings: files, folders, patterns, and what to say when there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from phi4audio_cli.jobs.discover import find_inputs


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
