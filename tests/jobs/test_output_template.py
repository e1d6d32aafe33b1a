"""Output names from a template."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.output_paths import plan_jobs

from .input_helpers import local_source, planned_texts, remote_source


@pytest.fixture(autouse=True)
def working_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fill(template: str, out: str | None = "o", formats: tuple[str, ...] = ("txt",)) -> list[str]:
    inputs = [
        local_source(Path("calls/mon/talk.mp3"), Path("calls")),
        local_source(Path("far/one.two.wav")),
        remote_source("https://x.org/a/b/talk.mp3"),
    ]
    jobs = plan_jobs(inputs, formats, Path(out) if out else None, template)
    return [str(path) for job in jobs for path in job.outputs.values()]


def test_fields_are_filled_in() -> None:
    assert fill("{parent}/{stem}.{format}") == [
        "o/mon/talk.txt", "o/one.two.txt", "o/x.org/a/b/talk.txt",
    ]  # fmt: skip
    assert fill("{index:03}-{name}-{ext}/{{x}}.{format}") == [
        "o/001-talk.mp3-mp3/{x}.txt",
        "o/002-one.two.wav-wav/{x}.txt",
        "o/003-talk.mp3-mp3/{x}.txt",
    ]


def test_without_an_output_folder_paths_are_relative_to_the_input() -> None:
    assert fill("{parent}/out/{stem}.{format}", out=None) == [
        "calls/mon/out/talk.txt", "far/out/one.two.txt", "x.org/a/b/out/talk.txt",
    ]  # fmt: skip


def test_the_language_is_in_the_format_unless_it_has_a_field() -> None:
    formats = ("fr.srt", "de.srt")
    assert fill("{index}.{format}", formats=formats)[:2] == ["o/1.fr.srt", "o/1.de.srt"]
    assert fill("{language}/{index}.{format}", formats=formats)[:2] == [
        "o/fr/1.srt",
        "o/de/1.srt",
    ]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{stem}.txt", "lacks {format}"),
        ("{stam}.{format}", "did you mean {stem}"),
        ("{}.{format}", "the fields are stem"),
        ("{stem.__class__}.{format}", "unknown field"),
        ("{stem[0]}.{format}", "unknown field"),
        ("{index:{stem}}.{format}", "inside a field"),
        ("{stem.{format}", "--output-template"),
        ("{stem:d}.{format}", "can't be filled in"),
        ("../{stem}.{format}", "outside the output folder"),
        ("{parent}/x/../../{stem}.{format}", "outside the output folder"),
        ("{stem}\0.{format}", "that no name may contain"),
        ("/{stem}.{format}", "outside the output folder"),
        ("{stem}.{format}", "would overwrite the output of another"),
    ],
)
def test_an_invalid_template_is_rejected(template: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        fill(template)
    assert caught.value.remedy


def test_names_that_differ_only_in_case_are_rejected() -> None:
    inputs = [local_source(Path("x/A.wav")), local_source(Path("y/a.wav"))]
    with pytest.raises(UsageError, match=r"add \{parent\}"):
        planned_texts(inputs, Path("o"), "{stem}.{format}")


def test_no_recording_is_overwritten() -> None:
    with pytest.raises(UsageError, match="overwrite the recording"):
        planned_texts([local_source(Path("talk.txt"))], None, "{stem}.{format}")


def test_long_names_are_cut(tmp_path: Path) -> None:
    template = "{parent}/{name} and {stem}/{stem} and so on.{format}"
    long = local_source(tmp_path / ("y" * 250) / ("x" * 240 + ".wav"), tmp_path)
    [path] = planned_texts([long], tmp_path / "o", template)
    folder, name = path.split("/", 1)
    assert (len(folder), name.count("/")) == (250, 1)
    assert all(len(part) <= 255 for part in path.split("/"))
    assert path.endswith(".txt")
