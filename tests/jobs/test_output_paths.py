"""Output names are distinct and decided before a recording is opened."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4audio_cli.errors import OutputError, UsageError
from phi4audio_cli.jobs.input_source import STDIN, InputSource
from phi4audio_cli.jobs.output_paths import plan_jobs
from phi4audio_cli.locations import RemotePath
from phi4audio_cli.types import Job

from .input_helpers import (
    file_names,
    local_source,
    planned_names,
    planned_texts,
    remote_source,
)


def test_outputs_are_in_the_folder_of_the_recording(tmp_path: Path) -> None:
    assert planned_names(tmp_path, "talk.wav", formats=("txt", "json", "srt", "txt")) == [
        "talk.txt",
        "talk.json",
        "talk.srt",
    ]
    (tmp_path / "x").mkdir()
    assert planned_names(tmp_path, "a.wav", "x/a.wav") == ["a.txt", "x/a.txt"]


def test_outputs_are_in_the_output_folder(tmp_path: Path) -> None:
    assert planned_names(tmp_path, "x/a.wav", "y/b.v2.wav", out="o") == ["o/a.txt", "o/b.v2.txt"]
    assert not (tmp_path / "o").exists()


def test_equal_stems_keep_their_extension(tmp_path: Path) -> None:
    expected = ["a.mp3.txt", "b.txt", "a.wav.txt"]
    assert planned_names(tmp_path, "a.mp3", "b.wav", "a.wav") == expected
    assert planned_names(tmp_path, "a.mp3", "b.wav", "a.wav", out="o") == [
        f"o/{name}" for name in expected
    ]
    assert planned_names(tmp_path, "a.mp3", "A.wav") == ["a.mp3.txt", "A.wav.txt"]


def test_a_name_equal_to_one_with_extension_keeps_its_own(tmp_path: Path) -> None:
    assert planned_names(tmp_path, "a.mp3", "a.wav", "a.mp3.wav") == [
        "a.mp3.txt",
        "a.wav.txt",
        "a.mp3.wav.txt",
    ]


def test_equal_names_of_several_folders_mirror_the_tree(tmp_path: Path) -> None:
    assert planned_names(
        tmp_path, "p/x/a.wav", "p/y/z/a.wav", "p/y/b.wav", "p/x/a.mp3", out="o"
    ) == [
        "o/x/a.wav.txt",
        "o/y/z/a.txt",
        "o/y/b.txt",
        "o/x/a.mp3.txt",
    ]


def test_no_recording_is_overwritten(tmp_path: Path) -> None:
    assert planned_names(tmp_path, "talk.txt") == ["talk.txt.txt"]
    assert planned_names(tmp_path, "talk.wav", "talk.txt", out=".") == [
        "talk.wav.txt",
        "talk.txt.txt",
    ]
    with pytest.raises(UsageError, match="overwrite the recording"):
        planned_names(tmp_path, "talk.wav", "talk.txt", "talk.wav.txt")


def test_a_duplicate_recording_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the output of"):
        planned_names(tmp_path, "a.wav", "a.wav")


def test_a_folder_with_two_names_is_one_folder(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").symlink_to(tmp_path / "x")
    assert planned_names(tmp_path, "x/a.wav", "y/a.mp3") == ["x/a.wav.txt", "y/a.mp3.txt"]


def test_an_unknown_format_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean json"):
        planned_names(tmp_path, "a.wav", formats=("jason",))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "x/", "y/", "x/y/"]),
            st.sampled_from("aAb"),
            st.sampled_from(["", ".wav", ".mp3", ".txt", ".txt.wav", ".wav.mp3", ".json"]),
        ).map("".join),
        unique=True,
        min_size=1,
    ),
    st.booleans(),
)
def test_all_outputs_differ_and_none_is_an_input(sources: list[str], in_place: bool) -> None:
    root = Path("/nowhere")
    inputs = [root / each for each in sources]
    try:
        jobs = _plan([local_source(each) for each in inputs], None if in_place else root)
    except UsageError:
        return
    outputs = [path for job in jobs for path in job.outputs.values()]
    assert len(outputs) == 2 * len(sources)
    assert len({str(path) for path in outputs}) == len(outputs)
    assert not {str(path) for path in outputs} & {str(path) for path in inputs}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["file", "found", "url"]),
            st.sampled_from(["", "x/", "y/", "x/y/"]),
            st.sampled_from(["a", "A", "b", "c" * 252]),
            st.sampled_from(["", ".wav", ".txt", "?id=1", "?id=2"]),
        ),
        unique=True,
        min_size=1,
    ),
    st.booleans(),
)
def test_outputs_of_files_and_urls_differ(
    sources: list[tuple[str, str, str, str]], in_place: bool
) -> None:
    inputs = [_source(Path("/nowhere"), *each) for each in sources]
    try:
        jobs = _plan(inputs, None if in_place else Path("/nowhere/o"))
    except UsageError:
        return
    outputs = [str(path.absolute()) for job in jobs for path in job.outputs.values()]
    assert len(set(outputs)) == len(outputs) == 2 * len(sources)
    assert not set(outputs) & {str(each.path) for each in inputs if not each.url}
    assert all(len(part) <= 255 for output in outputs for part in Path(output).parts)


def _source(root: Path, kind: str, folder: str, stem: str, end: str) -> InputSource:
    if kind == "url":
        return remote_source(f"https://x.org/{folder}{stem}{end}")
    path = root / f"{folder}{stem}{end}"
    return local_source(path, root) if kind == "found" else local_source(path)


def _plan(inputs: list[InputSource], output_dir: Path | None) -> list[Job]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("phi4audio_cli.jobs.output_paths._check_writable_folder", lambda folder: None)
        return plan_jobs(inputs, ["txt", "json"], output_dir)


def test_a_file_in_place_of_a_folder_is_rejected_early(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        planned_names(tmp_path, "a.wav", out="file/sub")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder_is_rejected_early(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="can't be written"):
        planned_names(tmp_path, "a.wav", out="locked/sub")


def test_remote_names_follow_the_rules_of_local_ones(tmp_path: Path) -> None:
    folder = RemotePath("s3://bucket/out")

    def names(inputs: list[InputSource], template: str | None = None) -> list[str]:
        jobs = plan_jobs(inputs, ["txt"], folder, template)
        return [str(job.outputs["txt"]).removeprefix(f"{folder}/") for job in jobs]

    local = [local_source(tmp_path / name) for name in ("x/a.mp3", "x/a.wav", "y/a.mp3", "y/b.wav")]
    assert names(local) == ["x/a.mp3.txt", "x/a.wav.txt", "y/a.txt", "y/b.txt"]
    remote = [remote_source("s3://calls/mon/a.mp3"), remote_source("s3://calls/tue/a.mp3")]
    assert names(remote) == ["mon/a.txt", "tue/a.txt"]
    assert names(local, "{index}-{stem}.{format}")[0] == "1-a.txt"
    with pytest.raises(UsageError, match="would overwrite"):
        names(local, "{stem}.{format}")


class TestTrees:
    def test_equal_names_mirror_the_tree_below_the_named_folder(self, tmp_path: Path) -> None:
        inputs = [local_source(tmp_path / "calls/mon" / name, tmp_path / "calls") for name in
                  ("x/a.wav", "y/a.wav")]  # fmt: skip
        assert planned_texts(inputs, tmp_path / "o") == ["mon/x/a.txt", "mon/y/a.txt"]

    def test_equal_names_of_two_named_folders_are_distinct(self, tmp_path: Path) -> None:
        inputs = [
            local_source(tmp_path / each / "a.wav", tmp_path / each) for each in ("jan", "feb")
        ]
        assert planned_texts(inputs, tmp_path / "o") == ["jan/a.txt", "feb/a.txt"]

    def test_a_link_in_the_tree_is_mirrored_by_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "calls/x").mkdir(parents=True)
        (tmp_path / "y").mkdir()
        (tmp_path / "calls/y").symlink_to(tmp_path / "y")
        inputs = [
            local_source(tmp_path / "calls" / name, tmp_path / "calls")
            for name in ("x/a.wav", "y/a.wav")
        ]
        assert planned_texts(inputs, tmp_path / "o") == ["x/a.txt", "y/a.txt"]

    def test_relative_folders_are_mirrored(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        inputs = [local_source(Path(name), Path("../calls")) for name in
                  ("../calls/a.wav", "../calls/x/a.wav")]  # fmt: skip
        assert planned_texts(inputs, tmp_path / "o") == ["a.txt", "x/a.txt"]
        assert planned_texts(
            [local_source(Path("a.wav")), local_source(Path("x/a.wav"))], Path("o")
        ) == [
            "a.txt",
            "x/a.txt",
        ]


@pytest.fixture
def working_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("working_dir")
class TestDownloads:
    def test_outputs_of_downloads_are_in_the_current_folder(self) -> None:
        inputs = [
            remote_source("https://x.org/a/talk.mp3"),
            InputSource(Path("stdin"), "stdin", url=STDIN),
        ]
        assert planned_texts(inputs) == ["talk.txt", "stdin.txt"]
        assert planned_texts(inputs, Path("o")) == ["talk.txt", "stdin.txt"]

    def test_the_job_has_the_url_and_the_language(self) -> None:
        job = plan_jobs([replace(remote_source("s3://a/b.mp3"), language="French")], ["txt"], None)[
            0
        ]
        assert (job.url, job.language, job.source) == ("s3://a/b.mp3", "French", Path("b.mp3"))

    def test_equal_names_mirror_hosts_and_folders(self, working_dir: Path) -> None:
        urls = ["https://x.org/a/talk.mp3", "https://x.org/b/talk.mp3", "s3://y/a/talk.wav"]
        inputs = [*map(remote_source, urls), local_source(working_dir / "calls/talk.mp3")]
        assert planned_texts(inputs) == [
            "x.org/a/talk.txt",
            "x.org/b/talk.txt",
            "y/a/talk.txt",
            str(working_dir / "calls/talk.txt"),
        ]

    def test_urls_that_differ_in_their_query_get_a_digest(self) -> None:
        first, second = planned_texts(
            [remote_source(f"https://x.org/get?id={number}") for number in (1, 2)]
        )
        assert first != second
        assert first.startswith("get~")
        assert planned_texts([remote_source("https://x.org/get?id=1")]) == ["get.txt"]

    def test_a_local_recording_is_not_overwritten(self) -> None:
        inputs = [
            remote_source("https://x.org/talk.mp3"),
            local_source(Path("talk.wav")),
            local_source(Path("talk.txt")),
        ]
        assert planned_texts(inputs) == ["talk.mp3.txt", "talk.wav.txt", "talk.txt.txt"]


class TestLongNames:
    @pytest.mark.parametrize("letter", ["x", "é", "\U0001f3a4", "\udce9"])
    def test_long_names_are_cut_distinctly_and_reproducibly(
        self, tmp_path: Path, letter: str
    ) -> None:
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

    def test_names_of_maximum_length_are_kept(self, tmp_path: Path) -> None:
        assert planned_names(tmp_path, "x" * 251 + ".wav") == ["x" * 251 + ".txt"]
        [cut] = planned_names(tmp_path, "x" * 252)
        assert re.fullmatch(r"x{242}~[0-9a-f]{8}\.txt", cut)
