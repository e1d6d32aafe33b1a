"""Names of outputs: mirrored trees, what is fetched, names too long, and templates."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from phi4audio_cli.errors import UsageError
from phi4audio_cli.jobs.input_source import STDIN, InputSource
from phi4audio_cli.jobs.output_paths import plan_jobs

from .input_helpers import file_names, local_source, planned_names, remote_source


def planned(
    inputs: list[InputSource], out: Path | None = None, template: str | None = None
) -> list[str]:
    """The names of the txt outputs, by the output folder where there is one."""
    jobs = plan_jobs(inputs, ["txt"], out, template)
    paths = [job.outputs["txt"] for job in jobs]
    return [str(path.relative_to(out)) if out else str(path) for path in paths]


class TestTrees:
    def test_the_tree_below_the_named_folder_is_mirrored_where_names_meet(
        self, tmp_path: Path
    ) -> None:
        inputs = [local_source(tmp_path / "calls/mon" / name, tmp_path / "calls") for name in
                  ("x/a.wav", "y/a.wav")]  # fmt: skip
        assert planned(inputs, tmp_path / "o") == ["mon/x/a.txt", "mon/y/a.txt"]

    def test_two_named_folders_are_kept_apart(self, tmp_path: Path) -> None:
        inputs = [
            local_source(tmp_path / each / "a.wav", tmp_path / each) for each in ("jan", "feb")
        ]
        assert planned(inputs, tmp_path / "o") == ["jan/a.txt", "feb/a.txt"]

    def test_a_named_folder_that_is_a_link_keeps_its_tree(self, tmp_path: Path) -> None:
        (tmp_path / "far/x").mkdir(parents=True)
        (tmp_path / "y").mkdir()
        (tmp_path / "far/y").symlink_to(tmp_path / "y")
        inputs = [
            local_source(tmp_path / "far" / name, tmp_path / "far")
            for name in ("x/a.wav", "y/a.wav")
        ]
        assert planned(inputs, tmp_path / "o") == ["x/a.txt", "y/a.txt"]

    def test_relative_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        inputs = [local_source(Path(name), Path("../calls")) for name in
                  ("../calls/a.wav", "../calls/x/a.wav")]  # fmt: skip
        assert planned(inputs, tmp_path / "o") == ["a.txt", "x/a.txt"]
        assert planned([local_source(Path("a.wav")), local_source(Path("x/a.wav"))], Path("o")) == [
            "a.txt",
            "x/a.txt",
        ]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
class TestFetched:
    def test_what_is_fetched_goes_to_the_current_folder(self) -> None:
        inputs = [
            remote_source("https://x.org/a/talk.mp3"),
            InputSource(Path("stdin"), "stdin", url=STDIN),
        ]
        assert planned(inputs) == ["talk.txt", "stdin.txt"]
        assert planned(inputs, Path("o")) == ["talk.txt", "stdin.txt"]

    def test_the_job_says_where_it_is_fetched_from_and_what_is_spoken(self) -> None:
        job = plan_jobs([replace(remote_source("s3://a/b.mp3"), language="French")], ["txt"], None)[
            0
        ]
        assert (job.url, job.language, job.source) == ("s3://a/b.mp3", "French", Path("b.mp3"))

    def test_equal_names_mirror_hosts_and_folders(self, here: Path) -> None:
        urls = ["https://x.org/a/talk.mp3", "https://x.org/b/talk.mp3", "s3://y/a/talk.wav"]
        inputs = [*map(remote_source, urls), local_source(here / "calls/talk.mp3")]
        assert planned(inputs) == [
            "x.org/a/talk.txt",
            "x.org/b/talk.txt",
            "y/a/talk.txt",
            str(here / "calls/talk.txt"),
        ]

    def test_queries_are_kept_apart_by_a_hash(self) -> None:
        first, second = planned(
            [remote_source(f"https://x.org/get?id={number}") for number in (1, 2)]
        )
        assert first != second
        assert first.startswith("get~")
        assert planned([remote_source("https://x.org/get?id=1")]) == ["get.txt"]

    def test_a_recording_here_is_not_overwritten(self, here: Path) -> None:
        inputs = [
            remote_source("https://x.org/talk.mp3"),
            local_source(Path("talk.wav")),
            local_source(Path("talk.txt")),
        ]
        assert planned(inputs) == ["talk.mp3.txt", "talk.wav.txt", "talk.txt.txt"]


class TestLongNames:
    @pytest.mark.parametrize("letter", ["x", "é", "\U0001f3a4", "\udce9"])
    def test_they_are_cut_and_stay_apart_and_the_same(self, tmp_path: Path, letter: str) -> None:
        size = len(os.fsencode(letter))
        names = [letter * (250 // size) + end for end in (".wav", ".mp3")]
        first, second = plan_jobs(
            [local_source(tmp_path / name) for name in names], ["txt", "json"], None
        )
        assert plan_jobs([local_source(tmp_path / names[0])], ["txt", "json"], None)[
            0
        ].outputs.keys()
        for job in (first, second):
            for path in job.outputs.values():
                assert len(os.fsencode(path.name)) <= 255
                path.write_text("x")
            assert len({path.stem for path in job.outputs.values()}) == 1
        assert len(file_names(tmp_path)) == 4
        again = plan_jobs([local_source(tmp_path / name) for name in names], ["txt", "json"], None)
        assert [job.outputs for job in again] == [first.outputs, second.outputs]

    def test_those_that_just_fit_are_kept(self, tmp_path: Path) -> None:
        assert planned_names(tmp_path, "x" * 251 + ".wav") == ["x" * 251 + ".txt"]
        [cut] = planned_names(tmp_path, "x" * 252)
        assert re.fullmatch(r"x{242}~[0-9a-f]{8}\.txt", cut)

    def test_a_template_is_cut_too(self, tmp_path: Path) -> None:
        template = "{parent}/{name} and {stem}/{stem} and so on.{format}"
        long = local_source(tmp_path / ("y" * 250) / ("x" * 240 + ".wav"), tmp_path)
        [path] = planned([long], tmp_path / "o", template)
        folder, name = path.split("/", 1)
        assert (len(folder), name.count("/")) == (250, 1)
        assert all(len(part) <= 255 for part in path.split("/"))
        assert path.endswith(".txt")


class TestTemplates:
    def fill(self, template: str, out: str | None = "o", formats: tuple[str, ...] = ("txt",)):
        inputs = [
            local_source(Path("calls/mon/talk.mp3"), Path("calls")),
            local_source(Path("far/one.two.wav")),
            remote_source("https://x.org/a/b/talk.mp3"),
        ]
        jobs = plan_jobs(inputs, formats, Path(out) if out else None, template)
        return [str(path) for job in jobs for path in job.outputs.values()]

    def test_fields(self, here: Path) -> None:
        assert self.fill("{parent}/{stem}.{format}") == [
            "o/mon/talk.txt", "o/one.two.txt", "o/x.org/a/b/talk.txt",
        ]  # fmt: skip
        assert self.fill("{index:03}-{name}-{ext}/{{x}}.{format}") == [
            "o/001-talk.mp3-mp3/{x}.txt",
            "o/002-one.two.wav-wav/{x}.txt",
            "o/003-talk.mp3-mp3/{x}.txt",
        ]

    def test_without_a_folder_it_counts_from_what_was_named(self, here: Path) -> None:
        assert self.fill("{parent}/out/{stem}.{format}", out=None) == [
            "calls/mon/out/talk.txt", "far/out/one.two.txt", "x.org/a/b/out/talk.txt",
        ]  # fmt: skip

    def test_languages_stand_in_the_format_or_by_themselves(self, here: Path) -> None:
        formats = ("fr.srt", "de.srt")
        assert self.fill("{index}.{format}", formats=formats)[:2] == ["o/1.fr.srt", "o/1.de.srt"]
        assert self.fill("{language}/{index}.{format}", formats=formats)[:2] == [
            "o/fr/1.srt",
            "o/de/1.srt",
        ]

    @pytest.mark.parametrize(
        ("template", "message"),
        [
            ("{stem}.txt", "lacks {format}"),
            ("{stam}.{format}", "did you mean {stem}"),
            ("{}.{format}", "known are stem"),
            ("{stem.__class__}.{format}", "no field"),
            ("{stem[0]}.{format}", "no field"),
            ("{index:{stem}}.{format}", "inside a field"),
            ("{stem.{format}", "--output-template"),
            ("{stem:d}.{format}", "can't be filled in"),
            ("../{stem}.{format}", "out of the output folder"),
            ("{parent}/x/../../{stem}.{format}", "out of the output folder"),
            ("{stem}\0.{format}", "no name can hold"),
            ("/{stem}.{format}", "out of the output folder"),
            ("{stem}.{format}", "would overwrite the output of another"),
        ],
    )
    def test_what_can_t_be_is_refused(self, here: Path, template: str, message: str) -> None:
        with pytest.raises(UsageError, match=re.escape(message)) as caught:
            self.fill(template)
        assert caught.value.remedy

    def test_names_that_differ_in_case_only_are_refused(self, here: Path) -> None:
        inputs = [local_source(Path("x/A.wav")), local_source(Path("y/a.wav"))]
        with pytest.raises(UsageError, match=r"add \{parent\}"):
            planned(inputs, Path("o"), "{stem}.{format}")

    def test_no_recording_is_overwritten(self, here: Path) -> None:
        with pytest.raises(UsageError, match="overwrite the recording"):
            planned([local_source(Path("talk.txt"))], None, "{stem}.{format}")
